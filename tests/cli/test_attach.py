# SPDX-License-Identifier: Apache-2.0
"""scprof-record --pid: a program that runs already, looked at from outside."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

import interpreters
from recording import marked_line, mind_signals, sample

pytestmark = pytest.mark.usefixtures("may_attach")

PROGRAM = sample("attach_me.py")


@contextlib.contextmanager
def running(command, **popen):
    """The command once it said that it is ready; at the end it must say that it ran on."""
    popen.setdefault("stderr", subprocess.PIPE)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               preexec_fn=mind_signals, **popen)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        rest, _ = process.communicate("", timeout=60)
        assert rest == "ran on\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def attach(tools, pid, trace, *options, **run):
    run.setdefault("timeout", 60)
    return subprocess.run([tools.recorder, "--pid", str(pid), "-o", str(trace), *options],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, **run)


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "run.trace"


def check_most(part, whole):
    """Of the samples of whole at least half belong to part, as far as their number can tell."""
    samples = whole["samples"]
    assert samples and part["samples"] >= 0.5 * samples - 4 * 0.5 * samples ** 0.5


@pytest.mark.parametrize("how", ["held", "nonblocking"])
def test_what_a_running_program_does(tools, interpreter, trace, how):
    options = ["--duration", "1"] + (["--nonblocking"] if how == "nonblocking" else [])
    with running([interpreter.path, PROGRAM]) as process:
        done = attach(tools, process.pid, trace, *options)
    assert done.returncode == 0, done.stderr
    profile = tools.profile(trace)
    worker, = profile.thread("worker")
    line = profile.marked(PROGRAM, "work")
    assert worker["cpu_ns"] > 0.5 * profile.totals["cpu_ns"]
    check_most(line, worker)
    # Whoever works was called, and by whom.
    assert profile.function(PROGRAM, "worker", "cumulative")["cpu_ns"] >= 0.9 * worker["cpu_ns"]
    duration = profile.run["duration_ns"]
    for name, mark, kind in (("sleeper", "sleep", "wait_sleep_ns"),
                             ("locked", "lock", "wait_lock_ns")):
        thread, = profile.thread(name)
        assert 0.75 * duration <= thread[kind] <= 1.01 * duration, thread
        assert profile.marked(PROGRAM, mark)[kind] >= 0.95 * thread[kind]
    main, = profile.thread("MainThread")
    assert main["wait_io_ns"] > 0.5 * duration
    assert profile.run["python"].startswith(".".join(map(str, interpreter.version)))


def test_header_and_process(tools, python, trace):
    with running([python.path, PROGRAM]) as process:
        done = attach(tools, process.pid, trace, "--duration", "200ms")
        assert done.returncode == 0, done.stderr
        assert "not its memory" in done.stderr
        profile = tools.profile(trace)
        assert profile.run["command"] == [python.path, PROGRAM]
        found, = profile.processes
        assert found["pid"] == process.pid


def test_memory_is_its_footprint(tools, python, trace):
    """Not what it allocates, which would take the agent."""
    with running([python.path, PROGRAM]) as process:
        with open("/proc/%d/statm" % process.pid) as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
        done = attach(tools, process.pid, trace, "--duration", "0.5")
        off = attach(tools, process.pid, trace, "--duration", "0.2", "--memory=off")
    assert "allocated" not in done.stderr
    said = float(re.search(r"RSS up to ([\d.]+) MiB", done.stderr).group(1))
    assert 0.8 * rss < said < 1.5 * rss + 10
    assert "RSS" not in off.stderr


def test_ends_with_the_program(tools, python, trace):
    with running([python.path, PROGRAM]) as process:
        recorder = subprocess.Popen([tools.recorder, "--pid", str(process.pid), "-o", str(trace)],
                                    stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
        assert "recording process" in recorder.stderr.readline()
    _, talk = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, talk
    assert tools.analyze(trace).stderr == ""


def test_ends_with_ctrl_c(tools, python, trace):
    with running([python.path, PROGRAM]) as process:
        recorder = subprocess.Popen([tools.recorder, "--pid", str(process.pid), "-o", str(trace)],
                                    stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
        assert "recording process" in recorder.stderr.readline()
        time.sleep(0.2)
        recorder.send_signal(signal.SIGINT)
        _, talk = recorder.communicate(timeout=30)
        assert recorder.returncode == 0, talk
    done = tools.analyze(trace)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("options, words", [
    (["--pid", "4194303"], "there is no process 4194303"),
    (["--pid", str(os.getpid()), "true"], "leave out 'true'"),
    (["--nonblocking", "true"], "--nonblocking is for --pid"),
    (["--dump"], "--dump needs the process"),
    (["--dump", "--pid", "4194303"], "there is no process 4194303"),
    (["--locals", "true"], "--locals is for --dump"),
    (["--json", "true"], "--json is for --dump"),
])
def test_says_what_is_wrong(tools, trace, options, words):
    done = subprocess.run([tools.recorder, "-o", str(trace), *options], capture_output=True,
                          text=True)
    assert done.returncode in (1, 2)
    assert words in done.stderr


def test_not_a_python(tools, trace):
    with subprocess.Popen(["sleep", "60"]) as process:
        done = attach(tools, process.pid, trace)
        process.kill()
    assert done.returncode == 1
    assert "(sleep) is not a Python program" in done.stderr
    assert not trace.exists()


def dump(tools, pid, *options):
    done = subprocess.run([tools.recorder, "--dump", "--pid", str(pid), *options],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["held", "nonblocking"])
def test_dump(tools, interpreter, how):
    options = ["--json"] + (["--nonblocking"] if how == "nonblocking" else [])
    with running([interpreter.path, PROGRAM]) as process:
        # The main thread has to get the GIL back before it reads on.
        wait_for(lambda: "MainThread: waiting for I/O" in dump(tools, process.pid))
        found = json.loads(dump(tools, process.pid, *options))
        text = dump(tools, process.pid)
    assert found["pid"] == process.pid
    assert found["command"] == [interpreter.path, PROGRAM]
    assert found["python"] == ".".join(map(str, interpreter.version))
    threads = {thread["name"]: thread for thread in found["threads"]}
    assert set(threads) == {"MainThread", "sleeper", "locked", "worker"}
    for name, wait, mark in (("sleeper", "sleep", "sleep"), ("locked", "lock", "lock")):
        thread = threads[name]
        assert not thread["running"] and not thread["gil"] and thread["wait"] == wait
        leaf = thread["frames"][0]
        assert (leaf["path"], leaf["line"]) == (PROGRAM, marked_line(PROGRAM, mark))
        assert leaf["function"] == {"sleep": "sleeper"}.get(mark, "locked")
        assert ("column" in leaf) == (interpreter.version >= (3, 11))
    assert threads["MainThread"]["main"] and threads["MainThread"]["wait"] == "io"
    names = [frame["function"].split(".")[-1] for frame in threads["worker"]["frames"]]
    assert names[-4:] == ["worker", "run", "_bootstrap_inner", "_bootstrap"]
    assert names[:-4] in ([], ["branch"], ["leaf", "branch"])
    assert "thread %d MainThread: waiting for I/O\n" % process.pid in text
    assert "    %s:%d  sleeper\n" % (PROGRAM, marked_line(PROGRAM, "sleep")) in text


def test_dump_names_the_holder_of_the_gil(tools, python):
    """One thread works, so whenever it runs it is the one that holds the GIL."""
    seen = 0
    with running([python.path, PROGRAM]) as process:
        for _ in range(20):
            for thread in json.loads(dump(tools, process.pid, "--json"))["threads"]:
                assert not thread["gil"] or thread["name"] == "worker"
                seen += thread["gil"] and thread["running"]
    assert seen >= 10


def only_child(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        child, = file.read().split()
    return int(child)


def copy_of_python(python, folder):
    """The static or shared interpreter's own program file, movable by itself."""
    source = python.run("-c", "import os, sys; print(os.path.realpath(sys.executable))").stdout
    target = os.path.join(folder, "py")
    shutil.copy(source.strip(), target)
    prefix = python.run("-c", "import sys; print(sys.base_prefix)").stdout.strip()
    return target, {**os.environ, "PYTHONHOME": prefix}


