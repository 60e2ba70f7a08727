# SPDX-License-Identifier: Apache-2.0
"""Which processes of a tree are recorded, and that the others are left alone."""

import ctypes
import json
import os
import subprocess

import pytest

# Says what it is, whether anything of the recorder is to be seen, and starts what it is told to.
NODE = """
import json, os, subprocess, sys
name, *children = sys.argv[1:]
with open('/proc/self/maps') as maps:
    mapped = 'libscprof-agent' in maps.read()
said = {'name': name, 'mapped': mapped,
        'environment': [each for each in os.environ
                        if each == 'SCPROF_AGENT' or 'libscprof' in os.environ[each]]}
with open(os.environ['NODES'], 'a') as file:
    file.write(json.dumps(said) + '\\n')
for i in range(100000): pass
for child in children:
    how, rest = child.split(':', 1)
    words = [sys.executable, sys.argv[0], *rest.split('/')]
    if how == 'run':
        subprocess.run(words, check=True)
    elif how == 'sh':
        subprocess.run(['sh', '-c', ' '.join(words) + '; true'], check=True)
    elif how == 'clear':
        subprocess.run(words, env={'NODES': os.environ['NODES']}, check=True)
    elif how == 'system':
        assert os.system(' '.join(words)) == 0
    elif how == 'fork':
        pid = os.fork()
        if pid == 0:
            os.execv(sys.executable, words)
        assert os.waitpid(pid, 0)[1] == 0
    elif how == 'exec':
        os.execv(sys.executable, words)
"""


class Tree:
    def __init__(self, tools, python, tmp_path):
        self.tools, self.python = tools, python
        self.trace = tmp_path / "t.trace"
        self.nodes = tmp_path / "nodes"
        self.script = tmp_path / "node.py"
        self.script.write_text(NODE)

    def run(self, command, *options):
        """Records command and returns the names of the nodes in the trace, a fork on its way to
        another program counting as its parent."""
        self.nodes.write_text("")
        done = self.tools.record(self.trace, command, options=options,
                                 env={**os.environ, "NODES": str(self.nodes)})
        assert done.returncode == 0, done.stderr
        self.done = done
        return sorted({each["command"][2] for each in self.tools.profile(self.trace).processes})

    def node(self, *words):
        return [self.python.path, str(self.script), *words]

    def said(self):
        return {each["name"]: each for each in map(json.loads, self.nodes.read_text().splitlines())}


@pytest.fixture
def tree(tools, python, tmp_path_factory):
    # The name of the test must not be in the command lines.
    return Tree(tools, python, tmp_path_factory.mktemp("tree"))


HOWS = ["run", "sh", "clear", "system", "fork"]
ALL = [how + ":" + how for how in HOWS]


@pytest.mark.parametrize("options", [(), ("--children",), ("--children=all",)])
def test_all_children(tree, options):
    assert tree.run(tree.node("top", *ALL), *options) == sorted(["top", *HOWS])


@pytest.mark.parametrize("memory", ["sampled", "full", "off"])
def test_no_children(tree, memory):
    """Only the command, and nothing of the recorder is in the environment or memory of others."""
    found = tree.run(tree.node("top", *ALL, "run:second/run:third"), "--children=none",
                     "--memory=" + memory)
    assert found == ["top"]
    said = tree.said()
    assert sorted(said) == sorted(["top", "second", "third", *HOWS])
    assert said.pop("top")["mapped"]
    for each in said.values():
        assert not each["mapped"] and not each["environment"], each


def test_the_command_is_one_process(tree):
    """What the command becomes is the command, what it starts is not."""
    assert tree.run(["env", *tree.node("top", "exec:other/run:child")],
                    "--children=none") == ["other", "top"]
    words = " ".join(tree.node("top"))
    assert tree.run(["sh", "-c", "exec " + words], "--children=none") == ["top"]
    assert tree.run(["sh", "-c", words + "; true"], "--children=none") == []
    assert "--children leaves out" in tree.done.stderr
    said = tree.said()
    assert not said["top"]["mapped"] and not said["top"]["environment"]


