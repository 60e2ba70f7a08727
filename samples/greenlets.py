# SPDX-License-Identifier: Apache-2.0
"""Greenlets, whose stacks are switched in C. Needs greenlet; ends with status 77 without it.

True of it: of the CPU time of the two marked lines, @three takes three quarters and @one one.
"""

import sys

try:
    import greenlet
except ImportError:
    print("greenlet is not installed")
    sys.exit(77)

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 6000


def three():
    for _ in range(rounds):
        total = 0
        for i in range(6000): total ^= i  # @three
        second.switch()


def one():
    while True:
        total = 0
        for i in range(2000): total ^= i  # @one
        first.switch()


first = greenlet.greenlet(three)
second = greenlet.greenlet(one)
first.switch()
print("done")
