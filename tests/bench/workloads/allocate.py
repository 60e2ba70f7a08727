# SPDX-License-Identifier: Apache-2.0
"""Bench workload: makes and drops small objects as fast as it can."""

import sys


def run(rounds):
    keep = []
    for i in range(rounds):
        keep = [(i, i + 1), {"a": i}, [i], str(i), float(i)]
    return keep


print(run(int(float(sys.argv[1]) * 3000000)))
