# SPDX-License-Identifier: Apache-2.0
"""The standard library's own tests end under recording exactly as they do alone."""

import os
import re
import subprocess

import pytest

OUTCOME = re.compile(r"^(test\w+ \([\w.]+\)|setUpClass \([\w.]+\)).*?\.\.\. "
                     r"(?:.*?)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)\b",
                     re.M | re.S)
VERDICT = re.compile(r"^(test\w+) \(([\w.]+)\)", re.M)

QUICK = ["test.test_json", "test.test_generators", "test.test_contextlib", "test.test_exceptions"]
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


def compare(tools, interpreter, module, tmp_path):
    package = interpreter.run("-c", "import " + module)
    if package.returncode:
        pytest.skip("this interpreter comes without " + module)
    command = [interpreter.path, "-m", "unittest", "-v"]
    recorder = [tools.recorder, "-q", "-o", str(tmp_path / "t.trace"), "--"]
    alone_status, alone_text = run(command + [module], tmp_path)
    alone = outcomes(alone_text)
    assert len(alone) > 20, alone_text[-2000:]
    status, text = run(recorder + command + [module], tmp_path)
    recorded = outcomes(text)
    different = {name: (alone.get(name), recorded.get(name)) for name in {**alone, **recorded}
                 if alone.get(name) != recorded.get(name)}
    # A test that fails only at times does so without us, too: it counts when it fails again.
    still = {}
    for name in names_of(different):
        again = [run(recorder + command + [name], tmp_path) for _ in range(2)]
        if any(code for code, _ in again) and run(command + [name], tmp_path)[0] == 0:
            still[name] = again[-1][1][-1500:]
    assert not still, "\n".join("%s:\n%s" % pair for pair in still.items())
    if not different:
        assert (status != 0) == (alone_status != 0), text[-2000:]
    assert len(recorded) >= 0.98 * len(alone)
    assert tools.analyze(tmp_path / "t.trace").returncode == 0


@pytest.mark.parametrize("module", QUICK)
def test_quick_module(tools, interpreter, tmp_path, module):
    compare(tools, interpreter, module, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("module", LONG)
def test_long_module(tools, interpreter, tmp_path, module):
    compare(tools, interpreter, module, tmp_path)