@pytest.mark.parametrize("pattern, expected", [
    ("*second*", ["first", "second"]),  # the first one's says what it is to start
    ("second", ["second"]),
    ("node.py", ["first", "second", "third"]),
    ("PYTHON * third", ["third"]),
    ("PYTHON", ["first", "second", "third"]),
    ("* t*", ["third"]),
    ("nobody", []),
])
def test_pattern(tree, pattern, expected):
    """Who does not match is left out, and still asked for its own children."""
    pattern = pattern.replace("PYTHON", os.path.basename(tree.python.path))
    found = tree.run(tree.node("top", "run:first/sh:second", "clear:third"),
                     "--children=" + pattern)
    assert found == sorted(["top", *expected])
    said = tree.said()
    assert sorted(said) == ["first", "second", "third", "top"]
    assert all(not each["environment"] for each in said.values()), said


FORK = """
import ctypes, os, sys
kept = []
def work():
    for i in range(300000): pass
    kept.append(bytearray(50 << 20))
    return [bytes(600) for i in range(20000)]
work()
if os.fork() == 0:
    work()
    work()
    kept.clear()
    with open('/proc/self/maps') as maps:
        assert ('memfd:scprof' in maps.read()) == (sys.argv[1] == '3')
    if os.fork() == 0:
        os._exit(0 if work() else 1)
    os._exit(os.wait()[1])
assert os.wait()[1] == 0
print('done')
"""


def record_forks(tools, interpreter, trace, memory, children, count):
    done = tools.record(trace, [interpreter.path, "-c", FORK, str(count)],
                        options=["--children=" + children, "--memory=" + memory])
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    profile = tools.profile(trace)
    assert len(profile.processes) == count
    assert profile.quality["lost_events"] == 0, profile.quality


@pytest.mark.parametrize("memory", ["sampled", "full", "off"])
def test_forks_left_out(tools, interpreter, tmp_path, memory):
    """A fork that is left out has no region, and goes on."""
    record_forks(tools, interpreter, tmp_path / "t.trace", memory, "none", 1)


@pytest.mark.parametrize("children, count", [("nobody", 1), ("-c", 3)])
def test_forks_are_chosen(tools, python, tmp_path, children, count):
    """A fork has its parent's command line."""
    record_forks(tools, python, tmp_path / "t.trace", "full", children, count)


