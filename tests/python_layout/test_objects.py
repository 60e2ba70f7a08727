# SPDX-License-Identifier: Apache-2.0
"""Objects read out of running interpreters from outside: strings, code objects, thread names."""

import re

import pytest

from peek import Target

STRINGS = r"""
texts = ["", "a", "plain ascii", "caf\xe9", "\xff" * 300, "\u4f60\u597d", "\u4f60\u597d" * 999,
         "emoji \U0001f600", "\U0001f600" * 1234, "nul\0inside", "lone \udc80 surrogate",
         "x" * 100000]
class Text(str):
    pass
texts += [Text("subclass"), Text("caf\xe9"), Text("\U0001f600")]
peek_ready(*["%x %s" % (id(t), t.encode("utf-8", "surrogatepass").hex()) for t in texts])
peek_wait()
"""


def test_strings(interpreter, peek_sanitized):
    with Target(interpreter, STRINGS) as target:
        addresses, expected = zip(*[line.split(" ") for line in target.lines])
        got = target.peek(peek_sanitized, "str", given="\n".join(addresses))
    assert got == ["s" + text for text in expected]


def test_no_string_is_a_failure(interpreter, peek_sanitized):
    script = """
objects = [1, b"bytes", [], {}, 1.5, None, str]
peek_ready(*["%x" % id(o) for o in objects])
peek_wait()
"""
    wild = ["0", "8", "ffffffffffffffff", "7fffffffffff", "1000", "deadbeefdeadbee8"]
    with Target(interpreter, script) as target:
        for what in ("str", "code"):
            got = target.peek(peek_sanitized, what, given="\n".join(target.lines + wild))
            assert got == ["-"] * (len(target.lines) + len(wild))


CODE = r"""
import gc, types, json, argparse, dataclasses, inspect, typing, asyncio
text = "def caf\xe9():\n    return '\u4f60'\n" + "x = 1\n" * 3000
exec(compile(text, "/tmp/d\xefr \u4f60.py", "exec"))
found, todo = {}, [f.__code__ for f in gc.get_objects() if isinstance(f, types.FunctionType)]
todo.append(compile("a\nb", "<\U0001f600>", "exec"))
while todo:
    code = todo.pop()
    if id(code) not in found:
        found[id(code)] = code
        todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
def show(code):
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    text = [t.encode("utf-8", "surrogatepass").hex() for t in
            (code.co_filename, code.co_name, getattr(code, "co_qualname", code.co_name))]
    return "%x f%s n%s q%s l%s %d %d %d" % (id(code), *text, table.hex(), code.co_firstlineno,
                                            code.co_flags, len(code.co_code))
peek_ready(*map(show, found.values()))
peek_wait()
"""


def test_code_objects(interpreter, peek_sanitized):
    with Target(interpreter, CODE) as target:
        addresses, expected = zip(*[line.split(" ", 1) for line in target.lines])
        got = target.peek(peek_sanitized, "code", given="\n".join(addresses))
    assert len(got) > 2000
    assert [line for line in zip(got, expected) if line[0] != line[1]] == []


def test_code_objects_from_damaged_memory(interpreter, peek_sanitized):
    with Target(interpreter, CODE) as target:
        addresses = "\n".join(line.split(" ", 1)[0] for line in target.lines)
        for seed in range(1, 6):
            got = target.peek(peek_sanitized, "code", seed, given=addresses)
            assert len(got) == len(target.lines)


THREADS = r"""
import threading
release = threading.Event()
class Worker(threading.Thread):
    def __init__(self, name, extra):
        super().__init__(name=name)
        for i in range(extra):
            setattr(self, "attribute_%d" % i, i)
        self.extra = extra
    def run(self):
        release.wait()
class Slotted(Worker):
    __slots__ = ("one", "two")
class Named(str):
    pass
names = ["plain", "caf\xe9", "\u4f60\u597d", "\U0001f600 emoji", "n\xfcl\0inside", "x" * 5000, ""]
threads = [threading.Thread(target=release.wait, name=name) for name in names]
threads += [threading.Thread(target=release.wait) for _ in range(4)]
threads += [Worker("worker %d" % extra, extra) for extra in (0, 1, 5, 29, 30, 31, 40, 100)]
threads += [Slotted("slotted", 3)]
for thread in threads:
    thread.daemon = True
    thread.start()
threads[0].name = "renamed"
threads[8].name = "\u91cd\u547d\u540d"
threads[9]._name = Named("a subclass of str")
# Attributes in a dict of their own, in another order, one removed.
threads[10].__dict__
vars(Worker)
w = threads[-2]
w.__dict__["later"] = 1
del threads[-3].extra
threads[-4].__dict__ = dict(threads[-4].__dict__)
for thread in threads[:3]:
    vars(thread)
threading.main_thread().name = "main renamed"
peek_ready(*["%d %s" % (t.ident, t.name.encode().hex()) for t in threading.enumerate()])
peek_wait()
release.set()
"""

