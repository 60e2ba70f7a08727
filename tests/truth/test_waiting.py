# SPDX-License-Identifier: Apache-2.0
"""Threads that do not run: for how long, where, and what they wait for."""

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


def test_gil_starved(interpreter, recorded):
    if interpreter.free_threaded:
        pytest.skip("this interpreter has no GIL")
    recording = recorded(interpreter, "gil_starved.py")
    profile = recording.profile()
    own = {name: (int(cpu), int(wall)) for name, cpu, wall in
           (line.split() for line in recording.output.splitlines())}
    assert len(own) == 3
    gil = expected = 0
    for name, (cpu, wall) in own.items():
        thread, = profile.thread(name)
        assert abs(thread["cpu_ns"] - cpu) <= 0.01 * cpu + 5e6, name
        waited = wall - cpu
        seen = thread.get("wait_gil_ns", 0) + thread.get("wait_runnable_ns", 0)
        others = sum(thread.get("wait_%s_ns" % kind, 0) for kind in ("io", "sleep"))
        assert seen >= 0.8 * waited - 20e6, (name, dict(thread), waited)
        assert others <= 0.05 * waited + 20e6, (name, dict(thread), waited)
        gil += thread.get("wait_gil_ns", 0)
        expected += waited
    assert gil >= 0.6 * expected


def test_no_wall_leaves_the_waiting_out(interpreter, recorded):
    profile = recorded(interpreter, "sleeping.py", options=("--no-wall",)).profile()
    assert all(not each.get("wait_sleep_ns") and not each.get("wait_io_ns")
               for each in profile.threads)
