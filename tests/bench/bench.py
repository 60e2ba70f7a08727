# SPDX-License-Identifier: Apache-2.0
"""Measures what scprof costs and how well it measures, next to the profilers that can be installed.

    python3 tests/bench/bench.py [--python PATH] [--repeat N] [--scale S] [--only WORKLOAD,...]
                                 [--no-peers] [--no-readers] [--big SAMPLES,...]

Each round runs every configuration of a workload once, in turn, so that a change of the machine's
pace meets all of them; the figures are medians over the rounds. Prints Markdown tables and the
exact commands. It judges nothing: read the numbers.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

import measure
import profilers

HERE = os.path.dirname(os.path.abspath(__file__))
WORKLOADS = ["loop", "allocate", "calls", "arrays", "threads", "short", "known"]


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def cell(value, form="%.2f"):
    return "-" if value is None else form % value


def megabytes(value, less):
    return None if value is None or less is None else (value - less) / 2**20


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "|".join("---" if i == 0 else "---:" for i in range(len(header))) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def run_workload(name, configurations, options, python, folder):
    """Rounds of all configurations; returns {label: [Run, ...]} with the baseline as None."""
    workload = os.path.join(HERE, "workloads", name + ".py")
    arguments = [str(options.scale)]
    runs = {None: []}
    for number in range(options.repeat):
        alone = measure.run([python, workload, *arguments], folder)
        runs[None].append(alone)
        for each in configurations:
            out = os.path.join(folder, "%s.%d.json" % (re.sub(r"\W+", "-", each.label), number))
            command = each.command(python, workload, arguments, out)
            done = measure.run(command, folder)
            if done.status != 0:
                print("%s, %s: status %d: %s" % (name, each.label, done.status,
                                                 done.talk.strip()[-200:]))
                continue
            done.command, done.alone = command, alone
            done.reading = each.read(out) if os.path.exists(out) else None
            done.size = os.path.getsize(out) if os.path.exists(out) else None
            runs.setdefault(each.label, []).append(done)
            if os.path.exists(out):
                os.remove(out)
    return runs


def report_workload(name, runs, configurations, commands):
    base = runs[None]
    base_wall, base_cpu = median([each.wall for each in base]), median([each.cpu for each in base])
    base_rss = median([each.peak_rss for each in base])
    print("### %s: %.2f s, %.2f s of CPU%s\n" % (
        name, base_wall, base_cpu, ", %.0f MB" % (base_rss / 2**20) if base_rss else ""))
    rows = []
    for each in configurations:
        found = runs.get(each.label)
        if not found:
            continue
        readings = [one.reading for one in found if one.reading]
        samples = median([one.samples for one in readings])
        asked = each.rate * base_cpu if each.rate else None
        per_sample = median([one.size / one.reading.samples for one in found
                             if one.reading and one.reading.samples])
        pairs = [one.wall / one.alone.wall for one in found]
        rows.append([
            each.label, cell(median([one.wall for one in found]) / base_wall, "%.3f"),
            "%.3f-%.3f" % (min(pairs), max(pairs)),
            cell(median([one.cpu for one in found]) - base_cpu, "%.3f"),
            cell(megabytes(median([one.peak_rss for one in found]), base_rss), "%.1f"),
            cell(samples, "%.0f"), cell(samples / asked * 100 if samples and asked else None,
                                        "%.0f %%"),
            cell(median([one.missed for one in readings]), "%.0f"),
            cell(median([one.failed for one in readings]), "%.0f"),
            cell(per_sample, "%.1f")])
        commands[each.label] = found[0].command
    table(["profiler", "wall, times", "range", "more CPU, s", "more memory, MB", "samples",
           "of asked", "missed", "failed", "bytes a sample"], rows)


def report_accuracy(runs, configurations):
    """The largest error of the three parts' shares, in percentage points, against the truth."""
    print("### Accuracy: the CPU shares of three parts that the program measures itself\n")
    rows = []
    for each in configurations:
        errors, first = [], None
        for one in runs.get(each.label, []):
            # Some profilers talk on standard output, too.
            truth = next((json.loads(line) for line in one.output.splitlines()
                          if line.startswith('{"python"')), None)
            if not truth:
                continue
            shares = one.reading.parts(os.path.join(HERE, "workloads", "known.py")) \
                if one.reading else None
            if not shares:
                continue
            total = sum(truth.values())
            errors.append(max(abs(shares[part] - truth[part] / total) for part in truth) * 100)
            first = first or " ".join("%s %.1f/%.1f" % (part, shares[part] * 100,
                                                        truth[part] / total * 100)
                                      for part in truth)
        if errors:
            rows.append([each.label, "%.1f" % median(errors), "%.1f" % max(errors), first])
    table(["profiler", "error, median", "error, worst", "first run: measured/true, %"], rows)


