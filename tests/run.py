# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites and sums up what they counted.

    python3 tests/run.py [--build DIR] [--slow] [--sanitized] [SUITE...]

Every suite prints a line "N passed, N failed, N skipped"; this closes with their sum. A suite that
fails without counting a failure, or counts nothing, is itself a failure.

The suite "truth" measures: chance, and what else the machine does, have a hand in each of its two
thousand results. So a result that misses its bound there is measured again, REPEATS times, by the
same test with the same bound; it counts as held when it holds every time, and what was missed is
said. Where more than MOST_MISSED miss, that is no chance. Nothing else gets a second try.
"""

import argparse
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
    make = ["make", "--no-print-directory", "O=" + os.path.relpath(build, ROOT)]
    if options.sanitized:
        make.append("SAN=" + options.sanitizers)
    yield "lint", [sys.executable, "tests/lint/lint.py", "--build", build]
    yield "unit", make + ["unit"]
    yield "python_layout", make + ["layout-test", "PYTHON=" + pytest[0]]
    yield "cli", pytest + ["tests/cli"]
    yield "truth", pytest + ["tests/truth"]


def run_suite(command):
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


def measure(name, command):
    """Runs a suite that measures; returns as run_suite does."""
    with tempfile.NamedTemporaryFile("r", prefix="missed-") as file:
        status, counted = run_suite(command + ["--missed", file.name])
        missed = sorted(set(file.read().splitlines()))
    # A test whose clean-up fails as well has failed twice.
    if status != 1 or not counted or not 0 < counted[1] == len(missed) <= MOST_MISSED:
        return status, counted
    again = command[:-1] + missed
    for number in range(REPEATS):
        print("== %s: measured again, %d of %d: %s" % (name, number + 1, REPEATS, " ".join(again)))
        sys.stdout.flush()
        if run_suite(again) != (0, [len(missed), 0, 0]):
            return status, counted
    for each in missed:
        print("%s: missed once, held %d times: %s" % (name, REPEATS, each))
    return 0, [counted[0] + len(missed), 0, counted[2]]


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
    for name, command in suites(options):
        if options.suite and name not in options.suite:
            continue
        print("== %s: %s" % (name, " ".join(command)))
        sys.stdout.flush()
        start = time.monotonic()
        status, counted = (measure(name, command) if name == "truth" else run_suite(command))
        if counted is None:
            print("%s: counted nothing (status %d)" % (name, status))
            counted = [0, 1, 0]
        elif status and not counted[1]:
            print("%s: status %d" % (name, status))
            counted[1] += 1
        if counted[1]:
            bad.append(name)
        total = [old + new for old, new in zip(total, counted)]
        print("== %s: %.0f s" % (name, time.monotonic() - start))
    if bad:
        print("failed suites: " + ", ".join(bad))
    print("%d passed, %d failed, %d skipped" % tuple(total))
    sys.exit(1 if total[1] or not total[0] else 0)


if __name__ == "__main__":
    main()