UNLINK_AND_RUN = ("import os, runpy, sys; os.unlink(os.readlink('/proc/self/exe'));"
                  " runpy.run_path(sys.argv[1], None, '__main__')")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces")
def test_in_other_namespaces_with_a_deleted_executable(tools, python, trace, tmp_path):
    """Another pid and mount namespace, an executable that nobody else can see and that is gone."""
    if subprocess.run(["unshare", "-pmf", "true"]).returncode != 0:
        pytest.skip("namespaces cannot be made here")
    folder = tmp_path / "hidden"
    folder.mkdir()
    _, environment = copy_of_python(python, str(tmp_path))
    inside = str(folder / "program.py")
    script = "mount -t tmpfs none %s && cp %s %s && cp %s %s && exec %s/py -c \"%s\" %s" % (
        folder, tmp_path / "py", folder, PROGRAM, inside, folder, UNLINK_AND_RUN, inside)
    with running(["unshare", "-pmf", "--mount-proc", "sh", "-c", script],
                 env=environment) as process:
        pid = only_child(process.pid)
        assert os.readlink("/proc/%d/exe" % pid).endswith("(deleted)")
        done = attach(tools, pid, trace, "--duration", "1")
        found = json.loads(dump(tools, pid, "--json"))
    assert done.returncode == 0, done.stderr
    profile = tools.profile(trace)
    worker, = profile.thread("worker")
    check_most(profile.line(inside, marked_line(PROGRAM, "work")), worker)
    assert "total += i * i" in tools.analyze(trace).stdout
    assert {thread["name"] for thread in found["threads"]} == {
        "MainThread", "sleeper", "locked", "worker"}
    assert min(thread["inner_tid"] for thread in found["threads"]) == 1


