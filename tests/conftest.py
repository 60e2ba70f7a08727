# SPDX-License-Identifier: Apache-2.0
"""What every pytest suite here shares: where the tools are, the interpreters, the closing line."""

import json
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import interpreters  # noqa: E402
from recording import Tools  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--build", default=os.environ.get("SCPROF_BUILD"),
                     help="folder with the built tools (default: build)")
    parser.addoption("--slow", action="store_true", help="run the long tests too")
    parser.addoption("--sanitized", action="store_true",
                     help="the tools are built with sanitizers: leave out what measures time")
    parser.addoption("--failures", metavar="FILE",
                     help="write down what failed: a JSON list of {test, text}")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes long, only with --slow")
    config.addinivalue_line("markers", "timing: compares times, not with --sanitized")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="long, run with --slow"))
        if "timing" in item.keywords and config.getoption("--sanitized"):
            item.add_marker(pytest.mark.skip(reason="compares times: not under sanitizers"))


def pytest_generate_tests(metafunc):
    if "interpreter" in metafunc.fixturenames:
        found = interpreters.find()
        if metafunc.config.getoption("--sanitized") and len(found) > 3:
            # All of them are for the plain build: here it is our code that is looked at.
            found = [found[0], found[len(found) // 2], found[-1]]
        metafunc.parametrize("interpreter", found, ids=[one.name for one in found],
                             scope="session")


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats
    failed = len(reports.get("failed", [])) + len(reports.get("error", []))
    terminalreporter.line("%d passed, %d failed, %d skipped" % (
        len(reports.get("passed", [])), failed, len(reports.get("skipped", []))))
    failures = terminalreporter.config.getoption("--failures")
    if failures:
        with open(failures, "w") as file:
            json.dump([{"test": report.nodeid, "text": report.longreprtext} for report in
                       reports.get("failed", []) + reports.get("error", [])], file)


@pytest.fixture(scope="session")
def tools(pytestconfig):
    """The built tools, see recording.Tools."""
    folder = pytestconfig.getoption("--build") or os.path.join(os.path.dirname(HERE), "build")
    return Tools(os.path.abspath(folder))


@pytest.fixture(autouse=True)
def nothing_stays_behind(request):
    yield
    if "tools" in request.fixturenames:
        request.getfixturevalue("tools").kill_started()


@pytest.fixture(scope="session")
def python():
    """One interpreter for the tests that do not depend on the version: the system's, if any."""
    found = interpreters.find()
    if not found:
        pytest.skip("no supported Python interpreter")
    return next((one for one in found if one.path.startswith("/usr/bin/")), found[-1])


@pytest.fixture(scope="session")
def may_attach(tools, python):
    """Skips where the kernel or a container forbids looking at programs that run already."""
    with subprocess.Popen([python.path, "-c", "import sys; print(flush=True); sys.stdin.read()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        done = subprocess.run([tools.recorder, "--dump", "--pid", str(process.pid)],
                              capture_output=True, text=True, timeout=60)
        process.kill()
    if "not allowed" in done.stderr:
        pytest.skip(done.stderr.strip())
