# SPDX-License-Identifier: Apache-2.0
"""Does it leak? Programs of every kind, for a moment and for longer, recorded in full and sampled:
what their line is called. tests/unit/test_growth_zoo.c has more of them, many times over."""

import csv
import io

import pytest

from recording import marked_line, sample

NAME = "memory_zoo.py"
GROWING = ["leak", "tiny", "slow", "bursts", "late"]
ONCE = ["stops", "cache", "replacing", "saturating"]
# How much they hold at the end is chance, but they do not grow.
NEITHER = ["drains", "cycles", "threads", "frees"]
# Sampled, so little was leaked after seconds that nothing may be seen of it.
ONLY_IN_FULL = {"tiny", "slow"}
# Bytes between samples. The last third of a leak must look no less than 0.43 of the second third:
# with 15 samples in each, as many as 1.5 seconds have by default, chance alone denies that once in
# 50 runs, with 60 once in 100,000.
RATE = {1.5: "32K", 6: "512K"}
# What stands still for a while looks as if it slowed down.
UNEVEN = 1.7
TRIES = 10


@pytest.fixture(params=["sampled", "full"])
def mode(request):
    return request.param


def verdict(tools, trace, line):
    """What --leaks says of a line of the sample: "growing", "once" or None; and of all the others,
    which grow."""
    done = tools.analyze("--leaks", "--format", "csv", trace)
    assert done.returncode == 0, done.stderr
    found, others = None, []
    for row in csv.DictReader(io.StringIO(done.stdout)):
        if row["path"].endswith(NAME) and int(row["line"]) == line:
            found = row["verdict"]
        elif row["verdict"] == "growing":
            others.append((row["path"], row["line"]))
    return found, others


@pytest.mark.parametrize("seconds", [1.5, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", GROWING + ONCE + NEITHER)
def test_does_it_leak(python, tools, tmp_path, mode, kind, seconds):
    trace = tmp_path / "run.trace"
    options = ["--memory=full"] if mode == "full" else ["--memory-rate", RATE[seconds]]
    for _ in range(TRIES):
        done = tools.record(trace, [python.path, sample(NAME), kind, str(seconds)], options)
        assert done.returncode == 0, done.stderr
        if float(done.stdout) < UNEVEN:
            break
    else:
        pytest.skip("the machine is too busy to let a program run evenly")
    found, others = verdict(tools, trace, marked_line(sample(NAME), kind))
    assert not others
    if kind in ONCE:
        assert found == "once"
    elif kind in NEITHER:
        assert found != "growing"
    elif mode == "full" or kind not in ONLY_IN_FULL:
        assert found == "growing"


@pytest.mark.parametrize("runs", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_leak_of_large_blocks_is_always_found(python, tools, tmp_path, runs):
    """150 x 2 MB appended to a global."""
    trace = tmp_path / "run.trace"
    line = marked_line(sample("memory_leak.py"), "leak")
    for _ in range(runs):
        tools.record(trace, [python.path, sample("memory_leak.py"), "150", str(2 << 20), "0.6"])
        leaks = tools.profile(trace).data["leaks"]
        assert [leak["line"] for leak in leaks] == [line], leaks


@pytest.mark.parametrize("seconds", [pytest.param(25, marks=pytest.mark.slow)])
def test_a_slow_leak_is_found(python, tools, tmp_path, seconds):
    """1 KB at every second request of 500 a second, one allocation in 16 KB recorded: some 400
    samples."""
    trace = tmp_path / "run.trace"
    tools.record(trace, [python.path, sample(NAME), "slow", str(seconds)],
                 options=("--memory-rate", "16K"))
    assert verdict(tools, trace, marked_line(sample(NAME), "slow")) == ("growing", [])
