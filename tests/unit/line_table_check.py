# SPDX-License-Identifier: Apache-2.0
"""Compare our location tables with every interpreter's own view of its standard library.

usage: line_table_check.py CHECKER [SECONDS]

CHECKER is the program built from line_table_check.c. Each interpreter found runs this file again
and describes code objects for SECONDS (default 2).
"""
import glob
import os
import shutil
import struct
import subprocess
import sys
import time


def expected_positions(code):
    """(line, end line, column, end column) of each code unit, as the interpreter sees it."""
    import dis

    units = len(code.co_code) // 2
    if sys.version_info >= (3, 11):
        rows = list(code.co_positions())
    elif sys.version_info >= (3, 10):
        rows = [(None,) * 4] * units
        for start, end, line in code.co_lines():
            rows[start // 2:end // 2] = [(line, None, None, None)] * (end // 2 - start // 2)
    else:
        starts = dict(dis.findlinestarts(code))
        line = code.co_firstlineno
        rows = []
        for unit in range(units):
            line = starts.get(unit * 2, line)
            rows.append((line, None, None, None))
    shown = max(code.co_firstlineno, 1)
    for line, end_line, column, end_column in rows:
        if line is None or line < 1:
            yield shown, 0, 0, 0
            continue
        shown = line
        yield (line, end_line or 0, 0 if column is None else column + 1,
               0 if end_column is None else end_column + 1)


def describe(seconds):
    """Write records for line_table_check.c until the time is up."""
    version = sys.version_info[0] << 8 | sys.version_info[1]
    out = sys.stdout.buffer
    paths = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "**", "*.py"),
                             recursive=True), key=hash)
    until = time.monotonic() + seconds
    for path in paths:
        try:
            with open(path, "rb") as file:
                todo = [compile(file.read(), path, "exec")]
        except (SyntaxError, ValueError, OSError):
            continue
        while todo:
            code = todo.pop()
            todo += [const for const in code.co_consts if hasattr(const, "co_code")]
            table = code.co_lnotab if version < 0x30a else code.co_linetable
            out.write(struct.pack("<IiII", version, code.co_firstlineno, len(code.co_code),
                                  len(table)))
            out.write(table)
            for position in expected_positions(code):
                out.write(struct.pack("<4i", *position))
        if time.monotonic() > until:
            break


def interpreters():
    found = glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))
    found += filter(None, [shutil.which("python3", path="/usr/bin"), sys.executable])
    seen = set()
    for path in found:
        version = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:3])"],
                                 capture_output=True, text=True).stdout.split()
        if len(version) == 3 and int(version[1]) >= 9 and os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            yield path, ".".join(version)


def main():
    checker = sys.argv[1]
    seconds = sys.argv[2] if len(sys.argv) > 2 else "2"
    passed = failed = 0
    for path, version in interpreters():
        child = subprocess.Popen([path, "-W", "ignore", os.path.abspath(__file__), "--describe",
                                  seconds], stdout=subprocess.PIPE)
        check = subprocess.run([checker], stdin=child.stdout, capture_output=True, text=True)
        child.stdout.close()
        ok = child.wait() == 0 and check.returncode == 0
        print("line tables of Python %s: %s" % (version, check.stdout.strip()))
        passed += ok
        failed += not ok
    print("%d passed, %d failed, %d skipped" % (passed, failed, passed + failed == 0))
    return failed > 0


if __name__ == "__main__":
    if sys.argv[1] == "--describe":
        describe(float(sys.argv[2]))
    else:
        sys.exit(main())
