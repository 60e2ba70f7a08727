# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on arrays: every operator makes a new array of 16 MB.

True of it: @add allocates 10 x 16 MB and the line holds one of them at a time; @two allocates two
arrays a turn, one of them temporary.
"""

import numpy

a = numpy.ones(2000000)
b = c = None
for _ in range(10):
    b = a + a  # @add
    c = a * a - a  # @two
print(b.sum(), c.sum())
