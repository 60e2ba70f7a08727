# SPDX-License-Identifier: Apache-2.0
"""A pipeline of generators.

True of it: source() spends two parts of the CPU time, transform() one and consume() one, each on
its marked line. source() runs below transform(), and transform() below consume(), so their
cumulative times are 2, 3 and 4 parts of 4.
"""

import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4000


def source():
    for number in range(rounds):
        for i in range(4000): number ^= i  # @source
        yield number


def transform(numbers):
    for number in numbers:
        for i in range(2000): number ^= i  # @transform
        yield number


def consume(numbers):
    last = 0
    for number in numbers:
        for i in range(2000): last ^= i  # @consume
        last ^= number
    return last


print(consume(transform(source())))
