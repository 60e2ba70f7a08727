# SPDX-License-Identifier: Apache-2.0
"""Maps memory in every way that has its own rule.

True of it: see the comments; MiB that stay mapped, of the kind that counts as heap unless it says
otherwise.
"""

import ctypes
import os
import tempfile

MIB = 1 << 20
NONE, READ_WRITE = 0, 3
SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE = 1, 2, 0x10, 0x20, 0x4000
MAYMOVE = 1
libc = ctypes.CDLL(None, use_errno=True)
size_t, pointer, integer = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
libc.mmap.restype = libc.mremap.restype = pointer
libc.mmap.argtypes = [pointer, size_t, integer, integer, integer, ctypes.c_long]
libc.munmap.argtypes = [pointer, size_t]
libc.mremap.argtypes = [pointer, size_t, size_t, integer]
libc.mprotect.argtypes = [pointer, size_t, integer]
FAILED = ctypes.c_void_p(-1).value
mmap, munmap, mremap, mprotect = libc.mmap, libc.munmap, libc.mremap, libc.mprotect

plain = mmap(None, 10 * MIB, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)  # @plain: 10
gone = mmap(None, 11 * MIB, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)  # @gone: none
assert munmap(gone, 11 * MIB) == 0

whole = mmap(None, 12 * MIB, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)  # @partial: 7
assert munmap(whole, 2 * MIB) == 0
assert munmap(whole + 5 * MIB, 3 * MIB) == 0
assert munmap(whole + 1, 1) != 0

under = mmap(None, 13 * MIB, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)  # @under: 8
over = mmap(under + 4 * MIB, 5 * MIB, READ_WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0)  # @over: 5
assert over == under + 4 * MIB

reserved = mmap(None, 65536 * MIB, NONE, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)  # @reserved: none
assert mprotect(reserved + 16 * MIB, 6 * MIB, READ_WRITE) == 0  # @committed: 6

moved = mmap(None, 3 * MIB, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)  # @before: none
wall = mmap(moved + 3 * MIB, 4096, NONE, PRIVATE | ANONYMOUS, -1, 0)
moved = mremap(moved, 3 * MIB, 9 * MIB, MAYMOVE)  # @remapped: 9
assert moved != FAILED

stays = mmap(None, 14 * MIB, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)  # @unmoved: 14
assert mremap(stays, 14 * MIB, 1 << 60, MAYMOVE) == FAILED
assert mremap(stays + 4 * MIB, 4 * MIB, 1 << 60, 0) == FAILED

assert mmap(None, 0, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0) == FAILED  # @failed: none
with tempfile.TemporaryFile() as file:
    os.ftruncate(file.fileno(), 20 * MIB)
    of_file = mmap(None, 20 * MIB, READ_WRITE, PRIVATE, file.fileno(), 0)  # @file: none
    assert of_file != FAILED
print("done")
