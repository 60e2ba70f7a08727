# SPDX-License-Identifier: Apache-2.0
"""The trace is an open format: a few lines of Python read it from its specification alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from recording import ROOT

MS = 1000000


@pytest.fixture(scope="module")
def reader(tools, tmp_path_factory):
    """A function that runs tests/read_trace.py on a trace."""
    if not shutil.which("zstd"):
        pytest.skip("the zstd tool is not installed")
    python, protoc = protobuf_tools(tools.build)
    folder = tmp_path_factory.mktemp("pb2")
    done = subprocess.run([*protoc, "-I" + os.path.join(ROOT, "formats"),
                           "--python_out=%s" % folder, "trace.proto"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr

    def read(trace):
        done = subprocess.run([python, os.path.join(ROOT, "tests", "read_trace.py"), trace],
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
