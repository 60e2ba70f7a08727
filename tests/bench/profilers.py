# SPDX-License-Identifier: Apache-2.0
"""The profilers that bench.py compares: how each is installed, started, and its output read."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import interpreters  # noqa: E402

# Pinned where a later release does not run on the oldest systems that we support.
PEERS = ["py-spy", "austin-dist<4", "scalene"]


class Reading:
    """What a profiler's output says: samples, and weights of the innermost frames' lines."""

    def __init__(self, samples, lines=None, missed=None, failed=None):
        self.samples = samples
        self.lines = lines or {}
        self.missed = missed
        self.failed = failed

    def parts(self, workload):
        """Shares of the parts of known.py, from the marks in it; None when nothing was seen."""
        with open(workload) as file:
            text = file.read().split("\n")
        parts, inside_fib = {}, range(0)
        for number, line in enumerate(text, 1):
            mark = re.search(r"# @(\w+)$", line)
            if mark:
                parts[number] = mark.group(1)
            if line.startswith("def fib"):
                inside_fib = range(number, number + 2)
        weights = {name: 0.0 for name in parts.values()}
        for (path, number), weight in self.lines.items():
            if os.path.basename(path) == os.path.basename(workload):
                name = "calls" if number in inside_fib else parts.get(number)
                if name:
                    weights[name] += weight
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()} if total else None


class Scprof:
    def __init__(self, build, rate):
        self.build, self.rate = build, rate
        self.label = "scprof %d" % rate

    def command(self, python, workload, arguments, out):
        return [os.path.join(self.build, "scprof-record"), "-q", "--rate", str(self.rate), "-o",
                out, "--", python, workload, *arguments]

    def read(self, out):
        done = subprocess.run([os.path.join(self.build, "scprof-analyze"), "--format", "json",
                               "--all", out], capture_output=True, text=True)
        if done.returncode:
            return None
        data = json.loads(done.stdout)
        lines = {(each["path"], line["line"]): line.get("cpu_ns", 0)
                 for each in data["files"] for line in each["lines"]}
        quality = data["quality"]
        return Reading(quality["samples"], lines, quality["missed"], quality["failed"])


class PySpy:
    def __init__(self, path, rate):
        self.path, self.rate = path, rate
        self.label = "py-spy %d" % rate

    def command(self, python, workload, arguments, out):
        return [self.path, "record", "-r", str(self.rate), "-f", "raw", "-o", out, "--", python,
                workload, *arguments]

    def read(self, out):
        lines, samples = {}, 0
        with open(out, errors="replace") as file:
            for line in file:
                stack, _, count = line.rpartition(" ")
                frame = re.search(r"\(([^()]*):(\d+)\)$", stack)
                samples += int(count)
                if frame:
                    key = frame.group(1), int(frame.group(2))
                    lines[key] = lines.get(key, 0) + int(count)
        return Reading(samples, lines)


class Austin:
    def __init__(self, path, rate):
        self.path, self.rate = path, rate
        self.label = "austin %d" % rate

    def command(self, python, workload, arguments, out):
        return [self.path, "-i", str(1000000 // self.rate), "-o", out, python, workload, *arguments]

    def read(self, out):
        lines, samples = {}, 0
        with open(out, errors="replace") as file:
            for line in file:
                found = re.match(r"P\d+;.*[;:](\d+) (\d+)$", line)
                if not found:
                    continue
                samples += 1
                frame = re.search(r";([^;]*):[^:;]*:(\d+) (\d+)$", line)
                if frame:
                    key = frame.group(1), int(frame.group(2))
                    lines[key] = lines.get(key, 0) + int(frame.group(3))
        return Reading(samples, lines)


class Scalene:
    rate = 100

    def __init__(self, memory):
        self.memory = memory
        self.label = "Scalene" if memory else "Scalene, CPU"

    def command(self, python, workload, arguments, out):
        return [python, "-m", "scalene", "run", *([] if self.memory else ["--cpu-only"]), "-o", out,
                workload, "---", *arguments]

    def read(self, out):
        with open(out) as file:
            data = json.load(file)
        lines = {}
        for path, each in data.get("files", {}).items():
            for line in each["lines"]:
                lines[path, line["lineno"]] = sum(line[name] for name in (
                    "n_cpu_percent_python", "n_cpu_percent_c", "n_sys_percent"))
        stacks = data.get("stacks") or []
        return Reading(sum(each[1]["count"] for each in stacks) or None, lines)


class Tachyon:
    """Python 3.15's own sampling profiler."""

    def __init__(self, rate):
        self.rate = rate
        self.label = "Tachyon %d" % rate

    def command(self, python, workload, arguments, out):
        return [python, "-m", "profiling.sampling", "run", "-r", str(self.rate), "-a",
                "--collapsed", "-o", out, workload, *arguments]

    def read(self, out):
        lines, samples = {}, 0
        with open(out, errors="replace") as file:
            for line in file:
                stack, _, count = line.rpartition(" ")
                frame = re.search(r"([^;]*):[^:;]*:(\d+)$", stack)
                samples += int(count)
                if frame:
                    key = frame.group(1), int(frame.group(2))
                    lines[key] = lines.get(key, 0) + int(count)
        return Reading(samples, lines)


def prepare(python, build, peers, packages=PEERS):
    """A private environment of an interpreter with what can be installed; returns its python."""
    found = [one for one in interpreters.find() if not one.free_threaded]
    if not python:
        # The newest that all peers have packages for.
        python = max((one for one in found if one.version < (3, 13)), key=lambda one: one.version,
                     default=found[-1]).path
    version = subprocess.run([python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
                             capture_output=True, text=True, check=True).stdout.strip()
    folder = os.path.join(build, "bench", "venv-" + version)
    private = os.path.join(folder, "bin", "python")
    if not os.path.exists(private):
        made = subprocess.run([python, "-m", "venv", folder], capture_output=True, text=True)
        if made.returncode:
            print("no private environment (%s): no peers\n" % made.stdout.strip()[:100])
            return python
    for package in ["numpy"] + (packages if peers else []):
        name = re.split("[<=]", package)[0]
        if subprocess.run([private, "-m", "pip", "show", "-q", name],
                          capture_output=True).returncode == 0:
            continue
        done = subprocess.run([private, "-m", "pip", "install", "-q", "--retries", "1",
                               "--only-binary", ":all:", "--disable-pip-version-check", package],
                              capture_output=True, text=True)
        if done.returncode:
            print("%s: skipped, pip cannot install it\n" % name)
    return private


def available(python, build, peers):
    """The configurations to compare, ours first."""
    found = [Scprof(build, 100), Scprof(build, 1000)]
    if not peers:
        return found
    folder = os.path.dirname(python)

    def works(*command):
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False

    for kind, name in ((PySpy, "py-spy"), (Austin, "austin")):
        path = os.path.join(folder, name)
        if works(path, "--version"):
            found += [kind(path, 100), kind(path, 1000)]
        else:
            print("%s: skipped, it is not installed or does not run here\n" % name)
    if works(python, "-c", "import scalene"):
        found += [Scalene(False), Scalene(True)]
    else:
        print("Scalene: skipped, it is not installed\n")
    if works(python, "-c", "import profiling.sampling"):
        found += [Tachyon(1000)]
    else:
        print("Tachyon: skipped, it needs Python 3.15\n")
    return found
