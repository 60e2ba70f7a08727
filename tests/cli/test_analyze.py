# SPDX-License-Identifier: Apache-2.0
"""scprof-analyze's text: what is shown, every option, and what it says when something is wrong.

The demo trace (tests/unit/make_trace.c) uses 1.1 s of CPU: fib 300 ms, the worker 220 ms and the
same code in a child 100 ms, a library called by load 200 ms, sorting 150 ms, numpy 100 ms, reading
30 ms in the kernel.
"""

import os
import pty
import re
import subprocess

import pytest

import known_traces
from analyzer import report, run


@pytest.fixture(scope="module")
def traces(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    return {kind: known_traces.make(tools, kind, folder / (kind + ".trace"))
            for kind in ("demo", "torn", "library", "empty", "deep", "chain")}


def row(text, end):
    """The cells of the one line that ends so."""
    found = [line for line in text.splitlines() if line.rstrip().endswith(end)]
    assert len(found) == 1, (end, text)
    return found[0]


def test_summary(tools, traces):
    text = report(tools, traces["demo"])
    lines = text.splitlines()
    assert lines[0] == "python3 app.py --size 'big one'"
    assert lines[1] == "Python 3.12.1 on build-7, 2023-11-14 22:13:20, 2 processes, 3 threads"
    assert "  elapsed     1.50 s" in lines
    assert "  CPU         1.10 s   0.73 cores; Python 74.5 %, native 22.7 %, system 2.7 %" in lines
    assert "  waiting     800 ms   I/O 250 ms, lock 350 ms, GIL 200 ms" in lines
    assert "1000 Hz, 99.1 % of the CPU time seen, 3 missed, 2 lost" in text
    assert "27.3 %   charged to the lines of yours that call it" in text


def test_annotated_source(tools, traces):
    text = report(tools, "--lines", traces["demo"])
    assert re.search(r"^ +27\.3 +27\.3 +300 ms │ +9  +if n < 2:$", text, re.M)
    assert re.search(r"^ +13\.6 +13\.6 +150 ms │ +30  +order = sorted\(data\)$", text, re.M)
    assert re.search(r"^ +9\.1 +9\.1 +9\.1 +100 ms │ +31  +mean = np\.mean", text, re.M)
    assert re.search(r"^ +350 ms │ +33  +worker\.join\(\)$", text, re.M)  # waits count in wall
    assert "│ app.py  81.8 % of CPU, 900 ms" in text
    assert "│ src/util.py  18.2 % of CPU, 200 ms" in text
    assert text.index("│ app.py") < text.index("│ src/util.py")
    assert "fromnumeric" not in text and "Functions" not in text


def test_source_text_cannot_steer_the_terminal(tools, traces):
    text = report(tools, traces["demo"], "--min-percent", "0")
    assert "\x1b" not in text
    assert "one | two ?[31m three" in text
    assert "return parse(f.read())  # über alles" in text


def test_all_lists_the_library(tools, traces):
    text = report(tools, "--all", traces["demo"])
    assert "dist-packages/numpy/core/fromnumeric.py" in text
    assert "python3.12/json/decoder.py" in text
    assert not re.search(r"\blibrary\b", text)
    assert re.search(r"^ +18\.2 +18\.2 +200 ms │ +353", text, re.M)


def test_functions(tools, traces):
    text = report(tools, "--functions", traces["demo"])
    assert re.search(r"^ +29\.1 +29\.1 +29\.1 +320 ms +320 ms +Worker\.run +app\.py:15$", text,
                     re.M)
    assert re.search(r"^ +27\.3 +27\.3 +27\.3 +300 ms +300 ms +fib +app\.py:8$", text, re.M)
    assert re.search(r"^ +2\.7 +20\.9 +2\.7 +30 ms +230 ms +load +app\.py:23$", text, re.M)
    assert "│" not in text


def test_tree(tools, traces):
    lines = [line for line in report(tools, "--tree", traces["demo"]).splitlines()
             if "app.py:" in line]
    assert [line.split("ms")[-1].strip().split("  ")[0] for line in lines] == [
        "<module>", "└ main", "├ fib … recursion × 19", "└ load", "Worker.run"]


def test_deep_recursion_is_one_line(tools, traces):
    text = report(tools, "--tree", traces["deep"])
    assert "ping … recursion × 4999" in text
    assert len(text.splitlines()) < 15


def test_long_chain_stays_readable(tools, traces):
    text = report(tools, "--tree", traces["chain"], env={"COLUMNS": "80"})
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "[500]" in text and "step_499" in text


def test_native(tools, traces):
    text = report(tools, "--native", traces["demo"])
    assert re.search(r"^ +13\.6 +13\.6 +150 ms +app\.py:30 +order = sorted\(data\)$", text, re.M)
    assert re.search(r"^ +13\.6 +13\.6 +150 ms +list_sort_impl +python3\.12$", text, re.M)
    assert re.search(r"^ +7\.3 +7\.3 +80 ms +\[multiarray\.so\+0x12000\]", text, re.M)
    assert re.search(r"^ +2\.7 +2\.7 +30 ms +read +libc\.so\.6$", text, re.M)
    assert "PyDict_GetItem" not in text  # a helper of Python code


def test_threads_and_processes(tools, traces):
    text = report(tools, "--threads", traces["demo"])
    assert re.search(r"^ +20\.0 +220 ms +220 ms +200 ms +100 +101 +Worker-1$", text, re.M)
    text = report(tools, "--processes", traces["demo"])
    assert re.search(r"^ +90\.9 +1\.00 s .* 100  python3 app\.py", text, re.M)
    assert re.search(r"^ +9\.1 +100 ms .* 200    python3 app\.py", text, re.M)


def test_wall(tools, traces):
    text = report(tools, "--wall", traces["demo"])
    assert re.search(r"^ +18\.4 +18\.4 +350 ms │ +33  +worker\.join", text, re.M)
    assert re.search(r"^ wall % +CPU +I/O +lock +GIL +wall │ app\.py", text, re.M)
    assert "27.3" in report(tools, "--wall", "--cpu", "--lines", traces["demo"])


@pytest.mark.parametrize("options, cpu, samples", [
    (["--file", "util.py"], "200 ms", 200),
    (["--file", "src/*.py"], "200 ms", 200),
    (["--file", "nothing.py"], "0 s", 0),
    (["--function", "fib"], "300 ms", 300),
    (["--function", "run", "--file", "app.py"], "320 ms", 304),
    (["--function", "load", "--function", "fib"], "530 ms", 530),
    (["--thread", "Worker-*"], "220 ms", 204),
    (["--thread", "101"], "220 ms", 204),
    (["--process", "200"], "100 ms", 100),
    (["--process", "*app.py*"], "1.10 s", 1084),
    (["--from", "0.6"], "430 ms", 430),
    (["--from", "500ms", "--to", "600ms"], "200 ms", 200),
    (["--to", "30ms", "--process", "100", "--thread", "MainThread"], "30 ms", 30),
    (["--gil"], "1.07 s", 1054),
])
def test_filters(tools, traces, options, cpu, samples):
    text = report(tools, *options, "--functions", traces["demo"])
    assert re.search(r"^  CPU +%s  " % re.escape(cpu), text, re.M), text
    if samples is not None:
        assert re.search(r"^  samples +%s  " % format(samples, ","), text, re.M), text


def test_gil_leaves_waits_out(tools, traces):
    assert "waiting" not in report(tools, "--gil", traces["demo"])


def test_top(tools, traces):
    text = report(tools, "--functions", "--top", "2", traces["demo"])
    assert "Worker.run" in text and "fib" in text and "main" not in text
    assert "4 more, see --top" in text
    text = report(tools, "--lines", "-n", "1", traces["demo"])
    assert len(re.findall(r"^ +\d+\.\d.* │ ", text, re.M)) == 1


@pytest.mark.parametrize("key, first", [
    ("weight", "Worker.run"), ("cpu", "Worker.run"), ("total", "main"), ("python", "Worker.run"),
    ("native", "main"), ("system", "load"), ("wall", "Worker.run"), ("samples", "Worker.run"),
    ("name", "<module>"),
])
def test_sort(tools, traces, key, first):
    text = report(tools, "--functions", "--sort", key, traces["demo"])
    table = text[text.index("Functions"):].splitlines()[2:]
    names = [re.split(r" {2,}", line.strip())[-2] for line in table if line.strip()]
    assert names[0] == first or (key == "total" and names[0] == "<module>")


def test_min_percent(tools, traces):
    text = report(tools, "--lines", "--min-percent", "20", traces["demo"])
    assert "if n < 2:" in text and "util.py" not in text
    text = report(tools, "--lines", "--min-percent", "99", traces["demo"])
    assert "no line has 99 % of the time" in text


def test_intervals_and_marks(tools, traces):
    text = report(tools, "--lines", "--intervals", traces["demo"])
    low, high = map(float, re.search(r"27\.3 +(\d+\.\d)-(\d+\.\d) .*if n < 2", text).groups())
    assert 23 < low < 27.3 < high < 31
    assert re.search(r"^ +1\.8~ .*self\.queue\.put", text, re.M)
    assert text.rstrip().endswith("~ too few samples: the 95 % interval is wider than the figure")
    text = report(tools, "--lines", traces["demo"], "--function", "fib")
    assert "~" not in text  # no mark, no footer


def test_code_of_others_only(tools, traces):
    text = report(tools, traces["library"])
    assert "none of your own code ran in what is shown: library code is listed instead" in text
    assert re.search(r"^ +100\.0 +100\.0 +100 ms │ +353", text, re.M)


def test_nothing_recorded(tools, traces):
    text = report(tools, traces["empty"])
    assert "nothing was recorded in what is to be shown" in text


def test_damaged(tools, traces):
    done = run(tools, traces["torn"])
    assert done.returncode == 0
    assert "the recording did not end by itself" in done.stdout and "app.py" in done.stdout
    assert re.fullmatch(
        r"scprof-analyze: warning: .*torn\.trace: .*; what could be read is shown\n", done.stderr)
    for quiet in ("-q", "--quiet"):
        assert run(tools, quiet, traces["torn"]).stderr == ""


def test_several_traces(tools, traces, tmp_path):
    later = known_traces.make(tools, "demo", tmp_path / "later.trace", 1)
    text = report(tools, traces["demo"], later)
    assert "  CPU         2.20 s   0.73 cores" in text
    assert "4 processes, 6 threads" in text


def test_stdin(tools, traces):
    with open(traces["demo"], "rb") as stdin:
        assert report(tools, "-", stdin=stdin) == report(tools, traces["demo"])


def test_output_file(tools, traces, tmp_path):
    for option in ("-o", "--output"):
        path = tmp_path / "report.txt"
        assert report(tools, option, str(path), traces["demo"]) == ""
        assert path.read_text() == report(tools, traces["demo"])


def test_color(tools, traces):
    colored = report(tools, "--color", "always", traces["demo"])
    plain = report(tools, "--color", "never", traces["demo"])
    assert "\x1b[1;31m" in colored and "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert plain == report(tools, "--color", "auto", traces["demo"])


def test_terminal(tools, traces):
    """A terminal gets colours and its own width, unless the environment says otherwise."""
    def on_terminal(**env):
        ours, theirs = pty.openpty()
        environment = dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm", **env)
        process = subprocess.Popen([tools.analyzer, traces["demo"]], stdout=theirs, env=environment)
        os.close(theirs)
        text = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            text += data
        assert process.wait() == 0
        os.close(ours)
        return text.decode()
    assert "\x1b[" in on_terminal()
    assert "\x1b[" not in on_terminal(NO_COLOR="1")
    narrow = on_terminal(NO_COLOR="1", COLUMNS="60").replace("\r", "")
    assert max(len(line) for line in narrow.splitlines() if "│" in line) <= 60


def test_plain_locale(tools, traces):
    text = report(tools, "--lines", "--tree", traces["demo"], env={"LC_ALL": "C"})
    assert text.replace("ü", "").isascii()
    assert "fib ... recursion x 19" in text


def test_version_and_help(tools):
    assert re.fullmatch(r"scprof-analyze \d+\.\d+\.\d+\n", report(tools, "--version"))
    text = report(tools, "--help")
    for option in ("--lines", "--functions", "--tree", "--native", "--threads", "--processes",
                   "--all", "--sort", "--top", "--min-percent", "--intervals", "--cpu", "--wall",
                   "--from", "--to", "--file", "--function", "--thread", "--process", "--gil",
                   "--memory", "--peak", "--leaks", "--temporary", "--copies", "--timeline",
                   "--plot", "--min-leak", "--suppress", "--fail-on-leak",
                   "--format", "--output", "--color", "--quiet", "--help", "--version"):
        assert option in text


@pytest.mark.parametrize("arguments, message", [
    ([], "give the trace to read"),
    (["--no-such-option", "x"], "--no-such-option"),
    (["--sort", "speed", "x"], "is not one of"),
    (["--format", "xml", "x"], "is not one of"),
    (["--color", "maybe", "x"], "is not one of"),
    (["--top", "0", "x"], "--top"),
    (["--min-percent", "101", "x"], "--min-percent"),
    (["--from", "2", "--to", "1", "x"], "--from must be earlier than --to"),
    (["--from", "soon", "x"], "--from"),
    (["--format", "csv", "--lines", "--tree", "x"], "csv is one table"),
    (["--format", "json", "--tree", "x"], "not part of the JSON"),
])
def test_usage_errors(tools, arguments, message):
    done = run(tools, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("scprof-analyze: ") and message in done.stderr
    assert done.stderr.count("\n") == 1


def test_unreadable(tools, traces, tmp_path):
    junk = tmp_path / "junk"
    junk.write_text("hello\n" * 100)
    empty = tmp_path / "empty"
    empty.write_text("")
    for path, message in ((tmp_path / "none", "No such file"), (junk, "not a scprof trace"),
                          (empty, "empty"), (tmp_path, "")):
        done = run(tools, str(path))
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("scprof-analyze: ") and done.stderr.count("\n") == 1
        assert str(path) in done.stderr and message in done.stderr.replace(str(path), "")
    done = run(tools, "-o", str(tmp_path / "no" / "report"), traces["demo"])
    assert done.returncode == 1 and "cannot write" in done.stderr
    with open("/dev/full", "wb") as full:
        done = subprocess.run([tools.analyzer, traces["demo"]], stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "No space left" in done.stderr
