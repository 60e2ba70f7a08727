# SPDX-License-Identifier: Apache-2.0
"""Pancake flips over all permutations of nine: small lists, slices, integers."""

import itertools
import sys

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
most = 0
for number, order in enumerate(itertools.permutations(range(10))):
    if number > 230000 * scale:
        break
    order = list(order)
    flips = 0
    while order[0]:
        first = order[0] + 1
        order[:first] = order[first - 1::-1] if first < len(order) else order[::-1]
        flips += 1
    most = max(most, flips)
print(most)
