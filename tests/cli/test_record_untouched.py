# SPDX-License-Identifier: Apache-2.0
"""A recorded program sees what it would see alone, and so does whoever started it."""

import json
import os
import signal
import subprocess

import pytest

from recording import mind_signals

HERE = os.path.dirname(os.path.abspath(__file__))
STATE_OF = os.path.join(HERE, "state_of.py")

EXITS = {
    "pass": 0,
    "import sys; sys.exit(3)": 3,
    "import sys; sys.exit('a message')": 1,
    "raise SystemExit(255)": 255,
    "1/0": 1,
    "import os; os._exit(9)": 9,
    "import os; os.abort()": 128 + signal.SIGABRT,
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)": 128 + signal.SIGTERM,
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": 128 + signal.SIGKILL,
    "import os, signal; signal.signal(signal.SIGSEGV, signal.SIG_DFL); "
    "os.kill(os.getpid(), signal.SIGSEGV)": 128 + signal.SIGSEGV,
    "import os, signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL); "
    "os.kill(os.getpid(), signal.SIGPIPE)": 128 + signal.SIGPIPE,
}


@pytest.mark.parametrize("program", EXITS)
def test_exit_status(tools, python, tmp_path, program):
    done = tools.record(tmp_path / "t.trace", [python.path, "-c", program])
    assert done.returncode == EXITS[program], done.stderr
    if EXITS[program] > 128 and EXITS[program] != 255:
        assert "signal" in done.stderr.lower(), "the signal is not mentioned: " + done.stderr
    assert done.stdout == ""


def test_state_is_the_same(tools, interpreter, tmp_path):
    environment = {**os.environ, "A": "1", "EMPTY": "", "LANG": "C.UTF-8"}
    command = [interpreter.path, STATE_OF, "an argument", "--quiet", "-o", ""]
    options = {"env": environment, "cwd": tmp_path, "timeout": 60, "capture_output": True,
               "text": True, "stdin": subprocess.DEVNULL, "preexec_fn": mind_signals}
    alone = subprocess.run(command, **options)
    assert alone.returncode == 0, alone.stderr
    done = tools.record(tmp_path / "t.trace", command, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected, found = json.loads(alone.stdout), json.loads(done.stdout)
    for state in (expected, found):  # pipes are new every time
        state["descriptors"] = {number: target.split(":")[0]
                                for number, target in state["descriptors"].items()}
    assert sorted(found) == sorted(expected)
    different = {name: (expected[name], found[name]) for name in expected
                 if expected[name] != found[name]}
    for name, (old, new) in list(different.items()):
        if isinstance(old, dict) and isinstance(new, dict):
            different[name] = {key: (old.get(key), new.get(key)) for key in {**old, **new}
                               if old.get(key) != new.get(key)}
    assert not different


def test_children_see_the_same_environment(tools, python, tmp_path):
    program = ("import json, os, subprocess, sys; "
               "sys.stdout.flush(); "
               "print(subprocess.run(['env', '-0'], capture_output=True, text=True).stdout)")
    alone = python.run("-c", program, stdin=subprocess.DEVNULL)
    done = tools.record(tmp_path / "t.trace", [python.path, "-c", program])
    assert done.returncode == 0, done.stderr

    def variables(text):
        return {each for each in text.strip("\n").split("\0")
                if each and not each.startswith(("_=", "LD_PRELOAD=", "SCPROF"))}
    assert variables(done.stdout) == variables(alone.stdout)


def test_streams_pass_through(tools, python, tmp_path):
    program = ("import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1]); "
               "sys.stderr.write('on stderr\\n')")
    data = bytes(range(256)) * 8192
    done = tools.record(tmp_path / "t.trace", [python.path, "-c", program], ["--quiet"],
                        input=data, text=False)
    assert done.returncode == 0
    assert done.stdout == data[::-1]
    assert done.stderr == b"on stderr\n"


def test_closed_streams(tools, python, tmp_path):
    """Started without descriptors 0 to 2, the program has none either, and the trace is fine."""
    trace = tmp_path / "t.trace"
    out = tmp_path / "seen"
    program = "import os; open(%r, 'w').write(repr([os.path.exists('/proc/self/fd/%%d' %% n) " \
        "for n in range(3)]))" % str(out)
    shell = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, "sh", tools.recorder, "-o", str(trace), "--",
                           python.path, "-c", program], timeout=60)
    assert done.returncode == 0
    # The file that it writes to takes the first free number.
    assert out.read_text() == "[True, False, False]"
    assert tools.analyze(trace).returncode == 0


