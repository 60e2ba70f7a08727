# SPDX-License-Identifier: Apache-2.0
"""Array kernels of numpy. Needs numpy; ends with status 77 without it.

True of it: on each of the marked lines at least 95 % of the CPU time is native. There is one thread
(the BLAS is told not to start any).
"""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
try:
    import numpy
except ImportError:
    print("numpy is not installed")
    sys.exit(77)

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
matrix = numpy.linspace(0.0, 1.0, 200 * 200).reshape(200, 200)
vector = numpy.linspace(0.1, 3.0, 100000)
noise = numpy.sin(vector * 1e6)


def run():
    total = 0.0
    for _ in range(rounds):
        total += numpy.sin(vector)[0]  # @sin
        total += (matrix @ matrix)[0, 0]  # @matmul
        shuffled = noise.copy()
        shuffled.sort()  # @sort
        total += (((vector * noise + vector) / vector) * noise - vector)[1]  # @operators
    return total, shuffled[0] <= shuffled[1]


print(*(float(value) > -1e9 for value in run()))
