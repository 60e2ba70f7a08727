# SPDX-License-Identifier: Apache-2.0
"""A program that uses faulthandler in every way: enabled, on a timer, on a signal, on request.

True of it: nearly all CPU time is on the line @work; the tracebacks that it dumps name work().
"""

import faulthandler
import os
import signal
import sys
import tempfile

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1200


def work():
    total = 0
    for _ in range(rounds):
        for i in range(40000): total ^= i  # @work
    return total


with tempfile.TemporaryFile("w+") as dump:
    faulthandler.enable(dump)
    faulthandler.register(signal.SIGUSR1, dump, all_threads=True)
    faulthandler.dump_traceback_later(0.1, repeat=True, file=dump)
    work()
    faulthandler.cancel_dump_traceback_later()
    os.kill(os.getpid(), signal.SIGUSR1)
    faulthandler.dump_traceback(dump)
    faulthandler.unregister(signal.SIGUSR1)
    faulthandler.disable()
    dump.seek(0)
    text = dump.read()
print("as expected" if "in work" in text and text.count("most recent call first") >= 2 else text)
sys.exit(0 if "in work" in text else 1)
