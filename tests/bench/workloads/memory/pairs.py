# SPDX-License-Identifier: Apache-2.0
"""Prints as JSON what allocations and copies cost in nanoseconds: malloc/free pairs in a loop and
in a working set, objects made and dropped, copies of small and large blocks."""

import ctypes
import json
import sys
import threading
import time

library = ctypes.CDLL(sys.argv[1])
scale = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
library.pairs_run.restype = library.copies_run.restype = ctypes.c_double
library.pairs_run.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int]
library.copies_run.argtypes = [ctypes.c_long, ctypes.c_size_t]


def objects(rounds):
    for _ in range(rounds):
        [float(i) for i in range(1000)]


def in_threads(count, rounds):
    threads = [threading.Thread(target=objects, args=(rounds // count,)) for _ in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - start) / (rounds // count * count * 1000) * 1e9


found = {}
for count in (1, 4, 16):
    found["malloc/free, %d threads" % count] = library.pairs_run(
        count, int(3000000 * scale) // count, 0)
    found["working set, %d threads" % count] = library.pairs_run(
        count, int(3000000 * scale) // count, 1)
    found["object, %d threads" % count] = in_threads(count, int(4000 * scale))
for size, copies in ((8, 1e7), (64, 1e7), (1024, 5e6), (65536, 3e5), (1 << 20, 1e4)):
    found["memcpy, %d bytes" % size] = library.copies_run(int(copies * scale), size)
print(json.dumps(found))