@pytest.mark.parametrize("option, words", [
    ("--children=", "pattern"),
    ("--children=" + 300 * "x", "255"),
])
def test_bad_patterns(tools, option, words):
    done = subprocess.run([tools.recorder, option, "--", "true"], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_many_short_children_are_all_named(tools, python, tmp_path):
    """Who is gone before it was looked at has said who it was."""
    trace = tmp_path / "t.trace"
    code = ("import subprocess, sys\n"
            "for i in range(0, 40, 8):\n"
            "    group = [subprocess.Popen([sys.executable, '-S', '-E', '-c', 'pass', str(k)])\n"
            "             for k in range(i, i + 8)]\n"
            "    assert not any(each.wait() for each in group)\n")
    done = tools.record(trace, [python.path, "-c", code], options=["--memory=off"])
    assert done.returncode == 0, done.stderr
    processes = tools.profile(trace).processes
    top, = [each for each in processes if "subprocess" in each["command"][2]]
    named = [each for each in processes if each["command"][-1].isdigit()]
    assert sorted(int(each["command"][-1]) for each in named) == list(range(40))
    assert {each["parent"] for each in named} == {top["pid"]}


# Every function of the C library that starts a program, called with an environment that holds
# nothing of the recorder's.
STARTS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
how, program, script = sys.argv[1:]
words = [program, script, how]
argv = (ctypes.c_char_p * 4)(*map(os.fsencode, words))
envp = (ctypes.c_char_p * 2)(b'NODES=' + os.fsencode(os.environ['NODES']))
path, pid = os.fsencode(program), ctypes.c_int()
folder, name = os.path.split(path)
command = os.fsencode(' '.join(words))
os.environb[b'PATH'] = folder + b':' + os.environb[b'PATH']
libc.popen.restype = ctypes.c_void_p
if how == 'popen':
    stream = libc.popen(b"A=\\"it's\\"; test \\"$A\\" = \\"it's\\" && " + command + b'; exit 3',
                        b'r')
    assert libc.pclose(ctypes.c_void_p(stream)) == 3 << 8
    sys.exit(0)
if how == 'system':
    sys.exit(libc.system(command + b'; exit 3') != 3 << 8)
if 'spawn' in how:
    first = name if how.endswith('p') else path
    function = getattr(libc, how)
    assert function(ctypes.byref(pid), first, None, None, argv, envp) == 0
    if how.startswith('pidfd'):
        os.waitid(os.P_PIDFD, pid.value, os.WEXITED)
    else:
        assert os.waitpid(pid.value, 0)[1] == 0
    sys.exit(0)
child = os.fork()
if child == 0:
    fd = os.open(program, os.O_RDONLY)
    {'execve': lambda: libc.execve(path, argv, envp),
     'execv': lambda: libc.execv(path, argv),
     'execvp': lambda: libc.execvp(name, argv),
     'execvpe': lambda: libc.execvpe(name, argv, envp),
     'execl': lambda: libc.execl(path, *argv[:3], None),
     'execlp': lambda: libc.execlp(name, *argv[:3], None),
     'execle': lambda: libc.execle(path, *argv[:3], None, envp),
     'fexecve': lambda: libc.fexecve(fd, argv, envp),
     'execveat': lambda: libc.execveat(fd, b'', argv, envp, 0x1000)}[how]()
    os._exit(9)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("how", [
    "execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve", "execveat",
    "posix_spawn", "posix_spawnp", "pidfd_spawn", "pidfd_spawnp", "system", "popen"])
def test_every_way_to_start_a_program(tree, how):
    libc = ctypes.CDLL(None)
    if not hasattr(libc, how):
        pytest.skip("this C library has no %s" % how)
    (tree.script.parent / "starts.py").write_text(STARTS)
    command = [tree.python.path, str(tree.script.parent / "starts.py"), how, tree.python.path,
               str(tree.script)]
    assert how in tree.run(command)
    assert tree.said()[how]["mapped"] and not tree.said()[how]["environment"]
    # Whoever is not wanted is not told, on the same ways.
    assert tree.run(command, "--children=none") == [how]
    assert not tree.said()[how]["mapped"]


SHOW = """
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv, char **envp)
{
	for (int i = 0; i < argc; i++)
		printf("%s\\n", argv[i]);
	for (; *envp; envp++)
		if (!strncmp(*envp, "SCPROF_AGENT=", 13) || strstr(*envp, "libscprof-agent"))
			puts("told");
	return argc;
}
"""

# Says hello without any C library.
OTHER_MACHINE = """
static int call(int number, int a, const void *b, int c)
{
	int ret;
	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return ret;
}
void begin(int *sp)
{
	char **env = (char **)(sp + *sp + 2);
	call(4, 1, "hello\\n", 6);
	for (; *env; env++)
		if ((*env)[0] == 'S' && (*env)[1] == 'C' && (*env)[2] == 'P')
			call(4, 1, "told\\n", 5);
	call(1, 0, 0, 0);
}
__asm__(".globl _start\\n_start: mov %esp, %eax\\n push %eax\\n call begin\\n");
"""


def build_program(path, text, *flags):
    source = path.with_suffix(".c")
    source.write_text(text)
    done = subprocess.run(["gcc", "-o", str(path), str(source), *flags], capture_output=True,
                          text=True)
    if done.returncode:
        pytest.skip("cannot build it: " + done.stderr.splitlines()[-1])


def refusing_program(kind, folder):
    """A program that takes no agent, and why."""
    path = folder / ("show-" + kind)
    if kind == "static":
        build_program(path, SHOW, "-static")
        return path, "statically linked"
    if kind == "musl":
        loader, = [each for each in os.listdir("/lib64") if each.startswith("ld-linux")]
        (folder / "ld-musl-any.so.1").symlink_to(os.path.realpath("/lib64/" + loader))
        build_program(path, SHOW, "-Wl,--dynamic-linker=%s" % (folder / "ld-musl-any.so.1"))
        return path, "not glibc"
    if kind == "32-bit":
        build_program(path, OTHER_MACHINE, "-m32", "-nostdlib", "-static", "-fno-pic", "-no-pie",
                      "-fno-stack-protector")
        if subprocess.run([str(path)], capture_output=True, check=False).stdout != b"hello\n":
            pytest.skip("this machine runs no 32-bit programs")
        return path, "another kind of machine"
    build_program(path, SHOW)
    if os.geteuid() != 0:
        pytest.skip("only root can make a program of another user")
    os.chown(path, 65534, 65534)
    os.chmod(path, {"setuid": 0o4755, "setgid": 0o2755}[kind])
    return path, "another user or group"


@pytest.mark.parametrize("kind", ["static", "musl", "32-bit", "setuid", "setgid"])
def test_who_takes_no_agent_is_named(tools, python, tmp_path, kind):
    """It runs as without us, nobody complains, and one sentence says who and why."""
    path, why = refusing_program(kind, tmp_path)
    trace = tmp_path / "t.trace"
    for command in ([str(path), "word"],
                    [python.path, "-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])",
                     str(path), "word"],
                    [python.path, "-c", "import subprocess, sys\n"
                     "for i in range(3): ret = subprocess.run(sys.argv[1:]).returncode\n"
                     "sys.exit(ret)", str(path), "word"]):
        plain = subprocess.run(command, capture_output=True, text=True, check=False)
        done = tools.record(trace, command)
        assert done.returncode == plain.returncode
        shown = done.stdout
        if kind in ("static", "setuid", "setgid"):
            shown = shown.replace("told\n", "")
        assert shown == plain.stdout
        said = [line for line in done.stderr.splitlines() if str(path) in line]
        assert len(said) == 1 and why in said[0], done.stderr
        assert all(line.startswith("scprof-record: ") for line in done.stderr.splitlines())
        assert len(done.stderr.splitlines()) <= 2, done.stderr


DAEMON = """
import os, subprocess, sys
if os.fork():
    sys.exit(0 if os.wait()[1] == 0 else 1)
os.setsid()
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent: pass
subprocess.run(['sh', '-c', sys.executable + ' -c pass grandchild & exit 0'])
open(%r, 'w').close()
"""


def test_orphans_keep_their_parents(tools, python, tmp_path):
    """A daemon's parent has ended, and so has the shell that started the last one."""
    trace = tmp_path / "t.trace"
    done = tools.record(trace, [python.path, "-c", DAEMON % str(tmp_path / "done")])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done").exists()
    processes = tools.profile(trace).processes
    top, = [each for each in processes if "parent" not in each]
    by_pid = {each["pid"]: each for each in processes}
    last, = [each for each in processes if each["command"][-1] == "grandchild"]
    above = []
    while "parent" in last:
        last = by_pid[last["parent"]]
        above.append(last["pid"])
    # The one between may come into the trace after the daemon, which is then the top's.
    assert above[-1] == top["pid"] and len(above) >= 2, processes


@pytest.mark.parametrize("start", ["%s", "(sleep 0.3; exec %s)", "(sleep 0.3; %s; true)"])
def test_a_shell_leaves_it_in_the_background(tools, python, tmp_path, start):
    """When the shell has ended, there is no Python yet."""
    trace, done = tmp_path / "t.trace", tmp_path / "done"
    command = "'%s' -c 'sum(range(1000000)); open(\"%s\", \"w\")'" % (python.path, done)
    recorded = tools.record(trace, ["sh", "-c", start % command + " & exit 3"])
    assert recorded.returncode == 3 and done.exists(), recorded.stderr
    process, = tools.profile(trace).processes
    assert process["command"][0] == python.path


def test_what_is_no_python_is_not_waited_for(tools, python, tmp_path):
    """And it runs on."""
    trace = tmp_path / "t.trace"
    recorded = tools.record(trace, ["sh", "-c", "sleep 100 > /dev/null 2>&1 & echo $!; exec '%s' "
                                    "-c pass" % python.path])
    assert recorded.returncode == 0, recorded.stderr
    os.kill(int(recorded.stdout), 9)  # it is there
