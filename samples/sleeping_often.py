# SPDX-License-Identifier: Apache-2.0
"""A program that works a little and sleeps a little, many times a second.

True of it: the wall time of its only thread is what the clock says, however it is cut up. On the
line @nap it waits, of kind sleep; on @work it spends its CPU time.
"""

import time

end = time.monotonic() + 1.5
total = 0
while time.monotonic() < end:
    for i in range(3000): total ^= i  # @work
    time.sleep(0.0007)  # @nap
print("done")
