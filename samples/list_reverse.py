# SPDX-License-Identifier: Apache-2.0
"""C code that is reached without a call: slices, concatenation, comparison; and by one: sorted().

True of it: on each of the marked lines at least 90 % of the CPU time is native, but for what the
recorder does in the kernel when it follows the lists.
"""

import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15000
numbers = list(range(12000))
bytes(8 << 20)  # malloc maps nothing smaller from here on, nor gives back what is free


def run():
    for _ in range(rounds):
        backwards = numbers[::-1]  # @slice
        ordered = sorted(backwards)  # @sorted
        joined = backwards + ordered  # @add
        same = ordered == numbers  # @compare
    return len(joined), same


print(*run())
