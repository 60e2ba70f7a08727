# SPDX-License-Identifier: Apache-2.0
"""scprof-analyze's formats for programs: names, sums, and that each can be read back."""

import csv
import io
import json
import os
import re
import subprocess

import pytest

import known_traces

METRICS = {"samples", "cpu_ns", "python_ns", "native_ns", "system_ns", "wall_ns", "wait_io_ns",
           "wait_lock_ns", "wait_sleep_ns", "wait_gil_ns"}
INTERVALS = {name + end for name in ("cpu_ns", "python_ns", "native_ns", "system_ns")
             for end in ("_low", "_high")}


@pytest.fixture(scope="module")
def traces(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    return {kind: known_traces.make(tools, kind, folder / (kind + ".trace"))
            for kind in ("demo", "torn", "library", "empty", "deep", "big")}


def report(tools, *arguments):
    done = subprocess.run([tools.analyzer, "-q", *arguments], capture_output=True,
                          env=dict(os.environ, LC_ALL="C.UTF-8"))
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def total(rows, name):
    return sum(int(one[name]) for one in rows)


@pytest.mark.parametrize("kind", ["demo", "torn", "library", "empty", "deep", "big"])
@pytest.mark.parametrize("options", [[], ["--wall"], ["--from", "0.1", "--to", "0.5"], ["--gil"]])
def test_json_sums(tools, traces, kind, options):
    data = json.loads(report(tools, "--format", "json", *options, traces[kind]))
    lines = [line for file in data["files"] for line in file["lines"]]
    for name in METRICS:
        for rows in (data["files"], lines, data["threads"], data["processes"],
                     [f["self"] for f in data["functions"]]):
            assert total(rows, name) == data["totals"][name]
    for one in lines + data["threads"] + [data["totals"]]:
        assert one["python_ns"] + one["native_ns"] + one["system_ns"] == one["cpu_ns"]
    for line in lines:
        if line["cpu_ns"]:
            assert line["cpu_ns_low"] <= line["cpu_ns"] <= line["cpu_ns_high"]
    for function in data["functions"]:
        for name in METRICS:
            assert function["self"][name] <= function["cumulative"][name] <= data["totals"][name]


def test_json_names(tools, traces):
    """The names are an interface; nothing is ever null."""
    text = report(tools, "--format", "json", "--intervals", traces["demo"])
    data = json.loads(text)
    assert set(data) == {"scprof", "run", "quality", "totals", "processes", "threads", "files",
                         "functions"}
    assert set(data["scprof"]) == {"version", "trace_version"}
    assert set(data["run"]) == {"command", "host", "start", "duration_ns", "python", "options",
                                "exit_status"}
    assert set(data["quality"]) == {"samples", "missed", "failed", "lost_events", "truncated",
                                    "cpu_seen_fraction"}
    assert METRICS <= set(data["totals"]) <= METRICS | INTERVALS
    for one in data["processes"]:
        assert set(one) - METRICS - INTERVALS <= {"pid", "parent", "command"}
    for one in data["threads"]:
        assert set(one) - METRICS - INTERVALS == {"pid", "tid", "name"}
    for file in data["files"]:
        assert set(file) - METRICS - INTERVALS == {"path", "lines"}
        assert [line["line"] for line in file["lines"]] == sorted(
            line["line"] for line in file["lines"])
        for line in file["lines"]:
            assert set(line) - METRICS - INTERVALS - {"source"} == {"line", "function"}
    for one in data["functions"]:
        assert set(one) == {"path", "function", "first_line", "self", "cumulative"}
    assert "null" not in re.sub(r'"[^"]*"', "", text)


def test_json_values(tools, traces):
    data = json.loads(report(tools, "--format", "json", traces["demo"]))
    assert data["run"]["command"] == ["python3", "app.py", "--size", "big one"]
    assert data["run"]["start"] == "2023-11-14T22:13:20Z"
    assert data["run"]["duration_ns"] == 1_500_000_000
    assert data["quality"]["missed"] == 3 and data["quality"]["lost_events"] == 2
    assert data["totals"]["cpu_ns"] == 1_100_000_000
    files = {file["path"]: file for file in data["files"]}
    lines = {line["line"]: line for line in files["/home/me/project/app.py"]["lines"]}
    assert lines[9]["cpu_ns"] == 300_000_000 and lines[9]["source"] == "    if n < 2:"
    assert lines[30]["native_ns"] == 150_000_000
    assert lines[31]["cpu_ns"] == 0 if 31 in lines else True  # numpy's time is numpy's here
    assert lines[25]["system_ns"] == 30_000_000 and lines[25]["wait_io_ns"] == 250_000_000
    assert {p["pid"]: p.get("parent") for p in data["processes"]} == {100: None, 200: 100}


@pytest.mark.parametrize("section, columns", [
    ("--lines", {"path", "line", "cpu_ns", "charged_cpu_ns", "source"}),
    ("--functions", {"path", "function", "cpu_ns", "cumulative_cpu_ns"}),
    ("--threads", {"pid", "tid", "cpu_ns"}),
    ("--processes", {"pid", "command", "cpu_ns"}),
])
def test_csv_sums(tools, traces, section, columns):
    text = report(tools, "--format", "csv", section, traces["demo"])
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert columns <= set(rows[0])
    assert total(rows, "cpu_ns") == 1_100_000_000
    assert total(rows, "wall_ns") == 1_900_000_000
    if section == "--lines":
        assert total(rows, "charged_cpu_ns") == 1_100_000_000
        assert {row["source"] for row in rows} >= {"\t\treturn parse(f.read())  # über alles"}


def test_csv_default_is_lines(tools, traces):
    assert report(tools, "-f", "csv", traces["demo"]) == \
        report(tools, "--format", "csv", "--lines", traces["demo"])


def test_csv_native(tools, traces):
    rows = list(csv.DictReader(io.StringIO(
        report(tools, "--format", "csv", "--native", traces["demo"]), newline="")))
    cpu = {row["symbol"]: int(row["cpu_ns"]) for row in rows}
    assert cpu["list_sort_impl"] == 150_000_000 and cpu["memcpy"] == 20_000_000
    assert total(rows, "native_ns") == 250_000_000
    assert total(rows, "system_ns") == 30_000_000


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_csv_tree(tools, traces, options):
    rows = list(csv.DictReader(io.StringIO(
        report(tools, "--format", "csv", "--tree", *options, traces["demo"]), newline="")))
    assert total(rows, "self_cpu_ns") == 1_100_000_000
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        below = [int(one["total_cpu_ns"]) for one in rows if one["parent"] == row["id"]]
        assert int(row["total_cpu_ns"]) == int(row["self_cpu_ns"]) + sum(below)
        assert row["parent"] == "0" or row["parent"] in by_id
    assert [row["recursion"] for row in rows if row["function"] == "fib"] == ["19"]


def test_markdown(tools, traces):
    text = report(tools, "--format", "markdown", "--lines", "--functions", "--tree", "--native",
                  "--threads", "--processes", traces["demo"])
    assert "| 27.3 | 27.3 |  |  |  | 300 ms | app.py:9 | `if n < 2:` |" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 6
    for table in tables:
        rows = table.splitlines()
        assert re.fullmatch(r"\|(---\||--:\|)+", rows[1])
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "fib … recursion × 19" in text
    assert "\x1b" not in text


def test_from_to_add_up(tools, traces):
    def cpu(*options):
        return json.loads(report(tools, "-f", "json", *options, traces["demo"]))["totals"]["cpu_ns"]
    assert cpu("--to", "0.3337") + cpu("--from", "0.3337", "--to", "0.777") + \
        cpu("--from", "0.777") == cpu()
