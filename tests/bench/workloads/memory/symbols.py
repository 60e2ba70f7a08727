# SPDX-License-Identifier: Apache-2.0
"""Expands and differentiates polynomials with sympy."""

import sys

from sympy import diff, expand, symbols

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
x, y, z = symbols("x y z")
for power in range(6, 6 + max(1, round(5 * scale))):
    form = expand((x + y + 2 * z + 1) ** power * (1 + x - power * y))
    change = expand(diff(form, x) * (y - 1))
print(len(change.args))
