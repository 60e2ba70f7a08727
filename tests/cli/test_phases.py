# SPDX-License-Identifier: Apache-2.0
"""Phases that a program names: listed by --phases, chosen with --phase."""

import csv
import io
import os

import pytest

from recording import ROOT

MB = 1 << 20

PROGRAM = """
import os, sys, time
sys.path.insert(0, %r)
import scprof

keep = []

def burn(seconds, size):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    keep.append(bytearray(size << 20))

def load(): burn(0.2, 40)
def train(): burn(0.4, 8)
def between(): burn(0.15, 16)

between()
scprof.mark("load")
load()
for number in range(3):
    scprof.mark("train %%d" %% number)
    train()
    scprof.mark()
    between()
with scprof.phase("cleanup"):
    keep.clear()
""" % os.path.join(ROOT, "record", "module")


@pytest.fixture(scope="module")
def trace(tools, python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phases")
    program = folder / "phases.py"
    program.write_text(PROGRAM)
    done = tools.record(folder / "run.trace", [python.path, program])
    assert done.returncode == 0, done.stderr
    return folder / "run.trace"


@pytest.fixture(scope="module")
def phases(tools, trace):
    done = tools.analyze("--phases", "--format", "csv", trace)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_phases_are_listed(phases):
    assert [one["phase"] for one in phases] == ["load", "train 0", "train 1", "train 2", "cleanup"]
    load, *trains, cleanup = phases
    # A tick of the sampler at each end, and whatever a busy machine makes of one.
    assert 0.15e9 < int(load["cpu_ns"]) < 0.3e9
    assert all(0.35e9 < int(one["cpu_ns"]) < 0.5e9 for one in trains)
    assert 40 <= int(load["growth_bytes"]) / MB < 44
    assert all(8 <= int(one["growth_bytes"]) / MB < 10 for one in trains)
    assert int(cleanup["growth_bytes"]) < -100 * MB
    for one in phases:
        assert int(one["start_ns"]) <= int(one["end_ns"])


def test_a_phase_is_all_there_is(tools, trace, phases):
    profile = tools.profile(trace, "--phase", "train*")
    expected = sum(int(one["cpu_ns"]) for one in phases if one["phase"].startswith("train"))
    assert profile.totals["cpu_ns"] == expected
    assert profile.function("phases.py", "train", "cumulative")["cpu_ns"] > expected * 0.8
    assert not profile.function("phases.py", "load", "cumulative")["malloc_bytes"]
    assert 24 <= profile.totals["malloc_bytes"] / MB < 28
    assert profile.run["duration_ns"] == sum(
        int(one["end_ns"]) - int(one["start_ns"]) for one in phases
        if one["phase"].startswith("train"))
    # 16 before it all, 40 in load, 8 in each, 16 behind each but the last; and some 3 of the
    # interpreter's in small blocks, with a standard deviation of sqrt(3 * 0.5).
    assert 16 + 40 + 24 + 32 <= profile.totals["peak_bytes"] / MB < 112 + 3 + 5 * 1.5 ** 0.5


def test_one_phase_is_from_and_to(tools, trace, phases):
    load = phases[0]
    cut = ["--from", "%d.%09ds" % divmod(int(load["start_ns"]), 10 ** 9),
           "--to", "%d.%09ds" % divmod(int(load["end_ns"]), 10 ** 9)]
    by_time, by_name = tools.profile(trace, *cut), tools.profile(trace, "--phase", "load")
    assert by_name.totals == by_time.totals
    assert by_name.data["functions"] == by_time.data["functions"]
    both = tools.profile(trace, "--phase", "load", "--phase", "train 1")
    assert both.totals["cpu_ns"] == by_name.totals["cpu_ns"] + int(phases[2]["cpu_ns"])


def test_exports_take_phases(tools, trace, tmp_path):
    out = tmp_path / "out.collapsed"
    done = tools.convert("--phase", "train*", "-o", out, trace)
    assert done.returncode == 0, done.stderr
    rows = out.read_text().splitlines()
    total = sum(int(row.rsplit(" ", 1)[1]) for row in rows)
    expected = tools.profile(trace, "--phase", "train*").totals["cpu_ns"] / 1000
    assert total == pytest.approx(expected, abs=len(rows))


def test_text_and_markdown(tools, trace):
    for words in ([], ["--format", "markdown"]):
        done = tools.analyze("--phases", *words, trace)
        assert done.returncode == 0 and "train 1" in done.stdout and "growth" in done.stdout
    assert "named none" in tools.analyze("--phases", os.path.join(
        ROOT, "tests", "golden", "v1.trace")).stdout


@pytest.mark.parametrize("options, code", [
    (["--phase", "nothing"], 1), (["--phases", "--format", "json"], 2),
    (["--follow", "--phase", "load"], 2), (["--follow", "--phases"], 2)])
def test_bad_uses(tools, trace, options, code):
    done = tools.analyze(*options, trace)
    assert done.returncode == code and done.stderr.count("\n") == 1 and not done.stdout


def test_not_from_a_pipe(tools, trace):
    done = tools.analyze("--phases", "-", stdin=open(trace, "rb"))
    assert done.returncode == 1 and "file" in done.stderr


FORKS = """
import os, sys
sys.path.insert(0, %r)
import scprof
scprof.mark("whole")
if not os.fork():
    os._exit(0)
os.wait()
keep = bytearray(40 << 20)
""" % os.path.join(ROOT, "record", "module")


def test_a_fork_is_no_end_of_a_phase(tools, python, tmp_path):
    done = tools.record(tmp_path / "t.trace", [python.path, "-c", FORKS],
                        options=["--memory=full"])
    assert done.returncode == 0, done.stderr
    done = tools.analyze("--phases", "--format", "csv", tmp_path / "t.trace")
    row, = csv.DictReader(io.StringIO(done.stdout))
    # What was live at the mark and is no more takes away from it.
    assert float(row["growth_bytes"]) >= 39 * MB, row
