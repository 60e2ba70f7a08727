# SPDX-License-Identifier: Apache-2.0
"""A function that calls itself, and works only at the deepest level.

True of it: nearly all CPU time is self time of the line @bottom. The cumulative time of descend()
is the time of the whole run, counted once however often it is on the stack: never more than 100 %.
"""

import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
DEPTH = 150


def descend(depth):
    if depth:
        return descend(depth - 1) + 1  # @down
    total = 0
    for i in range(50000): total += i & 7  # @bottom
    return total


def run():
    return sum([descend(DEPTH) for _ in range(rounds)])  # @outer


print(run())
