# SPDX-License-Identifier: Apache-2.0
"""Runs the C unit tests and closes with "N passed, N failed, N skipped".

    run_unit.py BUILD PROGRAM...

Besides the given programs it runs the fuzz targets over their corpus and compares location tables
with the interpreters found. A program counts with its own closing line, Check's or ours; one that
fails without counting a failure is a failure itself.
"""
import glob
import os
import re
import subprocess
import sys

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.M)
OURS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)


def count(output, status):
    """What a program counted: [passed, failed, skipped]."""
    counted = [0, 0, 0]
    for checks, failures, errors in CHECK.findall(output):
        failed = int(failures) + int(errors)
        counted = [counted[0] + int(checks) - failed, counted[1] + failed, counted[2]]
    for numbers in OURS.findall(output):
        counted = [old + int(new) for old, new in zip(counted, numbers)]
    skipped = len(re.findall(r"^skipped: ", output, re.M))
    counted = [counted[0] - skipped, counted[1], counted[2] + skipped]
    if (status and not counted[1]) or not any(counted):
        counted[1] += 1
    return counted


def commands(build, programs):
    for program in programs:
        yield [program]
    for program in sorted(glob.glob(os.path.join(build, "tests/fuzz/corpus_*"))):
        if "." not in os.path.basename(program):
            target = os.path.basename(program)[len("corpus_"):]
            yield [program] + sorted(glob.glob("tests/fuzz/corpus/%s/*" % target))
    yield [sys.executable, "tests/unit/line_table_check.py",
           os.path.join(build, "tests/unit/line_table_check")]


def main():
    build, programs = sys.argv[1], sys.argv[2:]
    total = [0, 0, 0]
    for command in commands(build, programs):
        # Check's own temporary files and the tests' output stay out of the tree.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
        sys.stdout.write(OURS.sub("", done.stdout) if done.returncode == 0 else done.stdout)
        counted = count(done.stdout, done.returncode)
        if counted[1]:
            print("FAILED: %s (status %d)" % (" ".join(command[:3]), done.returncode))
        sys.stdout.flush()
        total = [old + new for old, new in zip(total, counted)]
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
