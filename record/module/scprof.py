# SPDX-License-Identifier: Apache-2.0
"""Steers a recording from inside the program: name its phases, pause it, go on.

    import scprof

    scprof.mark("loading")              # from here to the next mark is the phase "loading"
    with scprof.phase("training"):      # the same for a block
        ...
    with scprof.recording():            # records only this, under "scprof-record --start-paused"
        ...

Everything here does nothing, and costs next to nothing, in a program that is not being recorded.
Needs no build and no installation: one file, any Python from 3.9 on.
"""

import contextlib
import ctypes

__all__ = ["is_recording", "mark", "phase", "recording", "start", "stop"]


def _find(name, nothing, *arguments):
    """The function of that name in scprof's library: it may come at any time, and then stays."""
    found = None

    def call(*values):
        nonlocal found
        if found is None:
            try:
                found = getattr(_program, name)
            except AttributeError:
                return nothing
            found.restype, found.argtypes = ctypes.c_int, arguments
        return found(*values)

    return call


try:
    _program = ctypes.CDLL(None)
except OSError:
    _program = None
_recording = _find("scprof_recording", 0)
_start = _find("scprof_start", -1)
_stop = _find("scprof_stop", -1)
_mark = _find("scprof_mark", -1, ctypes.c_char_p)


def is_recording():
    """True while this process is being recorded and not paused."""
    return _recording() == 1


def start():
    """Goes on recording this process. Returns whether there is a recording."""
    return _start() == 0


def stop():
    """Pauses the recording of this process. Returns whether there is a recording."""
    return _stop() == 0


def mark(label=""):
    """Begins the phase `label`; "" ends the phase before. Returns whether there is a recording."""
    return _mark(str(label).encode("utf-8", "replace")) == 0


@contextlib.contextmanager
def phase(label):
    """The block is the phase `label`."""
    mark(label)
    try:
        yield
    finally:
        mark()


@contextlib.contextmanager
def recording():
    """Records the block, and pauses after it."""
    start()
    try:
        yield
    finally:
        stop()
