# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites and sums up what they counted.

    python3 tests/run.py [--build DIR] [--slow] [--sanitized] [SUITE...]

Every suite prints a line "N passed, N failed, N skipped"; this closes with their sum. A suite that
fails without counting a failure, or counts nothing, is itself a failure.

The suites "truth" and "cli" record real programs in real time. Chance, and what else the machine
does, have a hand in each of their three thousand results: where samples fall, which of two
processes is first. So a result that is missed is looked at again, REPEATS times, by the same test
with the same bounds; it counts as held when it holds every time, and what was missed is said at the
end. Where more than MOST_MISSED miss, that is no chance. Nothing else gets a second try.

What failed, and what was missed, is told again at the end, where it is found.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPEATS = 3
MOST_MISSED = 3
LINES_TOLD = 40
COUNT = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")


def python_with_pytest(build):
    """An interpreter that has pytest; makes a private environment when none does."""
    private = os.path.join(build, "venv", "bin", "python")
    for path in (sys.executable, "/usr/bin/python3", private):
        if os.access(path, os.X_OK) and subprocess.run(
                [path, "-c", "import pytest"], capture_output=True).returncode == 0:
            return path
    print("no Python here has pytest: making %s" % os.path.dirname(os.path.dirname(private)))
    steps = ([sys.executable, "-m", "venv", os.path.join(build, "venv")],
             [private, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pytest"])
    for step in steps:
        if subprocess.run(step).returncode:
            sys.exit("run.py: install pytest (Debian package python3-pytest) to run the tests")
    return private


def suites(options):
    build = options.build
    pytest = [python_with_pytest(build), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
              "--rootdir", ROOT, "--durations=15", "--build", build]
    pytest += ["--slow"] if options.slow else []
    pytest += ["--sanitized"] if options.sanitized else []
    make = ["make", "--no-print-directory", "-j%d" % os.cpu_count(),
            "O=" + os.path.relpath(build, ROOT)]
    if options.sanitized:
        make.append("SAN=" + options.sanitizers)
    yield "lint", [sys.executable, "tests/lint/lint.py", "--build", build]
    yield "unit", make + ["unit"]
    yield "python_layout", make + ["layout-test", "PYTHON=" + pytest[0]]
    yield "cli", pytest + ["tests/cli"]
    yield "truth", pytest + ["tests/truth"]


def run_command(command):
    """Runs command with its output passed on; returns its status and what it counted, or None."""
    environment = dict(os.environ)
    # A make below this one has its own jobs.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        environment.pop(name, None)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace")
    counted = None
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        found = COUNT.match(line.strip())
        if found:
            counted = [int(number or 0) for number in found.groups()]
    return process.wait(), counted


def run_once(command):
    """Runs a suite; returns its status, what it counted, or None, and what conftest.py says of each
    failure."""
    if "pytest" not in command:
        return (*run_command(command), [])
    with tempfile.NamedTemporaryFile("r", prefix="failures-") as file:
        status, counted = run_command(command + ["--failures", file.name])
        return status, counted, json.loads(file.read() or "[]")


def run_suite(name, command):
    """As run_once, and looks again at what may have been missed by chance."""
    status, counted, failures = run_once(command)
    missed = sorted({each["test"] for each in failures})
    # A test whose clean-up fails as well has failed twice.
    if status != 1 or not counted or not 0 < counted[1] == len(missed) <= MOST_MISSED:
        return status, counted, failures
    again = command[:-1] + missed
    for number in range(REPEATS):
        print("== %s: looked at again, %d of %d: %s" % (name, number + 1, REPEATS, " ".join(again)))
        sys.stdout.flush()
        if run_once(again) != (0, [len(missed), 0, 0], []):
            return status, counted, failures
    return 0, [counted[0] + len(missed), 0, counted[2]], failures


def tell(what, failures):
    for each in failures:
        print("%s: %s" % (what, each["test"]))
        for line in each["text"].splitlines()[-LINES_TOLD:]:
            print("    " + line)


def main():
    # Started in the background these are ignored, and so they would be in every program under test.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--sanitizers", default="address,undefined")
    parser.add_argument("suite", nargs="*")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)

    total = [0, 0, 0]
    bad = []
    failed = []
    missed = []
    for name, command in suites(options):
        if options.suite and name not in options.suite:
            continue
        print("== %s: %s" % (name, " ".join(command)))
        sys.stdout.flush()
        start = time.monotonic()
        status, counted, failures = run_suite(name, command)
        if counted is None:
            print("%s: counted nothing (status %d)" % (name, status))
            counted = [0, 1, 0]
        elif status and not counted[1]:
            print("%s: status %d" % (name, status))
            counted[1] += 1
        if counted[1]:
            bad.append(name)
            failed += failures
        else:
            missed += failures
        total = [old + new for old, new in zip(total, counted)]
        print("== %s: %.0f s" % (name, time.monotonic() - start))
    tell("missed once, held %d times" % REPEATS, missed)
    tell("failed", failed)
    if bad:
        print("failed suites: " + ", ".join(bad))
    print("%d passed, %d failed, %d skipped" % tuple(total))
    sys.exit(1 if total[1] or not total[0] else 0)


if __name__ == "__main__":
    main()
