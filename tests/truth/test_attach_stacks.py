# SPDX-License-Identifier: Apache-2.0
"""Stacks read from outside, of code that makes it hard: none may be one that cannot be, and hardly
any where threads are not stopped."""

import contextlib
import subprocess

import pytest

from call_names import impossible
from recording import sample

pytestmark = pytest.mark.usefixtures("may_attach")

PROGRAM = sample("call_heavy.py")


@contextlib.contextmanager
def running(command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        rest, _ = process.communicate("", timeout=60)
        assert rest == "ran on\n" and process.returncode == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def stacks(tools, tmp_path_factory):
    """stacks(interpreter, options): [(functions root first, weight)], and the profile."""
    known = {}

    def record(interpreter, *options):
        key = (interpreter.name, options)
        if key not in known:
            trace = tmp_path_factory.mktemp("attach") / "run.trace"
            with running([interpreter.path, PROGRAM]) as process:
                done = subprocess.run(
                    [tools.recorder, "--pid", str(process.pid), "--duration", "2", "--rate", "5000",
                     "-o", str(trace), *options], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            text = tools.convert("-q", "-f", "collapsed", "-o", "-", trace).stdout
            found = []
            for line in text.splitlines():
                stack, _, weight = line.rpartition(" ")
                found.append(([frame.split(" (")[0].split(".")[-1] for frame in stack.split(";")],
                              float(weight)))
            known[key] = found, tools.profile(trace)
        return known[key]

    return record


@pytest.mark.parametrize("how", ["held", "nonblocking"])
def test_no_stack_is_impossible(interpreter, stacks, how):
    found, profile = stacks(interpreter, *(["--nonblocking"] if how == "nonblocking" else []))
    assert profile.quality["samples"] >= 100
    wrong = {impossible(functions): weight for functions, weight in found if impossible(functions)}
    # Without stopping, memory can change and change back between two looks.
    limit = 0.01 if how == "nonblocking" else 0.0
    assert sum(wrong.values()) <= limit * sum(weight for _, weight in found), wrong
    seen = {name for functions, _ in found for name in functions}
    assert len({"c_of_b", "left_of_alternate", "right_of_alternate", "r_of_r"} & seen) >= 2


def test_held_stacks_are_all_read(interpreter, stacks):
    """Only where 3.11 and 3.12 publish half a frame, a stack is cut to what was there before."""
    _, profile = stacks(interpreter)
    samples, failed = profile.quality["samples"], profile.quality.get("failed", 0)
    limit = 0.01 if interpreter.version[:2] in ((3, 11), (3, 12)) else 0.0
    assert failed <= limit * samples + (4 * (limit * samples) ** 0.5), (failed, samples)


def test_the_reject_rate_is_told(interpreter, stacks):
    """What could not be read while it ran is in the trace as a number, not left out."""
    found, profile = stacks(interpreter, "--nonblocking")
    unread = [weight for functions, weight in found if functions == ["<no Python frame>"]]
    assert bool(profile.quality.get("failed", 0)) >= bool(unread)


def test_interpreters_of_one_thread(tools, interpreter, tmp_path):
    """The stack is that of the interpreter that the thread is in."""
    program, trace = sample("subinterpreter.py"), tmp_path / "run.trace"
    with running([interpreter.path, program]) as process:
        done = subprocess.run([tools.recorder, "--pid", str(process.pid), "--duration", "2",
                               "-o", str(trace)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    profile = tools.profile(trace)
    cpu = {name: sum(each["cumulative"].get("cpu_ns", 0) for each in profile.data["functions"]
                     if each["function"] == name) for name in ("inner_work", "outer_work")}
    total = profile.totals["cpu_ns"]
    assert min(cpu.values()) >= 0.1 * total, (cpu, total)
    assert sum(cpu.values()) >= 0.8 * total, (cpu, total)


FRESH = """
import sys, threading
text = '''
def innerN_of_outerN(k):
    t = 0
    for i in range(k): t += i
    return t
def outerN():
    return innerN_of_outerN(50)
'''
def work():
    n = 0
    while not over and n != turns:
        n += 1
        names = {}
        exec(text.replace('N', str(n)), names)
        for i in range(40): names['outer%d' % n]()
over = []
turns = int(sys.argv[1]) if len(sys.argv) > 1 else -1
thread = threading.Thread(target=work)
thread.start()
print("ready", flush=True)
sys.stdin.read()
if turns < 0:
    over.append(1)
thread.join()
print("ran on")
"""


@pytest.mark.parametrize("how", ["held", "nonblocking", "launched"])
def test_functions_that_come_and_go(tools, interpreter, tmp_path, how):
    """Code objects are made and freed all the time: what is where another one was has its name."""
    program, trace = tmp_path / "fresh.py", tmp_path / "run.trace"
    program.write_text(FRESH)
    if how == "launched":
        done = tools.record(trace, [interpreter.path, str(program), "8000"], ["--rate", "3000"])
    else:
        with running([interpreter.path, str(program)]) as process:
            done = subprocess.run([tools.recorder, "--pid", str(process.pid), "--duration", "1",
                                   "--rate", "3000", "-o", str(trace),
                                   *(["--nonblocking"] if how == "nonblocking" else [])],
                                  capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = [(line.rpartition(" ")[0].split(";"), float(line.rpartition(" ")[2])) for line in
             tools.convert("-q", "-f", "collapsed", "-o", "-", trace).stdout.splitlines()]
    wrong = all_weight = inner = 0
    for stack, weight in found:
        names = [frame.split(" (")[0].split(".")[-1] for frame in stack]
        all_weight += weight
        inner += weight * any("_of_outer" in name for name in names)
        wrong += weight * bool(impossible(names))
    # A function that is gone before its name was read is a sample that failed.
    assert inner > 0 or (how == "nonblocking" and tools.profile(trace).quality["failed"] > 0)
    assert wrong <= (0.01 if how == "nonblocking" else 0.0) * all_weight, (wrong, all_weight)
