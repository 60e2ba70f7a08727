# SPDX-License-Identifier: Apache-2.0
"""The standard library's own tests end under recording exactly as they do alone."""

import concurrent.futures
import os
import re
import subprocess

import pytest

OUTCOME = re.compile(r"^(test\w+ \([\w.]+\)|setUpClass \([\w.]+\)).*?\.\.\. "
                     r"(?:.*?)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)\b",
                     re.M | re.S)
VERDICT = re.compile(r"^(test\w+) \(([\w.]+)\)", re.M)

QUICK = ["test.test_json", "test.test_generators", "test.test_contextlib", "test.test_exceptions"]
# What lives off Python's allocators, under a rate at which every test meets many samples.
MEMORY = ["test.test_gc", "test.test_re", "test.test_list", "test.test_bytes", "test.test_capi",
          "test.test_dict", "test.test_tracemalloc"]
OFTEN = ("--memory-rate", "20000")
# Minutes each: a version runs one of them, and half of those above, the next version others.
LONG = ["test.test_signal", "test.test_threading", "test.test_asyncio"]


def run(command, folder):
    # Some of these tests look at what a fresh process has: no more than it needs is passed on.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
                   if name in os.environ}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=1500, cwd=folder, env=environment)
    return done.returncode, done.stderr.decode(errors="replace")


def outcomes(text):
    """Of each test: "ok", "FAIL", ... unittest -v prints them one by one, noise in between."""
    found = {}
    for match in OUTCOME.finditer(text):
        found[re.sub(r"\s+", " ", match.group(1))] = match.group(2)
    return found


def names_of(different):
    for name in different:
        match = VERDICT.match(name)
        if match:
            test, where = match.groups()
            yield where if where.endswith("." + test) else where + "." + test


def commands(tools, interpreter, trace, options):
    alone = [interpreter.path, "-m", "unittest", "-v"]
    return alone, [tools.recorder, "-q", *options, "-o", str(trace), "--", *alone]


def compare(tools, interpreter, tmp_path, options, results):
    """results: what run() returned for the module alone and recorded."""
    (alone_status, alone_text), (status, text) = results
    alone, recorded = outcomes(alone_text), outcomes(text)
    assert len(alone) > 20, alone_text[-2000:]
    different = {name: (alone.get(name), recorded.get(name)) for name in {**alone, **recorded}
                 if alone.get(name) != recorded.get(name)}
    # A test that fails only at times does so without us, too: it counts when it fails again.
    by_itself, under = commands(tools, interpreter, tmp_path / "again.trace", options)
    still = {}
    for name in names_of(different):
        again = [run(under + [name], tmp_path) for _ in range(2)]
        if any(code for code, _ in again) and run(by_itself + [name], tmp_path)[0] == 0:
            still[name] = again[-1][1][-1500:]
    assert not still, "\n".join("%s:\n%s" % pair for pair in still.items())
    if not different:
        assert (status != 0) == (alone_status != 0), text[-2000:]
    assert len(recorded) >= 0.98 * len(alone)


def start(pool, tools, interpreter, module, tmp_path, options):
    """Both runs of a module, each in a folder of its own; they end as futures."""
    if interpreter.run("-c", "import " + module).returncode:
        return None
    trace = tmp_path / (module + ".trace")
    runs = []
    for name, command in zip(("alone", "recorded"), commands(tools, interpreter, trace, options)):
        folder = tmp_path / (module + "." + name)
        folder.mkdir()
        runs.append(pool.submit(run, command + [module], folder))
    return trace, runs


def check(tools, interpreter, modules, tmp_path, options=()):
    # At the same time: these tests mostly wait.
    with concurrent.futures.ThreadPoolExecutor(2 * len(modules)) as pool:
        started = {module: start(pool, tools, interpreter, module, tmp_path, options)
                   for module in modules}
    found = {module: pair for module, pair in started.items() if pair}
    if not found:
        pytest.skip("this interpreter comes without the standard library's tests")
    for trace, runs in found.values():
        compare(tools, interpreter, tmp_path, options, [each.result() for each in runs])
        assert tools.analyze(trace).returncode == 0


def test_quick_modules(tools, interpreter, tmp_path):
    check(tools, interpreter, QUICK, tmp_path)


@pytest.mark.slow
def test_memory_modules(tools, interpreter, tmp_path):
    check(tools, interpreter, MEMORY[interpreter.version[1] % 2::2], tmp_path, OFTEN)


@pytest.mark.slow
def test_long_modules(tools, interpreter, tmp_path):
    # By version, so that one more interpreter does not change what the others run.
    check(tools, interpreter, [LONG[interpreter.version[1] % len(LONG)]], tmp_path)
