# SPDX-License-Identifier: Apache-2.0
"""Children of every kind. samples/children.py notes who lived, when and how; the trace has to say
the same: each process once, with its parent, command, Python, times, end, CPU time and memory."""

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import interpreters
import read_processes
from recording import Metrics, sample
from conftest import SIGMAS, SIGMAS_OF_INTERVAL, half_width, spread

MIB = 1 << 20
RATE = 512 << 10  # bytes between samples of memory
PROGRAM = sample("children.py")
# How the children are started, and how many processes of multiprocessing's own that takes.
WAYS = {"fork": 0, "execute": 0, "spawn": 0, "library": 0, "subprocesses": 0, "shells": 0,
        "processes fork": 0, "processes spawn": 1, "processes forkserver": 2,
        "pool fork terminate": 0, "pool spawn close": 1, "pool forkserver terminate": 2,
        "executor fork": 0, "executor spawn": 1, "executor forkserver": 2,
        "daemon": 0, "server": 0}
LIBRARY = """
#include <unistd.h>
int vfork_and_exec(char **words)
{
	int pid = vfork();
	if (pid == 0) {
		char *none[] = {0};
		execve(words[0], words, none);
		_exit(127);
	}
	return pid;
}
"""


class Tree:
    """What the processes noted, and what was recorded of them."""

    def __init__(self, folder, trace, done):
        self.trace, self.done, self.profiles = trace, done, {}
        self.notes = collections.defaultdict(list)
        for name in sorted(os.listdir(folder)):
            if name.endswith(".json"):
                with open(os.path.join(folder, name)) as file:
                    self.notes[name.split("-")[0]].append(json.load(file))
        self.recorded = read_processes.read(trace)
        # A process that becomes another program has several entries, each below the one before.
        self.lives = collections.defaultdict(list)
        for process in self.recorded:
            self.lives[process.pid].append(process)

    def profile(self, tools, pid):
        if pid not in self.profiles:
            self.profiles[pid] = tools.profile(self.trace, "--process", str(pid))
        return self.profiles[pid]

    def is_passing(self, pid):
        """A fork that was seen on its way to another program, which is no Python."""
        last = self.lives[pid][-1]
        return last.origin == "fork" and last.how == "exec"

    def parent(self, pid):
        parent = self.lives[pid][0].parent
        while parent and self.is_passing(parent.pid):
            parent = parent.parent
        return parent and parent.pid

    def helpers(self):
        """Who is there but did not live: what multiprocessing has for itself."""
        lived = {note["pid"] for note in self.notes["lived"]}
        return {pid for pid in self.lives if pid not in lived and not self.is_passing(pid)}


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vfork")
    (folder / "vfork.c").write_text(LIBRARY)
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", folder / "vfork.so",
                    folder / "vfork.c"], check=True)
    return str(folder / "vfork.so")


@pytest.fixture(scope="session")
def tree(tools, tmp_path_factory, library):
    """tree(interpreter, how, ...): a recorded run of samples/children.py."""
    known = {}

    def record(interpreter, *how, status=0):
        key = (interpreter.name, how)
        if key not in known:
            folder = tmp_path_factory.mktemp("children")
            words = [library if word == "LIBRARY" else word for word in how]
            # From 3.12 on forking with threads about is worth a warning.
            done = tools.record(folder / "run.trace", [
                interpreter.path, "-W", "ignore", PROGRAM, str(folder), *words])
            known[key] = Tree(folder, folder / "run.trace", done)
        found = known[key]
        assert found.done.returncode == status, found.done.stderr
        assert found.done.stdout == ""
        return found

    return record


@pytest.fixture
def family(tree, interpreter, way):
    words = way.split()
    if way == "library":
        words.append("LIBRARY")
    return tree(interpreter, *words, status=5 if way == "execute" else 0)


every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_everybody_is_there_once(family, way):
    lived = collections.Counter(note["pid"] for note in family.notes["lived"])
    helpers = family.helpers()
    assert len(helpers) == WAYS[way], family.recorded
    for pid, programs in family.lives.items():
        assert all(program.ends == 1 for program in programs), programs
        # An entry below another one of the same process: it became that program.
        for before, after in zip(programs, programs[1:]):
            assert before.how == "exec" and after.parent is before and after.origin == "exec"
        assert programs[-1].how != "exec" or family.is_passing(pid)
        # Whoever lived twice became another program in between.
        assert lived[pid] <= len(programs)
    roots = [process for process in family.recorded if process.parent is None]
    assert [root.origin for root in roots] == ["launch"]


@every_way
def test_parents(family, way):
    pids = {note["name"]: note["pid"] for note in family.notes["lived"]}
    servers = [pid for pid in family.helpers()
               if "multiprocessing.forkserver" in " ".join(family.lives[pid][-1].command)]
    for name, pid in pids.items():
        above = name.rpartition(".")[0]
        if above and pids[above] != pid:
            expected = servers[0] if "forkserver" in way else pids[above]
            assert family.parent(pid) == expected, (name, family.recorded)
    for pid in family.helpers():
        assert family.parent(pid) == pids["0"]


