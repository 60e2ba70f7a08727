# SPDX-License-Identifier: Apache-2.0
"""The totals: CPU time against getrusage, wall time against the clock, samples against the rate."""

import json
import os
import time

import pytest

from recording import sample

OWN_CLOCKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own_clocks.py")

# What a process does before and after it can look at its own clocks: loading, finalisation.
EDGES_NS = 10e6
# /proc tells a process's start to 10 ms only.
START_NS = 15e6


@pytest.fixture
def with_clocks(tools, tmp_path):
    def record(interpreter, name, *arguments, options=()):
        trace, clocks = tmp_path / "run.trace", tmp_path / "clocks.json"
        before = time.monotonic_ns()
        done = tools.record(trace, [interpreter.path, OWN_CLOCKS, str(clocks), sample(name),
                                    *arguments], options)
        assert done.returncode == 0, done.stderr
        own = dict(json.loads(clocks.read_text()), around_ns=time.monotonic_ns() - before)
        return tools.profile(trace), own

    return record


@pytest.mark.parametrize("name", ["pure_python.py", "many_threads.py", "kernel_time.py"])
def test_cpu_is_that_of_getrusage(interpreter, with_clocks, name):
    profile, own = with_clocks(interpreter, name)
    assert abs(profile.totals["cpu_ns"] - own["cpu_ns"]) <= 0.01 * own["cpu_ns"] + EDGES_NS


def test_cpu_does_not_depend_on_the_rate(interpreter, with_clocks):
    profile, own = with_clocks(interpreter, "generators.py", options=("--rate", "100"))
    assert abs(profile.totals["cpu_ns"] - own["cpu_ns"]) <= 0.01 * own["cpu_ns"] + EDGES_NS
    assert profile.totals["samples"] <= 100 * own["wall_ns"] / 1e9 * 1.2 + 5


@pytest.mark.parametrize("name", ["pure_python.py", "sleeping.py", "sleeping_often.py"])
def test_wall_of_the_main_thread_is_elapsed(interpreter, with_clocks, name):
    profile, own = with_clocks(interpreter, name)
    main = [each for each in profile.threads if each["tid"] == each["pid"]]
    assert len(main) == 1
    # The process lives on after its last look at the clock, for longer the busier the machine is;
    # but not for longer than the run.
    assert main[0]["wall_ns"] >= 0.99 * own["wall_ns"] - START_NS
    assert main[0]["wall_ns"] <= 1.003 * profile.run["duration_ns"]


def test_run_is_as_long_as_the_program(interpreter, with_clocks):
    profile, own = with_clocks(interpreter, "sleeping.py")
    assert 0.99 * own["wall_ns"] - START_NS <= profile.run["duration_ns"]
    assert profile.run["duration_ns"] <= own["around_ns"]


@pytest.mark.parametrize("name", ["pure_python.py", "many_threads.py"])
def test_cpu_is_seen(interpreter, with_clocks, name):
    profile, _ = with_clocks(interpreter, name)
    assert 0.985 <= profile.quality["cpu_seen_fraction"] <= 1.015


@pytest.mark.timing
def test_rate_is_achieved(interpreter, with_clocks):
    """A thread that runs all the time is sampled as often as the machine allows, without loss."""
    profile, own = with_clocks(interpreter, "pure_python.py")
    asked = own["cpu_ns"] / 1e9 * 1000
    # Half is usual even on a busy machine; but of a virtual one the host may take any share.
    assert profile.totals["samples"] >= 0.1 * asked
    assert profile.quality["missed"] + profile.quality["failed"] <= 0.02 * asked + 5
    assert profile.quality["lost_events"] == 0
