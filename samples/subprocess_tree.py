# SPDX-License-Identifier: Apache-2.0
"""A program that starts itself again, and another program, which starts it a third time.

True of it: there are three Python processes, parent, child and grandchild, that spend nearly all
their CPU time on the line @work, and each prints its process id and how much, in nanoseconds; and a
shell between the last two that is not Python and runs untouched.
"""

import os
import subprocess
import sys
import time

level = int(sys.argv[1]) if len(sys.argv) > 1 else 0
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 900


def work():
    total = 0
    for _ in range(rounds):
        for i in range(40000): total ^= i  # @work
    return total


below = [sys.executable, __file__, str(level + 1), str(rounds)]
if level == 0:
    subprocess.run(below, check=True)
elif level == 1:
    subprocess.run(["sh", "-c", '"$@" && echo the shell is done', "sh", *below], check=True)
work()
print("level", level, "done", os.getpid(), time.process_time_ns(), flush=True)