@every_way
def test_commands_and_versions(family, interpreter, way):
    for note in family.notes["lived"]:
        programs = family.lives[note["pid"]]
        commands = [program.command for program in programs]
        assert note["command"] in commands, (note, programs)
        for program in programs:
            assert program.version == tuple(note["version"]) == interpreter.version
            assert program.free_threaded == interpreter.free_threaded
            assert os.path.realpath(program.executable) == os.path.realpath(
                interpreter.run("-c", "import sys; print(sys.executable)").stdout.strip()) or \
                "python" in program.executable


@every_way
def test_times(family, way):
    for note in family.notes["lived"]:
        programs = family.lives[note["pid"]]
        assert any(program.start_ns <= note["begin_ns"] <= note["end_ns"] <= program.end_ns
                   for program in programs), (note, programs)
    waited = {note["pid"]: note for note in family.notes["waited"]}
    for process in family.recorded:
        assert process.start_ns <= process.end_ns
        if process.parent:
            assert process.parent.start_ns <= process.start_ns
        if process.pid in waited:
            assert process.end_ns <= waited[process.pid]["time_ns"]
            assert process.end_ns <= process.parent.end_ns or process.parent.how == "exec" or \
                "forkserver" in way


@every_way
def test_how_they_ended(family, way):
    for note in family.notes["waited"]:
        assert family.lives[note["pid"]][-1].code == note["status"], (note, family.recorded)
    for pid, programs in family.lives.items():
        assert programs[-1].code is not None or family.is_passing(pid)
    if way == "daemon":
        daemon, = [note for note in family.notes["lived"] if note["name"].endswith("daemon")]
        assert family.lives[daemon["pid"]][-1].code == 3


@every_way
def test_cpu_of_each(family, tools, interpreter, way):
    """Against the clock of the process itself, and what samples say of the hot line."""
    for note in family.notes["lived"]:
        if len([each for each in family.notes["lived"] if each["pid"] == note["pid"]]) > 1:
            continue  # it became another program: one clock for both
        used = sum(program.cpu_ns - program.exit_cpu_ns for program in family.lives[note["pid"]])
        assert used >= note["cpu_ns"], (note, family.lives[note["pid"]])
        profile = family.profile(tools, note["pid"])
        line = profile.marked(PROGRAM, "work")
        samples = profile.totals["samples"]
        share, expected = line["cpu_ns"] / used, note["work_ns"] / used
        chance = SIGMAS / SIGMAS_OF_INTERVAL * half_width(line) / used
        seen, killed = profile.totals["cpu_ns"], family.lives[note["pid"]][-1].how == "signal"
        assert seen <= 1.01 * used + 1e5 and (killed or seen >= 0.99 * used - 1e5), (note, seen)
        # Nobody hears what one that is killed does after its last sample.
        unheard = max(0, used - seen) / used if killed else 0
        allowed = max(spread(expected, samples), chance) + 2e6 / used + unheard
        assert abs(share - expected) <= allowed, \
            "%s: %.1f %% instead of %.1f %% (+- %.1f) in %d samples" % (
                note["name"], share * 100, expected * 100, allowed * 100, samples)


@every_way
def test_memory_of_each(family, tools, way):
    for note in family.notes["lived"]:
        profile = family.profile(tools, note["pid"])
        line = profile.marked(PROGRAM, "block")
        lives = [each for each in family.notes["lived"] if each["pid"] == note["pid"]]
        size = sum(8 + each["name"].count(".") for each in lives) * MIB
        # One block is 16 or more times the distance between samples: it is always hit. So are, by
        # chance and each worth one distance, small ones of the same line, but hardly ever three.
        assert -0.001 * size <= line["malloc_bytes"] - size <= 2.01 * RATE, (note, line)


def test_every_version_in_one_tree(tools, tree):
    found = interpreters.find()
    recorded = tree(found[0], "versions", *[one.path for one in found[1:]])
    assert len(recorded.recorded) == len(found)
    for number, interpreter in enumerate(found):
        process, = [each for each in recorded.recorded if each.pid == next(
            note["pid"] for note in recorded.notes["lived"]
            if note["name"] == "0" + ".0" * number)]
        assert process.version == interpreter.version
        assert process.free_threaded == interpreter.free_threaded
        assert (process.parent and process.parent.version) == (
            found[number - 1].version if number else None)
    cpu = sum(process.cpu_ns for process in recorded.recorded)
    profile = tools.profile(recorded.trace)
    worked = sum(note["work_ns"] for note in recorded.notes["lived"])
    share = profile.marked(PROGRAM, "work")["cpu_ns"] / cpu
    assert abs(share - worked / cpu) <= spread(worked / cpu, profile.totals["samples"]) + 0.02


