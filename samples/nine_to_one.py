# SPDX-License-Identifier: Apache-2.0
"""Two lines of pure Python, one of which does nine times the work of the other.

True of it: of the CPU time of the two marked lines, 90 % is spent on @nine and 10 % on @one. All of
it is Python, none is native or system.
"""

import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1500


def run():
    total = 0
    for _ in range(rounds):
        for i in range(9000): total += i ^ 5  # @nine
        for i in range(1000): total += i ^ 5  # @one
    return total


print(run())