def test_ignored_and_blocked_signals_stay(tools, python, tmp_path):
    program = ("import signal; print(signal.getsignal(signal.SIGHUP), "
               "signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, []))")

    def prepare():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    done = subprocess.run([tools.recorder, "-q", "-o", str(tmp_path / "t.trace"), "--", python.path,
                           "-c", program], preexec_fn=prepare, capture_output=True, text=True,
                          timeout=60)
    assert done.stdout == str(signal.SIG_IGN) + " True\n" or "SIG_IGN True" in done.stdout or \
        done.stdout == "1 True\n", done.stdout + done.stderr


def test_large_environment_and_arguments(tools, python, tmp_path):
    environment = {**os.environ, "BIG": "x" * 100000}
    arguments = ["argument %d" % i for i in range(5000)]
    done = tools.record(tmp_path / "t.trace", [
        python.path, "-c", "import os, sys; print(len(os.environ['BIG']), len(sys.argv), "
        "sys.argv[-1])", *arguments], env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "100000 5001 argument 4999\n"


def test_low_descriptor_limit(tools, python, tmp_path):
    done = subprocess.run(["sh", "-c", 'ulimit -n 24; exec "$@"', "sh", tools.recorder, "-q", "-o",
                           str(tmp_path / "t.trace"), "--", python.path, "-c",
                           "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "24\n"


def test_multiprocessing(tools, interpreter, tmp_path):
    """Pools of every start method work as they do alone, and their processes are in the trace."""
    program = tmp_path / "pool.py"
    program.write_text("""\
import multiprocessing, sys
def work(n):
    total = 0
    for i in range(n): total ^= i
    return total
if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, sum(pool.map(work, [300000] * 8)))
""")
    trace = tmp_path / "t.trace"
    done = tools.record(trace, [interpreter.path, str(program)])
    assert done.returncode == 0, done.stderr
    alone = interpreter.run(str(program), stdin=subprocess.DEVNULL)
    assert done.stdout == alone.stdout
    assert len(tools.profile(trace).processes) >= 7


def test_python_reports_nothing(tools, interpreter, tmp_path):
    """No warnings of the interpreter about what scprof does, even in development mode."""
    done = tools.record(tmp_path / "t.trace", [
        interpreter.path, "-X", "dev", "-W", "error", "-c",
        "import threading; t = threading.Thread(target=print, args=('x',)); t.start(); t.join()"],
        ["--quiet"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")


OTHERS = """
import os, subprocess, sys
def show(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    print(command[0], done.returncode, done.stdout, done.stderr, flush=True)
show("env")
show("sh", "-c", "env; exit 3")
show("xargs", "env", stdin=subprocess.DEVNULL)
show("awk", "BEGIN { system(\\"env\\"); while ((\\"env\\" | getline line) > 0) print line }")
show("env", "-i", "env")
def forked():
    return os.fork() or os.execlp("env", "env")
def spawned():
    return os.posix_spawn("/usr/bin/env", ["env"], os.environ)
for start in forked, spawned:  # one after another: what they say is compared in its order
    os.waitpid(start(), 0)
os.system("env")
"""
DESCRIPTORS = """
import os, subprocess
for options in ({}, {"close_fds": False}, {"shell": True}):
    print(subprocess.run("ls -l /proc/self/fd" if options.get("shell") else
                         ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, **options
                         ).stdout)
"""


def test_other_programs_see_nothing_of_it(tools, interpreter, tmp_path):
    """Not in their environment, however they were started, and by whom; and they say the same."""
    program = tmp_path / "others.py"
    program.write_text(OTHERS)
    alone = interpreter.run(str(program), stdin=subprocess.DEVNULL)
    done = tools.record(tmp_path / "t.trace", [interpreter.path, str(program)])
    assert done.returncode == 0, done.stderr

    def lines(text):
        return [line for line in text.split("\n") if not line.startswith("_=")]
    assert "LD_PRELOAD" not in done.stdout and "SCPROF_AGENT" not in done.stdout
    assert lines(done.stdout) == lines(alone.stdout)


def test_other_programs_have_no_descriptors_of_it(tools, interpreter, tmp_path):
    alone = interpreter.run("-c", DESCRIPTORS, stdin=subprocess.DEVNULL)
    done = tools.record(tmp_path / "t.trace", [interpreter.path, "-c", DESCRIPTORS])
    assert done.returncode == 0, done.stderr

    def opened(text):
        return [line.split(" ")[-3:-2] + line.split(" ")[-1].split(":")[:1]
                for line in text.split("\n") if " -> " in line and "/proc/" not in line]
    assert opened(done.stdout) == opened(alone.stdout)
