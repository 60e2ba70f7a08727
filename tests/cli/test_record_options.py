# SPDX-License-Identifier: Apache-2.0
"""The recorder's options, its talk, and its files."""

import glob
import json
import os
import pty
import re
import select
import stat
import subprocess
import time

import pytest

SPIN = "total = 0\nfor i in range(%d): total ^= i\nprint('spun')\n"
ONE_SECOND = "import time\nend = time.monotonic() + %s\nwhile time.monotonic() < end: pass\n"


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "t.trace"


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(tools, option):
    done = subprocess.run([tools.recorder, option], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(r"scprof-record \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--control", "mark", "x", "--help"]])
def test_help(tools, arguments):
    done = subprocess.run([tools.recorder, *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    named = re.findall(r"^  (?:-., |    )--([a-z-]+)", done.stdout, re.M)
    assert len(named) == len(set(named)) > 20
    for option in ("output", "rate", "no-wall", "duration", "max-size", "quiet", "verbose",
                   "no-source", "version", "help", "memory", "memory-rate", "copies", "no-copies",
                   "start-paused", "control", "pid"):
        assert option in named


@pytest.mark.parametrize("arguments", [
    [], ["--"], ["--no-such-option", "true"], ["--rate", "0", "true"], ["--rate", "fast", "true"],
    ["--rate", "-5", "true"], ["--rate", "999999999", "true"], ["--duration", "x", "true"],
    ["--duration", "-1", "true"], ["--max-size", "12Q", "true"], ["-o"], ["--memory"],
    ["--memory=most", "true"], ["--memory-rate", "0", "true"], ["--memory-rate", "1023", "true"],
    ["--memory-rate", "2T", "true"], ["--memory-rate", "x", "true"], ["--copies=1", "true"],
    ["--memory=off", "--memory-rate", "64K", "true"],
    ["--memory=full", "--memory-rate", "64K", "true"],
    ["--memory=sampled", "--pid", "1"], ["--memory-rate=1M", "--pid", "1"],
])
def test_usage_errors(tools, tmp_path, arguments):
    done = subprocess.run([tools.recorder, *arguments], capture_output=True, text=True, timeout=30,
                          cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("scprof-record: ") and done.stderr.count("\n") <= 3, done.stderr
    assert not os.listdir(tmp_path)


def test_default_name(tools, python, tmp_path):
    done = subprocess.run([tools.recorder, "--", python.path, "-c", "pass"], capture_output=True,
                          text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    name, = glob.glob(str(tmp_path / "scprof.*.trace"))
    assert re.fullmatch(r"scprof\.[^/]+\.\d+\.trace", os.path.basename(name))
    assert os.path.basename(name) in done.stderr


def test_default_name_says_the_script(tools, python, tmp_path):
    (tmp_path / "app.py").write_text("pass\n")
    subprocess.run([tools.recorder, "--", python.path, "app.py"], capture_output=True, text=True,
                   cwd=tmp_path, timeout=60)
    name, = glob.glob(str(tmp_path / "scprof.*.trace"))
    assert re.search(r"scprof\.(app|python)", name)


def test_closing_line(tools, python, trace):
    done = tools.record(trace, [python.path, "-c", SPIN % 3000000])
    lines = done.stderr.splitlines()
    assert "scprof-analyze" in lines[-1] and str(trace) in lines[-1], done.stderr
    assert len(lines) == 1, done.stderr
    assert re.search(r"\d+ samples", lines[-1])
    assert "\r" not in done.stderr


def test_quiet(tools, python, trace):
    for option in ("--quiet", "-q"):
        done = tools.record(trace, [python.path, "-c", "pass"], [option])
        assert (done.returncode, done.stderr) == (0, "")


def test_trace_is_private_and_whole(tools, python, trace):
    os.umask(0o022)
    done = tools.record(trace, [python.path, "-c", "pass"])
    assert done.returncode == 0
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600
    assert subprocess.run(["zstd", "-tq", str(trace)]).returncode == 0


def test_overwrites_an_old_trace(tools, python, trace):
    trace.write_bytes(b"x" * 1000000)
    assert tools.record(trace, [python.path, "-c", "pass"]).returncode == 0
    assert trace.stat().st_size < 1000000
    assert tools.profile(trace)


def test_rate(tools, python, trace):
    counts = {}
    for rate in (50, 500):
        assert tools.record(trace, [python.path, "-c", ONE_SECOND % 1.5],
                            ["--rate", str(rate)]).returncode == 0
        profile = tools.profile(trace)
        counts[rate] = profile.totals["samples"]
        assert counts[rate] <= rate * profile.run["duration_ns"] / 1e9 * 1.15 + 5
    assert counts[500] > 3 * counts[50] > 0


def test_duration(tools, python, trace):
    """Recording stops; the program goes on to its own end."""
    done = tools.record(trace, [python.path, "-c", ONE_SECOND % 1.5 + "print('end')\nexit(4)"],
                        ["--duration", "0.5"])
    assert (done.returncode, done.stdout) == (4, "end\n"), done.stderr
    profile = tools.profile(trace)
    assert 0.45e9 <= profile.run["duration_ns"] <= 0.75e9
    assert profile.totals["cpu_ns"] <= 0.75e9


def test_max_size(tools, interpreter, trace):
    limit = 64 * 1024
    program = ("def f(n):\n return f(n - 1) if n else sum(range(50))\n" +
               "import random\nfor i in range(40000): f(random.randrange(60))\n"
               "print('end')\n")
    done = tools.record(trace, [interpreter.path, "-c", program],
                        ["--max-size", "64K", "--rate", "5000"])
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    # What is under way when the limit is reached is still written.
    assert trace.stat().st_size <= 2 * limit
    profile = tools.profile(trace)
    assert profile.totals["samples"] > 0


def test_pipe(tools, python, tmp_path):
    """-o -: the trace on stdout, the program's own output on stderr."""
    trace = tmp_path / "piped.trace"
    with open(trace, "wb") as file:
        done = subprocess.run([tools.recorder, "-o", "-", "--", python.path, "-c", SPIN % 3000000],
                              stdout=file, stderr=subprocess.PIPE, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert "spun\n" in done.stderr
    assert tools.profile(trace).totals["samples"] > 10


def test_pipe_into_analyze(tools, python):
    recorder = subprocess.Popen([tools.recorder, "-q", "-o", "-", "--", python.path, "-c",
                                 SPIN % 3000000], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                stdin=subprocess.DEVNULL)
    done = subprocess.run([tools.analyzer, "--format", "json", "-"], stdin=recorder.stdout,
                          capture_output=True, text=True, timeout=60)
    recorder.stdout.close()
    assert recorder.wait(timeout=60) == 0
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["samples"] > 10


def test_pipe_whose_reader_leaves(tools, python, tmp_path):
    """The program runs to its end although nobody wants its trace any more."""
    mark = tmp_path / "end"
    recorder = subprocess.Popen([tools.recorder, "-o", "-", "--", python.path, "-c",
                                 ONE_SECOND % 1.2 + "open(%r, 'w').close(); exit(6)" % str(mark)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert recorder.stdout.buffer.read(1)
    recorder.stdout.close()
    assert recorder.wait(timeout=60) == 6
    assert mark.exists()
    assert "scprof-record: " in recorder.stderr.read()
    recorder.stderr.close()


def test_no_terminal_for_a_pipe(tools, python):
    """A trace is not written to a terminal."""
    status, output = on_terminal([tools.recorder, "-o", "-", "--", python.path, "-c", "pass"])
    assert status == 2
    assert output.startswith(b"scprof-record: ") and b"standard output" in output


def on_terminal(command, **environment):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment)
        os.execv(command[0], command)
    output = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, "nothing came for a minute: %r" % output
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output


def test_status_line_on_a_terminal(tools, python, trace):
    command = [tools.recorder, "-o", str(trace), "--", python.path, "-c", ONE_SECOND % 2.5]
    status, output = on_terminal(command, TERM="xterm")
    assert status == 0
    assert output.count(b"\r") >= 3, output
    assert b"samples" in output and b"scprof-analyze" in output


def test_no_status_line_when_quiet(tools, python, trace):
    command = [tools.recorder, "-q", "-o", str(trace), "--", python.path, "-c", ONE_SECOND % 1.5]
    assert on_terminal(command, TERM="xterm") == (0, b"")


def test_source_is_kept_or_not(tools, python, trace, tmp_path):
    script = tmp_path / "secret.py"
    script.write_text(SPIN % 3000000 + "# a line that only the source has\n")
    needle = b"a line that only the source has"
    for options, kept in (([], True), (["--no-source"], False)):
        assert tools.record(trace, [python.path, str(script)], options).returncode == 0
        plain = subprocess.run(["zstd", "-dcq", str(trace)], capture_output=True).stdout
        assert (needle in plain) == kept


def test_many_short_runs(tools, interpreter, trace):
    """Starting and stopping is where races are."""
    for _ in range(25):
        done = tools.record(trace, [interpreter.path, "-S", "-c", "print('x')"],
                            ["--quiet", "--rate", "5000"])
        assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")
    assert tools.profile(trace)


@pytest.mark.timing
def test_start_up_is_quick(tools, python, trace):
    """What recording adds to a trivial program: bounded here, measured by make bench."""
    def best(run):
        times = []
        for _ in range(7):
            start = time.monotonic()
            run()
            times.append(time.monotonic() - start)
        return min(times)
    alone = best(lambda: python.run("-c", "pass"))
    recorded = best(lambda: tools.record(trace, [python.path, "-c", "pass"]))
    assert recorded - alone < 0.5
