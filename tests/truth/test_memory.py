# SPDX-License-Identifier: Apache-2.0
"""Memory: who allocates, holds, leaks and copies, against samples whose answer is known.

Every sample is recorded in both modes. In a full recording figures are exact but for what else the
line does (an object's header, a list that grows): a small share. In a sampled one they may be as
far off as their own 95 % interval says, widened to what chance does once in 100,000 runs.
"""

import csv
import io
import json
import math

import pytest

from recording import marked_line, sample

MIB = 1 << 20
SIGMAS = 4.5
SIGMAS_OF_INTERVAL = 1.96
MODES = ["sampled", "full"]


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def profiled(interpreter, recorded, mode):
    """profiled("memory_leak.py", ...): the profile of that sample in this mode."""

    def profile(name, *arguments, view=(), **options):
        recording = recorded(interpreter, name, *arguments, options=("--memory=" + mode,),
                             **options)
        return recording.profile(*view)

    return profile


def agrees(metrics, name, truth, share=0.01, bytes_more=0, what=""):
    """The figure is the truth, give or take its own interval and a share for what else is there."""
    measured = metrics[name]
    low, high = metrics.get(name + "_low", measured), metrics.get(name + "_high", measured)
    below = (measured - low) * SIGMAS / SIGMAS_OF_INTERVAL
    above = (high - measured) * SIGMAS / SIGMAS_OF_INTERVAL
    # A figure of 0 has no spread of its own: the usual 20 samples that nobody got.
    off = share * truth + bytes_more
    assert measured - below - off <= truth <= measured + above + off, \
        "%s %s: %.0f [%.0f, %.0f], in truth %.0f" % (what, name, measured, low, high, truth)


def test_leak(profiled):
    profile = profiled("memory_leak.py")
    leak = profile.marked(sample("memory_leak.py"), "leak")
    churn = profile.marked(sample("memory_leak.py"), "churn")
    agrees(leak, "malloc_bytes", 300 * MIB)
    agrees(leak, "growth_bytes", 300 * MIB)
    agrees(leak, "peak_bytes", 300 * MIB)
    agrees(churn, "malloc_bytes", 300 * MIB)
    assert churn["growth_bytes"] == 0
    assert leak["python_fraction"] > 0.99


def test_a_leak_is_found_with_its_rate(interpreter, profiled):
    profile = profiled("memory_leak.py", "150", str(2 * MIB), "1.5")
    growing = [leak for leak in profile.data["leaks"] if leak["likelihood"] > 0.9]
    assert [leak["line"] for leak in growing] == [
        marked_line(sample("memory_leak.py"), "leak")], profile.data["leaks"]
    leak = growing[0]
    agrees(leak, "live_bytes", 300 * MIB)
    # How evenly it grows depends on the machine.
    rate = 300 * MIB / (profile.run["duration_ns"] / 1e9)
    assert rate / 5 < leak["growth_bytes_per_s"] < rate * 5
    assert leak["stack"][-1]["line"] == leak["line"] or leak["stack"][0]["line"] == leak["line"]


def test_a_cache_is_no_growing_leak(profiled):
    profile = profiled("memory_cache.py")
    path = sample("memory_cache.py")
    agrees(profile.marked(path, "cache"), "growth_bytes", 64 * MIB)
    for leak in profile.data["leaks"]:
        assert leak["line"] != marked_line(path, "work")
        assert leak["line"] != marked_line(path, "cache") or leak["likelihood"] < 0.5


def test_small_objects(interpreter, recorded, profiled):
    profile = profiled("memory_objects.py")
    path = sample("memory_objects.py")
    size = int(interpreter.run(path).stdout)
    tuples = profile.marked(path, "tuple")
    agrees(tuples, "growth_bytes", size, share=0.03)
    agrees(tuples, "malloc_bytes", size, share=0.03)
    assert tuples["python_fraction"] > 0.99
    # The lists themselves may come from a free list; what they hold never does.
    assert profile.marked(path, "drop")["growth_bytes"] <= 64 * 1024 + \
        profile.marked(path, "drop")["growth_bytes_high"]


