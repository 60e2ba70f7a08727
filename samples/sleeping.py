# SPDX-License-Identifier: Apache-2.0
"""Threads that do nothing: one sleeps, one waits for data from a pipe, the main one for both.

True of it: the line @sleep takes a second of waiting of kind sleep, @read a second of kind I/O,
@join a second of kind lock; none of them takes CPU time worth the name.
"""

import os
import threading
import time

reader, writer = os.pipe()


def sleep():
    time.sleep(1.0)  # @sleep
    os.write(writer, b"x")


def read():
    os.read(reader, 1)  # @read


threads = [threading.Thread(target=sleep, name="sleeper"),
           threading.Thread(target=read, name="reader")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()  # @join
print("done")
