# SPDX-License-Identifier: Apache-2.0
"""Starts children in each way that there is: children.py FOLDER HOW [ARGUMENT...]

True of it: every process, the first one too, spends the same CPU time on @work and has 8 MiB and
one more for each dot in its name from @block. It notes in FOLDER what it knows of itself, and of
the children that it waited for; so the tree is known without looking at it from outside.
"""

import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import resource
import shlex
import signal
import subprocess
import sys
import time

MIB = 1 << 20
ROUNDS = 30
MAIN = os.path.abspath(__file__)
kept = []


def note(folder, kind, facts):
    name = "%s-%d-%d" % (kind, os.getpid(), time.monotonic_ns())
    with open(os.path.join(folder, name + ".part"), "w") as file:
        json.dump(facts, file)
    os.rename(file.name, os.path.join(folder, name + ".json"))


def live(folder, name):
    """What a process of the tree does, and says of itself."""
    facts = {"name": name, "pid": os.getpid(), "begin_ns": time.monotonic_ns(),
             "version": list(sys.version_info[:3])}
    kept.clear()  # a fork has it from its parent
    kept.append(bytearray((8 + name.count(".")) * MIB))  # @block
    before = time.process_time_ns()  # new pages may take as long as all the work
    total = 0
    for _ in range(ROUNDS):
        for i in range(20000): total ^= i  # @work
    facts["cpu_ns"] = time.process_time_ns()
    facts["work_ns"] = facts["cpu_ns"] - before
    with open("/proc/self/cmdline") as file:
        facts["command"] = file.read().split("\0")[:-1]
    facts["end_ns"] = time.monotonic_ns()
    note(folder, "lived", facts)


def waited(folder, pid, status):
    """status as multiprocessing and subprocess have it: minus the signal."""
    note(folder, "waited", {"pid": pid, "status": status, "time_ns": time.monotonic_ns()})


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def wait(folder, pid):
    status = os.waitpid(pid, 0)[1]
    waited(folder, pid, -os.WTERMSIG(status) if os.WIFSIGNALED(status)
           else os.WEXITSTATUS(status))


def finish(ending):
    """"3": sys.exit, "_3": os._exit, "-9": by that signal, "": returns."""
    sys.stdout.flush()
    if ending.startswith("-"):
        os.kill(os.getpid(), -int(ending))
        time.sleep(60)
    elif ending.startswith("_"):
        os._exit(int(ending[1:]))
    elif ending:
        sys.exit(int(ending))


def command(folder, name, ending="", python=sys.executable):
    return [python, "-S", MAIN, folder, "live", name, ending]


def fork(folder):
    for i, ending in enumerate(["_0", "3", "_4", "-9", "-15", "-6"]):
        pid = os.fork()
        if pid == 0:
            live(folder, "0.%d" % i)
            finish(ending)
            os._exit(0)
        wait(folder, pid)


def execute(folder):
    """The ways of exec that Python has, and the first process becomes another one itself."""
    for i, ending in enumerate(["3", "_4", "-9", ""]):
        words = command(folder, "0.%d" % i, ending)
        pid = os.fork()
        if pid == 0:
            if i == 0:
                os.execv(words[0], words)
            elif i == 1:
                os.execve(words[0], words, {})
            elif i == 2:
                os.execve(os.open(words[0], os.O_RDONLY | os.O_CLOEXEC), words, os.environ)
            else:
                os.execlp("env", "env", *words)
        wait(folder, pid)
    os.execv(sys.executable, command(folder, "0.becomes", "5"))


def spawn(folder):
    for i, ending in enumerate(["3", "-15"]):
        words = command(folder, "0.%d" % i, ending)
        start = os.posix_spawnp if i else os.posix_spawn
        wait(folder, start(words[0], words, {} if i else os.environ))


def library(folder, path):
    """What C code does: vfork and exec in a library that was made for it."""
    code = ctypes.CDLL(path)
    words = [word.encode() for word in command(folder, "0.0", "6")]
    wait(folder, code.vfork_and_exec((ctypes.c_char_p * (len(words) + 1))(*words, None)))


def subprocesses(folder):
    for i, options in enumerate([{}, {"env": {}}, {"close_fds": False},
                                 {"start_new_session": True}, {"preexec_fn": os.getpid},
                                 {"shell": True}]):
        words = command(folder, "0.%d" % i, str(i))
        if "shell" in options:
            words = "exec " + " ".join(map(shlex.quote, words))
        child = subprocess.Popen(words, **options)
        waited(folder, child.pid, child.wait())


def shells(folder):
    """Programs that are no Python in between, which have a Python start again."""
    words = command(folder, "0.0")
    text = " ".join(map(shlex.quote, words))
    os.system(text)
    for i, between in enumerate([
            ["sh", "-c", "%s; true" % text], ["env", *words], ["nice", *words],
            ["env", "-i", "PATH=" + os.environ["PATH"], "sh", "-c", text + " && true"],
            ["xargs", *words], ["timeout", "60", *words],
            ["awk", "BEGIN { system(\"%s\") }" % text.replace('"', '\\"')],
            ["awk", "BEGIN { \"%s\" | getline }" % text.replace('"', '\\"')]], 1):
        between = [part.replace("0.0", "0.%d" % i) for part in between]
        subprocess.run(between, stdin=subprocess.DEVNULL, check=True)
    os.popen(text.replace("0.0", "0.9")).close()