def test_c_allocator_calls(profiled):
    profile = profiled("memory_calls.py")
    path = sample("memory_calls.py")
    asked = {"grown": 5050, "gone": 30, "kept": 25, "failed": 0, "overflow": 0, "huge": 0,
             "calloc": 11, "reallocarray": 12, "memalign": 13, "aligned_alloc": 14, "valloc": 15,
             "pvalloc": 16, "posix_memalign": 17, "bad_alignment": 0, "freed": 190}
    stays = {"grown": 100, "gone": 0, "freed": 0}
    for name, value in asked.items():
        mark = name if name not in MARKS else MARKS[name]
        line = profile.line(path, commented_line(path, mark))
        agrees(line, "malloc_bytes", value * MIB, bytes_more=64 * 1024, what="@" + name)
        agrees(line, "growth_bytes", stays.get(name, value) * MIB, bytes_more=64 * 1024,
               what="@" + name)


MARKS = {}


def commented_line(path, mark):
    """Number of the line with "# @mark" or "# @mark: ..."."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            comment = line.rsplit("# @", 1)[-1].rstrip() if "# @" in line else ""
            if comment == mark or comment.startswith(mark + ":"):
                return number
    raise AssertionError("%s: no mark @%s" % (path, mark))


def test_mappings(profiled):
    profile = profiled("memory_maps.py")
    path = sample("memory_maps.py")
    stays = {"plain": 10, "gone": 0, "partial": 7, "under": 8, "over": 5, "reserved": 0,
             "committed": 6, "before": 0, "remapped": 9, "unmoved": 14, "failed": 0, "file": 0}
    for mark, value in stays.items():
        agrees(profile.line(path, commented_line(path, mark)), "growth_bytes", value * MIB,
               bytes_more=64 * 1024, what="@" + mark)
    assert profile.totals["peak_bytes"] < 200 * MIB


@pytest.mark.parametrize("kind", ["first", "short"])
def test_peaks(profiled, kind):
    profile = profiled("memory_peaks.py", kind)
    path = sample("memory_peaks.py")
    first = profile.marked(path, "first")
    second = profile.marked(path, "second")
    if kind == "first":
        agrees(first, "peak_bytes", 80 * MIB, bytes_more=64 * 1024)
        assert second["peak_bytes"] < 64 * 1024
        agrees(second, "own_peak_bytes", 79 * MIB, bytes_more=64 * 1024)
    else:
        agrees(second, "peak_bytes", 88 * MIB, bytes_more=64 * 1024)
        assert first["peak_bytes"] < 64 * 1024
        agrees(first, "own_peak_bytes", 80 * MIB, bytes_more=64 * 1024)
    agrees(profile.marked(path, "base"), "peak_bytes", 20 * MIB, bytes_more=64 * 1024)


def test_memory_crosses_threads(profiled):
    profile = profiled("memory_threads.py")
    path = sample("memory_threads.py")
    made = profile.marked(path, "made")
    agrees(made, "malloc_bytes", 40 * MIB)
    assert made["growth_bytes"] < 64 * 1024
    agrees(profile.marked(path, "stays"), "growth_bytes", 10 * MIB)
    # By what they did: a busy machine may not get round to asking for their names.
    volumes = [thread["malloc_bytes"] for thread in profile.threads[1:]]
    assert sum(volume > 40 * MIB for volume in volumes) == 2, profile.threads
    without = [line for each in profile.data["files"] for line in each["lines"]
               if line["function"] == "<no Python frame>"]
    agrees(without[0], "growth_bytes", 100 * MIB, what="C thread", bytes_more=MIB)


def test_operators(profiled):
    profile = profiled("memory_operators.py")
    path = sample("memory_operators.py")
    for mark, size in (("list", 8000000), ("str", 10000000), ("times", 20000000),
                       ("slice", 10000000)):
        agrees(profile.marked(path, mark), "malloc_bytes", 10 * size, what="@" + mark)
        agrees(profile.marked(path, mark), "growth_bytes", size, what="@" + mark)


def test_numpy(profiled):
    profile = profiled("memory_numpy.py", module="numpy")
    path = sample("memory_numpy.py")
    # NumPy may reuse the temporary of the second line for its result.
    agrees(profile.marked(path, "add"), "malloc_bytes", 160000000)
    two = profile.marked(path, "two")["malloc_bytes"]
    assert 155000000 < two < 325000000


def test_copies(profiled):
    profile = profiled("memory_copies.py")
    path = sample("memory_copies.py")
    for mark, size in (("whole", 2000e6), ("slice", 500e6)):
        copied = profile.marked(path, mark)["copy_bytes"]
        assert abs(copied - size) <= 0.03 * size, "@%s: %.0f" % (mark, copied)
    # 200 MB in pieces of 1 KB, one sample in 2 MiB: some 95 samples.
    agrees(profile.marked(path, "small"), "copy_bytes", 200e6, share=0.03)


@pytest.mark.parametrize("percent", [0, 30, 100])
def test_touched_memory(interpreter, recorded, tools, percent):
    recording = recorded(interpreter, "memory_touched.py", str(percent))
    before, after = map(int, recording.output.split())
    done = tools.analyze("--timeline", "--format", "csv", recording.trace)
    rss = [int(row["rss_bytes"]) for row in csv.DictReader(io.StringIO(done.stdout))]
    one_percent = 0.01 * 512 * MIB
    assert abs(max(rss) - after) <= one_percent
    assert min(abs(each - before) for each in rss) <= one_percent
    assert abs(max(rss) - before - percent / 100 * 512 * MIB) <= one_percent


def test_fork(profiled):
    profile = profiled("memory_fork.py")
    path = sample("memory_fork.py")
    agrees(profile.marked(path, "before"), "growth_bytes", 30 * MIB)
    agrees(profile.marked(path, "child"), "growth_bytes", 20 * MIB)
    agrees(profile.marked(path, "parent"), "growth_bytes", 10 * MIB)
    assert len(profile.processes) == 2


@pytest.mark.parametrize("allocator", ["malloc", "debug", "pymalloc_debug"])
def test_other_python_allocators(interpreter, recorded, allocator, monkeypatch):
    if interpreter.free_threaded:
        pytest.skip("free-threaded builds have one allocator")
    monkeypatch.setenv("PYTHONMALLOC", allocator)
    path = sample("memory_objects.py")
    recording = recorded(interpreter, "memory_objects.py", "300000", before=("-E",) * 0,
                         options=("--memory=sampled",))
    size = int(recording.output)
    line = recording.profile().marked(path, "tuple")
    agrees(line, "growth_bytes", size, share=0.03)
    assert line["python_fraction"] > 0.99


LINES_RATE = 4096


def count_held(python, tools, folder, runs):
    """How many figures of so many runs are within their 95 % intervals, and of how many."""
    trace = folder / "run.trace"
    held = total = 0
    for _ in range(runs):
        done = tools.record(trace, [python.path, sample("memory_lines.py"), str(LINES_RATE)],
                            options=("--memory-rate", str(LINES_RATE), "--no-copies"))
        profile = tools.profile(trace)
        for number, truth in json.loads(done.stdout).items():
            name = "growth_bytes" if truth["keeps"] else "malloc_bytes"
            line = profile.line("blocks.py", int(number))
            low, high = line.get(name + "_low", 0), line.get(name + "_high", 3 * LINES_RATE)
            held += low <= truth["bytes"] <= high
            total += 1
    return held, total


@pytest.mark.parametrize("runs", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_intervals_hold_the_truth(python, tools, tmp_path, runs):
    """95 % intervals hold the truth 93 to 97 times in 100, give or take what chance does to a
    count of so many figures."""
    held, total = count_held(python, tools, tmp_path, runs)
    assert total == 48 * runs
    chance = SIGMAS * math.sqrt(0.05 * 0.95 / total)
    print("%d of %d figures within their intervals" % (held, total))
    assert abs(held / total - 0.95) <= 0.02 + chance, "%d of %d" % (held, total)


def test_lines_of_known_volume(interpreter, recorded):
    """What test_intervals_hold_the_truth takes for the truth is what a full recording finds."""
    recording = recorded(interpreter, "memory_lines.py", str(LINES_RATE),
                         options=("--memory=full", "--no-copies"))
    profile = recording.profile()
    for number, truth in json.loads(recording.output).items():
        line = profile.line("blocks.py", int(number))
        name = "growth_bytes" if truth["keeps"] else "malloc_bytes"
        # What goes round the blocks differs between versions: map, repeat, a deque.
        assert abs(line[name] - truth["bytes"]) <= LINES_RATE / 4, "line %s" % number
