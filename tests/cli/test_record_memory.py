# SPDX-License-Identifier: Apache-2.0
"""What the recorder does about memory on its own: its options, the footprint, its closing line."""

import os
import re

import pytest

from recording import ROOT

TOUCH = """
import time
kept = bytearray(b"x") * (100 << 20)
time.sleep(0.1)
"""


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "t.trace"


def said(done):
    """MiB allocated and the largest RSS, as the closing line has them."""
    found = re.search(r"([\d.]+) MiB allocated, RSS up to ([\d.]+) MiB", done.stderr)
    assert found, done.stderr
    return float(found.group(1)), float(found.group(2))


def test_closing_line_tells_the_footprint(tools, interpreter, trace):
    done = tools.record(trace, [interpreter.path, "-c", TOUCH])
    assert done.returncode == 0
    assert 100 < said(done)[1] < 200


def test_closing_line_agrees_with_the_analyzer(tools, python, trace):
    done = tools.record(trace, [python.path, "-c", TOUCH])
    figure = tools.profile(trace).totals["malloc_bytes"] / (1 << 20)
    assert said(done)[0] == pytest.approx(figure, rel=0.01, abs=0.1)


@pytest.mark.parametrize("options", [["--memory=off"], ["--memory=off", "--no-copies"]])
def test_off_is_off(tools, python, trace, options):
    done = tools.record(trace, [python.path, "-c", TOUCH], options)
    assert done.returncode == 0
    assert "RSS" not in done.stderr and "allocated" not in done.stderr
    profile = tools.profile(trace)
    assert profile.totals["samples"] > 0
    assert not profile.totals["malloc_bytes"] and not profile.totals["peak_bytes"]


def test_a_pause_has_no_memory(tools, python, trace):
    done = tools.record(trace, [python.path, "-c", TOUCH], ["--start-paused"])
    assert done.returncode == 0
    assert "RSS" not in done.stderr and "allocated" not in done.stderr
    assert not tools.profile(trace).totals["malloc_bytes"]


@pytest.mark.parametrize("how", ["sampled", "full"])
def test_only_what_is_new_between_pauses(tools, interpreter, trace, tmp_path, how):
    program = tmp_path / "parts.py"
    program.write_text("""
import sys
sys.path.insert(0, %r)
import scprof
before = bytearray(20 << 20)
with scprof.recording():
    within = bytearray(40 << 20)
after = bytearray(60 << 20)
del before, within, after
""" % os.path.join(ROOT, "record", "module"))
    done = tools.record(trace, [interpreter.path, program], ["--start-paused", "--memory", how])
    assert done.returncode == 0, done.stderr
    totals = tools.profile(trace).totals
    # The statement may meet a small allocation of the interpreter's as well.
    assert 40 << 20 <= totals["malloc_bytes"] < 42 << 20
    assert 40 << 20 <= totals["free_bytes"] <= totals["malloc_bytes"]


def test_who_runs_on_is_left_alone(tools, interpreter, trace, tmp_path):
    """When the recording is over before the program, the agent rests, in new processes too."""
    program = tmp_path / "long.py"
    program.write_text("""
import os, subprocess, sys, time
sys.path.insert(0, %r)
import scprof

child = [sys.executable, "-c", "import sys; sys.path[:0] = [%r]; import scprof; "
         "print(scprof.is_recording(), flush=True)"]
print(scprof.is_recording(), flush=True)
subprocess.run(child)
end = time.monotonic() + 60
while scprof.is_recording() and time.monotonic() < end:
    time.sleep(0.01)
print(scprof.is_recording(), flush=True)
subprocess.run(child)
""" % ((os.path.join(ROOT, "record", "module"),) * 2))
    done = tools.record(trace, [interpreter.path, program], ["--duration", "3"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "False", "False"]
