# SPDX-License-Identifier: Apache-2.0
"""Allocations to be counted: prints how many each marked line makes, and of how many bytes."""

import json
import queue
import sys
import threading

THREADS = 4
SMALL = 10000
LARGE = 500
PASSED = 2000
GENERATED = 300

expected = {}
kept = [None] * SMALL


def expect(mark, count, size):
    expected[mark] = [count, count * size]


def small():
    for i in range(SMALL):
        kept[i] = object()  # @small


def large():
    size = 100000
    blocks = [None] * LARGE
    for i in range(LARGE):
        blocks[i] = bytes(size)  # @large
    return blocks


def freed():
    size = 5000
    for _ in range(LARGE):
        block = bytes(size)  # @freed
    return block


def in_thread(places):
    for i in range(SMALL // THREADS):
        places[i] = object()  # @threaded


def threaded():
    places = [[None] * (SMALL // THREADS) for _ in range(THREADS)]
    threads = [threading.Thread(target=in_thread, args=(mine,)) for mine in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return places


def take(passed):
    while passed.get() is not None:
        pass


def passed_on():
    """Allocated by one thread, freed by another."""
    passed = queue.SimpleQueue()
    taker = threading.Thread(target=take, args=(passed,))
    taker.start()
    size = 2000
    for _ in range(PASSED):
        passed.put(bytes(size))  # @passed
    passed.put(None)
    taker.join()


def deep(depth, place):
    if depth:
        deep(depth - 1, place)
    else:
        for i in range(len(place)):
            place[i] = object()  # @deep


def generated():
    """Code objects that come and go, often at one address, each with a line of its own."""
    places = [None] * GENERATED
    for i in range(GENERATED):
        code = compile("\n" * i + "places[i] = object()", "generated.py", "exec")
        exec(code, {"places": places, "i": i})
    return places


def main():
    thing = sys.getsizeof(object())
    expect("small", SMALL, thing)
    expect("large", LARGE, sys.getsizeof(bytes(100000)))
    expect("freed", LARGE, sys.getsizeof(bytes(5000)))
    expect("threaded", SMALL // THREADS * THREADS, thing)
    expect("deep", 1000, thing)
    small()
    blocks = large()
    freed()
    places = threaded()
    passed_on()
    place = [None] * 1000
    deep(200, place)
    more = generated()
    assert len(blocks) + len(places) + len(place) + len(more) == LARGE + THREADS + 1000 + GENERATED
    json.dump({"lines": expected, "generated": [GENERATED, thing],
               "passed": [PASSED, sys.getsizeof(bytes(2000))]}, sys.stdout)


main()
