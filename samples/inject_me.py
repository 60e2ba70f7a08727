# SPDX-License-Identifier: Apache-2.0
"""Runs until its standard input ends and leaks each time it is told to. For --inject.

    inject_me.py compute|sleep|select|join|native [THREADS]

The word says what the main thread does all the time; unless that is compute or native, another
thread reads. THREADS more threads wait. True of it: for each line that comes in, @leak keeps COUNT
blocks of SIZE bytes (and a bytes object's header), @churn allocates as much and keeps nothing, and
@copy copies VOLUME bytes; when the line is "fork", a child does the first two. It says "ready" and
the size of such an object once, "leaked" after each, and at the end "ran on", with exit status 7.
"""

import hashlib
import os
import select
import socket
import sys
import threading
import time

COUNT = 200
SIZE = 200000
VOLUME = 64 << 20

kept = []
source = bytes(1 << 20)


def leak():
    blocks = [None] * COUNT
    for i in range(COUNT):
        blocks[i] = bytes(SIZE)  # @leak
        bytes(SIZE)  # @churn
    kept.append(blocks)


def copy():
    for _ in range(VOLUME // len(source)):
        bytearray(source)  # @copy


def in_child(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    os.waitpid(child, 0)


def obey(line):
    if "fork" in line:
        in_child(leak)
    else:
        leak()
        copy()
    print("leaked", flush=True)


def work():
    total = 0
    for i in range(2000):
        total += i * i  # @work
    return total


def digest():
    return hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 20000)  # @native


def has_line():
    return select.select([sys.stdin], [], [], 0)[0]


def run_alone(turn):
    while True:
        turn()
        if has_line():
            line = sys.stdin.readline()
            if not line:
                return
            obey(line)


def reader():
    for line in iter(sys.stdin.readline, ""):
        obey(line)
    over.set()
    theirs.close()


mode = sys.argv[1] if len(sys.argv) > 1 else "compute"
over = threading.Event()
ours, theirs = socket.socketpair()
for number in range(int(sys.argv[2]) if len(sys.argv) > 2 else 0):
    threading.Thread(target=over.wait, name="waits-%d" % number, daemon=True).start()
reading = threading.Thread(target=reader, name="reader")
print("ready", sys.getsizeof(bytes(SIZE)), flush=True)
if mode in ("compute", "native"):
    run_alone(work if mode == "compute" else digest)
    over.set()
else:
    reading.start()
    if mode == "select":
        select.select([ours], [], [])  # @select
    while mode == "sleep" and not over.is_set():
        time.sleep(0.5)  # @sleep
    reading.join()  # @join
print("ran on", flush=True)
sys.exit(7)
