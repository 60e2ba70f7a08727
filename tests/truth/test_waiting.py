# SPDX-License-Identifier: Apache-2.0
"""Threads that do not run: for how long, where, and what they wait for."""

import csv
import io

import pytest

from recording import marked_line, sample

SECOND = 1e9


def check_wait(line, kind, expected=SECOND):
    """The line waited for about the expected time, nearly all of it of one kind, without CPU."""
    assert abs(line[kind] - expected) <= 0.05 * expected + 30e6, dict(line)
    assert line[kind] >= 0.95 * line.waits, dict(line)
    assert line["cpu_ns"] <= 0.02 * expected + 5e6, dict(line)


def check_wait_below(recording, name, mark, thread, kind):
    """The marked line waits in library code: it is charged with it, the kind is its thread's."""
    path = sample(name)
    charged = recording.charged_wall_ns(path, marked_line(path, mark))
    assert abs(charged - SECOND) <= 0.05 * SECOND + 30e6
    found, = recording.profile().thread(thread)
    assert found[kind] >= 0.95 * SECOND - 30e6, found
    known = sum(found.get("wait_%s_ns" % each, 0) for each in ("io", "lock", "sleep"))
    others = known - found[kind]
    assert others <= 0.05 * SECOND + 5e6, found


@pytest.mark.parametrize("mark, kind", [("sleep", "wait_sleep_ns"), ("read", "wait_io_ns")])
def test_sleeping(interpreter, recorded, mark, kind):
    profile = recorded(interpreter, "sleeping.py").profile()
    check_wait(profile.marked(sample("sleeping.py"), mark), kind)


def test_wait_before_the_end(interpreter, recorded):
    profile = recorded(interpreter, "sleeping_last.py").profile()
    check_wait(profile.marked(sample("sleeping_last.py"), "sleep"), "wait_sleep_ns")


def test_joining(interpreter, recorded):
    check_wait_below(recorded(interpreter, "sleeping.py"), "sleeping.py", "join", "MainThread",
                     "wait_lock_ns")


def test_sleeping_takes_no_cpu(interpreter, recorded):
    profile = recorded(interpreter, "sleeping.py").profile()
    for name in ("sleeper", "reader"):
        thread, = profile.thread(name)
        assert thread.get("cpu_ns", 0) <= 20e6
        assert thread["wall_ns"] >= 0.95 * SECOND


def test_lock_waiting(interpreter, recorded):
    profile = recorded(interpreter, "lock_waiting.py").profile()
    check_wait(profile.marked(sample("lock_waiting.py"), "lock"), "wait_lock_ns")


def test_queue_waiting(interpreter, recorded):
    check_wait_below(recorded(interpreter, "lock_waiting.py"), "lock_waiting.py", "get", "queue",
                     "wait_lock_ns")


def test_short_sleeps_add_up(interpreter, recorded):
    profile = recorded(interpreter, "sleeping_often.py").profile()
    path = sample("sleeping_often.py")
    nap, work = profile.marked(path, "nap"), profile.marked(path, "work")
    assert work["cpu_ns"] > nap["cpu_ns"]
    assert nap["wait_sleep_ns"] >= 0.8 * (nap.waits + work.waits)


def test_gil_starved(interpreter, recorded, tools):
    if interpreter.free_threaded:
        pytest.skip("this interpreter has no GIL")
    recording = recorded(interpreter, "gil_starved.py")
    profile = recording.profile()
    own = {name: [int(each) for each in rest] for name, *rest in
           (line.split() for line in recording.output.splitlines())}
    assert len(own) == 3
    # The JSON has no name for it.
    table = csv.DictReader(io.StringIO(
        tools.analyze("--threads", "--format", "csv", recording.trace).stdout))
    runnable = {row["name"]: int(row["wait_runnable_ns"] or 0) for row in table}
    for name, (cpu, wall, ready) in own.items():
        thread, = profile.thread(name)
        assert abs(thread["cpu_ns"] - cpu) <= 0.01 * cpu + 5e6, name
        waited, gil = wall - cpu, thread.get("wait_gil_ns", 0)
        others = sum(thread.get("wait_%s_ns" % kind, 0) for kind in ("io", "sleep"))
        told = name, dict(thread), runnable[name], waited, ready
        assert others <= 0.05 * waited + 20e6 + 50e6, told  # it sleeps for 50 ms at its end
        # Of the time that a thread has no processor for, the kernel keeps count. For the rest it
        # waits for the GIL; the shortest of these waits are not seen.
        assert abs(runnable[name] - ready) <= 0.05 * ready + 20e6, told
        assert gil + runnable[name] >= 0.8 * waited - 20e6, told
        assert gil >= 0.6 * (waited - ready) - 20e6, told


def test_no_wall_leaves_the_waiting_out(interpreter, recorded):
    profile = recorded(interpreter, "sleeping.py", options=("--no-wall",)).profile()
    assert all(not each.get("wait_sleep_ns") and not each.get("wait_io_ns")
               for each in profile.threads)
