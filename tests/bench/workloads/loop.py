# SPDX-License-Identifier: Apache-2.0
"""Bench workload: one pure Python loop."""

import sys


def run(rounds):
    total = 0
    for i in range(rounds):
        total = (total * 3 + i) & 0xffffff
    return total


print(run(int(float(sys.argv[1]) * 20000000)))
