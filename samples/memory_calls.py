# SPDX-License-Identifier: Apache-2.0
"""Calls the C library's allocator in every way that has its own rule.

True of it, in bytes: see the comments. Nothing of what is not said to stay stays.
"""

import ctypes

MIB = 1 << 20
libc = ctypes.CDLL(None)
size_t, pointer = ctypes.c_size_t, ctypes.c_void_p


def function(name, result, *arguments):
    found = getattr(libc, name)
    found.restype, found.argtypes = result, arguments
    return found


malloc = function("malloc", pointer, size_t)
calloc = function("calloc", pointer, size_t, size_t)
realloc = function("realloc", pointer, pointer, size_t)
reallocarray = function("reallocarray", pointer, pointer, size_t, size_t)
free = function("free", None, pointer)
memalign = function("memalign", pointer, size_t, size_t)
aligned_alloc = function("aligned_alloc", pointer, size_t, size_t)
valloc = function("valloc", pointer, size_t)
pvalloc = function("pvalloc", pointer, size_t)
posix_memalign = function("posix_memalign", ctypes.c_int, ctypes.POINTER(pointer), size_t, size_t)
usable = function("malloc_usable_size", size_t, pointer)

grown = None
for step in range(1, 101):
    grown = realloc(grown, step * MIB)  # @grown: 100 MiB stay, 5050 MiB asked for
assert usable(grown) >= 100 * MIB

gone = realloc(malloc(30 * MIB), 0)  # @gone: 30 MiB asked for, none stays
assert gone is None

kept = malloc(25 * MIB)  # @kept: 25 MiB stay
assert realloc(kept, (1 << 62)) is None  # @failed: nothing is asked for with success
assert calloc(1 << 40, 1 << 40) is None  # @overflow: nothing
assert malloc(1 << 62) is None  # @huge: nothing

zeroed = calloc(11, MIB)  # @calloc: 11 MiB stay
array = reallocarray(None, 12, MIB)  # @reallocarray: 12 MiB stay
aligned = memalign(4096, 13 * MIB)  # @memalign: 13 MiB stay
other = aligned_alloc(64, 14 * MIB)  # @aligned_alloc: 14 MiB stay
page = valloc(15 * MIB)  # @valloc: 15 MiB stay
pages = pvalloc(16 * MIB)  # @pvalloc: 16 MiB stay
place = pointer()
assert posix_memalign(ctypes.byref(place), 4096, 17 * MIB) == 0  # @posix_memalign: 17 MiB stay
assert posix_memalign(ctypes.byref(place), 3, 17 * MIB) != 0  # @bad_alignment: nothing
assert aligned % 4096 == 0 and other % 64 == 0 and page % 4096 == 0

for _ in range(10):
    free(malloc(19 * MIB))  # @freed: 190 MiB asked for, none stays
free(None)
print("done")
