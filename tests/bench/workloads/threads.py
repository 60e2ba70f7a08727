# SPDX-License-Identifier: Apache-2.0
"""Bench workload: 64 threads that take turns and wait for one another."""

import queue
import sys
import threading


def work(inbox, outbox):
    while True:
        number = inbox.get()
        if number is None:
            return
        total = 0
        for i in range(number):
            total ^= i
        outbox.put(total)


def run(rounds):
    inbox, outbox = queue.Queue(), queue.Queue()
    threads = [threading.Thread(target=work, args=(inbox, outbox)) for _ in range(64)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        inbox.put(20000)
    for _ in range(rounds):
        outbox.get()
    for _ in threads:
        inbox.put(None)
    for thread in threads:
        thread.join()


run(int(float(sys.argv[1]) * 1200))
