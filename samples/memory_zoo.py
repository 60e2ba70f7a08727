# SPDX-License-Identifier: Apache-2.0
"""Programs that are asked "do you leak?": one of them for so long.

    memory_zoo.py KIND SECONDS

Each serves requests, one every 2 ms; a line with a mark is the one that is asked about. Of each
kind it is known what that line does: it grows to the end, or it grew once, or it is nothing. Prints
how long the longest twelfth of the requests took, in the mean of all: about 1 when the machine let
it run evenly.
"""
import collections
import gc
import sys
import threading
import time

kind, seconds = sys.argv[1], float(sys.argv[2])
INTERVAL = 0.002
KB = 1024
kept = []
table = {}
queue = collections.deque()


def leak(number, share):
    kept.append(bytes(32 * KB))  # @leak


def slow(number, share):
    if number % 2:
        kept.append(bytes(KB))  # @slow


def tiny(number, share):
    kept.append(bytes(10))  # @tiny


def bursts(number, share):
    if number % 60 == 59:
        for _ in range(30):
            kept.append(bytes(64 * KB))  # @bursts


def late(number, share):
    work = [None]
    for _ in range(4):
        if share > 0.5:
            work = kept
        work.append(bytes(32 * KB))  # @late


def stops(number, share):
    if 0.1 < share < 0.6:
        kept.append(bytes(64 * KB))  # @stops


def cache(number, share):
    if share < 0.25:
        table[number] = bytes(64 * KB)  # @cache


def replacing(number, share):
    table[number % 200] = bytes(64 * KB)  # @replacing


def saturating(number, share):
    place = number * 7919 % 100003 * 1000003 % 180
    if place not in table:
        table[place] = bytes(128 * KB)  # @saturating


def drains(number, share):
    queue.append(bytes(64 * KB))  # @drains
    if number % 100 == 70:
        queue.clear()


class Node:
    def __init__(self):
        self.me = self
        self.data = bytes(32 * KB)  # @cycles


def cycles(number, share):
    Node()
    if number % 50 == 49:
        gc.collect()


def threads(number, share):
    if number == 5:
        started = [threading.Thread(target=buffer) for _ in range(8)]
        for thread in started:
            thread.start()


def buffer():
    mine = bytearray(1024 * KB)  # @threads
    time.sleep(seconds)
    del mine


def frees(number, share):
    bytes(256 * KB)  # @frees


def serve(request):
    count = int(seconds / INTERVAL)
    times = [time.monotonic()]
    for twelfth in range(12):
        for number in range(count * twelfth // 12, count * (twelfth + 1) // 12):
            request(number, number / count)
            time.sleep(INTERVAL)
        times.append(time.monotonic())
    longest = max(after - before for before, after in zip(times, times[1:]))
    print(longest / (times[-1] - times[0]) * 12)


serve(globals()[kind])
