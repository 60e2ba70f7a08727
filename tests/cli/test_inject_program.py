# SPDX-License-Identifier: Apache-2.0
"""What a program may do while the agent comes and goes, and what is seen of that."""

import contextlib
import ctypes
import glob
import os
import subprocess

import pytest

from recording import mind_signals

pytestmark = pytest.mark.usefixtures("may_attach")

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = 16
COUNT, SIZE = 200, 100000

# Does what it is told, a line at a time.
PROGRAM = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
print("ran on", flush=True)
sys.exit(7)
"""


class Program:
    def __init__(self, python, *options, **environment):
        self.process = subprocess.Popen(
            [python, *options, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals,
            env=dict(os.environ, **environment))
        self.pid = self.process.pid
        self.expect("ready")

    def expect(self, word):
        """Reads up to that word; returns what came before."""
        lines = []
        for line in iter(self.process.stdout.readline, ""):
            if line == word + "\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise AssertionError((lines, self.process.wait(), self.process.stderr.read()))

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.expect("done")

    def end(self):
        rest, errors = self.process.communicate("", timeout=60)
        assert (rest, self.process.returncode) == ("ran on\n", 7), errors
        return errors


@contextlib.contextmanager
def running(python, *options, **environment):
    program = Program(python.path, *options, **environment)
    try:
        yield program
        program.end()
    finally:
        program.process.kill()
        program.process.wait()


@contextlib.contextmanager
def injected(tools, pid, trace, *options):
    recorder = subprocess.Popen(
        [tools.recorder, "--inject", "--pid", str(pid), "-o", str(trace), *options],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
    tools.started.append(recorder)
    assert "recording process %d" % pid in recorder.stderr.readline()
    try:
        yield
        recorder.send_signal(2)
        talk = recorder.communicate(timeout=60)[1]
        assert recorder.returncode == 0 and "does not react" not in talk, talk
    finally:
        recorder.kill()


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "run.trace"


def build(folder, name, text, *options):
    """A library made from C."""
    built = str(folder / (name + ".so"))
    source = folder / (name + ".c")
    source.write_text(text)
    subprocess.run(["gcc", "-O1", "-w", "-D_GNU_SOURCE", "-fno-builtin", "-shared", "-fPIC",
                    *options, "-o", built, str(source)], check=True)
    return built


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    with open(os.path.join(HERE, "heap_contract.c")) as file:
        return build(folder, "heap_contract", file.read(), "-pthread")


LEAK = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void *leak(size_t count, size_t size)
{
	void *last = 0;
	for (size_t i = 0; i < count; i++)
		last = i % 2 ? malloc(size) : strndup("text", size);
	return last;
}
/* The C library makes the room for the line larger as it goes. */
long lines(long count, size_t size)
{
	char *text = malloc(size), *line = 0;
	size_t room = 0;
	FILE *f;
	memset(text, 'x', size);
	text[size - 1] = '\\n';
	for (long i = 0; i < count; i++) {
		f = fmemopen(text, size, "r");
		line = malloc(room = 100);
		if (getline(&line, &room, f) != size)
			return -1;
		free(line);
		fclose(f);
	}
	free(text);
	return count;
}
"""


@pytest.fixture(scope="module", params=["lazy", "now"])
def leaking(request, tmp_path_factory):
    """Bound at the first call, or when it is loaded."""
    return build(tmp_path_factory.mktemp("leak"), "leaking", LEAK, "-Wl,-z," + request.param)


LOAD = "import ctypes; library = ctypes.CDLL(%r); library.leak.restype = None; " \
       "library.leak.argtypes = [ctypes.c_size_t] * 2; library.leak(0, 0)"
CALL = "library.leak(%d, %d)" % (2 * COUNT, SIZE)


@pytest.mark.parametrize("loaded", ["before", "during"])
def test_memory_of_a_library(tools, interpreter, trace, leaking, loaded):
    """In C, for its own use and within the C library, wherever it came from."""
    with running(interpreter) as program:
        if loaded == "before":
            program.tell(LOAD % leaking)
            program.tell(CALL)
        with injected(tools, program.pid, trace, "--memory=full"):
            if loaded == "during":
                program.tell(LOAD % leaking)
            program.tell(CALL)
            program.tell("library.lines.argtypes = [ctypes.c_long, ctypes.c_size_t]")
            assert program.tell("print(library.lines(%d, %d))" % (COUNT, SIZE)) == [str(COUNT)]
        program.tell(CALL)
    line = tools.profile(trace, "--all").line("<string>", 1)
    expected = COUNT * SIZE + COUNT * len("text\0")
    slack = 1 << 20  # ctypes, exec and the lines themselves
    assert expected <= line["growth_bytes"] <= expected + slack
    assert line["malloc_bytes"] >= expected + COUNT * SIZE
    assert line["malloc_bytes"] - line["free_bytes"] == line["growth_bytes"]
    assert line["python_fraction"] < 0.2


