# SPDX-License-Identifier: Apache-2.0
"""Runs until its standard input ends: one thread works, two wait. For scprof-record --pid."""

import sys
import threading
import time


def leaf(n):
    total = 0
    for i in range(n):
        total += i * i  # @work
    return total


def branch():
    return leaf(300)  # @call


def sleeper():
    while True:
        time.sleep(3600)  # @sleep


def locked():
    lock.acquire()  # @lock


def worker():
    while not over:
        branch()


lock = threading.Lock()
lock.acquire()
over = []
threading.Thread(target=sleeper, name="sleeper", daemon=True).start()
threading.Thread(target=locked, name="locked", daemon=True).start()
working = threading.Thread(target=worker, name="worker")
working.start()
print("ready", flush=True)
sys.stdin.read()
over.append(True)
working.join()
print("ran on", flush=True)
