# SPDX-License-Identifier: Apache-2.0
"""Bench workload: nothing but calls from Python to Python."""

import sys


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def run(rounds):
    return sum(fib(20) for _ in range(rounds))


print(run(int(float(sys.argv[1]) * 1300)))