@pytest.mark.parametrize("kind", ["programs", "forks", "tasks"])
def test_two_hundred(tools, tree, interpreter, kind):
    """Nobody is lost: each is there once, with its status and all of its CPU time."""
    family = tree(interpreter, "many", kind)
    waited = {note["pid"]: note["status"] for note in family.notes["waited"]}
    assert len(family.notes["waited"]) == 200
    if len(waited) < 200:
        pytest.skip("numbers of processes were used again")
    assert len(family.lives) == 201
    assert {pid: programs[-1].code for pid, programs in family.lives.items()
            if pid in waited} == waited
    root = family.recorded[0]
    for pid in waited:
        first, last = family.lives[pid][0], family.lives[pid][-1]
        assert first.parent is root and last.command
        assert root.start_ns <= first.start_ns <= last.end_ns <= root.end_ns
    used = sum(process.cpu_ns for process in family.recorded[1:])
    children, = [note["cpu_ns"] for note in family.notes["children"]]
    # A clock is rounded to microseconds twice for each.
    assert abs(used - children) <= 200 * 2000, (used, children)
    profile = tools.profile(family.trace)
    sampled = sum(Metrics(process)["cpu_ns"] for process in profile.processes[1:])
    lived = used - sum(process.exit_cpu_ns for process in family.recorded[1:])
    # A process looks at its clock a few microseconds after its thread did for the last time.
    assert abs(sampled - lived) <= 0.01 * lived + 200 * 20000, (sampled, lived)
    assert profile.quality["lost_events"] == 0


def test_children_of_one_that_runs_already(tools, interpreter, tmp_path, may_attach):
    """scprof-record --pid --children: found by looking, within some 50 milliseconds."""
    trace = tmp_path / "run.trace"
    program = subprocess.Popen(
        [interpreter.path, "-W", "ignore", PROGRAM, str(tmp_path), "attached"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    recorder = None
    try:
        assert program.stdout.readline() == "ready\n"
        recorder = subprocess.Popen(
            [tools.recorder, "--pid", str(program.pid), "--children", "-o", str(trace)],
            stderr=subprocess.PIPE, text=True)
        assert "recording process" in recorder.stderr.readline()
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "started\n"
        end = time.monotonic() + 60
        # It, its five children, and what multiprocessing has for itself; each with samples.
        while len([each for each in read_processes.read(trace) if not each.ends]) < 8:
            assert time.monotonic() < end, read_processes.read(trace)
            time.sleep(0.05)
        time.sleep(1)  # and now each with some of its waiting
        (tmp_path / "over").touch()
        assert program.wait(timeout=60) == 0
        _, talk = recorder.communicate(timeout=60)
        assert recorder.returncode == 0, talk
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        for each in (program, recorder):
            if each:
                each.kill()
                each.wait()
    family = Tree(tmp_path, trace, None)
    pids = {note["name"]: note["pid"] for note in family.notes["lived"]}
    assert len(pids) == 6 and len(family.helpers()) == 2 and len(family.lives) == 8
    knows = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]) >= (6, 15)
    status = {note["pid"]: note["status"] for note in family.notes["waited"]}
    for name, pid in pids.items():
        # It may have been found before it became another program.
        process = family.lives[pid][-1]
        assert all(passing.how == "exec" for passing in family.lives[pid][:-1])
        note, = [note for note in family.notes["lived"] if note["pid"] == pid]
        assert process.command == note["command"] and process.version == interpreter.version
        assert process.start_ns <= process.end_ns
        if name != "0":
            assert family.parent(pid) in ({pids["0"]} if name != "0.5" else family.helpers())
            assert process.code == status[pid] or (process.code is None and not knows)
        profile = family.profile(tools, pid)
        assert profile.function(PROGRAM, "wait_for_the_end", "cumulative")["samples"] > 0, name


SUITE = """
import pytest
@pytest.mark.parametrize("number", range(8))
def test_work(number):
    total = 0
    for i in range(1000000): total ^= i
"""


def test_pytest_xdist(tools, tmp_path):
    """Two workers, which pytest's own process starts over pipes; the tests run in them alone."""
    path = next((path for path in [sys.executable, *(one.path for one in interpreters.find())]
                 if subprocess.run([path, "-c", "import pytest, xdist"],
                                   capture_output=True).returncode == 0), None)
    if not path:
        pytest.skip("no interpreter has pytest and pytest-xdist")
    suite, trace = tmp_path / "test_suite.py", tmp_path / "run.trace"
    suite.write_text(SUITE)
    done = tools.record(trace, [path, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider",
                                str(suite)], cwd=tmp_path)
    assert done.returncode == 0 and "8 passed" in done.stdout, done.stdout + done.stderr
    root, *workers = [each for each in read_processes.read(trace) if each.how != "exec"]
    assert len(workers) == 2
    for each in workers:
        above = each.parent
        while above.pid == each.pid:
            above = above.parent
        assert above is root
    assert [each.code for each in (root, *workers)] == [0, 0, 0]
    worked = [tools.profile(trace, "--process", str(each.pid)).function(
        str(suite), "test_work", "cumulative")["samples"] for each in (root, *workers)]
    assert worked[0] == 0 and all(worked[1:]), worked
