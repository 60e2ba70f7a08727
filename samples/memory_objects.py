# SPDX-License-Identifier: Apache-2.0
"""Keeps small objects only: what Python serves from its arenas.

    memory_objects.py [COUNT]

True of it: @tuple keeps COUNT tuples of four, whose size it prints; @drop makes as many lists, each
with memory of its own for its items, and keeps none.
"""

import sys

count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
kept = [None] * count


def run():
    for i in range(count):
        kept[i] = (i, i, i, i)  # @tuple
    for i in range(count):
        [i, i, i, None].clear()  # @drop


run()
print(count * sys.getsizeof(kept[0]))
