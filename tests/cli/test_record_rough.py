# SPDX-License-Identifier: Apache-2.0
"""When things go wrong: signals, kills, full disks, unwritable files, crowds of processes."""

import json
import os
import pty
import select
import signal
import subprocess
import tempfile
import time

import pytest

from recording import mind_signals

LOOP = """\
import os, signal, sys, time
print("ready", os.getpid(), flush=True)
def spin():
    total = 0
    for i in range(20000): total ^= i
"""


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "t.trace"


def wait_until(condition, what, seconds=60):
    """Polls for what cannot be waited for in any other way."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(0.01)


def ready(process):
    """Waits for the program's first line; returns its pid."""
    word, pid = process.stdout.readline().split()
    assert word == "ready"
    return int(pid)


def samples_in(tools, trace):
    done = tools.analyze("--format", "json", trace)
    if done.returncode != 0:
        return 0
    return json.loads(done.stdout)["totals"].get("samples", 0)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def check_whole(tools, trace):
    """Finished properly: nothing to complain about."""
    done = tools.analyze(trace)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert subprocess.run(["zstd", "-tq", str(trace)]).returncode == 0


def test_ctrl_c_reaches_the_program(tools, python, trace):
    program = LOOP + """\
try:
    print("armed", flush=True)
    while True: spin()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    for _ in range(20): spin()
    sys.exit(3)
"""
    pid, terminal = pty.fork()
    if pid == 0:
        mind_signals()
        os.execv(tools.recorder, [tools.recorder, "-o", str(trace), "--", python.path, "-c",
                                  program])
    output = b""
    sent = False
    end = time.monotonic() + 60
    while True:
        assert time.monotonic() < end, output
        readable, _, _ = select.select([terminal], [], [], 60)
        assert readable, output
        try:
            output += os.read(terminal, 4096)
        except OSError:
            break
        if not sent and b"armed" in output:
            os.write(terminal, b"\x03")
            sent = True
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3, output
    assert b"interrupted" in output and b"Traceback" not in output
    check_whole(tools, trace)
    assert tools.profile(trace).run["exit_status"] == 3


def test_ctrl_c_that_kills(tools, python, trace):
    program = LOOP + "while True: spin()\n"
    process = tools.start(["-o", str(trace)], [python.path, "-c", program])
    ready(process)
    os.killpg(process.pid, signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "KeyboardInterrupt" in talk
    check_whole(tools, trace)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
                                    signal.SIGQUIT])
def test_signals_are_forwarded(tools, python, trace, number):
    program = LOOP + """\
def handler(number, frame):
    print("got", int(number), flush=True)
    sys.exit(5)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
    signal.signal(number, handler)
print("armed", flush=True)
while True: spin()
"""
    process = tools.start(["-o", str(trace)], [python.path, "-c", program])
    ready(process)
    assert process.stdout.readline() == "armed\n"
    process.send_signal(number)
    output, talk = process.communicate(timeout=60)
    assert output == "got %d\n" % number, talk
    assert process.returncode == 5
    check_whole(tools, trace)


def test_sigterm_that_kills(tools, python, trace):
    process = tools.start(["-o", str(trace)], [python.path, "-c", LOOP + "while True: spin()\n"])
    ready(process)
    process.terminate()
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "signal" in talk.lower()
    check_whole(tools, trace)


def test_stopped_and_continued(tools, python, trace):
    """A program that is stopped for a while goes on, and the trace is whole."""
    program = LOOP + "for _ in range(300): spin()\nprint('end')\n"
    process = tools.start(["-o", str(trace)], [python.path, "-c", program])
    pid = ready(process)
    os.kill(pid, signal.SIGSTOP)

    def state():
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    wait_until(lambda: state() in "Tt", "the program to stop")
    os.kill(pid, signal.SIGCONT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "end\n")
    check_whole(tools, trace)


