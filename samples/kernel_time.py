# SPDX-License-Identifier: Apache-2.0
"""A system call that keeps the kernel busy: a megabyte of zeros at a time.

True of it: at least 90 % of the CPU time of the line @read is system time, and that line takes
nearly all CPU time of the run.
"""

import os
import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
buffers = [bytearray(1 << 20)]
zeros = os.open("/dev/zero", os.O_RDONLY)


def run():
    total = 0
    for _ in range(rounds):
        total += os.readv(zeros, buffers)  # @read
    return total


print(run())
