# SPDX-License-Identifier: Apache-2.0
"""A program that works and is then killed by SIGKILL, which nothing can catch.

True of it: nearly all CPU time is on the line @work, up to the very end; it dies of signal 9.
"""

import os
import signal
import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
total = 0
for _ in range(rounds):
    for i in range(40000): total ^= i  # @work
print("worked", total, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
