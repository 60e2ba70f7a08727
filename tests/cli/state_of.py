# SPDX-License-Identifier: Apache-2.0
"""Prints, as JSON, what a program can see of itself; run with and without the recorder.

    python3 state_of.py [ARGUMENT...]
"""

import json
import os
import resource
import signal
import sys
import threading


def status_of(path):
    with open(path) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def descriptors():
    found = {}
    listing = os.listdir("/proc/self/fd")
    for number in listing:
        try:
            found[number] = os.readlink("/proc/self/fd/" + number)
        except OSError:
            pass  # the descriptor that listed the folder
    return found


def mask_without_realtime(text):
    """Signals 1 to 31 of a mask: the recorder has one real-time signal for itself."""
    return "%x" % (int(text, 16) & 0x7fffffff)


def pending():
    """The recorder's own signal may be on its way when one looks."""
    found = -1
    for _ in range(20):
        found &= int(status_of("/proc/self/status")["SigPnd"], 16)
    return "%x" % found


status = status_of("/proc/self/status")
result = {
    "environ": dict(os.environ),
    "argv": sys.argv,
    "orig_argv": getattr(sys, "orig_argv", None),
    "flags": list(sys.flags),
    "path": sys.path,
    "executable": sys.executable,
    "modules": sorted(sys.modules),
    "cwd": os.getcwd(),
    "umask": status["Umask"],
    "groups": [os.getpgrp() == os.getpgid(os.getppid()), os.getsid(0) == os.getsid(os.getppid())],
    "nice": os.nice(0),
    "affinity": sorted(os.sched_getaffinity(0)),
    "rlimits": {name: resource.getrlimit(getattr(resource, name))
                for name in dir(resource) if name.startswith("RLIMIT_")},
    "descriptors": descriptors(),
    "threads": len(os.listdir("/proc/self/task")),
    "python_threads": [each.name for each in threading.enumerate()],
    "children": open("/proc/self/task/%d/children" % os.getpid()).read()
                if os.path.exists("/proc/self/task/%d/children" % os.getpid()) else "",
    "blocked": status["SigBlk"],
    "ignored": status["SigIgn"],
    "caught": mask_without_realtime(status["SigCgt"]),
    "pending": pending(),
    "handlers": {str(number): str(signal.getsignal(number)) for number in range(1, 32)},
    "realtime_handlers": {str(number): str(signal.getsignal(number)) for number in range(34, 65)},
    "mask": sorted(int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "timers": [signal.getitimer(which) for which in
               (signal.ITIMER_REAL, signal.ITIMER_PROF, signal.ITIMER_VIRTUAL)],
    "no_new_privs": status.get("NoNewPrivs"),
    "dumpable_owner": os.stat("/proc/self/fd").st_uid,
    "trace": [sys.gettrace(), sys.getprofile()],
    "tty": [os.isatty(0), os.isatty(1), os.isatty(2)],
}
json.dump(result, sys.stdout, indent=1, sort_keys=True)
print()
