# SPDX-License-Identifier: Apache-2.0
"""Three threads of pure Python that want the interpreter at the same time.

True of it, on builds with a GIL: only one runs at any moment, so the threads' CPU times add up to
no more than the time that passed; what a thread does not run while it works, it waits for the GIL
(or, on a busy machine, for a processor).
Each thread prints its name, the CPU time and the wall time of its work in nanoseconds, and how long
the kernel says that it had no processor while it was ready. Then it sleeps for a moment: the kernel
books that time only when the thread gets its processor, too late for a thread that ends there.
"""

import sys
import threading
import time

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
report = []
start = threading.Barrier(3)


def without_processor():
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1])
    except OSError:
        return 0


def spin():
    start.wait()
    wall, cpu, ready = time.monotonic_ns(), time.thread_time_ns(), without_processor()
    total = 0
    for _ in range(rounds):
        for i in range(100000): total ^= i  # @spin
    report.append((threading.current_thread().name, time.thread_time_ns() - cpu,
                   time.monotonic_ns() - wall, without_processor() - ready))
    time.sleep(0.05)


threads = [threading.Thread(target=spin, name="spin-%d" % i) for i in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for line in report:
    print(*line)
