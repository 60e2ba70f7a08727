# SPDX-License-Identifier: Apache-2.0
"""Bench workload for accuracy: measures the CPU time of its own three lines, and prints it."""

import json
import sys
import time

clock = time.thread_time_ns
numbers = [(i * 7919) % 100003 for i in range(60000)]
spent = {"python": 0, "builtin": 0, "calls": 0}


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def run(rounds):
    for _ in range(rounds):
        start = clock()
        for i in range(150000): i ^ 5  # @python
        middle = clock()
        sorted(numbers); sorted(numbers)  # @builtin
        end = clock()
        fib(24)  # @calls
        spent["calls"] += clock() - end
        spent["python"] += middle - start
        spent["builtin"] += end - middle


run(int(float(sys.argv[1]) * 90))
print(json.dumps(spent))
