# SPDX-License-Identifier: Apache-2.0
"""200 threads that live at the same time and do a little work each.

True of it: there are threads named worker-000 to worker-199, and the CPU time of each is the number
that it prints for itself at its end (in nanoseconds; its own start and end come on top).
"""

import sys
import threading
import time

count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
spent = {}
all_there = threading.Barrier(count)


def work():
    all_there.wait()
    total = 0
    for i in range(200000): total ^= i  # @work
    all_there.wait()
    spent[threading.current_thread().name] = time.thread_time_ns()


threads = [threading.Thread(target=work, name="worker-%03d" % i) for i in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for name in sorted(spent):
    print(name, spent[name])
