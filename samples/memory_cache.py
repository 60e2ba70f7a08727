# SPDX-License-Identifier: Apache-2.0
"""Fills a cache in the first tenth of its time and works on with temporary objects.

    memory_cache.py [SECONDS]

True of it: @cache holds 64 x 1 MiB from early on and then never grows; the blocks of @work are
freed in the turn that makes them. Nothing leaks.
"""

import sys
import time

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
cache = {}
end = time.monotonic() + seconds

while time.monotonic() < end:
    for key in range(64):
        if key not in cache:
            cache[key] = bytes(1 << 20)  # @cache
    block = bytes(300000)  # @work
    time.sleep(0.001)
print(len(cache))
