# SPDX-License-Identifier: Apache-2.0
"""Memory that crosses threads.

True of it: the 40 MiB of @made are allocated by the thread "maker", freed by the thread "dropper";
@stays keeps 10 MiB of a thread that has ended; a thread that Python knows nothing of keeps 100 MiB.
"""

import ctypes
import threading
import time

MIB = 1 << 20
libc = ctypes.CDLL(None)
made = []
kept = []


def make():
    for _ in range(20):
        made.append(bytes(2 * MIB))  # @made
    kept.append(bytes(10 * MIB))  # @stays
    time.sleep(0.1)


def drop():
    made.clear()


for name, function in (("maker", make), ("dropper", drop)):
    thread = threading.Thread(target=function, name=name)
    thread.start()
    thread.join()

# A C thread whose whole life is malloc(100 MiB).
thread = ctypes.c_ulong()
start = ctypes.cast(libc.malloc, ctypes.c_void_p)
libc.pthread_create.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
libc.pthread_join.argtypes = [ctypes.c_ulong, ctypes.c_void_p]
assert libc.pthread_create(ctypes.byref(thread), None, start, 100 * MIB) == 0
assert libc.pthread_join(thread, None) == 0
print("done")
