# SPDX-License-Identifier: Apache-2.0
"""A process that sleeps, is gone at once, and takes the kernel a while to clear away.

True of it: the line @sleep takes a second of waiting of kind sleep, and nothing comes after it.
"""

import os
import time

held = bytearray(200 << 20)
print("done", flush=True)
time.sleep(1.0)  # @sleep
os._exit(0)
