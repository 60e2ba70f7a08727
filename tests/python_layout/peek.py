# SPDX-License-Identifier: Apache-2.0
"""Drives python_peek over running interpreters."""

import subprocess

# Run by an interpreter: prints the first bytes of its _PyRuntime.
DEBUG_OFFSETS = """
import ctypes
runtime = ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")
print(ctypes.string_at(ctypes.addressof(runtime), 1024).hex())
"""

# Starts a target's script: peek_ready() tells that it can be looked at, and peek_wait() waits until
# nobody wants to look any more.
TARGET_HEAD = """
import ctypes, sys
def peek_ready(*lines):
    runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    print(len(lines))
    for line in lines:
        print(line)
    print("%x" % runtime, flush=True)
def peek_wait():
    sys.stdin.read()
"""


def hex_version(interpreter):
    return "%02x%02x%02xf0" % interpreter.version


class Target:
    """A running Python that waits to be looked at; use it in a with statement."""

    def __init__(self, interpreter, script):
        self.interpreter = interpreter
        self.process = subprocess.Popen(
            [interpreter.path, "-c", TARGET_HEAD + script], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            count = int(self._line())
            self.lines = [self._line() for _ in range(count)]
            self.runtime = self._line()
        except ValueError:
            self.process.kill()
            raise AssertionError(self.process.communicate()[1].decode()) from None

    def _line(self):
        return self.process.stdout.readline().decode().rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process.stderr.close()

    def peek(self, program, what, *more, given=""):
        """Runs python_peek on this target; returns its lines."""
        done = subprocess.run(
            [program, what, str(self.process.pid), self.runtime, hex_version(self.interpreter),
             "1" if self.interpreter.free_threaded else "0", *map(str, more)],
            input=given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    def names(self, program):
        """Identifier -> name of each thread, and the line that sums up."""
        *entries, summary = self.peek(program, "names")
        found = {}
        for entry in entries:
            ident, name = entry.split(" ")
            found[int(ident)] = bytes.fromhex(name).decode("utf-8", "surrogatepass")
        return found, summary
