# SPDX-License-Identifier: Apache-2.0
"""A tree of asyncio tasks that wait for their children and do little else."""

import asyncio
import sys

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


async def node(depth):
    if depth:
        await asyncio.gather(*[node(depth - 1) for _ in range(6)])
    else:
        await asyncio.sleep(0)


for _ in range(max(1, round(6 * scale))):
    asyncio.run(node(5))