def test_recorder_killed(tools, python, trace, tmp_path):
    """kill -9 of the recorder: the program lives on, the trace holds all but the last second."""
    go, done = tmp_path / "go", tmp_path / "done"
    program = LOOP + """\
while not os.path.exists(%r): spin()
for _ in range(200): spin()
open(%r, "w").close()
""" % (str(go), str(done))
    process = tools.start(["-o", str(trace)], [python.path, "-c", program])
    pid = ready(process)
    wait_until(lambda: samples_in(tools, trace) > 100, "samples in the growing trace")
    process.kill()
    process.wait(timeout=60)
    go.touch()
    wait_until(done.exists, "the program to finish without its recorder")
    wait_until(lambda: not alive(pid), "the program to exit")
    process.stdout.close()
    process.stderr.close()
    reading = tools.analyze(trace)
    assert reading.returncode == 0
    assert samples_in(tools, trace) > 100


def test_recorder_killed_with_threads(tools, interpreter, trace, tmp_path):
    go, done = tmp_path / "go", tmp_path / "done"
    program = LOOP + """\
import threading
def work():
    while not os.path.exists(%r): spin()
    for _ in range(50): spin()
threads = [threading.Thread(target=work) for _ in range(20)]
for t in threads: t.start()
for t in threads: t.join()
open(%r, "w").close()
""" % (str(go), str(done))
    process = tools.start(["-o", str(trace)], [interpreter.path, "-c", program])
    pid = ready(process)
    wait_until(lambda: samples_in(tools, trace) > 50, "samples in the growing trace")
    process.kill()
    process.wait(timeout=60)
    go.touch()
    wait_until(lambda: done.exists() and not alive(pid), "the program to finish")
    process.stdout.close()
    process.stderr.close()


def test_program_killed(tools, python, trace):
    process = tools.start(["-o", str(trace)], [python.path, "-c", LOOP + "while True: spin()\n"])
    pid = ready(process)
    wait_until(lambda: samples_in(tools, trace) > 100, "samples in the growing trace")
    os.kill(pid, signal.SIGKILL)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert "9" in talk or "SIGKILL" in talk
    check_whole(tools, trace)


def test_child_that_outlives_its_parent(tools, python, trace, tmp_path):
    """The recorder's status is that of the command, also when a daemon of its stays behind."""
    go, done = tmp_path / "go", tmp_path / "done"
    program = LOOP + """\
if os.fork() == 0:
    os.setsid()
    os.close(1); os.close(2)
    while not os.path.exists(%r): time.sleep(0.005)
    open(%r, "w").close()
    os._exit(0)
sys.exit(3)
""" % (str(go), str(done))
    process = tools.start(["-o", str(trace)], [python.path, "-c", program])
    ready(process)
    go.touch()
    process.communicate(timeout=60)
    assert process.returncode == 3
    wait_until(done.exists, "the daemon to end")


def test_concurrent_recordings(tools, python, tmp_path):
    program = LOOP + "for _ in range(200): spin()\n"
    runs = [tools.start(["-o", str(tmp_path / ("%d.trace" % i))], [python.path, "-c", program])
            for i in range(6)]
    for run in runs:
        _, talk = run.communicate(timeout=120)
        assert run.returncode == 0, talk
    for i in range(6):
        profile = tools.profile(tmp_path / ("%d.trace" % i))
        assert profile.totals["samples"] > 0
        assert len(profile.processes) == 1


def test_recording_a_recording(tools, python, trace, tmp_path, pytestconfig):
    """A recorder below a recorder: one of them gets the samples, nobody crashes."""
    if pytestconfig.getoption("--sanitized"):
        pytest.skip("sanitized programs refuse to start with a preloaded library")
    inner = tmp_path / "inner.trace"
    done = tools.record(trace, [tools.recorder, "-q", "-o", str(inner), "--", python.path, "-c",
                                LOOP + "for _ in range(50): spin()\nsys.exit(4)"])
    assert done.returncode == 4, done.stderr
    assert "ready" in done.stdout
    assert samples_in(tools, inner) + samples_in(tools, trace) > 0


