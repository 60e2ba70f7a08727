# SPDX-License-Identifier: Apache-2.0
"""The trace is an open format: a few lines of Python read it from its specification alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import known_traces
from recording import ROOT

MS = 1000000


@pytest.fixture(scope="module")
def reader(tools, tmp_path_factory):
    """A function that runs tests/read_trace.py, or another script there, on a trace."""
    if not shutil.which("zstd"):
        pytest.skip("the zstd tool is not installed")
    python, protoc = protobuf_tools(tools.build)
    folder = tmp_path_factory.mktemp("pb2")
    done = subprocess.run([*protoc, "-I" + os.path.join(ROOT, "formats"),
                           "--python_out=%s" % folder, "trace.proto"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr

    def read(trace, script="read_trace.py"):
        done = subprocess.run([python, os.path.join(ROOT, "tests", script), trace],
                              env=dict(os.environ, PYTHONPATH=str(folder)), capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return read


def protobuf_tools(build):
    """An interpreter with the package protobuf, and a protoc: the system's, or private ones."""
    for python in (sys.executable, "/usr/bin/python3"):
        if shutil.which("protoc") and subprocess.run(
                [python, "-c", "import google.protobuf"], capture_output=True).returncode == 0:
            return python, ["protoc"]
    folder = os.path.join(build, "venv-protobuf")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(os.path.join(folder, "complete")):
        for step in ([sys.executable, "-m", "venv", "--clear", folder],
                     [python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
                      "protobuf", "grpcio-tools"]):
            if subprocess.run(step, capture_output=True).returncode:
                pytest.skip("no protoc and Python package protobuf, and pip cannot get them")
        open(os.path.join(folder, "complete"), "w").close()
    return python, [python, "-m", "grpc_tools.protoc"]


def test_the_golden_trace_is_read_by_another_language(reader):
    """The figures are those of tests/unit/fixture.c."""
    profile = reader(os.path.join(ROOT, "tests", "golden", "v1.trace"))
    assert profile["samples"] == 203
    assert sum(profile["functions"].values()) == 199 * MS + MS // 2 + 3 * MS
    assert profile["functions"]["(no stack)"] == MS


def test_the_golden_memory_events_are_read_by_another_language(reader):
    """The figures are those of tests/unit/fixture_memory.c."""
    trace = os.path.join(ROOT, "tests", "golden", "v1-memory.trace")
    memory = reader(trace, "read_memory.py")
    assert (memory["memory_rate"], memory["copy_rate"]) == (512 << 10, 2 << 20)
    first = [event for event in memory["heap"] if event["process"] == 0]
    assert [event["op"][0] for event in first] == list("aaafaaaarrfaafafff")
    assert [event["block"] for event in first] == [0, 1, 2, 2, 3, 4, 5, 6, 3, 3, 3, 7, 8, 1, 9, 9,
                                                   8, 0]
    assert [event["kind"] for event in first[4:8]] == ["anonymous", "file", "reserved", "arena"]
    assert first[4] == {"op": "alloc", "process": 0, "thread": None, "time_ns": 2 * MS, "block": 3,
                        "size": 1 << 30, "kind": "anonymous", "flags": 1, "stack": ["grow"] * 3}
    second = [event for event in memory["heap"] if event["process"] == 1]
    assert len(second) == 1200
    for number, event in enumerate(second):
        turn = number // 4
        assert event["block"] == [2 * turn, 2 * turn + 1, 2 * turn + 1,
                                  turn // 2 * 2][number % 4]
        if event["op"] == "alloc":
            assert event["size"] == [1000, 50 + turn % 9][number % 2]
    assert [copy["size"] for copy in memory["copies"]] == [100, 3 << 30, 65536, 0]
    assert [row["rss_bytes"] for row in memory["footprints"]] == [10000384, 20000768, 9998336]
    assert [row["pss_bytes"] for row in memory["footprints"]] == [0, 18000000, 0]
    assert [mark["kind"] for mark in memory["marks"]] == ["start", "label", "stop", "finalize"]


def test_memory_sums_are_read_by_another_language(reader, tools, tmp_path):
    """The figures are those of make_memory in tests/unit/make_trace.c."""
    trace = known_traces.make(tools, "memory", tmp_path / "memory.trace", 3)
    memory = reader(trace, "read_memory.py")
    live, allocated, sizes = {}, 0, {}
    for event in memory["heap"]:
        if event["op"] == "alloc":
            live[event["block"]] = event["kind"]
            sizes[event["block"]] = event["size"]
            allocated += event["size"] if event["kind"] in ("native", "python") else 0
        elif event["op"] == "free":
            del live[event["block"]]
        else:
            sizes[event["block"]] = event["size"]
    assert allocated == 300 * (1000 + 65536 + 40 * 56)
    assert sorted(live.values()) == ["arena"] + ["python"] * 300 + ["reserved"]
    assert sizes[2] == 768 << 10
    assert sum(copy["size"] for copy in memory["copies"]) == 10 * (1 << 20) // 300 * 300
    assert {tuple(event["stack"]) for event in memory["heap"] if event["op"] == "alloc"} == {
        ("main",), ("load", "main"), ("parse", "load", "main")}


def test_a_fresh_recording_is_read_by_another_language(reader, tools, python, tmp_path):
    """Both readers see the same samples and the same CPU time, but for what waits carry."""
    script = tmp_path / "busy.py"
    script.write_text("import time\nend = time.process_time() + 0.4\n"
                      "while time.process_time() < end:\n    sum(range(1000))\n")
    trace = str(tmp_path / "run.trace")
    done = tools.record(trace, [python.path, str(script)])
    assert done.returncode == 0, done.stderr
    profile = reader(trace)
    report = subprocess.run([tools.analyzer, "--format", "json", trace], capture_output=True,
                            text=True)
    assert report.returncode == 0, report.stderr
    totals = json.loads(report.stdout)["totals"]
    assert profile["samples"] == totals["samples"]
    cpu_ns = sum(profile["functions"].values())
    assert 0.9 * totals["cpu_ns"] <= cpu_ns <= totals["cpu_ns"] * 1.001
