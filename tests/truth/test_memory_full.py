# SPDX-License-Identifier: Apache-2.0
"""--memory=full: every allocation is there, and charged to the line that made it."""

import json

import pytest

from recording import marked_line, sample

NAME = "every_block.py"


@pytest.fixture(scope="module")
def full(recorded):
    def record(interpreter):
        recording = recorded(interpreter, NAME, options=("--memory=full", "--no-copies"))
        return recording.profile(), json.loads(recording.output)
    return record


def test_every_allocation(interpreter, full):
    profile, expected = full(interpreter)
    for mark, (count, size) in expected["lines"].items():
        line = profile.marked(sample(NAME), mark)
        assert (line["malloc_count"], line["malloc_bytes"]) == (count, size), "@" + mark


def test_every_release(interpreter, full):
    profile, expected = full(interpreter)
    path = sample(NAME)
    assert profile.quality["lost_events"] == 0
    for mark in ("freed", "passed"):
        line = profile.marked(path, mark)
        assert line["growth_bytes"] == 0, "@" + mark
        assert line["free_bytes"] == line["malloc_bytes"], "@" + mark
    # A new block is there before the name lets go of the old one.
    assert profile.marked(path, "freed")["own_peak_bytes"] == 2 * expected["lines"]["freed"][1] // \
        expected["lines"]["freed"][0]
    # What the queue itself allocates comes on top.
    count, size = expected["passed"]
    passed = profile.marked(path, "passed")
    assert passed["malloc_count"] >= count and passed["malloc_bytes"] >= count * size
    assert profile.marked(path, "small")["growth_bytes"] == expected["lines"]["small"][1]


def test_code_that_comes_and_goes(interpreter, full):
    profile, expected = full(interpreter)
    count, size = expected["generated"]
    wrong = [number for number in range(1, count + 1)
             if profile.line("generated.py", number)["malloc_bytes"] < size]
    assert not wrong, "lines of generated code without their object: %s" % wrong
    assert marked_line(sample(NAME), "deep")


def test_no_line_for_nothing(interpreter, full):
    profile, _ = full(interpreter)
    total = profile.totals
    lines = [line for each in profile.data["files"] for line in each["lines"]]
    for name in ("malloc_bytes", "malloc_count", "free_bytes", "growth_bytes", "peak_bytes"):
        assert sum(line[name] for line in lines) == total[name], name
