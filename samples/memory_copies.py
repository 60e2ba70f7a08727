# SPDX-License-Identifier: Apache-2.0
"""Copies memory in known amounts.

True of it: @whole copies 40 x 50 MB, @slice 20 x 25 MB, @small 200,000 x 1 KB, @in reads 64 MB and
@out writes as much by system calls.
"""

import tempfile

source = bytes(50000000)
kilobyte = bytes(1000)

for _ in range(40):
    bytearray(source)  # @whole
for _ in range(20):
    source[25000000:]  # @slice
for _ in range(200000):
    bytearray(kilobyte)  # @small
with tempfile.TemporaryFile(buffering=0) as file:
    block = bytes(16000000)
    for _ in range(4):
        file.write(block)  # @out
    file.seek(0)
    into = bytearray(16000000)
    for _ in range(4):
        file.readinto(into)  # @in
print("done")
