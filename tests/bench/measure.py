# SPDX-License-Identifier: Apache-2.0
"""Runs one command and takes its time, its CPU time and the peak memory of all its processes."""

import os
import subprocess
import tempfile
import threading
import time


class Run:
    command = alone = reading = size = None


def tree_of(root):
    """Pids of root and everything below it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def watch(root, peaks, over):
    """Notes the peak memory that each process has reached, ten times a second.

    The peak that wait4 gives is no use: it counts what the process was before exec, a copy of us.
    """
    while not over.wait(0.1):
        for pid in tree_of(root):
            try:
                with open("/proc/%d/status" % pid) as file:
                    for line in file:
                        if line.startswith("VmHWM:"):
                            peaks[pid] = int(line.split()[1]) * 1024
            except OSError:
                pass


def run(command, folder):
    done = Run()
    peaks, over = {}, threading.Event()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as talk:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=talk,
                                   cwd=folder)
        watcher = threading.Thread(target=watch, args=(process.pid, peaks, over))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        done.wall = time.monotonic() - start
        process.returncode = done.status = os.waitstatus_to_exitcode(status)
        over.set()
        watcher.join()
        out.seek(0)
        talk.seek(0)
        done.output = out.read().decode(errors="replace")
        done.talk = talk.read().decode(errors="replace")
    done.cpu = usage.ru_utime + usage.ru_stime
    done.peak_rss = sum(peaks.values()) or None  # too short to be watched
    return done