def without_tables(path):
    """No symbols, no sections: what sstrip leaves, but for the dynamic symbols in memory."""
    with open(path, "r+b") as file:
        file.seek(0x28)
        file.write(bytes(8))
        file.seek(0x3c)
        file.write(bytes(4))


def test_stripped_of_everything(tools, interpreter, tmp_path):
    """The interpreter, executable or libpython, has neither symbols nor sections, and is gone."""
    program, environment = copy_of_python(interpreter, str(tmp_path))
    library = interpreter.run("-c", "import sysconfig as s; print(s.get_config_var('LIBDIR'),"
                              " s.get_config_var('INSTSONAME'), sep='/')").stdout.strip()
    linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    gone = [program]
    without_tables(program)
    if os.path.basename(library) in linked:
        gone.append(shutil.copy(library, tmp_path))
        without_tables(gone[-1])
        environment["LD_LIBRARY_PATH"] = str(tmp_path)
    with running([program, PROGRAM], env=environment) as process:
        for path in gone:
            os.unlink(path)
        threads = json.loads(dump(tools, process.pid, "--json"))["threads"]
    assert {thread["name"] for thread in threads} == {"MainThread", "sleeper", "locked", "worker"}
    sleeper, = [thread for thread in threads if thread["name"] == "sleeper"]
    assert sleeper["frames"][0]["line"] == marked_line(PROGRAM, "sleep")


LOCALS = r"""
import collections, sys
class Text(str): pass
class Other: pass
def shown(first, *rest, **named):
    none, yes, no, whole, negative = None, True, False, 42, -12345678901234567890
    huge, half, large, nan = 1 << 500, 0.5, 1e100, float("nan")
    short, long, data = "h\u00e9'\n", "abc" * 100, b"\x00abc"
    numbers, nested, one = list(range(100)), [1, [2, [3, [4]]]], (1,)
    table, ordered = {"a": 1, 2: [1]}, collections.OrderedDict(x=1)
    text, other, several = Text("sub"), Other(), {1, 2}
    def closure():
        return captured
    captured = "in a cell"
    gone = 1
    del gone
    print("ready", flush=True)
    sys.stdin.read()
    print("ran on")
shown([1], "extra", key="word")
"""