def test_what_the_caller_asks_for(tools, python, trace, tmp_path):
    """The loader goes by who asks: that must stay who it was."""
    built = build(tmp_path, "asks", """
        #include <dlfcn.h>
        #include <string.h>
        double cos(double x) { return 4711; }
        double next(void) { return ((double (*)(double))dlsym(RTLD_NEXT, "cos"))(0); }
        int near(void) { return dlopen("libonlyhere.so", RTLD_NOW) != 0; }
        """, "-Wl,-rpath,$ORIGIN/near", "-Wl,--no-as-needed", "-lm")
    (tmp_path / "near").mkdir()
    os.rename(build(tmp_path, "libonlyhere", "int here;"), tmp_path / "near" / "libonlyhere.so")
    ask = "library.next.restype = ctypes.c_double; print(library.next(), library.near())"
    with running(python) as program:
        with injected(tools, program.pid, trace):
            program.tell("import ctypes; library = ctypes.CDLL(%r)" % built)
            assert program.tell(ask) == ["1.0 1"]


def find_library(name):
    found = glob.glob("/usr/lib/*/" + name) + glob.glob("/usr/local/lib/" + name)
    if not found:
        pytest.skip(name + " is not installed")
    return found[0]


LAX = dict.fromkeys(("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"),
                    ("heap_contract: not aligned", "heap_contract: memalign did not align"))


# The C library's own checks do not stand several threads that allocate while another forks; and
# when realloc() fails they release a lock that another thread may have (realloc_check() in glibc
# 2.36 malloc/malloc-check.c, where the size is too large), so nobody asks for too much there.
@pytest.mark.parametrize("name, threads, cycles", [
    (None, THREADS, 50), ("libc_malloc_debug.so.0", 1, 20), ("libjemalloc.so.2", 4, 10),
    ("libtcmalloc_minimal.so.4", 4, 10), ("libmimalloc.so.2", 4, 10)])
@pytest.mark.parametrize("options", [("--memory-rate=4K",), ("--memory=full",)],
                         ids=["sampled", "full"])
def test_threads_allocate_all_the_time(tools, python, trace, contract, name, threads, cycles,
                                       options):
    """Blocks from before, during and after, freed by whomever, with forks in between."""
    environment = {"GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.perturb=165"}
    if name:
        environment["LD_PRELOAD"] = find_library(name)
    with running(python, **environment) as program:
        program.tell("import ctypes; stress = ctypes.CDLL(%r)" % contract)
        if name == "libc_malloc_debug.so.0":
            program.tell("ctypes.c_int.in_dll(stress, 'stress_too_much').value = 0")
        program.tell("stress.stress_start(%d, 1)" % threads)
        for turn in range(cycles):
            with injected(tools, program.pid, trace, *options):
                if turn == cycles - 1:
                    program.tell("kept = bytes(10 << 20)")
        # Some align their smallest blocks to less than was asked for, with and without us.
        result = program.tell("stress.stress_end()")[0]
        assert name in LAX or result.endswith(" 0 faults"), result
        assert set(program.end().splitlines()) <= set(LAX.get(name, ()))
    assert tools.profile(trace, "--all").line("<string>", 1)["malloc_bytes"] >= 10 << 20


ALLOCATING = """
#include <pthread.h>
#include <stdlib.h>
static volatile int over;
static pthread_t threads[16];
static void *allocate(void *unused)
{
	unsigned long rounds = 0;
	for (; !over; rounds++) {
		void *volatile block = malloc(100);
		free(block);
	}
	return (void *)rounds;
}
void begin(void)
{
	for (int i = 0; i < 16; i++) pthread_create(&threads[i], 0, allocate, 0);
}
int end(void)
{
	int worked = 0;
	over = 1;
	for (int i = 0; i < 16; i++) {
		void *rounds;
		pthread_join(threads[i], &rounds);
		worked += rounds != 0;
	}
	return worked;
}
"""
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # of waitpid: threads, too


