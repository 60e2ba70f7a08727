# SPDX-License-Identifier: Apache-2.0
"""Bench workload: numpy on one thread."""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import numpy  # noqa: E402


def run(rounds):
    vector = numpy.linspace(0.1, 3.0, 50000)
    total = 0.0
    for _ in range(rounds):
        total += float((numpy.sin(vector) * vector + numpy.sqrt(vector)).sum())
    return total


print(run(int(float(sys.argv[1]) * 1500)))
