# SPDX-License-Identifier: Apache-2.0
"""A program that works and then leaves through os._exit with status 7: no atexit, no destructors.

True of it: nearly all CPU time is on the line @work, up to the very end; its status is 7.
"""

import os
import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
total = 0
for _ in range(rounds):
    for i in range(40000): total ^= i  # @work
print("working", total, flush=True)
for _ in range(rounds):
    for i in range(40000): total ^= i  # @late
os._exit(7)
