# SPDX-License-Identifier: Apache-2.0
"""A program that is shorter than one sample.

True of it: it runs, its trace can be read, and the few samples that there may be are of its start.
"""

print("short")