def versions(folder, *pythons):
    """0 starts 0.0, which starts 0.0.0, ...: each another Python."""
    descend(folder, "0", *pythons)


def descend(folder, name, *pythons):
    if pythons:
        words = [pythons[0], "-S", MAIN, folder, "descend", name + ".0", *pythons[1:]]
        child = subprocess.Popen(words)
        waited(folder, child.pid, child.wait())


def member(folder, name, ending=""):
    """In a process of multiprocessing's."""
    live(folder, name)
    finish(ending)


def processes(folder, method):
    context = multiprocessing.get_context(method)
    for i, ending in enumerate(["", "3", "_4", "-9"]):
        child = context.Process(target=member, args=(folder, "0.%d" % i, ending))
        child.start()
        child.join()
        waited(folder, child.pid, child.exitcode)


def enlist(folder):
    """A worker of a pool, before its first task."""
    live(folder, "0.%d" % os.getpid())


def task(number):
    return number


def all_lived(folder, count):
    while sum(name.startswith("lived") and name.endswith(".json")
              for name in os.listdir(folder)) < count:
        time.sleep(0.002)


def pool(folder, method, end):
    workers = multiprocessing.get_context(method).Pool(2, enlist, (folder,))
    assert workers.map(task, range(8)) == list(range(8))
    all_lived(folder, 3)
    members = list(workers._pool)
    getattr(workers, end)()
    workers.join()
    for each in members:
        waited(folder, each.pid, each.exitcode)


def executor(folder, method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, context, enlist, (folder,)) as workers:
        assert list(workers.map(task, range(8))) == list(range(8))
        members = list(workers._processes.values())
        all_lived(folder, 1 + len(members))
    for each in members:
        waited(folder, each.pid, each.exitcode)


def daemon(folder):
    """Twice forked and in a session of its own, while the first process has ended."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            while os.getppid() != 1 and not os.path.exists(os.path.join(folder, "over")):
                time.sleep(0.001)
            live(folder, "0.middle.daemon")
            os._exit(3)
        live(folder, "0.middle")
        os._exit(0)
    os.wait()
    open(os.path.join(folder, "over"), "w").close()


def many(folder, how):
    """200 that end at once, no two neighbours with the same status, eight at a time."""
    context = multiprocessing.get_context("fork")

    def start(i):
        code = "import sys; sys.exit(%d)" % (i % 7)
        if how == "programs":
            child = subprocess.Popen([sys.executable, "-S", "-c", code])
            return child.pid, child.wait
        if how == "tasks":
            child = context.Process(target=sys.exit, args=(i % 7,))
            child.start()
            return child.pid, lambda: (child.join(), child.exitcode)[1]
        pid = os.fork()
        if pid == 0:
            os._exit(i % 7)
        return pid, lambda: os.waitpid(pid, 0)[1] >> 8

    running = []
    for i in range(200 + 8):
        if i < 200:
            running.append(start(i))
        if i >= 8:
            pid, wait_for = running.pop(0)
            waited(folder, pid, wait_for())


def server(folder):
    """A master and its workers, one of which is killed and replaced, as web servers do it."""
    def worker(name):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            live(folder, name)
            os.write(ready, b"r")
            while True:
                time.sleep(60)
        os.read(heard, 1)
        return pid

    signal.signal(signal.SIGTERM, lambda number, frame: None)
    heard, ready = os.pipe()
    workers = [worker("0.%d" % i) for i in range(4)]
    os.kill(workers[1], signal.SIGKILL)
    wait(folder, workers[1])
    workers[1] = worker("0.4")
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        wait(folder, pid)


def wait_for_the_end(folder):
    while not os.path.exists(os.path.join(folder, "over")):
        sum(range(1000))  # @wait


def stay(folder, name):
    live(folder, name)
    wait_for_the_end(folder)
    os._exit(int(name[-1]))


def attached(folder):
    """Children that stay until it is over, started when somebody had time to attach."""
    print("ready", flush=True)
    sys.stdin.readline()
    forked = os.fork()
    if forked == 0:
        stay(folder, "0.1")
    words = [sys.executable, "-S", MAIN, folder, "stay", "0.2"]
    spawned = os.posix_spawn(words[0], words, os.environ)
    child = subprocess.Popen(words[:-1] + ["0.3"])
    others = [multiprocessing.get_context(method).Process(target=stay, args=(folder, name))
              for method, name in (("spawn", "0.4"), ("forkserver", "0.5"))]
    for each in others:
        each.start()
    all_lived(folder, 6)
    print("started", flush=True)
    wait_for_the_end(folder)
    for pid in (forked, spawned):
        wait(folder, pid)
    waited(folder, child.pid, child.wait())
    for each in others:
        each.join()
        waited(folder, each.pid, each.exitcode)


def main(folder, how, *arguments):
    if how == "live":
        live(folder, arguments[0])
        finish(arguments[1])
    elif how == "stay":
        stay(folder, *arguments)
    elif how == "descend":
        live(folder, arguments[0])
        descend(folder, *arguments)
    else:
        live(folder, "0")
        globals()[how](folder, *arguments)
        note(folder, "children", {"cpu_ns": children_cpu()})


if __name__ == "__main__":
    main(*sys.argv[1:])
