# SPDX-License-Identifier: Apache-2.0
"""Tasks of asyncio that take turns.

True of it: of the CPU time of the two marked lines, @heavy takes three quarters and @light one.
Both run below turn(), which awaits them, and below the event loop.
"""

import asyncio
import sys

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1700


async def heavy():
    total = 0
    for i in range(6000): total ^= i  # @heavy
    await asyncio.sleep(0)
    return total


async def light():
    total = 0
    for i in range(2000): total ^= i  # @light
    await asyncio.sleep(0)
    return total


async def turn(work):
    for _ in range(rounds):
        await work()


async def main():
    await asyncio.gather(turn(heavy), turn(light), turn(heavy), turn(light))


asyncio.run(main())
print("done")
