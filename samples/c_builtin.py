# SPDX-License-Identifier: Apache-2.0
"""Builtins written in C that work on a lot of data per call.

True of it: on each of the marked lines at least 95 % of the CPU time is native.
"""

import hashlib
import sys
import zlib

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 35
numbers = [(i * 7919) % 1000003 for i in range(300000)]
data = bytes(i * i % 251 for i in range(1 << 16)) * 64


def run():
    for _ in range(rounds):
        total = sum(numbers) + sum(numbers) + sum(numbers) + sum(numbers)  # @sum
        ordered = sorted(numbers)  # @sorted
        digest = hashlib.sha256(data).hexdigest()  # @sha256
        packed = zlib.compress(data, 1)  # @zlib
    return total, ordered[0], digest[:8], len(packed) < len(data)


print(*run())
