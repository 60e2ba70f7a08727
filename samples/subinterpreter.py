# SPDX-License-Identifier: Apache-2.0
"""One thread works in the main interpreter and in another one, in turns, until its input ends."""

import select
import sys
import time

try:
    import _interpreters as interpreters
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    run = interpreters.run_string

INNER = """
import time
def inner_work():
    end = time.perf_counter() + 0.05
    while time.perf_counter() < end:
        sum(range(100))
inner_work()
"""


def outer_work():
    end = time.perf_counter() + 0.05
    while time.perf_counter() < end:
        sum(range(100))


other = interpreters.create()
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    outer_work()
    run(other, INNER)
print("ran on", flush=True)
