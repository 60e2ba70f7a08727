# SPDX-License-Identifier: Apache-2.0
"""Programs on a terminal: a pseudo terminal and an emulator (pyte), to see what a user sees."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

import pytest

from interpreters import Interpreter

QUIET = 0.05  # seconds without a byte end a picture


def load_emulator(build):
    """Makes pyte importable here; skips the test when it cannot be had."""
    here = Interpreter(sys.executable, {"version": sys.version_info[:3], "free_threaded": False})
    folder, why = here.site_with("pyte", build)
    if why:
        pytest.skip(why)
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)


def emulator(rows, columns):
    """pyte's screen and stream, and what it lacks of xterm: CSI S and CSI T, which curses uses."""
    import pyte

    class Screen(pyte.Screen):
        def scroll(self, change, count):
            margins, before = self.margins, (self.cursor.x, self.cursor.y)
            self.cursor.y = margins.top if margins else 0
            change(count or 1)
            self.cursor.x, self.cursor.y = before

        def scroll_up(self, count=1):
            self.scroll(self.delete_lines, count)

        def scroll_down(self, count=1):
            self.scroll(self.insert_lines, count)

    class Stream(pyte.ByteStream):
        csi = dict(pyte.ByteStream.csi, S="scroll_up", T="scroll_down")

    screen = Screen(columns, rows)
    return screen, Stream(screen)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, build, arguments, rows=24, columns=80, **environment):
        load_emulator(build)
        self.screen, self.stream = emulator(rows, columns)
        self.raw = b""
        self.status = None
        variables = {name: value for name, value in os.environ.items()
                     if name not in ("LINES", "COLUMNS", "NO_COLOR")}
        variables.update({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}, **environment)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            try:
                os.execve(arguments[0], [str(one) for one in arguments], variables)
            finally:
                os._exit(127)

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        """Takes in what comes within some time. False when the program has closed the terminal."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.raw += data
        self.stream.feed(data)
        return bool(data)

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.lines)

    def is_whole(self, condition, end):
        """Whether the condition holds once the picture that is being drawn is complete."""
        if not condition():
            return False
        while time.monotonic() < end and select.select([self.fd], [], [], QUIET)[0]:
            if not self.read(0):
                break
        return condition()

    def wait_for(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not self.is_whole(condition, end):
            alive = self.read(0.2)
            assert alive or condition(), "ended without %s:\n%s" % (what, self.text)
            assert time.monotonic() < end, "no %s:\n%s" % (what, self.text)

    def wait_for_text(self, text):
        self.wait_for(lambda: text in self.text, "'%s'" % text)

    def wait(self, seconds=30):
        """The exit status of the program."""
        end = time.monotonic() + seconds
        while self.status is None:
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                end = time.monotonic() + 5
                while self.read(0.1) and time.monotonic() < end:
                    pass  # its last words
            assert self.status is not None or time.monotonic() < end, self.text
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
