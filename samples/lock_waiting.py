# SPDX-License-Identifier: Apache-2.0
"""A thread that wants a lock which another one holds for a second.

True of it: the thread "waiter" spends a second on the line @lock, waiting of kind lock, without CPU
time; "queue" spends one on @get. The time of waiting inside threading and queue belongs to them.
"""

import queue
import threading
import time

lock = threading.Lock()
items = queue.Queue()
held = threading.Event()


def holder():
    with lock:
        held.set()
        time.sleep(1.0)  # @hold
    items.put("item")


def waiter():
    held.wait()
    lock.acquire()  # @lock
    lock.release()


def getter():
    items.get()  # @get


threads = [threading.Thread(target=holder, name="holder"),
           threading.Thread(target=waiter, name="waiter"),
           threading.Thread(target=getter, name="queue")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
