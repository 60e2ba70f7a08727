# SPDX-License-Identifier: Apache-2.0
"""Pausing a recording and naming its phases, from outside and from the program itself."""

import os
import subprocess
import time

import pytest

from recording import ROOT

BURN = """
import sys, time
sys.path.insert(0, %r)
import scprof

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
""" % os.path.join(ROOT, "record", "module")


def control(tools, pid, *words):
    return subprocess.run([tools.recorder, "--control", *words, "--pid", str(pid)],
                          capture_output=True, text=True, timeout=30)


def test_the_program_records_a_part_of_itself(tools, interpreter, tmp_path):
    program = tmp_path / "part.py"
    program.write_text(BURN + """
def before(): burn(0.4)
def within(): burn(0.4)
def after(): burn(0.4)

assert not scprof.is_recording()
before()
with scprof.recording():
    assert scprof.is_recording()
    within()
after()
assert not scprof.is_recording()
""")
    trace = tmp_path / "t.trace"
    done = tools.record(trace, [interpreter.path, program], ["--start-paused"])
    assert done.returncode == 0, done.stderr
    profile = tools.profile(trace)
    within = profile.function(program, "within", "cumulative")["cpu_ns"]
    assert "cpu_seen_fraction" not in profile.quality
    # A tick of the sampler at each end, and whatever a busy machine makes of one.
    assert 0.3e9 < within < 0.5e9
    assert profile.totals["cpu_ns"] - within < 0.05e9


def test_many_short_recordings(tools, python, tmp_path):
    """Several pauses between two looks of the recorder at what came."""
    program = tmp_path / "short.py"
    program.write_text(BURN + """
def within(): burn(0.005)
def between(): burn(0.005)

for _ in range(100):
    between()
    with scprof.recording():
        within()
""")
    trace = tmp_path / "t.trace"
    done = tools.record(trace, [python.path, program], ["--start-paused"])
    assert done.returncode == 0, done.stderr
    profile = tools.profile(trace)
    assert profile.function(program, "between", "cumulative")["cpu_ns"] == 0
    # What is before the first look and after the last one in each is lost; on a busy machine more.
    assert 0.1e9 < profile.function(program, "within", "cumulative")["cpu_ns"] < 0.52e9


def test_marks_without_a_recording_do_nothing(interpreter, tmp_path):
    program = tmp_path / "alone.py"
    program.write_text(BURN + """
assert not scprof.is_recording() and not scprof.start() and not scprof.stop()
assert not scprof.mark("one")
with scprof.recording(), scprof.phase("two"):
    print("done")
""")
    done = interpreter.run(program)
    assert done.stdout == "done\n", done.stderr


def test_control_from_outside(tools, python, tmp_path):
    trace = tmp_path / "t.trace"
    recorder = tools.start(["-o", str(trace), "--start-paused"], [python.path, "-c", (
        "import os, time\n"
        "print(os.getpid(), flush=True)\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end: pass\n")])
    pid = int(recorder.stdout.readline())
    time.sleep(0.3)
    assert control(tools, pid, "start").returncode == 0
    time.sleep(0.5)
    marked = control(tools, pid, "mark", "half way")
    assert marked.returncode == 0 and "half way" in marked.stderr
    stopped = control(tools, pid, "stop")
    assert stopped.returncode == 0 and "paused" in stopped.stderr
    time.sleep(0.3)
    os.kill(pid, 15)
    recorder.wait(timeout=30)
    # What was between start and stop, and no more.
    assert 0 < tools.profile(trace).totals["cpu_ns"] < 2e9


def test_control_leaves_other_recordings_alone(tools, python, tmp_path):
    """All recorders of a machine are asked whether they know the process."""
    program = tmp_path / "tells.py"
    program.write_text(BURN + """
import os
print(os.getpid(), flush=True)
for _ in sys.stdin: print(scprof.is_recording(), flush=True)
""")
    recorders = [tools.start(["-o", str(tmp_path / name), "--start-paused"],
                             [python.path, program], stdin=subprocess.PIPE)
                 for name in ("first.trace", "second.trace")]
    first, second = (int(recorder.stdout.readline()) for recorder in recorders)

    def recording():
        for recorder in recorders:
            recorder.stdin.write("\n")
            recorder.stdin.flush()
        return [recorder.stdout.readline() == "True\n" for recorder in recorders]

    assert recording() == [False, False]
    assert control(tools, os.getpid(), "start").returncode == 1  # nobody records this test
    assert recording() == [False, False]
    # Whichever is asked first, the other one is not.
    assert control(tools, first, "start").returncode == 0
    assert recording() == [True, False]
    assert control(tools, second, "start").returncode == 0
    assert recording() == [True, True]
    assert control(tools, first, "stop").returncode == 0
    assert recording() == [False, True]
    assert control(tools, os.getpid(), "stop").returncode == 1
    assert recording() == [False, True]
    for recorder in recorders:
        recorder.communicate("", timeout=30)
        assert recorder.returncode == 0


@pytest.mark.parametrize("words", [["start"], ["mark"], ["mark", "a", "b"], ["restart"]])
def test_bad_control(tools, words):
    without_pid = subprocess.run([tools.recorder, "--control", *words], capture_output=True,
                                 text=True)
    assert without_pid.returncode == 2 and without_pid.stderr.count("\n") == 1
    done = control(tools, 1, *words)
    assert done.returncode == (1 if words == ["start"] else 2)
    assert done.stderr.startswith("scprof-record: ") and done.stderr.count("\n") == 1