EXPECTED = {
    "first": "[1]", "rest": "('extra',)", "named": "{'key': 'word'}", "none": "None",
    "yes": "True", "no": "False", "whole": "42", "negative": "-12345678901234567890",
    "huge": "<int of about 510 bits>", "half": "0.5", "large": "1e+100", "nan": "nan",
    "short": "'h\u00e9\\'\\n'", "long": "'" + ("abc" * 100)[:80] + "...'",
    "data": "b'\\x00abc'", "numbers": "[0, 1, 2, 3, 4, ... 100 in all]",
    "nested": "[1, [2, [... 2 in all]]]", "one": "(1,)", "table": "{'a': 1, 2: [1]}",
    "ordered": "collections.OrderedDict({'x': 1})", "text": "Text('sub')", "other": "<Other>",
    "several": "<set>", "closure": "<function>", "captured": "'in a cell'",
}


def test_locals(tools, interpreter):
    with running([interpreter.path, "-c", LOCALS]) as process:
        found = json.loads(dump(tools, process.pid, "--json", "--locals"))
        text = dump(tools, process.pid, "--locals")
    frames = found["threads"][0]["frames"]
    assert [frame["function"] for frame in frames] == ["shown", "<module>"]
    values = {each["name"]: each["value"] for each in frames[0]["locals"]}
    assert values == EXPECTED
    assert "        whole = 42\n" in text


