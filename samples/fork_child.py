# SPDX-License-Identifier: Apache-2.0
"""A fork without exec.

True of it: there are two processes; the child does on its line @child twice the work that the
parent does on @parent, and ends in os._exit. The parent meanwhile waits on @wait. Each prints how
much CPU time its work took, in nanoseconds: the machine may change its pace between them.
"""

import os
import sys
import time

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200


def parent():
    total, start = 0, time.process_time_ns()
    for _ in range(rounds):
        for i in range(40000): total ^= i  # @parent
    print("parent", time.process_time_ns() - start, flush=True)


def child():
    total, start = 0, time.process_time_ns()
    for _ in range(2 * rounds):
        for i in range(40000): total ^= i  # @child
    print("child", time.process_time_ns() - start, flush=True)


pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
os.waitpid(pid, 0)  # @wait
parent()
