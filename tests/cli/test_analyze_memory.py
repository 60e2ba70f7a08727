# SPDX-License-Identifier: Apache-2.0
"""scprof-analyze's reports on memory: every option, and what is said when there is nothing to.

The traces are made by tests/unit/make_trace.c. "memory" has 7,926,272 bytes allocated in 4201
blocks and 10 MiB copied; "leaks" is a server that keeps 20,000 bytes of each of 2000 requests.
"""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

import known_traces
from analyzer import report, run


@pytest.fixture(scope="module")
def traces(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    return {kind: known_traces.make(tools, kind, folder / (kind + ".trace"))
            for kind in ("demo", "memory", "leaks")}


MB = 1024 * 1024
COPIED = 50 * (10 * MB // 100)  # the other half was read
SECTIONS = ["--memory", "--peak", "--leaks", "--temporary", "--copies", "--timeline"]
METRICS = {"malloc_bytes", "malloc_count", "free_bytes", "growth_bytes", "peak_bytes",
           "own_peak_bytes", "average_bytes", "python_fraction", "usage_fraction",
           "temporary_bytes", "copy_bytes", "copy_mb_s"}
LEAK = {"path", "line", "function", "likelihood", "growth_bytes_per_s", "live_bytes",
        "live_bytes_low", "live_bytes_high", "allocated_bytes", "freed_bytes", "blocks_alive",
        "stack"}


def test_summary(tools, traces):
    text = report(tools, traces["memory"])
    assert "  heap       1.11 MB   at its peak, after 510 ms; RSS 20.1 MB at most\n" in text
    assert "  alloc      7.56 MB   in all; 868 KB more live at the end than at the start\n" in text
    assert "  recorded     4,201   allocations, every one\n" in text


def test_memory_beside_the_source(tools, traces):
    text = report(tools, "--lines", traces["memory"])
    assert re.search(r"^ +alloc +peak % +growth +copy/s +live │ app.py  99.8 % of the peak", text,
                     re.M)
    assert re.search(r"^ *97\.7 KB +4\.4 +97\.7 KB +▁▂▃▄▅▆▇█ │ +29 +data = load", text, re.M)
    assert re.search(r"^ *6\.25 MB +5\.6 +4\.55 MB +│ +24 ", text, re.M)


def test_memory(tools, traces):
    text = report(tools, "--memory", traces["memory"])
    assert re.search(r"^ +89\.8 +1\.00 MB +1\.00 MB +\S+ KB +768 KB +1\.00 MB +1 +\S+ +app\.py:31 ",
                     text, re.M)
    assert re.search(r"^ +0\.2 +2\.19 KB .* 219 KB +4,000 +100\.0 ", text, re.M)
    order = re.findall(r"(?:app|util)\.py:(\d+)", text[text.index("Memory by line"):])
    assert order == ["31", "24", "29", "6"]
    assert re.search(r"^  leaks +1 +the worst by \S+ KB/s at app.py:29", text, re.M)


@pytest.mark.parametrize("key, first", [("volume", "24"), ("peak", "31"), ("growth", "31"),
                                        ("average", "31"), ("live", "29"), ("temporary", "6"),
                                        ("copies", "24"), ("name", "31")])
def test_sort(tools, traces, key, first):
    text = report(tools, "--memory", "--sort", key, traces["memory"])
    lines = text[text.index("Memory by line"):]
    assert re.findall(r"(?:app|util)\.py:(\d+)", lines)[0] == first


def test_peak(tools, traces):
    text = report(tools, "--peak", traces["memory"])
    assert re.search(r"^ +89\.8 +1\.00 MB +1\.00 MB +app\.py:31 +mean = np", text, re.M)
    assert re.search(r"^ +100\.0 +94\.2 +1\.11 MB +main +app\.py:28$", text, re.M)
    assert re.search(r"^ +5\.8 +5\.6 +66\.2 KB +└ load +app\.py:23$", text, re.M)


def test_time_between_traces(tools, traces, tmp_path):
    """The axis of time goes on where no trace was."""
    later = known_traces.make(tools, "demo", tmp_path / "later.trace", 2)
    text = report(tools, "--timeline", traces["memory"], later)
    assert re.search(r"^ +0 s +12\d s$", text, re.M)


def test_memory_ends_with_its_process(tools, traces):
    rows = list(csv.DictReader(io.StringIO(
        report(tools, "--timeline", "--format", "csv", "--process", "200", traces["leaks"]))))
    live = [(int(row["end_ns"]), float(row["live_bytes"])) for row in rows]
    step = live[1][0] - live[0][0]
    assert all(size == 10 * MB for end, size in live if 10**9 + step < end < 10**10 - step)
    assert all(size == 0 for end, size in live if end > 10**10 + 2 * step)


def test_copies(tools, traces):
    text = report(tools, "--copies", traces["memory"])
    assert re.search(r"^ +5\.00 MB +4\.55 +5\.00 MB +app\.py:24 ", text, re.M)


def test_temporary(tools, traces):
    assert "Freed after at most 1 more allocation of its thread\n" in \
        report(tools, "--temporary", traces["memory"])
    text = report(tools, "--temporary=41", traces["memory"])
    assert "Freed after at most 41 more allocations of its thread\n" in text
    assert re.search(r"^ +6\.25 MB +100\.0 +100 +6\.25 MB +app\.py:24 ", text, re.M)


def test_timeline(tools, traces):
    text = report(tools, "--timeline", traces["memory"])
    assert re.search(r"^ +20\.1 MB ┤─+$", text, re.M) and "▲" in text
    for line in ("peak of the heap   1.11 MB   after 510 ms", "most RSS           20.1 MB",
                 "Python's arenas     256 KB", "reserved           64.0 MB",
                 "mark                510 ms   half time",
                 "mark                1.00 s   end of user code"):
        assert line in text


def test_json(tools, traces):
    text = report(tools, "--format", "json", traces["memory"])
    data = json.loads(text)
    total = data["totals"]
    assert {key for key in total if not key.endswith(("_ns", "samples"))} == METRICS
    assert total["malloc_bytes"] == 100 * (1000 + 65536 + 40 * 56) + MB
    assert total["malloc_count"] == 4201 and total["copy_bytes"] == COPIED
    assert total["growth_bytes"] == 100 * 1000 + 40 * 56 + 768 * 1024
    assert total["peak_bytes"] == MB + 51 * 1000 + 65536 + 40 * 56
    assert total["usage_fraction"] == 1
    assert total["copy_mb_s"] == pytest.approx(COPIED / MB / 1.1)
    assert data["leaks"] == [] or set(data["leaks"][0]) == LEAK
    lines = [line for file in data["files"] for line in file["lines"]]
    for rows in (lines, data["files"], data["threads"], data["processes"],
                 [one["self"] for one in data["functions"]]):
        for key in METRICS - {"own_peak_bytes", "python_fraction"}:
            assert sum(row[key] for row in rows) == pytest.approx(total[key], abs=len(rows)), key
    assert "null" not in re.sub(r'"[^"]*"', "", text)


@pytest.mark.parametrize("section, column, total", [
    ("--lines", "malloc_bytes", 100 * 68776 + MB),
    ("--functions", "malloc_bytes", 100 * 68776 + MB),
    ("--memory", "peak_bytes", MB + 118776), ("--copies", "copy_bytes", COPIED),
    ("--copies", "read_bytes", COPIED), ("--temporary", "malloc_count", 4201),
    ("--peak", "self_peak_bytes", MB + 118776), ("--timeline", "malloc_bytes", 100 * 68776 + MB),
    ("--threads", "malloc_bytes", 100 * 68776 + MB), ("--processes", "growth_bytes", 888672),
])
def test_csv(tools, traces, section, column, total):
    text = report(tools, "--format", "csv", section, traces["memory"])
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert sum(float(row[column]) for row in rows) == pytest.approx(total, abs=len(rows))


def test_csv_without_memory_is_blank(tools, traces):
    rows = list(csv.DictReader(io.StringIO(report(tools, "--format", "csv", traces["demo"]))))
    assert {row[key] for row in rows for key in ("malloc_bytes", "copy_mb_s")} == {""}


def test_markdown(tools, traces):
    text = report(tools, "--format", "markdown", *SECTIONS, traces["leaks"])
    assert "\x1b" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        rows = table.splitlines()
        assert re.fullmatch(r"\|(---\||--:\|)+", rows[1])
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "### Memory by line" in report(tools, "--format", "markdown", traces["memory"])


@pytest.mark.parametrize("kind", ["memory", "leaks"])
@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_width(tools, traces, kind, width, locale):
    for options in ([], ["--all"], SECTIONS, ["--intervals", *SECTIONS]):
        text = report(tools, *options, traces[kind], env={"COLUMNS": str(width), "LC_ALL": locale})
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text
        if locale == "C":
            assert text.replace("ü", "").isascii()


def test_filters(tools, traces):
    def total(*options):
        data = json.loads(report(tools, "--format", "json", *options, traces["leaks"]))
        return data["totals"]["malloc_bytes"]
    assert total("--process", "200") == 10 * MB
    assert total("--file", "a*.py") + total("--process", "200") == total()
    assert total("--function", "keep*") == 40_000_000
    assert total("--to", "10s") + total("--from", "10.000000001s") == total()


needs_gnuplot = pytest.mark.skipif(not shutil.which("gnuplot"), reason="gnuplot is not installed")


@needs_gnuplot
@pytest.mark.parametrize("what", ["memory", "cpu", "copies"])
def test_plot(tools, traces, tmp_path, what):
    trace = traces["memory" if what == "copies" else "leaks"]
    svg, png, txt = (tmp_path / ("out." + end) for end in ("svg", "png", "txt"))
    for path in (svg, png, txt):
        assert report(tools, "--plot", what, "-o", str(path), trace) == ""
    words = " ".join(xml.etree.ElementTree.parse(svg).getroot().itertext())
    assert "seconds since the start of the recording" in words
    if what == "memory":
        assert "peak 47.8 MB" in words and "a `id` 'b/?END?" in words and "RSS" in words
        assert "(2 processes together)" in words
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    assert txt.read_text() == report(tools, "--plot", what, trace)
    assert "\x1b" not in txt.read_text()


@needs_gnuplot
@pytest.mark.parametrize("options", [
    ["--from", "6s"], ["--to", "8s"], ["--from", "6s", "--to", "8s"], ["--process", "200"],
    ["--function", "no_such_function"]])
def test_plot_of_a_part(tools, traces, tmp_path, options):
    """With marks on one side only, with none, with next to nothing to draw."""
    for what in ("memory", "cpu"):
        for end in ("svg", "png", "txt"):
            path = tmp_path / (what + "." + end)
            assert report(tools, "--plot", what, *options, "-o", str(path), traces["leaks"]) == ""
            assert path.stat().st_size > 1000


def test_plot_without_gnuplot(tools, traces, tmp_path):
    path = tmp_path / "out.svg"
    done = run(tools, "--plot", "memory", "-o", str(path), traces["leaks"],
               env={"PATH": str(tmp_path)})
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "--plot needs gnuplot, which is not installed" in done.stderr
    assert not path.exists()
    (tmp_path / "gnuplot").write_text("#!/bin/sh\necho 'line 1: no such terminal' >&2\nexit 1\n")
    (tmp_path / "gnuplot").chmod(0o755)
    done = run(tools, "--plot", "memory", "-o", str(path), traces["leaks"],
               env={"PATH": str(tmp_path) + ":" + os.environ["PATH"]})
    assert done.returncode == 1
    assert "gnuplot failed: line 1: no such terminal" in done.stderr and not path.exists()


@pytest.mark.parametrize("option", ["--memory", "--peak", "--leaks", "--temporary",
                                    "--temporary=5"])
def test_no_memory_recorded(tools, traces, option):
    text = report(tools, option, traces["demo"])
    assert "no memory was recorded: record with --memory=sampled" in text
    text = report(tools, option, "--format", "markdown", traces["demo"])
    assert "No memory was recorded" in text


def test_no_copies_recorded(tools, traces):
    assert "no copies were recorded: record with --copies" in \
        report(tools, "--copies", traces["demo"])


def test_nothing_of_memory_without_memory(tools, traces):
    """What was not recorded is absent."""
    text = report(tools, traces["demo"])
    assert "heap" not in text and "alloc" not in text and "growth" not in text
    data = json.loads(report(tools, "--format", "json", traces["demo"]))
    assert "leaks" not in data
    assert not {key for key in data["totals"] if "malloc" in key or "copy" in key}


def test_fail_on_leak_needs_memory(tools, traces):
    done = run(tools, "--fail-on-leak", traces["demo"])
    assert done.returncode == 1
    assert "no memory was recorded" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("what, message", [("memory", "no memory was recorded"),
                                           ("copies", "no copies were recorded")])
def test_nothing_to_plot(tools, traces, tmp_path, what, message):
    done = run(tools, "--plot", what, "-o", str(tmp_path / "out.svg"), traces["demo"])
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not os.path.exists(tmp_path / "out.svg")


@pytest.mark.parametrize("arguments, message", [
    (["--temporary=0", "x"], "--temporary"),
    (["--temporary=many", "x"], "--temporary"),
    (["--min-leak", "fast", "x"], "--min-leak"),
    (["--min-leak", "1M/h", "x"], "--min-leak"),
    (["--fail-on-leak=1M", "x"], "a rate such as 1M/s"),
    (["--fail-on-leak=soon", "x"], "--fail-on-leak"),
    (["--format", "csv", "--memory", "--leaks", "x"], "csv is one table"),
    (["--format", "json", "--timeline", "x"], "not part of the JSON"),
    (["--plot", "heap", "x"], "is not one of"),
    (["--plot", "memory", "-o", "out.gif", "x"], "end in .svg, .png or .txt"),
    (["--plot", "memory", "--lines", "x"], "--plot draws one picture"),
    (["--plot", "cpu", "--format", "csv", "x"], "--plot draws one picture"),
])
def test_usage_errors(tools, arguments, message):
    done = run(tools, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("scprof-analyze: ") and message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("text, line", [
    ("leak:foo\nleek:bar\n", 2), ("# only\n\n  leak:\n", 3), ("foo", 1), ("race:x\n", 1),
])
def test_bad_suppressions(tools, traces, tmp_path, text, line):
    path = tmp_path / "known.supp"
    path.write_text(text)
    done = run(tools, "--suppress", str(path), traces["demo"])
    assert done.returncode == 2 and done.stdout == ""
    assert "%s: line %d: " % (path, line) in done.stderr


def test_unreadable_suppressions(tools, traces, tmp_path):
    done = run(tools, "--suppress", str(tmp_path / "none"), traces["demo"])
    assert done.returncode == 1 and "No such file" in done.stderr
    path = tmp_path / "good.supp"
    path.write_text("# fine\r\n\n leak:foo \nleak:*bar*")
    report(tools, "--suppress", str(path), traces["demo"])