BECOMES = r"""
import os, subprocess, sys
print("ready" if sys.argv[1] == "first" else "again", flush=True)
sys.stdin.readline()
if sys.argv[1] == "first":
    os.execv(sys.executable, [sys.executable, __file__, "second"])
child = subprocess.Popen([sys.executable, __file__, "child"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True) if sys.argv[1] == "second" else None
if child:
    child.stdout.readline()
    print("started", flush=True)
    sys.stdin.readline()
    child.communicate("\n")
"""


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("children", [False, True])
def test_exec_and_children(tools, python, tmp_path, trace, children):
    """The program becomes another one and then has a child: both are found by looking."""
    program = tmp_path / "becomes.py"
    program.write_text(BECOMES)
    process = subprocess.Popen([python.path, program, "first"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, preexec_fn=mind_signals)
    recorder = None
    try:
        assert process.stdout.readline() == "ready\n"
        recorder = subprocess.Popen(
            [tools.recorder, "--pid", str(process.pid), "-o", trace,
             *(["--children"] if children else [])],
            stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
        assert "recording process" in recorder.stderr.readline()
        expected = [["first"], ["second"]] + ([["child"]] if children else [])
        for word in ("again", "started", None):
            process.stdin.write("\n")
            process.stdin.flush()
            if word:
                assert process.stdout.readline() == word + "\n"
                # Long enough for the next look; there is nothing to see from here.
                time.sleep(0.5)
        process.wait(timeout=30)
        _, talk = recorder.communicate(timeout=30)
        assert recorder.returncode == 0, talk
    finally:
        for each in (process, recorder):
            if each:
                each.kill()
                each.wait()
    found = tools.profile(trace).processes
    assert [each["command"][2:] for each in found] == expected
    assert [each["pid"] for each in found[:2]] == [process.pid] * 2


def test_a_zombie_and_a_program_about_to_end(tools, python, trace):
    process = subprocess.Popen([python.path, "-c", ""])
    wait_for(lambda: open("/proc/%d/stat" % process.pid).read().split()[2] == "Z")
    done = attach(tools, process.pid, trace)
    process.wait()
    assert done.returncode == 1
    assert "has just ended" in done.stderr
    # At any moment of a short life there is a trace or a sentence.
    for delay in range(20):
        process = subprocess.Popen([python.path, "-c", "import time; time.sleep(0.05)"])
        time.sleep(delay * 0.004)
        done = attach(tools, process.pid, trace)
        process.wait()
        assert done.returncode in (0, 1), done.stderr
        if done.returncode == 0:
            assert tools.analyze(trace).returncode == 0
        else:
            assert "process %d" % process.pid in done.stderr


SIGNALS = r"""
import os, signal, sys, threading, time
seen = {signal.SIGUSR1: 0, signal.SIGALRM: 0}
def note(signo, frame):
    seen[signo] += 1
for signo in seen:
    signal.signal(signo, note)
over = []
def spin():
    while not over: sum(range(100))
threading.Thread(target=spin).start()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
print("ready", flush=True)
sent = 0
end = time.monotonic() + 2
while time.monotonic() < end:
    os.kill(os.getpid(), signal.SIGUSR1)
    sent += 1
    while seen[signal.SIGUSR1] < sent: pass
signal.setitimer(signal.ITIMER_REAL, 0)
over.append(1)
sys.stdin.read()
assert seen[signal.SIGALRM] > 10, seen
print("ran on")
"""


def test_signals_and_stops_pass_by(tools, python, trace):
    """Signals reach the program while its threads are being held, also those that stop it."""
    with running([python.path, "-c", SIGNALS]) as process:
        recorder = subprocess.Popen([tools.recorder, "--pid", str(process.pid), "--rate", "5000",
                                     "-o", trace], stderr=subprocess.PIPE, text=True)
        assert "recording process" in recorder.stderr.readline()
        for _ in range(10):
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: state(process.pid) == "T")
            time.sleep(0.02)
            assert state(process.pid) == "T"
            process.send_signal(signal.SIGCONT)
            wait_for(lambda: state(process.pid) not in "Tt")
    _, talk = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, talk


def state(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def held_threads(pid):
    stopped = []
    for tid in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(OSError):
            with open("/proc/%d/task/%s/stat" % (pid, tid)) as file:
                if file.read().rsplit(")", 1)[1].split()[0] in "Tt":
                    stopped.append(tid)
    return stopped


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_recorder_leaves_nobody_stopped(tools, python, trace, times):
    delays = random.Random(4)
    with running([python.path, PROGRAM]) as process:
        for _ in range(times):
            recorder = subprocess.Popen([tools.recorder, "-q", "--pid", str(process.pid),
                                         "--rate", "10000", "-o", trace])
            wait_for(trace.exists)
            time.sleep(delays.random() * 0.1)
            recorder.kill()
            recorder.wait()
            wait_for(lambda: not held_threads(process.pid))
            trace.unlink()


MANY = r"""
import sys, threading
def wait():
    hold.wait()
hold = threading.Event()
threads = [threading.Thread(target=wait, name="t%d" % i) for i in range(500)]
for each in threads: each.start()
over = []
def spin():
    while not over: sum(range(100))
threading.Thread(target=spin, name="spin").start()
print("ready", flush=True)
sys.stdin.read()
over.append(1)
hold.set()
for each in threads: each.join()
print("ran on")
"""


def test_five_hundred_threads(tools, python, trace):
    with running([python.path, "-c", MANY]) as process:
        done = attach(tools, process.pid, trace, "--duration", "2")
        done.check_returncode()
        few = subprocess.run(["sh", "-c", "ulimit -Sn 256; exec \"$@\"", "sh", tools.recorder,
                              "--dump", "--json", "--pid", str(process.pid)], capture_output=True,
                             text=True, check=True, timeout=60)
        found = json.loads(few.stdout)
    profile = tools.profile(trace)
    assert {each["name"] for each in profile.threads} == {
        "MainThread", "spin", *("t%d" % i for i in range(500))}
    duration = profile.run["duration_ns"]
    for each in profile.thread("t*"):
        assert 0.75 * duration <= each["wait_lock_ns"] <= 1.01 * duration
    assert {each["name"] for each in found["threads"]} == {
        each["name"] for each in profile.threads}
    assert all(each["frames"] for each in found["threads"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_without_permission(tools, python, trace):
    """As another user: a sentence that says what would help, and no trace."""
    with running([python.path, PROGRAM]) as process:
        for options in (["--dump"], ["-o", "/dev/null"]):
            done = subprocess.run([tools.recorder, "--pid", str(process.pid), *options], user=65534,
                                  group=65534, extra_groups=[], capture_output=True, text=True,
                                  timeout=60)
            assert done.returncode == 1 and done.stdout == ""
            assert "it belongs to another user (0)" in done.stderr
            assert "CAP_SYS_PTRACE" in done.stderr
    program = "import ctypes, sys; ctypes.CDLL(None).prctl(4, 0)\n" \
        "print('ready', flush=True); sys.stdin.read(); print('ran on')"
    with running([python.path, "-c", program], user=65534, group=65534,
                 extra_groups=[]) as process:
        done = subprocess.run([tools.recorder, "--dump", "--pid", str(process.pid)], user=65534,
                              group=65534, extra_groups=[], capture_output=True, text=True)
        assert done.returncode == 1
        assert "ptrace_scope" in done.stderr and "CAP_SYS_PTRACE" in done.stderr


def test_machine_asleep(tools, python, trace):
    """Everybody stands still for a while, as when a laptop sleeps: no time is made up for it."""
    with running([python.path, PROGRAM]) as process:
        recorder = subprocess.Popen([tools.recorder, "--pid", str(process.pid), "-o", trace],
                                    stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
        assert "recording process" in recorder.stderr.readline()
        start = time.monotonic()
        time.sleep(0.5)
        for each in (recorder, process):
            each.send_signal(signal.SIGSTOP)
        time.sleep(2)
        for each in (process, recorder):
            each.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        recorder.send_signal(signal.SIGINT)
        _, talk = recorder.communicate(timeout=30)
        elapsed = time.monotonic() - start
        with open("/proc/%d/stat" % process.pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    assert recorder.returncode == 0, talk
    profile = tools.profile(trace)
    assert profile.totals["cpu_ns"] <= (used + 0.1) * 1e9
    # Ticks that were slept through are not caught up with.
    assert profile.quality["samples"] <= (elapsed - 1.9) * 1000 * 1.3 + 10
    sleeper, = profile.thread("sleeper")
    assert sleeper["wait_sleep_ns"] <= elapsed * 1e9


BECOMING = """
import os, sys, time
time.sleep(0.01)
if not os.path.exists(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-S", __file__, sys.argv[1]])
print("ran on")
"""


def test_a_program_that_becomes_another_all_the_time(tools, python, trace, tmp_path):
    """Whenever one comes there is a trace or a sentence, and the program does not notice."""
    program, over = tmp_path / "becoming.py", tmp_path / "over"
    program.write_text(BECOMING)
    process = subprocess.Popen([python.path, "-S", program, over], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, preexec_fn=mind_signals)
    delays, recorded = random.Random(4), 0
    try:
        for _ in range(50):
            time.sleep(delays.random() * 0.02)
            done = attach(tools, process.pid, trace, "--duration", "20ms", "--no-source")
            assert done.returncode in (0, 1), done.stderr
            if done.returncode == 0:
                recorded += 1
                assert tools.analyze(trace).returncode == 0
            else:
                assert "process %d" % process.pid in done.stderr
            assert process.poll() is None
        over.touch()
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (output, process.returncode) == ("ran on\n", 0)
    assert recorded >= 10


BOTH = """
import sys, threading
def spin():
    while not over: sum(range(100))
over = []
threads = [threading.Thread(target=spin, name="spin") for _ in range(2)]
for each in threads: each.start()
print("ready", flush=True)
sys.stdin.read()
over.append(1)
for each in threads: each.join()
print("ran on")
"""


def test_nobody_holds_a_lock_that_is_not_there(tools, trace):
    """Free-threaded: several threads run at once, none has the GIL and none waits for it."""
    found = [each for each in interpreters.find() if each.free_threaded]
    if not found:
        pytest.skip("no free-threaded interpreter")
    at_once = 0
    with running([found[0].path, "-c", BOTH]) as process:
        done = attach(tools, process.pid, trace, "--duration", "1")
        for _ in range(30):
            threads = json.loads(dump(tools, process.pid, "--json"))["threads"]
            assert not any(thread["gil"] for thread in threads), threads
            at_once += sum(thread["running"] for thread in threads) >= 2
    assert done.returncode == 0, done.stderr
    assert at_once or os.cpu_count() < 2
    profile = tools.profile(trace)
    spinning = profile.thread("spin")
    assert len(spinning) == 2
    for thread in profile.threads:
        assert thread.get("wait_gil_ns", 0) == 0, thread
    assert all(thread["cpu_ns"] > 0 for thread in spinning)
    assert tools.profile(trace, "--gil").totals["cpu_ns"] == 0