def test_many_short_children(tools, python, trace):
    program = """\
import subprocess, sys
running = []
for i in range(200):
    running.append(subprocess.Popen([sys.executable, "-S", "-c", "pass"]))
    if len(running) == 8: assert running.pop(0).wait() == 0
assert not any(each.wait() for each in running)
print("end")
"""
    done = tools.record(trace, [python.path, "-c", program])
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    profile = tools.profile(trace)
    assert len(profile.processes) == 201
    assert len({each["pid"] for each in profile.processes}) >= 200
    check_whole(tools, trace)


def test_many_short_forks(tools, interpreter, trace):
    program = """\
import os
for i in range(200):
    pid = os.fork()
    if pid == 0: os._exit(i % 7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == i % 7
print("end")
"""
    done = tools.record(trace, [interpreter.path, "-W", "ignore", "-c", program])
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    check_whole(tools, trace)


def test_many_short_threads(tools, interpreter, trace):
    program = """\
import threading
def work():
    total = 0
    for i in range(2000): total ^= i
for i in range(100):
    threads = [threading.Thread(target=work) for _ in range(20)]
    for t in threads: t.start()
    for t in threads: t.join()
print("end")
"""
    done = tools.record(trace, [interpreter.path, "-c", program])
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    check_whole(tools, trace)


@pytest.mark.parametrize("where", ["no/such/folder/t.trace", "."])
def test_unwritable_output(tools, python, tmp_path, where):
    """Said before the program is started."""
    done = tools.record(tmp_path / where, [python.path, "-c", "print('ran')"])
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith("scprof-record: ")
    assert str(tmp_path / where) in done.stderr


def test_no_permission(tools, python, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    done = tools.record(folder / "t.trace", [python.path, "-c", "print('ran')"])
    assert (done.returncode, done.stdout) == (1, "")


@pytest.fixture
def tiny_disk():
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tiny disk")
    folder = tempfile.mkdtemp()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
                             capture_output=True, text=True)
    if mounted.returncode:
        os.rmdir(folder)
        pytest.skip("cannot mount: " + mounted.stderr.strip())
    yield folder
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)


FILLER = LOOP + """\
import random
def f(n): return f(n - 1) if n else sum(range(50))
# CPU time: a busy machine takes as many samples, only later.
end = time.process_time() + 4
while time.process_time() < end: f(random.randrange(80))
print("end")
sys.exit(4)
"""


def fill_up(folder):
    with open(os.path.join(folder, "filling"), "wb", buffering=0) as file:
        with pytest.raises(OSError, match="space"):
            while True:
                file.write(bytes(4096))


def test_full_disk(tools, interpreter, tiny_disk):
    """Others fill it when something of the recording is on it already."""
    trace = os.path.join(tiny_disk, "t.trace")
    recorder = tools.start(["-o", trace, "--rate", "8000"], [interpreter.path, "-c", FILLER])
    wait_until(lambda: samples_in(tools, trace) > 0, "samples in the file")
    fill_up(tiny_disk)
    output, errors = recorder.communicate(timeout=60)
    assert recorder.returncode == 4, errors
    assert output.endswith("end\n")
    assert "space" in errors.lower() or "full" in errors.lower(), errors
    reading = tools.analyze("--format", "json", trace)
    assert reading.returncode == 0, reading.stderr
    assert samples_in(tools, trace) > 0


def test_file_size_limit(tools, python, trace):
    """RLIMIT_FSIZE: SIGXFSZ must not kill the recorder, nor its handling change the program."""
    limited = ["bash", "-c", 'ulimit -f 32; exec "$@"', "bash"]
    done = subprocess.run([*limited, tools.recorder, "--rate", "8000", "-o", str(trace), "--",
                           python.path, "-c", FILLER],
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 4, done.stderr
    assert tools.analyze(trace).returncode == 0
