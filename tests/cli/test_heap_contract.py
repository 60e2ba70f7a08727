# SPDX-License-Identifier: Apache-2.0
"""The agent stands in for malloc, mmap and Python's allocators: nobody may notice."""

import glob
import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = 16
# A sample every so many bytes: nearly every block, and what is used by default.
RATES = ("1K", "512K")
SETTINGS = ({}, {"PYTHONMALLOC": "malloc"}, {"PYTHONMALLOC": "debug"}, {"PYTHONDEVMODE": "1"},
            {"PYTHONTRACEMALLOC": "2"})

STRESS = """
import ctypes, sys
stress = ctypes.CDLL(sys.argv[1]).stress
sys.exit(stress(int(sys.argv[2]), ctypes.c_double(float(sys.argv[3])), int(sys.argv[4])) != 0)
"""

# Small objects of every size, resized up and down across the border of what Python serves itself,
# and large ones; what they hold is looked at when they go.
OBJECTS = """
import random
random.seed(1)
alive = {}
for turn in range(12000):
    place = random.randrange(600)
    kind, size, value = alive.pop(place, (None, 0, None))
    if kind == "bytes":
        assert value == bytes([place % 256]) * size
    elif kind == "list":
        assert value == list(range(size)), (place, size)
        if random.random() < .5:
            del value[size // 2:]
            value += range(size // 2, size + 40)
            alive[place] = "list", size + 40 if size + 40 < 3000 else 0, value[:size + 40]
            if size + 40 >= 3000:
                del alive[place]
            continue
    elif kind == "array":
        assert value == bytearray([place % 256]) * size
        size = max(0, size + random.randrange(-700, 700))
        value[:] = bytearray([place % 256]) * size
        alive[place] = "array", size, value
        continue
    elif kind == "dict":
        assert len(value) == size and all(value[n] == str(n) for n in range(size))
    size = random.choice((0, 1, 8, 16, 100, 479, 480, 512, 513, 514, 600, 1500))
    kind = random.choice(("bytes", "list", "array", "dict"))
    alive[place] = (kind, size, bytes([place % 256]) * size if kind == "bytes" else
                    list(range(size)) if kind == "list" else
                    bytearray([place % 256]) * size if kind == "array" else
                    {n: str(n) for n in range(size)})
print("alive:", len(alive) > 300)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    built = str(tmp_path_factory.mktemp("heap") / "heap_contract.so")
    subprocess.run(["gcc", "-O1", "-g", "-w", "-D_GNU_SOURCE", "-fno-builtin", "-shared", "-fPIC",
                    "-pthread", "-o", built, os.path.join(HERE, "heap_contract.c")], check=True)
    return built


@pytest.mark.parametrize("rate", RATES)
def test_same_at_the_edges(library, tools, python, tmp_path, rate):
    command = [python.path, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1]).contract()",
               library]
    alone = subprocess.run(command, capture_output=True, text=True)
    assert alone.returncode == 0 and alone.stdout.count("\n") > 1000
    recorded = tools.record(tmp_path / "t.trace", command, options=("--memory-rate", rate))
    assert recorded.returncode == 0
    assert recorded.stdout == alone.stdout


@pytest.mark.parametrize("rate", RATES)
def test_threads_allocate_at_random(library, tools, python, tmp_path, rate, pytestconfig):
    """Contents, alignment, sizes and errno are right; and when all is freed, so say the books."""
    seconds = 60 if pytestconfig.getoption("--slow") else 1.5
    trace = tmp_path / "t.trace"
    command = [python.path, "-c", STRESS, library, str(THREADS), str(seconds), "1"]
    done = tools.record(trace, command, options=("--memory-rate", rate))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" 0 faults\n")
    profile = tools.profile(trace)
    parent = [each for each in profile.threads if each["pid"] == profile.threads[0]["pid"]]
    stressed = [each for each in parent if each["tid"] != each["pid"]]
    assert len(stressed) == THREADS
    assert sum(each.get("malloc_bytes", 0) for each in stressed) > 1e6
    if not profile.data["quality"]["lost_events"]:
        assert [each.get("growth_bytes", 0) for each in stressed] == [0] * THREADS


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "-".join(setting) or "plain")
def test_objects_are_whole(tools, interpreter, tmp_path, setting):
    if interpreter.free_threaded and setting.get("PYTHONMALLOC") == "malloc":
        pytest.skip("free-threaded builds refuse this setting")
    done = tools.record(tmp_path / "t.trace", [interpreter.path, "-c", OBJECTS],
                        options=("--memory-rate", "2K"), env=dict(os.environ, **setting))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "alive: True\n"


def faults(process):
    return {line for line in process.stderr.splitlines() if line.startswith("heap_contract:")}


@pytest.mark.parametrize("name", ("libjemalloc.so.2", "libtcmalloc_minimal.so.4",
                                  "libmimalloc.so.2"))
def test_other_allocators(library, tools, python, tmp_path, name, pytestconfig):
    if pytestconfig.getoption("--sanitized"):
        pytest.skip("a sanitized recorder refuses to start with a preloaded library")
    found = glob.glob("/usr/lib/*/" + name) + glob.glob("/usr/local/lib/" + name)
    if not found:
        pytest.skip(name + " is not installed")
    environment = dict(os.environ, LD_PRELOAD=found[0])
    trace = tmp_path / "t.trace"
    command = [python.path, "-c", STRESS, library, "4", "0.5", "1"]
    # These align their smallest blocks to less than was asked for, with and without us.
    alone = subprocess.run(command, capture_output=True, text=True, env=environment)
    done = tools.record(trace, command, options=("--memory-rate", "4K"), env=environment)
    assert faults(done) <= faults(alone)
    done = tools.record(trace, [python.path, "-c", OBJECTS], env=environment)
    assert done.stdout == "alive: True\n", done.stderr


def test_blocks_are_counted(tools, interpreter, tmp_path):
    """Python's own count of its blocks does not drift away."""
    count = """
import sys, gc
gc.collect()
before = sys.getallocatedblocks()
kept = [object() for _ in range(200000)]
during = sys.getallocatedblocks()
del kept
gc.collect()
print(abs(during - before - 200000) < 500, abs(sys.getallocatedblocks() - before) < 500)
"""
    done = tools.record(tmp_path / "t.trace", [interpreter.path, "-c", count],
                        options=("--memory-rate", "1K"))
    assert done.stdout == "True True\n", done.stderr