def report_readers(options, build, folder):
    """Throughput and memory of analyze and convert on traces of known size."""
    maker = os.path.join(build, "tests", "make_big_trace")
    analyze, convert = (os.path.join(build, "scprof-" + name) for name in ("analyze", "convert"))
    for count in options.big:
        trace = os.path.join(folder, "big.trace")
        made = measure.run([maker, str(count), trace], folder)
        if made.status:
            print("make_big_trace: " + made.talk)
            return
        size = os.path.getsize(trace)
        print("### Reading %d samples: %.1f MB, %.1f bytes a sample, written in %.1f s\n" % (
            count, size / 2**20, size / count, made.wall))
        rows = []
        jobs = [("analyze, " + form, [analyze, "--format", form, "-o", "OUT", trace])
                for form in ("text", "json")]
        jobs += [("convert, " + form, [convert, "--to", form, "-o", "OUT", trace])
                 for form in ("pstats", "speedscope", "flamegraph", "callgrind", "collapsed")]
        for label, command in jobs:
            out = os.path.join(folder, "big.out")
            command = [out if word == "OUT" else word for word in command]
            runs = [measure.run(command, folder) for _ in range(min(options.repeat, 3))]
            if runs[0].status:
                print("%s: status %d: %s" % (label, runs[0].status, runs[0].talk.strip()[-200:]))
                continue
            cpu = median([one.cpu for one in runs])
            rows.append([label, cell(median([one.wall for one in runs])), cell(cpu),
                         cell(count / cpu / 1e6, "%.1f"),
                         cell(megabytes(median([one.peak_rss for one in runs]), 0), "%.0f"),
                         cell(os.path.getsize(out) / 2**20, "%.1f")])
            os.remove(out)
        os.remove(trace)
        table(["reader", "wall, s", "CPU, s", "M samples a CPU second", "memory, MB",
               "output, MB"], rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--python", help="interpreter that runs the workloads")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--scale", type=float, default=2.0, help="seconds a workload takes, about")
    parser.add_argument("--only", type=lambda text: text.split(","), default=WORKLOADS)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-readers", action="store_true")
    parser.add_argument("--big", type=lambda text: [int(each) for each in text.split(",")],
                        default=[1000000, 10000000])
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    print("`%s`\n" % shlex.join(["python3", os.path.relpath(sys.argv[0]), *sys.argv[1:]]))
    print("%s, %d cores, %d rounds, alternating; wall and CPU are medians, CPU is of all\n"
          "processes, memory the sum of all processes' peaks.\n" % (
              platform.platform(), os.cpu_count(), options.repeat))

    folder = tempfile.mkdtemp(prefix="scprof-bench-")
    try:
        python = profilers.prepare(options.python, build, not options.no_peers)
        print("Workloads run by %s (%s).\n" % (
            os.path.basename(python), subprocess.run(
                [python, "-V"], capture_output=True, text=True).stdout.strip()))
        configurations = profilers.available(python, build, not options.no_peers)
        commands = {}
        for name in options.only:
            if name == "arrays" and subprocess.run([python, "-c", "import numpy"],
                                                   capture_output=True).returncode:
                print("arrays: skipped, numpy cannot be installed\n")
                continue
            runs = run_workload(name, configurations, options, python, folder)
            report_workload(name, runs, configurations, commands)
            if name == "known":
                report_accuracy(runs, configurations)
        if not options.no_readers:
            report_readers(options, build, folder)
        print("Commands:\n")
        for label, command in commands.items():
            print("    %-16s %s" % (label, shlex.join(os.path.basename(word) if os.sep in word
                                                      else word for word in command)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
