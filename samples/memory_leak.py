# SPDX-License-Identifier: Apache-2.0
"""Keeps COUNT blocks of SIZE bytes and drops as many at once.

    memory_leak.py [COUNT] [SIZE] [SECONDS]

True of it: @leak allocates COUNT x SIZE bytes (and what a bytes object's header takes, 33 bytes
each), all of them alive at the end; @churn allocates as much and keeps nothing. SECONDS is how long
that takes, spread evenly.
"""

import sys
import time

count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
size = int(sys.argv[2]) if len(sys.argv) > 2 else 2 << 20
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
kept = []


def serve(turns):
    for _ in range(turns):
        kept.append(bytes(size))  # @leak
        bytes(size)  # @churn


start = time.monotonic()
while seconds and len(kept) < count:
    share = (time.monotonic() - start) / seconds
    serve(min(int(count * share), count) - len(kept))
    time.sleep(0.01)
serve(count - len(kept))
print(len(kept))
