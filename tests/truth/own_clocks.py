# SPDX-License-Identifier: Apache-2.0
"""Runs a program as python would and writes what the process itself says of its time at the end.

    python3 own_clocks.py OUT.json PROGRAM [ARGUMENT...]
"""

import atexit
import json
import os
import resource
import runpy
import sys
import time


def seconds_since_start():
    """Since this process was created; exact to a tick of /proc, 10 ms."""
    with open("/proc/self/stat") as file:
        started = int(file.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def write(path):
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open(path, "w") as file:
        json.dump({"cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9),
                   "system_ns": int(usage.ru_stime * 1e9),
                   "wall_ns": int(seconds_since_start() * 1e9)}, file)


atexit.register(write, sys.argv[1])
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
