# SPDX-License-Identifier: Apache-2.0
"""Many lines, each with blocks of one size: from a 250th of the rate to five times that, so many
that a sampler at that rate expects 3 to 300 of them. Half of the lines keep their blocks.

    memory_lines.py RATE

Prints what each line of "blocks.py" allocates, and which of them keep it.
"""
import gc
import json
import sys
from collections import deque
from itertools import repeat
from math import exp

rate = int(sys.argv[1])
HEADER = sys.getsizeof(b"")
QUEUE_BLOCK = 66 * 8  # for each 64 items of a deque
LINES = 48

source = []
truth = {}
for number in range(1, LINES + 1):
    block = max(HEADER + 2, int(rate * 0.004 * exp(7.13 * ((number * 29) % LINES) / (LINES - 1))))
    expected = 3 * 10 ** (2 * ((number * 7) % LINES) / (LINES - 1))
    count = int(expected / (1 - exp(-block / rate))) + 1
    keeps = number % 2 == 0
    if keeps:
        source.append("kept.append(deque(map(bytes, repeat(%d, %d))))" % (block - HEADER, count))
    else:
        source.append("deque(map(bytes, repeat(%d, %d)), 0)" % (block - HEADER, count))
    truth[number] = {"keeps": keeps, "bytes": block * count +
                     QUEUE_BLOCK * ((count + 31) // 64 + 1 if keeps else 1)}

gc.disable()  # a collection allocates, too, on whatever line it comes
kept = []
spare = [deque([None]) for _ in range(32)]  # what is left of earlier deques would be used again
exec(compile("\n".join(source), "blocks.py", "exec"))
print(json.dumps(truth))
