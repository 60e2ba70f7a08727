# SPDX-License-Identifier: Apache-2.0
"""Maps 512 MB and touches a part of it.

    memory_touched.py [PERCENT]

True of it: the process's resident memory grows by PERCENT of 512 MB and stays there. It prints what
the kernel says of it before and after.
"""

import mmap
import resource
import sys
import time

percent = int(sys.argv[1]) if len(sys.argv) > 1 else 50
size = 512 << 20


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


time.sleep(0.2)
before = resident()
block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # @map
for at in range(0, size * percent // 100, 4096):
    block[at] = 1
time.sleep(0.2)
print(before, resident())
