# SPDX-License-Identifier: Apache-2.0
"""Memory that operators allocate, without a call on the line.

True of it: @list makes 8 MB of pointers a turn, @str 10 MB, @times 20 MB, 10 turns each; what they
make is dropped in the next turn. @copied copies 10 x 10 MB besides.
"""

numbers = [None] * 500000
text = "x" * 5000000
data = bytes(10000000)

for _ in range(10):
    joined = numbers + numbers  # @list
    doubled = text + text  # @str
    many = "ab" * 10000000  # @times
    part = data[1:]  # @slice
print(len(joined), len(doubled), len(many), len(part))
