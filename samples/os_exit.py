# SPDX-License-Identifier: Apache-2.0
"""A program that works and then leaves through os._exit with status 7: no atexit, no destructors.

True of it: nearly all CPU time is on the lines @work and @late, up to the very end, and how much on
which it prints, in nanoseconds; its status is 7.
"""

import os
import sys
import time

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
total, start = 0, time.process_time_ns()
for _ in range(rounds):
    for i in range(40000): total ^= i  # @work
middle = time.process_time_ns()
for _ in range(rounds):
    for i in range(40000): total ^= i  # @late
print(middle - start, time.process_time_ns() - middle, flush=True)
os._exit(7)
