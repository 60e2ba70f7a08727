# SPDX-License-Identifier: Apache-2.0
"""Measures looking at a program that runs already, next to py-spy and austin.

    python3 tests/bench/bench_attach.py [--python PATH] [--repeat N] [--seconds S] [--dumps N]
                                        [--only PROGRAM,...] [--no-peers]

Each round starts the program anew for every profiler in turn, takes its pace alone, then with the
profiler for as long, then alone again. Prints Markdown tables and the exact commands. It judges
nothing: read the numbers.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import measure
import profilers
from bench import cell, median, table
from call_names import impossible

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "workloads", "attach", "calls_of.py")
# Threads that call, threads that sleep.
PROGRAMS = {"one thread": (1, 0), "four threads": (4, 0), "500 threads": (1, 499)}


class Scprof:
    def __init__(self, build, rate, *options):
        self.build, self.rate, self.options = build, rate, options
        self.label = " ".join(["scprof %d" % rate] + [each.strip("-") for each in options])

    def command(self, pid, seconds, out):
        return [os.path.join(self.build, "scprof-record"), "-q", "--pid", str(pid), "--duration",
                "%g" % seconds, "--rate", str(self.rate), *self.options, "-o", out]

    def read(self, out):
        """Samples, samples whose stack could not be read, [(functions root first, weight)]."""
        text = subprocess.run([os.path.join(self.build, "scprof-convert"), "-q", "-f", "collapsed",
                               "-o", "-", out], capture_output=True, text=True).stdout
        quality = json.loads(subprocess.run(
            [os.path.join(self.build, "scprof-analyze"), "--format", "json", out],
            capture_output=True, text=True).stdout)["quality"]
        stacks = []
        for line in text.splitlines():
            stack, _, weight = line.rpartition(" ")
            stacks.append(([frame.split(" (")[0].split(".")[-1] for frame in stack.split(";")],
                           float(weight)))
        return quality["samples"], quality.get("failed", 0), stacks

    def dump(self, pid):
        return [os.path.join(self.build, "scprof-record"), "--dump", "--pid", str(pid)]


class PySpy:
    def __init__(self, path, rate, *options):
        self.path, self.rate, self.options = path, rate, options
        self.label = " ".join(["py-spy %d" % rate] + [each.strip("-") for each in options])

    def command(self, pid, seconds, out):
        # It takes whole seconds, and idle threads only when asked to.
        return [self.path, "record", "-p", str(pid), "-d", "%d" % max(1, round(seconds)), "-r",
                str(self.rate), "-t", *self.options, "-f", "raw", "-o", out]

    def read(self, out):
        stacks = []
        with open(out, errors="replace") as file:
            for line in file:
                stack, _, count = line.rpartition(" ")
                stacks.append(([frame.split(" (")[0] for frame in stack.split(";")], int(count)))
        return sum(weight for _, weight in stacks), None, stacks

    def dump(self, pid):
        return [self.path, "dump", "--pid", str(pid)]


class Austin:
    def __init__(self, path, rate, *options):
        self.path, self.rate, self.options = path, rate, options
        self.label = "austin %d" % rate

    def command(self, pid, seconds, out):
        return [self.path, "-i", str(1000000 // self.rate), "-x", "%d" % max(1, round(seconds)),
                "-o", out, "-p", str(pid)]

    def read(self, out):
        stacks, samples = [], 0
        with open(out, errors="replace") as file:
            for line in file:
                if re.match(r"P\d+;", line):
                    stack, _, weight = line.rpartition(" ")
                    frames = [frame.rsplit(":", 2) for frame in stack.split(";")]
                    stacks.append(([frame[1] for frame in frames if len(frame) == 3],
                                   float(weight)))
                    samples += 1
        return samples, None, stacks

    dump = None


@contextlib.contextmanager
def running(python, kind, folder):
    """Yields the process and what reads (rounds, longest round in ns since the last read)."""
    path = os.path.join(folder, "counter")
    with open(path, "w+b") as counter:
        counter.write(bytes(16))
        counter.flush()
        command = [python, PROGRAM, path, *map(str, PROGRAMS[kind])]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdout.readline()

        def read():
            counter.seek(0)
            rounds, longest = struct.unpack("QQ", counter.read(16))
            os.pwrite(counter.fileno(), bytes(8), 8)
            return rounds, longest

        try:
            yield process, read
        finally:
            process.stdin.close()
            process.stdout.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pace(read, act):
    """Rounds a second while act() runs, the longest in ms, and what act returned."""
    first, _ = read()
    start = time.monotonic()
    result = act()
    took = time.monotonic() - start
    last, longest = read()
    return (last - first) / took, longest / 1e6, result


def one_round(each, kind, options, python, folder, found):
    out = os.path.join(folder, "out")
    with running(python, kind, folder) as (process, read):
        time.sleep(0.3)
        before, _, _ = pace(read, lambda: time.sleep(options.seconds / 2))
        command = each.command(process.pid, options.seconds, out)
        limit = str(10 + 3 * options.seconds)
        during, longest, done = pace(read, lambda: measure.run(
            ["timeout", "-s", "INT", "-k", "5", limit, *command], folder))
        after, _, _ = pace(read, lambda: time.sleep(options.seconds / 2))
    if done.status or not os.path.exists(out):
        print("%s, %s: %s" % (kind, each.label, "did not end within %s s" % limit
                              if done.status in (124, 137) else "status %d: %s" % (
                                  done.status, done.talk.strip()[-200:])))
        return
    samples, failed, stacks = each.read(out)
    os.remove(out)
    weight = sum(weight for _, weight in stacks)
    wrong = sum(weight for functions, weight in stacks if impossible(functions))
    found.setdefault(each.label, []).append({
        "slowdown": (before + after) / 2 / during, "longest": longest, "cpu": done.cpu,
        "wall": done.wall, "rss": done.peak_rss, "samples": samples, "failed": failed,
        "impossible": 100 * wrong / weight if weight else None, "command": command})


def report(kind, configurations, found):
    print("### %s\n" % kind)
    rows = []
    for each in configurations:
        runs = found.get(each.label)
        if not runs:
            continue

        def figure(name, form, scale=1, runs=runs):
            value = median([one[name] for one in runs])
            return cell(None if value is None else value * scale, form)

        slow = [one["slowdown"] for one in runs]
        rows.append([each.label, figure("slowdown", "%.3f"), "%.3f-%.3f" % (min(slow), max(slow)),
                     figure("longest", "%.1f"), figure("cpu", "%.3f"), figure("wall", "%.2f"),
                     figure("rss", "%.1f", 1 / 2**20), figure("samples", "%.0f"),
                     figure("failed", "%.0f"), figure("impossible", "%.2f")])
    table(["profiler", "program slower, times", "range", "longest round, ms", "own CPU, s",
           "wall, s", "own memory, MB", "samples", "unread", "impossible stacks, %"], rows)


def report_dumps(configurations, options, python, folder, commands):
    """One look at all threads: how long it takes, and what it costs the program."""
    for kind in options.only:
        dumpers, rows = {}, []
        for each in configurations:
            if each.dump:
                dumpers.setdefault(each.label.split()[0], each)
        runs = {label: [] for label in dumpers}
        with running(python, kind, folder) as (process, read):
            for _ in range(options.dumps):
                for label, each in dumpers.items():
                    command = each.dump(process.pid)
                    _, longest, done = pace(read, lambda: measure.run(command, folder))
                    if done.status == 0:
                        runs[label].append((done.wall * 1e3, done.cpu * 1e3, longest))
                        commands["dump: " + label] = command
        for label, each in runs.items():
            if each:
                rows.append([label] + ["%.1f" % median(column) for column in zip(*each)])
        print("### A dump of %s (median of %d)\n" % (kind, options.dumps))
        table(["tool", "wall, ms", "CPU, ms", "the program's longest round, ms"], rows)


def available(python, build, peers):
    found = [Scprof(build, 100), Scprof(build, 1000), Scprof(build, 1000, "--nonblocking")]
    folder = os.path.dirname(python)
    for kind, name in ((PySpy, "py-spy"), (Austin, "austin")):
        path = os.path.join(folder, name)
        if peers and os.access(path, os.X_OK):
            found += [kind(path, 100), kind(path, 1000)]
            if kind is PySpy:
                found.append(kind(path, 1000, "--nonblocking"))
        elif peers:
            print("%s: skipped, it is not installed\n" % name)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--python", help="interpreter that runs the program")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of recording")
    parser.add_argument("--dumps", type=int, default=11)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PROGRAMS))
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    print("`%s`\n" % shlex.join(["python3", os.path.relpath(sys.argv[0]), *sys.argv[1:]]))
    print("%s, %d cores, %d rounds, alternating; medians.\n" % (
        platform.platform(), os.cpu_count(), options.repeat))

    folder = tempfile.mkdtemp(prefix="scprof-bench-")
    try:
        python = profilers.prepare(options.python, build, not options.no_peers,
                                   ["py-spy", "austin-dist<4"])
        configurations = available(python, build, not options.no_peers)
        commands = {}
        for kind in options.only:
            found = {}
            for _ in range(options.repeat):
                for each in configurations:
                    one_round(each, kind, options, python, folder, found)
            report(kind, configurations, found)
            commands.update((label, runs[0]["command"]) for label, runs in found.items())
        report_dumps(configurations, options, python, folder, commands)
        print("Commands:\n")
        for label, command in commands.items():
            print("    %-24s %s" % (label, shlex.join(
                os.path.basename(word) if os.sep in word else word for word in command)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
