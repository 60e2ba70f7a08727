# SPDX-License-Identifier: Apache-2.0
"""Work at the bottom of a stack of 10,000 frames, in a thread with room for it.

True of it: nearly all CPU time is spent on the line @bottom, with more than 10,000 frames above it,
and no stack lacks its outer frames.
"""

import sys
import threading

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 800
DEPTH = 10000


def descend(depth):
    if depth:
        return descend(depth - 1)
    total = 0
    for _ in range(rounds):
        for i in range(40000): total ^= i  # @bottom
    return total


def run():
    print(descend(DEPTH))


sys.setrecursionlimit(DEPTH + 1000)
threading.stack_size(256 * 1024 * 1024)
thread = threading.Thread(target=run, name="deep")
thread.start()
thread.join()
