# SPDX-License-Identifier: Apache-2.0
"""A fork without exec.

True of it: there are two processes; the child spends twice the CPU time of the parent's @parent on
its line @child, and ends in os._exit. The parent meanwhile waits on @wait.
"""

import os
import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200


def parent():
    total = 0
    for _ in range(rounds):
        for i in range(40000): total ^= i  # @parent


def child():
    total = 0
    for _ in range(2 * rounds):
        for i in range(40000): total ^= i  # @child


pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
os.waitpid(pid, 0)  # @wait
parent()
print("done")