@contextlib.contextmanager
def stopped(pid):
    """All threads of a program but its main one, wherever they are."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    threads = [int(tid) for tid in os.listdir("/proc/%d/task" % pid) if int(tid) != pid]
    for tid in threads:
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            assert libc.ptrace(request, tid, None, None) == 0, os.strerror(ctypes.get_errno())
        os.waitpid(tid, WALL)
    try:
        yield
    finally:
        for tid in threads:
            if libc.ptrace(PTRACE_DETACH, tid, None, None):
                os.waitpid(tid, WALL)  # the program has died


@pytest.mark.parametrize("option", ["--memory-rate=1K", "--memory=full"])
def test_threads_that_stay_away(tools, python, trace, tmp_path, option):
    """They stand still wherever they are in the agent, for some more recordings, and go on."""
    built = build(tmp_path, "allocating", ALLOCATING, "-pthread")
    with running(python) as program:
        program.tell("import ctypes; library = ctypes.CDLL(%r); library.begin()" % built)
        for _ in range(4):
            with contextlib.ExitStack() as stack:
                with injected(tools, program.pid, trace, option):
                    stack.enter_context(stopped(program.pid))
                for _ in range(2):
                    with injected(tools, program.pid, trace, option):
                        pass
        assert program.tell("print(library.end())") == ["16"]


def test_a_library_that_goes(tools, python, trace, tmp_path):
    """What is taken back in it is not there any more, or another one's."""
    one, other = (build(tmp_path, name, LEAK + "char room[%d];" % size)
                  for name, size in (("one", 1), ("other", 40000)))
    load = "import _ctypes, ctypes; library = ctypes.CDLL(%r); library.leak(1, 10)"
    with running(python) as program:
        for leaves in (True, False):
            program.tell(load % one)
            with injected(tools, program.pid, trace):
                program.tell("_ctypes.dlclose(library._handle)")
                if not leaves:
                    program.tell(load % other)
                    program.tell("_ctypes.dlclose(library._handle)")
                    program.tell(load % one)
            if not leaves:
                program.tell("library.leak(10, 10)")


@pytest.mark.parametrize("environment", [
    {}, {"PYTHONMALLOC": "malloc"}, {"PYTHONMALLOC": "debug"}, {"PYTHONDEVMODE": "1"},
    {"PYTHONTRACEMALLOC": "2"}], ids=lambda setting: "-".join(setting) or "plain")
@pytest.mark.parametrize("memory", ["full", "sampled"])
def test_allocators_of_python(tools, interpreter, trace, environment, memory):
    if interpreter.free_threaded and environment.get("PYTHONMALLOC") == "malloc":
        pytest.skip("free-threaded builds refuse this setting")
    make = "kept = [bytes(60) for _ in range(60000)]"
    options = ["--memory=full"] if memory == "full" else ["--memory-rate=16K"]
    with running(interpreter, **environment) as program:
        program.tell("before = [bytes(60) for _ in range(30000)]")
        with injected(tools, program.pid, trace, *options):
            program.tell("before = None")
            program.tell(make)
        program.tell("kept = None; import gc; gc.collect()")
        program.tell(make)
        with injected(tools, program.pid, trace, *options):
            program.tell(make)
    line = tools.profile(trace, "--all").line("<string>", 1)
    blocks = 60000 * (60 + (49 if interpreter.free_threaded else 33))
    room = 2 << 20  # the list
    if "PYTHONTRACEMALLOC" in environment:
        # It hides the allocators: what is seen are arenas, if any is new, and its own traces.
        blocks, room = 0, 48 << 20
    name = "growth_bytes"
    if memory == "full":
        assert blocks <= line[name] <= blocks + room
    else:
        assert line[name] - 2.5 * (line[name] - line[name + "_low"]) <= blocks + room
        assert line[name] + 2.5 * (line[name + "_high"] - line[name]) >= blocks
    if "PYTHONTRACEMALLOC" not in environment:
        assert line["python_fraction"] > 0.9


def test_numpy_that_comes_later(tools, python, trace):
    if subprocess.run([python.path, "-c", "import numpy"], capture_output=True).returncode != 0:
        pytest.skip("this Python has no numpy")
    with running(python) as program:
        with injected(tools, program.pid, trace, "--memory=full"):
            program.tell("import numpy")
            program.tell("a = numpy.arange(4 << 20)")
    line = tools.profile(trace, "--all").line("<string>", 1)
    assert line["growth_bytes"] >= 32 << 20


