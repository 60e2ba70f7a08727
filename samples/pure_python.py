# SPDX-License-Identifier: Apache-2.0
"""Objects, attributes, arithmetic, calls from Python to Python: no builtin is called in the loop.

True of it: at least 97 % of the CPU time of step() and run() is Python.
"""

import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 6000000


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y


def step(point, time):
    velocity = point.y * 0.999 - point.x * 0.01  # @step
    point.x += velocity * time
    point.y = velocity
    if point.x > 10.0:
        point.x -= 20.0
    return point


def run():
    point = Point(1.0, 0.5)
    i = 0
    while i < rounds:
        point = step(point, 0.01)  # @loop
        i += 1
    return point


print(round(run().x, 6))
