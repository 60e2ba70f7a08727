# SPDX-License-Identifier: Apache-2.0
"""A running program to look at from outside: python3 calls_of.py COUNTER BUSY ASLEEP

BUSY threads call short functions, ASLEEP more sleep. COUNTER is a file of two 8-byte numbers: how
many rounds the first thread has made, and the longest of them in nanoseconds (0 starts anew).
What they call, and how its names say who may call it, is in samples/call_heavy.py. Runs until its
standard input ends.
"""

import mmap
import pathlib
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[4] / "samples"))

from call_heavy import (a_of_work, alternate_of_work, left_of_alternate,  # noqa: E402
                        other_of_work, recurse_of_work, right_of_alternate)


def work(counter):
    left, right = left_of_alternate(), right_of_alternate()
    before = time.perf_counter_ns()
    while not over:
        for _ in range(20):
            a_of_work()
            other_of_work()
        alternate_of_work(left, right)
        recurse_of_work()
        if counter:
            rounds, longest = struct.unpack_from("QQ", counter)
            now = time.perf_counter_ns()
            struct.pack_into("QQ", counter, 0, rounds + 1, max(longest, now - before))
            before = now


over = []
with open(sys.argv[1], "r+b") as file:
    shared = mmap.mmap(file.fileno(), 16)
end = threading.Event()
threads = [threading.Thread(target=work, args=(None if i else shared,))
           for i in range(int(sys.argv[2]))]
threads += [threading.Thread(target=end.wait) for _ in range(int(sys.argv[3]))]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.read()
over.append(True)
end.set()
for thread in threads:
    thread.join()
