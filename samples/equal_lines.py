# SPDX-License-Identifier: Apache-2.0
"""Ten lines that do the same work.

True of it: each of the lines @line0 to @line9 takes a tenth of their common CPU time, all of it
Python.
"""

import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 600000


def run():
    x = 1
    for _ in range(rounds):
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line0
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line1
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line2
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line3
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line4
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line5
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line6
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line7
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line8
        x = (x * 1103515245 + 12345) & 0x7fffffff; x = (x * 69069 + 1) & 0x7fffffff  # @line9
    return x


print(run())