def test_children(tools, interpreter, trace):
    """Of a fork, and of a fork that becomes another program."""
    fork = "import os; pid = os.fork(); " \
           "kept = [bytes(100000) for _ in range(100)] if not pid else 0; " \
           "pid or os._exit(3); print(os.waitpid(pid, 0)[1] >> 8)"
    spawn = "import subprocess; print(subprocess.run([sys.executable, '-c', " \
            "'kept = [bytes(100000) for _ in range(100)]']).returncode)"
    with running(interpreter) as program:
        with injected(tools, program.pid, trace, "--memory=full", "--children"):
            assert program.tell(fork) == ["3"]
            assert program.tell(spawn) == ["0"]
        assert program.tell(fork) == ["3"]
    profile = tools.profile(trace, "--all")
    # Where subprocess forks (3.9) and the fork is kept waiting, it has a part of its own.
    assert len({process["pid"] for process in profile.processes}) == 3
    last = {process["pid"]: process for process in profile.processes}
    for pid, process in last.items():
        if pid != program.pid:
            assert process["malloc_bytes"] >= 100 * 100000


def test_a_fork_that_lives_on(tools, python, trace):
    """It is let go of, too."""
    with running(python) as program:
        with injected(tools, program.pid, trace, "--children"):
            program.tell("import os; ends, goes_on = os.pipe(); pid = os.fork(); "
                         "pid or (os.close(goes_on), os.read(ends, 1), os._exit(5))")
        with injected(tools, program.pid, trace, "--children"):
            pass
        assert program.tell("os.close(goes_on); print(os.waitpid(pid, 0)[1] >> 8)") == ["5"]


def test_signals_of_the_program(tools, python, trace):
    """Its action for our signal number is its own, before, during and after."""
    send = "os.kill(os.getpid(), %d)"
    with running(python) as program:
        program.tell("import os, signal; got = []")
        for number in range(34, 65):
            program.tell("signal.signal(%d, lambda n, _: got.append(n))" % number)
        with injected(tools, program.pid, trace):
            for number in range(34, 65):
                program.tell(send % number)
            program.tell("signal.signal(64, lambda n, _: got.append(-n))")
            program.tell(send % 64)
        for number in range(34, 65):
            program.tell(send % number)
        got = [*range(34, 65), -64, *range(34, 64), -64]
        assert program.tell("print(got == %r or got)" % got) == ["True"]


def test_steered_by_the_program(tools, python, trace):
    module = os.path.join(HERE, "..", "..", "record", "module")
    with running(python, PYTHONPATH=module) as program:
        assert program.tell("import scprof; print(scprof.mark('nowhere'))") == ["False"]
        for options in ((), ("--memory=off", "--no-copies")):
            with injected(tools, program.pid, trace, *options):
                assert program.tell("print(scprof.is_recording(), scprof.mark('one'))") == \
                    ["True True"]
                assert program.tell("scprof.stop(); print(scprof.is_recording())") == ["False"]
                program.tell("scprof.start(); scprof.mark('two')")
            assert program.tell("print(scprof.is_recording(), scprof.mark('nowhere'))") == \
                ["False False"]
    text = tools.analyze(trace, "--phases").stdout
    assert "one" in text and "two" in text and "nowhere" not in text


def test_launched_by_a_recorder_that_is_gone(tools, python, trace, tmp_path):
    """Preloaded for a recording that is over: the next one takes over."""
    command = [tools.recorder, "-o", str(tmp_path / "first.trace"), "--", python.path, "-c",
               PROGRAM]
    recorder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
    assert recorder.stdout.readline() == "ready\n"
    with open("/proc/%d/task/%d/children" % (recorder.pid, recorder.pid)) as file:
        pid = int(file.read())

    def tell(line):
        recorder.stdin.write(line + "\n")
        recorder.stdin.flush()
        for text in iter(recorder.stdout.readline, "done\n"):
            assert text

    tell("a = [bytes(1000) for _ in range(1000)]")
    recorder.kill()
    recorder.wait()
    for options in (("--memory=full",), ("--memory=full", "--no-copies"),
                    ("--memory-rate=4K",)):
        with injected(tools, pid, trace, *options):
            tell("b = [bytes(100000) for _ in range(200)]")
        line = tools.profile(trace, "--all").line("<string>", 1)
        assert 0.7 * 20e6 <= line["malloc_bytes"] <= 1.5 * 20e6
    recorder.stdin.close()
    assert recorder.stdout.read() == "ran on\n"
