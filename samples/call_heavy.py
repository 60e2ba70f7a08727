# SPDX-License-Identifier: Apache-2.0
"""The worst for a profiler that looks from outside: nothing here lives long.

A function's name says who may call it: "b_of_a" is only ever called by "a", and "r_of_r" also by
itself. Runs until its standard input ends.
"""

import sys
import threading


def c_of_b():
    pass


def b_of_a():
    c_of_b()


def a_of_work():
    b_of_a()


def other_of_work():
    pass


def left_of_alternate():
    while True:
        yield 1


def right_of_alternate():
    while True:
        yield 2


def alternate_of_work(left, right):
    for _ in range(2000):
        next(left)
        next(right)


def r_of_r(depth):
    if depth:
        r_of_r(depth - 1)


def recurse_of_work():
    r_of_r(60)


def reuse_of_work():
    # Code objects are made and freed: their addresses have new owners all the time.
    for name in ("first", "second"):
        space = {}
        exec("def leaf_of_%s():\n  sum((1, 2))\n"
             "def %s_of_reuse():\n  leaf_of_%s()\n  leaf_of_%s()\n" % ((name,) * 4), space)
        space[name + "_of_reuse"]()


def work():
    left, right = left_of_alternate(), right_of_alternate()
    while not over:
        for _ in range(2000):
            a_of_work()
            other_of_work()
        alternate_of_work(left, right)
        for _ in range(20):
            recurse_of_work()
        reuse_of_work()


over = []


def main():
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    over.append(True)
    for thread in threads:
        thread.join()
    print("ran on", flush=True)


if __name__ == "__main__":
    main()
