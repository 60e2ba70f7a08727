# SPDX-License-Identifier: Apache-2.0
"""Value iteration over a small Markov chain in exact fractions: objects that live for a moment."""

import sys
from fractions import Fraction

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
states = 40
for _ in range(max(1, round(150 * scale))):
    value = {state: Fraction(state, 7) for state in range(states)}
    for turn in range(8):
        value = {state: Fraction(1, 3) * value[(state + 1) % states] +
                 Fraction(1, 3) * value[(state * 7) % states] + Fraction(1, 3)
                 for state in value}
        value = {state: each.limit_denominator(10000) for state, each in value.items()}
print(max(value.values()))
