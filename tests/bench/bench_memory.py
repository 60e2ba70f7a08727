# SPDX-License-Identifier: Apache-2.0
"""Measures what recording memory costs: a pair of calls, whole programs next to other memory
profilers, bytes an event, and reading a large full trace.

    python3 tests/bench/bench_memory.py [--build DIR] [--repeat N] [--scale S] [--python PATH]
                                        [--all-pythons] [--only PART,...] [--events N]

Parts: pairs, programs, readers. As in bench.py every round runs all configurations in turn, and the
figures are medians.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import measure
import profilers
from bench import cell, median, megabytes, table

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import interpreters  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
WORKLOADS = os.path.join(HERE, "workloads", "memory")
PROGRAMS = ["async_tree", "fannkuch", "fractions_walk", "printing", "raytrace", "symbols", "text"]
PARTS = ["pairs", "programs", "readers"]


class Scprof:
    def __init__(self, build, label, *options):
        self.build, self.label, self.options = build, label, options

    def command(self, python, program, arguments, out):
        return [os.path.join(self.build, "scprof-record"), "-q", *self.options, "-o", out, "--",
                python, program, *arguments]

    def events(self, out):
        """Allocations and frees in the trace."""
        done = subprocess.run([os.path.join(self.build, "scprof-analyze"), "--format", "json", out],
                              capture_output=True, text=True)
        return None if done.returncode else json.loads(done.stdout)["totals"]


class Memray:
    def __init__(self, label, *options):
        self.label, self.options = label, options

    def command(self, python, program, arguments, out):
        return [python, "-m", "memray", "run", "-q", "-f", "--no-compress", *self.options, "-o",
                out, program, *arguments]


class Scalene:
    label = "Scalene"

    def command(self, python, program, arguments, out):
        return [python, "-m", "scalene", "run", "-o", out, program, "---", *arguments]


class Tracemalloc:
    label = "tracemalloc"

    def command(self, python, program, arguments, out):
        return [python, "-X", "tracemalloc", program, *arguments]


class Heaptrack:
    label = "heaptrack"

    def command(self, python, program, arguments, out):
        return ["heaptrack", "-o", out, python, program, *arguments]


def works(*command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def configurations(python, build):
    found = [Scprof(build, "scprof, time only", "--memory=off", "--no-copies"),
             Scprof(build, "scprof, default"),
             Scprof(build, "scprof, full", "--memory=full")]
    if works(python, "-c", "import memray"):
        found += [Memray("memray"), Memray("memray, Python", "--trace-python-allocators")]
    else:
        print("memray: skipped, it is not installed\n")
    if works(python, "-c", "import scalene"):
        found.append(Scalene())
    found.append(Tracemalloc())
    if works("heaptrack", "--version"):
        found.append(Heaptrack())
    else:
        print("heaptrack: skipped, it is not installed\n")
    return found


def output_size(out):
    """Of everything that a profiler wrote under that name."""
    folder, name = os.path.split(out)
    paths = [os.path.join(folder, each) for each in os.listdir(folder) if each.startswith(name)]
    size = sum(os.path.getsize(path) for path in paths)
    for path in paths:
        os.remove(path)
    return size


def report_pairs(options, python, build, folder, commands):
    library = os.path.join(build, "tests", "alloc_pairs.so")
    program = os.path.join(WORKLOADS, "pairs.py")
    modes = [("sampled", Scprof(build, "sampled")),
             ("full", Scprof(build, "full", "--memory=full", "--no-copies"))]
    arguments = [library, str(options.scale)]
    found = {None: []}
    for number in range(options.repeat):
        out = os.path.join(folder, "pairs.%d" % number)
        jobs = [(None, [python, program, *arguments])]
        jobs += [(label, each.command(python, program, arguments, out)) for label, each in modes]
        for label, command in jobs:
            done = measure.run(command, folder)
            if done.status:
                print("pairs, %s: status %d: %s" % (label, done.status, done.talk.strip()[-200:]))
                continue
            found.setdefault(label, []).append(json.loads(done.output))
            commands.setdefault("pairs, %s" % (label or "alone"), command)
            output_size(out)
    rows = []
    for name in found[None][0]:
        values = {label: median([one[name] for one in runs]) for label, runs in found.items()}
        row = [name, "%.1f" % values[None]]
        for label, _ in modes:
            value = values.get(label)
            row += [cell(value, "%.1f"), cell(value and value / values[None], "%.2f")]
        rows.append(row)
    version = subprocess.run([python, "-V"], capture_output=True, text=True).stdout.strip()
    print("### What a pair of calls takes, ns (%s)\n" % version)
    table(["", "alone", "sampled", "times", "full", "times"], rows)


def report_programs(options, python, build, folder, commands):
    found = configurations(python, build)
    summary = {each.label: [] for each in found}
    for name in PROGRAMS:
        program = os.path.join(WORKLOADS, name + ".py")
        if name == "symbols" and not works(python, "-c", "import sympy"):
            print("symbols: skipped, sympy cannot be installed\n")
            continue
        runs, arguments = {}, [str(options.scale)]
        for number in range(options.repeat):
            alone = measure.run([python, program, *arguments], folder)
            runs.setdefault(None, []).append(alone)
            for each in found:
                out = os.path.join(folder, "out.%d.%s" % (number, re.sub(r"\W+", "-", each.label)))
                command = each.command(python, program, arguments, out)
                done = measure.run(command, folder)
                if done.status:
                    print("%s, %s: status %d: %s" % (name, each.label, done.status,
                                                     done.talk.strip()[-200:]))
                    continue
                done.alone = alone
                if isinstance(each, Scprof) and os.path.exists(out):
                    done.reading = each.events(out)
                done.size = output_size(out)
                runs.setdefault(each.label, []).append(done)
                commands.setdefault(each.label, command)
        base = runs[None]
        base_rss = median([one.peak_rss for one in base])
        print("### %s: %.2f s, %s MB\n" % (name, median([one.wall for one in base]),
                                           cell(megabytes(base_rss, 0), "%.0f")))
        rows = []
        for each in found:
            if each.label not in runs:
                continue
            ratios = [one.wall / one.alone.wall for one in runs[each.label]]
            summary[each.label].append(median(ratios))
            size = median([one.size for one in runs[each.label]])
            totals = runs[each.label][0].reading or {}
            # In a full recording every allocation is one event and, about, one free.
            events = 2 * totals.get("malloc_count", 0) if "full" in each.label else 0
            rows.append([each.label, "%.2f" % median(ratios),
                         "%.2f-%.2f" % (min(ratios), max(ratios)),
                         cell(megabytes(median([one.peak_rss for one in runs[each.label]]),
                                        base_rss), "%.0f"),
                         cell(size and size / 2**20, "%.2f"),
                         cell(events and size / events or None, "%.2f")])
        table(["profiler", "wall, times", "range", "more memory, MB", "output, MB",
               "bytes an event"], rows)
    print("### All programs: median and worst slowdown\n")
    table(["profiler", "median", "worst"],
          [[label, "%.2f" % median(values), "%.2f" % max(values)]
           for label, values in summary.items() if values])


def report_readers(options, build, folder, commands):
    maker = os.path.join(build, "tests", "make_big_trace")
    trace = os.path.join(folder, "big.trace")
    made = measure.run([maker, "500000", trace, str(options.events)], folder)
    if made.status:
        print("make_big_trace: " + made.talk)
        return
    size = os.path.getsize(trace)
    print("### Reading a full recording of %d events: %.1f MB, %.2f bytes an event\n" % (
        options.events, size / 2**20, size / options.events))
    rows = []
    for label, words in (("lines", []), ("--leaks", ["--leaks"]), ("--peak", ["--peak"]),
                         ("json", ["--format", "json"])):
        command = [os.path.join(build, "scprof-analyze"), *words, trace]
        runs = [measure.run(command, folder) for _ in range(min(options.repeat, 3))]
        if runs[0].status:
            print("%s: status %d: %s" % (label, runs[0].status, runs[0].talk.strip()[-200:]))
            continue
        commands.setdefault("analyze, " + label, command)
        cpu = median([one.cpu for one in runs])
        rows.append([label, cell(median([one.wall for one in runs])), cell(cpu),
                     cell(options.events / cpu / 1e6, "%.1f"),
                     cell(megabytes(median([one.peak_rss for one in runs]), 0), "%.0f")])
    table(["report", "wall, s", "CPU, s", "M events a CPU second", "memory, MB"], rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--python")
    parser.add_argument("--all-pythons", action="store_true", help="pairs on every interpreter")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--events", type=int, default=100000000)
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    print("`%s`\n" % shlex.join(["python3", os.path.relpath(sys.argv[0]), *sys.argv[1:]]))
    print("%s, %d cores, %d rounds, alternating, medians\n" % (
        platform.platform(), os.cpu_count(), options.repeat))
    folder = tempfile.mkdtemp(prefix="scprof-bench-")
    commands = {}
    try:
        python = profilers.prepare(options.python, build, True,
                                   ["memray", "scalene", "sympy"])
        if "pairs" in options.only:
            pythons = [one.path for one in interpreters.find()] if options.all_pythons else [python]
            for each in pythons:
                report_pairs(options, each, build, folder, commands)
        if "programs" in options.only:
            report_programs(options, python, build, folder, commands)
        if "readers" in options.only:
            report_readers(options, build, folder, commands)
        print("Commands:\n")
        for label, command in commands.items():
            print("    %-18s %s" % (label, shlex.join(
                os.path.basename(word) if os.sep in word else word for word in command)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
