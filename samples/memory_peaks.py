# SPDX-License-Identifier: Apache-2.0
"""Two peaks, a short one, and what they are made of.

    memory_peaks.py [first|short]

True of it: first: @first holds 80 MiB on top of @base's 20 MiB, then @second 79 MiB: the peak is
the first one. short: @second holds 88 MiB for about a microsecond, and that is the peak, which
nobody who looks at the clock would see.
"""

import ctypes
import sys

MIB = 1 << 20
kind = sys.argv[1] if len(sys.argv) > 1 else "first"
libc = ctypes.CDLL(None)
malloc, free = libc.malloc, libc.free
malloc.restype = ctypes.c_void_p
malloc.argtypes = [ctypes.c_size_t]
free.argtypes = [ctypes.c_void_p]
size = 88 if kind == "short" else 79

base = malloc(20 * MIB)  # @base
block = malloc(80 * MIB)  # @first
free(block)
free(malloc(size * MIB))  # @second
print(kind)
