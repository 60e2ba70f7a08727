# SPDX-License-Identifier: Apache-2.0
"""A signal handler of the program's may interrupt the agent and jump away, for good. The thread is
recorded all the same, and so are the others."""

import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
MB = 1 << 20
TRIES = 4
PROGRAM = """
import ctypes, sys, time
library = ctypes.CDLL(sys.argv[1])
print(library.be_rude(20))
time.sleep(2.5)     # the reader waits for what will never come, a second each time
kept = []
for _ in range(50):
    kept.append(bytes(1 << 20))
total = 0
for i in range(3000000):
    total += i
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    built = str(tmp_path_factory.mktemp("left") / "left.so")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", built,
                    os.path.join(HERE, "left_by_longjmp.c")], check=True)
    return built


def test_who_leaves_the_agent_is_recorded_all_the_same(tools, python, library, tmp_path):
    program = tmp_path / "rude.py"
    program.write_text(PROGRAM)
    trace = tmp_path / "run.trace"
    # One jump in thirty falls between the two instructions that take space in the ring: what others
    # write behind that is read, but later, and three of those take longer than the program waits.
    for _ in range(TRIES):
        done = tools.record(trace, [python.path, str(program), library],
                            options=("--memory-rate", "4096"))
        assert done.returncode == 0, done.stderr
        if int(done.stdout) < 20:
            pytest.skip("the agent could not be caught at work")
        totals = tools.profile(trace).totals
        if totals["growth_bytes"] >= 50 * (MB + 33) and totals["cpu_ns"] > 0.05e9:
            return
    pytest.fail("nothing is recorded any more: %s" % totals)
