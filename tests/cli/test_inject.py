# SPDX-License-Identifier: Apache-2.0
"""scprof-record --inject --pid: the agent comes into a program that runs, and goes again."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time

import pytest

from recording import mind_signals, sample

pytestmark = pytest.mark.usefixtures("may_attach")

PROGRAM = sample("inject_me.py")
COUNT, VOLUME = 200, 64 << 20
MODES = ["compute", "sleep", "select", "join", "native"]


def said_ready(line):
    """The size of the objects that the sample allocates."""
    ready, size = line.split()
    assert ready == "ready"
    return int(size)


class Program:
    """The sample, told what to do through its standard input."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        preexec_fn=mind_signals)
        self.pid = self.process.pid
        self.block = said_ready(self.process.stdout.readline())

    def leak(self, how=""):
        self.process.stdin.write(how + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "leaked\n"

    def end(self):
        """It ends as it would have without us."""
        rest, errors = self.process.communicate("", timeout=60)
        assert (rest, errors, self.process.returncode) == ("ran on\n", "", 7)


@contextlib.contextmanager
def running(command, *arguments):
    """The sample; command is an interpreter, or all of a command line."""
    if not isinstance(command, list):
        command = [command.path, PROGRAM, *arguments]
    program = Program(command)
    try:
        yield program
        program.end()
    finally:
        program.process.kill()
        program.process.wait()


class Recorder:
    def __init__(self, tools, pid, trace, *options):
        self.process = subprocess.Popen(
            [tools.recorder, "--inject", "--pid", str(pid), "-o", str(trace), *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
        tools.started.append(self.process)
        self.first = self.process.stderr.readline()
        assert "recording process %d" % pid in self.first

    def end(self, with_signal=signal.SIGINT):
        if with_signal:
            self.process.send_signal(with_signal)
        _, talk = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, talk
        assert "does not react" not in talk
        return talk


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "run.trace"


def inject(tools, pid, trace, *options):
    return subprocess.run([tools.recorder, "--inject", "--pid", str(pid), "-o", str(trace),
                           *options], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=60)


def check_interval(metrics, name, truth):
    """The truth is within 4.5 standard deviations, of which the interval has 1.96."""
    measured, low, high = metrics[name], metrics[name + "_low"], metrics[name + "_high"]
    assert measured - (measured - low) * 4.5 / 1.96 <= truth, (low, measured, high)
    assert truth <= measured + (high - measured) * 4.5 / 1.96, (low, measured, high)


def check_full(profile, block, rounds=1):
    assert profile.quality["lost_events"] == 0
    leak, churn = profile.marked(PROGRAM, "leak"), profile.marked(PROGRAM, "churn")
    each = rounds * COUNT * block
    assert (leak["malloc_count"], leak["malloc_bytes"]) == (rounds * COUNT, each)
    assert leak["growth_bytes"] == each
    assert churn["malloc_bytes"] == churn["free_bytes"] == each
    assert churn["growth_bytes"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_every_block_from_then_on(tools, interpreter, trace, mode):
    with running(interpreter, mode) as program:
        program.leak()  # nobody looks
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        program.leak()
        recorder.end()
        program.leak()
    profile = tools.profile(trace)
    check_full(profile, program.block, 2)
    check_interval(profile.marked(PROGRAM, "copy"), "copy_bytes", 2 * VOLUME)
    process, = profile.processes
    assert process["pid"] == program.pid


def test_sampled_and_again(tools, interpreter, trace):
    """Three times in a row, each knows its own part only."""
    with running(interpreter, "join") as program:
        for turn in range(3):
            recorder = Recorder(tools, program.pid, trace)
            for _ in range(turn + 1):
                program.leak()
            recorder.end()
            profile = tools.profile(trace)
            leak = profile.marked(PROGRAM, "leak")
            check_interval(leak, "malloc_bytes", (turn + 1) * COUNT * program.block)
            assert leak["free_bytes"] == 0


def test_time_of_a_running_program(tools, interpreter, trace):
    with running(interpreter, "compute") as program:
        done = inject(tools, program.pid, trace, "--duration", "1")
        assert done.returncode == 0, done.stderr
    profile = tools.profile(trace)
    duration = profile.run["duration_ns"]
    line = profile.marked(PROGRAM, "work")
    samples = profile.totals["samples"]
    assert samples and line["samples"] >= 0.3 * samples - 4 * samples ** 0.5
    # What it had used before does not count.
    assert profile.totals["cpu_ns"] <= 1.05 * duration


def test_after_a_recorder_was_killed(tools, interpreter, trace, tmp_path):
    with running(interpreter, "join") as program:
        recorder = Recorder(tools, program.pid, tmp_path / "killed.trace", "--memory=full")
        program.leak()
        recorder.process.kill()
        recorder.process.wait()
        program.leak()
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        recorder.end()
    check_full(tools.profile(trace), program.block)


@pytest.mark.parametrize("which", ["all", "none"])
def test_children(tools, interpreter, trace, which):
    with running(interpreter, "compute") as program:
        recorder = Recorder(tools, program.pid, trace, "--memory=full", "--children=" + which)
        program.leak("fork")
        program.leak("fork")
        recorder.end()
        program.leak("fork")
    profile = tools.profile(trace)
    leaked = profile.marked(PROGRAM, "leak")["malloc_bytes"]
    if which == "none":
        assert len(profile.processes) == 1 and not leaked
    else:
        assert len(profile.processes) == 3 and leaked == 2 * COUNT * program.block


@pytest.mark.parametrize("before", ["--memory=full", "--memory=off"])
def test_after_the_recorder_that_started_it(tools, interpreter, trace, tmp_path, before):
    """A program that was started by scprof-record is as good as any other without it."""
    recorder = tools.start([before, "-o", str(tmp_path / "killed.trace")],
                           [interpreter.path, PROGRAM, "compute"], stdin=subprocess.PIPE)
    block = said_ready(recorder.stdout.readline())
    with open("/proc/%d/task/%d/children" % (recorder.pid, recorder.pid)) as file:
        pid = int(file.read())
    recorder.kill()
    recorder.wait()
    try:
        for _ in range(2):
            second = Recorder(tools, pid, trace, "--memory=full")
            recorder.stdin.write("\n")
            recorder.stdin.flush()
            assert recorder.stdout.readline() == "leaked\n"
            second.end()
            profile = tools.profile(trace)
            check_full(profile, block)
            assert profile.totals["cpu_ns"] <= 1.05 * profile.run["duration_ns"]
        recorder.stdin.close()
        assert recorder.stdout.read() == "ran on\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_killed_at_any_moment(tools, interpreter, trace, tmp_path):
    """Also while it loads the library: the program never minds."""
    with running(interpreter, "compute") as program:
        for turn in range(10):
            recorder = subprocess.Popen(
                [tools.recorder, "--inject", "--pid", str(program.pid), "--memory=full", "-o",
                 str(tmp_path / "killed.trace")], stderr=subprocess.DEVNULL)
            time.sleep(random.random() * 0.05)
            recorder.kill()
            recorder.wait()
            program.leak()
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        recorder.end()
    check_full(tools.profile(trace), program.block)


def test_by_the_interpreter_or_by_a_thread(tools, interpreter, trace):
    """Python 3.14 and later lets itself be asked, unless it was told not to."""
    ways = {(): "the interpreter is asked" if interpreter.version >= (3, 14) else "a thread is"}
    if interpreter.version >= (3, 14):
        ways[("-X", "disable-remote-debug")] = "a thread is"
    for options, way in ways.items():
        with running([interpreter.path, *options, PROGRAM, "compute"]) as program:
            done = inject(tools, program.pid, trace, "-v", "--duration", "100ms")
        assert done.returncode == 0
        lines = [line for line in done.stderr.splitlines() if "load the library" in line]
        assert len(lines) == 1 and way in lines[0]


def test_ends_with_the_program(tools, interpreter, trace):
    with running(interpreter, "select") as program:
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        program.end()
        recorder.end(with_signal=None)
    check_full(tools.profile(trace), program.block)


def test_a_hundred_threads(tools, interpreter, trace):
    with running(interpreter, "join", "100") as program:
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        recorder.end()
    profile = tools.profile(trace)
    check_full(profile, program.block)
    assert len(profile.thread("waits-*")) == 100


def test_says_what_is_not_known(tools, python, trace):
    with running(python, "sleep") as program:
        with open("/proc/%d/statm" % program.pid) as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
        done = inject(tools, program.pid, trace, "--duration", "200ms")
    assert done.returncode == 0
    said = re.search(r"of the ([\d.]+) MiB that it has in memory", done.stderr)
    assert 0.5 * rss < float(said.group(1)) < 2 * rss
    before = tools.profile(trace).run["before_bytes"] / 2**20
    assert 0.5 * rss < before < 2 * rss
    assert "in memory when the recording began" in tools.analyze(trace).stdout


def test_only_one_at_a_time(tools, python, trace, tmp_path):
    with running(python, "join") as program:
        recorder = Recorder(tools, program.pid, trace)
        done = inject(tools, program.pid, tmp_path / "second.trace", "--duration", "1")
        assert done.returncode == 1
        assert "is being recorded already" in done.stderr
        assert not (tmp_path / "second.trace").exists()
        recorder.end()


def test_a_stopped_program(tools, python, trace, tmp_path):
    with running(python, "join") as program:
        os.kill(program.pid, signal.SIGSTOP)
        done = inject(tools, program.pid, tmp_path / "none.trace")
        os.kill(program.pid, signal.SIGCONT)
        assert done.returncode == 1
        assert "is stopped; let it go on first" in done.stderr


def test_a_program_that_stops_meanwhile(tools, python, trace):
    """The trace is complete all the same, and the next recording takes over."""
    with running(python, "join") as program:
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        os.kill(program.pid, signal.SIGSTOP)
        recorder.process.send_signal(signal.SIGINT)
        _, talk = recorder.process.communicate(timeout=60)
        os.kill(program.pid, signal.SIGCONT)
        assert recorder.process.returncode == 0
        assert "does not react" in talk
        check_full(tools.profile(trace), program.block)
        recorder = Recorder(tools, program.pid, trace, "--memory=full")
        program.leak()
        recorder.end()
    check_full(tools.profile(trace), program.block)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces")
def test_in_a_container(tools, python, trace):
    """Other processes, another network, and not the files that we have."""
    if subprocess.run(["unshare", "-pmnf", "true"]).returncode != 0:
        pytest.skip("namespaces cannot be made here")
    script = "mount -t tmpfs none %s && exec %s %s join" % (tools.build, python.path, PROGRAM)
    with running(["unshare", "-pmnf", "--mount-proc", "sh", "-c", script]) as program:
        with open("/proc/%d/task/%d/children" % (program.pid, program.pid)) as file:
            pid = int(file.read())
        for _ in range(2):
            recorder = Recorder(tools, pid, trace, "--memory=full")
            program.leak()
            recorder.end()
            check_full(tools.profile(trace), program.block)
        with open("/proc/%d/maps" % pid) as file:
            loaded = {line.split()[-2] for line in file if "libscprof-agent" in line}
        assert len(loaded) == 1 and not os.path.exists(loaded.pop())


@pytest.mark.parametrize("options, words", [
    (["--pid", "4194303"], "there is no process 4194303"),
    ([], "--inject is for recording with --pid"),
    (["--pid", "1", "--dump"], "--inject is for recording with --pid"),
    (["--pid", "1", "--nonblocking"], "leave out --nonblocking"),
])
def test_says_what_is_wrong(tools, trace, options, words):
    done = subprocess.run([tools.recorder, "--inject", "-o", str(trace), *options],
                          capture_output=True, text=True)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert not trace.exists()


def test_not_a_python(tools, trace):
    with subprocess.Popen(["sleep", "60"]) as process:
        done = inject(tools, process.pid, trace)
        process.kill()
    assert done.returncode == 1
    assert "(sleep) is not a Python program" in done.stderr
    assert not trace.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_not_allowed(tools, python, trace, tmp_path):
    with running(python, "sleep") as program:
        done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", tools.recorder,
                               "--inject", "--pid", str(program.pid), "-o", "/dev/null"],
                              capture_output=True, text=True)
    assert done.returncode == 1
    assert "not allowed" in done.stderr
