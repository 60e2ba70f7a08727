# SPDX-License-Identifier: Apache-2.0
"""Allocates, forks, and goes on in both processes.

True of it: the parent holds @before (30 MiB) and @parent (10 MiB); the child frees what it
inherited and holds @child (20 MiB) only.
"""

import os

MIB = 1 << 20

block = bytearray(30 * MIB)  # @before
pid = os.fork()
if pid == 0:
    del block
    mine = bytearray(20 * MIB)  # @child
    os._exit(0)
os.waitpid(pid, 0)
more = bytearray(10 * MIB)  # @parent
print("done")