CROWD = r"""
import threading
threading.stack_size(128 * 1024)
release = threading.Event()
threads = [threading.Thread(target=release.wait, name="crowd-%d" % i, daemon=True)
           for i in range(300)]
for thread in threads:
    thread.start()
peek_ready(*["%d %s" % (t.ident, t.name.encode().hex()) for t in threading.enumerate()])
peek_wait()
release.set()
"""


@pytest.mark.parametrize("script", [THREADS, CROWD], ids=["named", "crowd"])
def test_thread_names(interpreter, peek_sanitized, script):
    with Target(interpreter, script) as target:
        expected = {}
        for line in target.lines:
            ident, name = line.split(" ")
            expected[int(ident)] = bytes.fromhex(name).decode()
        got, summary = target.names(peek_sanitized)
    assert got == expected
    assert "failed 0 entries %d " % len(expected) in summary


def test_no_threading_module_means_no_names(interpreter, peek_sanitized):
    script = 'sys.modules.pop("threading", None)\npeek_ready()\npeek_wait()\n'
    with Target(interpreter, script) as target:
        got, summary = target.names(peek_sanitized)
    assert got == {}
    assert "failed 0 entries 0 " in summary


SUBINTERPRETERS = r"""
import threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
made = interpreters.create()
run = getattr(interpreters, "run_string", None) or interpreters.exec
run(made, "import threading; threading.current_thread().name = 'inside'")
threading.current_thread().name = "outside"
peek_ready()
peek_wait()
interpreters.destroy(made)
"""


def test_subinterpreters(interpreter, peek_sanitized):
    with Target(interpreter, SUBINTERPRETERS) as target:
        lines = target.peek(peek_sanitized, "names")
    names = [bytes.fromhex(line.split(" ")[1]).decode() for line in lines[:-1]]
    assert sorted(names) == ["inside", "outside"]


CHURN = r"""
import itertools, threading, random
threading.stack_size(128 * 1024)
names = ["ascii", "caf\xe9", "\u4f60\u597d", "\U0001f600"]
class Worker(threading.Thread):
    def run(self):
        self.name = random.choice(names) * random.randrange(1, 50)
        setattr(self, "later_%d" % random.randrange(50), self.name)
        self.release.wait()
def churn():
    for i in itertools.count():
        release = threading.Event()
        crowd = [Worker(name=names[i % 4] + str(i)) for _ in range(random.randrange(1, 30))]
        for one in crowd:
            one.daemon = True
            one.release = release
            one.start()
        release.set()
        for one in crowd:
            one.join()
        exec("def made_%d(): pass" % (i % 100))
for _ in range(2):
    threading.Thread(target=churn, daemon=True).start()
peek_ready()
peek_wait()
import os
os._exit(0)
"""
CHURN_NAME = re.compile(
    r"MainThread|Thread-\d+( \(churn\))?|(ascii|caf\xe9|\u4f60\u597d|\U0001f600)\d+"
    r"|(ascii)+|(caf\xe9)+|(\u4f60\u597d)+|(\U0001f600)+")


def counts(line):
    words = line.split(" ")
    return dict(zip(words[::2], map(int, words[1::2])))


def test_names_while_threads_come_and_go(interpreter, peek_sanitized):
    with Target(interpreter, CHURN) as target:
        lines = target.peek(peek_sanitized, "names", 3000)
    got = counts(lines[-1])
    assert got["times"] == 3000
    names = [bytes.fromhex(line.split(" ")[1]).decode("utf-8", "surrogatepass")
             for line in lines[:-1]]
    wrong = [name for name in names if not CHURN_NAME.fullmatch(name)]
    assert len(wrong) <= len(names) / 1000, wrong[:10]
    assert got["failed"] <= 300
    assert got["entries"] >= 9000  # MainThread and the two that make the others, and theirs


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_names_from_damaged_memory(interpreter, peek_sanitized, seed):
    """Whatever is read, the reader neither crashes nor runs for long."""
    with Target(interpreter, CHURN) as target:
        lines = target.peek(peek_sanitized, "names", 300, seed)
    assert counts(lines[-1])["times"] == 300
