#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Feeds our exports to the programs they are for and compares what comes back with our numbers.

    python3 tests/consumers/run.py [--build DIR] [--keep DIR] [NAME...]

A NAME selects the checks whose name contains it. install.sh gets the programs; a check whose
program is missing is skipped and says so. The closing line counts: "N passed, N failed, N skipped".
"""

import argparse
import glob
import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CHECKS = []

sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
import known_traces  # noqa: E402, found by that path

# --metric: what scprof-analyze calls it
MEMORY = {"malloc": "malloc_bytes", "peak": "peak_bytes", "live": "growth_bytes",
          "temporary": "temporary_bytes", "copies": "copy_bytes"}


class Skip(Exception):
    """Why a check cannot be made here."""


def check(function):
    CHECKS.append(function)
    return function


def run(command, **options):
    options.setdefault("timeout", 300)
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          errors="replace", stdin=subprocess.DEVNULL, **options)


def need(program, package):
    if not shutil.which(program):
        raise Skip("%s is not installed (Debian package %s)" % (program, package))


class Recording:
    """A trace, its exports and what scprof-analyze says about it."""

    def __init__(self, suite, name, trace, options=()):
        self.suite = suite
        self.name = name
        self.trace = trace
        self.options = list(options)
        self.files = {}
        self.wall = "--wall" in self.options
        done = run([suite.tool("scprof-analyze"), "--format", "json", "--all", *self.options,
                    trace])
        assert done.returncode == 0, done.stderr
        self.profile = json.loads(done.stdout)
        self.total_ns = self.profile["totals"]["wall_ns" if self.wall else "cpu_ns"]

    def weight(self, metrics):
        return metrics.get("wall_ns" if self.wall else "cpu_ns", 0)

    def export(self, kind, *options):
        """Path of the export; made once."""
        names = {"callgrind": "callgrind.out.%s", "chrome": "%s.trace.json",
                 "collapsed": "%s.folded", "flamegraph": "%s.svg", "massif": "massif.out.%s",
                 "pprof": "%s.pb.gz", "pstats": "%s.pstats", "speedscope": "%s.speedscope.json"}
        key = (kind, *options)
        if key not in self.files:
            # A folder each: KCachegrind takes every file whose name begins like its argument.
            folder = os.path.join(self.suite.scratch, "-".join([self.name, kind, *options]))
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, names[kind] % self.name)
            done = run([self.suite.tool("scprof-convert"), *self.options, *options, self.trace,
                        "-o", path])
            assert done.returncode == 0, done.stderr
            self.files[key] = path
        return self.files[key]

    def functions(self):
        """{(path, first line, function): (own, cumulative)} in ns."""
        return {(each["path"], each["first_line"], each["function"]):
                (self.weight(each["self"]), self.weight(each["cumulative"]))
                for each in self.profile["functions"]}


class Suite:
    def __init__(self, build, scratch):
        self.build = build
        self.scratch = scratch
        self.node_root = os.path.join(build, "consumers", "node")
        self.venv = os.path.join(build, "consumers", "venv", "bin")
        self.made = None
        self.problem = None
        self.of_memory = {}

    def tool(self, name):
        return os.path.join(self.build, name)

    def recordings(self):
        """Two programs, one of them also weighed by wall time, and a large synthetic trace."""
        if self.problem:
            raise Skip(self.problem)
        if self.made is None:
            self.made = []
            for name, command in (("demo", ["samples/demo.py"]),
                                  ("recursion", ["samples/recursion.py"])):
                trace = os.path.join(self.scratch, name + ".trace")
                done = run([self.tool("scprof-record"), "-o", trace, "--", "/usr/bin/python3",
                            *command], cwd=ROOT)
                if not os.path.exists(trace):
                    self.problem = "scprof-record does not run here: " + done.stderr.strip()
                    raise Skip(self.problem)
                self.made.append(Recording(self, name, trace))
                if name == "demo":
                    self.made.append(Recording(self, name + "-wall", trace, ["--wall"]))
        return self.made

    def memory(self, metric):
        """A small program's memory, known by construction."""
        if metric not in self.of_memory:
            trace = os.path.join(self.scratch, "memory.trace")
            if not os.path.exists(trace):
                known_traces.make(self, "memory", trace)
            # Nothing in it leaks.
            self.of_memory[metric] = Recording(self, "memory-" + metric, trace)
            self.of_memory[metric].options = ["--metric", metric]
        return self.of_memory[metric]

    def large(self):
        """400,000 samples of 16 threads, or a Skip."""
        maker = os.path.join(self.build, "tests", "make_big_trace")
        trace = os.path.join(self.scratch, "large.trace")
        if not os.path.exists(maker):
            raise Skip("tests/make_big_trace is not built (make build/tests/make_big_trace)")
        if not os.path.exists(trace):
            assert run([maker, "400000", trace]).returncode == 0
        return Recording(self, "large", trace)

    def fixtures(self):
        """{format: file} of the unit test's model with names that make trouble."""
        program = os.path.join(self.build, "tests", "unit", "test_export")
        folder = os.path.join(self.scratch, "fixture")
        if not os.path.exists(program):
            raise Skip("the unit test test_export is not built (make unit)")
        os.makedirs(folder, exist_ok=True)
        run([program], env=dict(os.environ, SCPROF_EXPORTS=folder))
        found = {}
        for kind, name in (("callgrind", "fixture.callgrind"), ("chrome", "fixture.trace.json"),
                           ("collapsed", "fixture.folded"),
                           ("flamegraph", "fixture.svg"), ("massif", "fixture.massif"),
                           ("pprof", "fixture.pb.gz"),
                           ("pstats", "fixture.pstats"), ("speedscope", "fixture.speedscope.json")):
            found[kind] = os.path.join(folder, name)
            assert os.path.exists(found[kind]), "test_export left no " + name
        return found

    def node(self, script, *words):
        need("node", "nodejs")
        if not os.path.isdir(os.path.join(self.node_root, "node_modules", "speedscope")):
            raise Skip("speedscope and playwright-core are not installed (install.sh)")
        return run(["node", os.path.join(HERE, script), *words],
                   env=dict(os.environ, NODE_ROOT=self.node_root))

    def browser(self, *words):
        if not os.path.exists(os.environ.get("CHROMIUM", "/usr/bin/chromium")):
            raise Skip("Chromium is not installed (Debian package chromium)")
        done = self.node("browser.mjs", *words)
        assert done.stdout.strip(), done.stderr
        result = json.loads(done.stdout)
        assert done.returncode == 0 and result["ok"], result
        return result

    def from_venv(self, name):
        path = os.path.join(self.venv, name)
        if not os.path.exists(path):
            raise Skip("%s is not installed (install.sh)" % name)
        return path


# --- our own numbers ----------------------------------------------------------------------------

def collapsed_stacks(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            stack, weight = line.rstrip("\n").rsplit(" ", 1)
            yield stack.split(";"), int(weight)


def speedscope_own(data):
    """{(name, file, line): own ns} over all profiles of a speedscope file, sampled or evented."""
    frames = [(each["name"], each.get("file"), each.get("line"))
              for each in data["shared"]["frames"]]
    own = {}
    for profile in data["profiles"]:
        if profile["type"] == "sampled":
            for stack, weight in zip(profile["samples"], profile["weights"]):
                if stack:
                    own[frames[stack[-1]]] = own.get(frames[stack[-1]], 0) + weight
            continue
        stack, last = [], profile["startValue"]
        for event in profile["events"]:
            if stack:
                own[frames[stack[-1]]] = own.get(frames[stack[-1]], 0) + event["at"] - last
            last = event["at"]
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                stack.pop()
    return own


@check
def totals_agree_to_the_unit(suite):
    for recording in suite.recordings():
        total_ns = recording.total_ns
        for options in ((), ("--lines",), ("--threads",)):
            found = sum(weight for _, weight in
                        collapsed_stacks(recording.export("collapsed", *options)))
            assert found == (total_ns + 500) // 1000, (recording.name, options, found, total_ns)
            with open(recording.export("callgrind", *options), encoding="utf-8") as file:
                text = file.read()
            for key in ("summary", "totals"):
                found = int(re.search(r"^%s: (\d+)" % key, text, re.M).group(1))
                assert found == total_ns, (recording.name, options, key, found, total_ns)
            with open(recording.export("speedscope", *options), encoding="utf-8") as file:
                found = sum(speedscope_own(json.load(file)).values())
            assert found == total_ns, (recording.name, options, found, total_ns)
            with open(recording.export("flamegraph", *options), encoding="utf-8") as file:
                found = int(re.search(r"^scprofData\.total = \[(\d+)", file.read(), re.M).group(1))
            assert found == total_ns, (recording.name, options, found, total_ns)


# --- pstats -------------------------------------------------------------------------------------

def pstats_interpreters():
    found = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python")))
    return [path for path in found + ["/usr/bin/python3"] if os.path.exists(path)]


@check
def pstats_on_every_python(suite):
    for recording in suite.recordings():
        path = recording.export("pstats")
        expected = recording.functions()
        for python in pstats_interpreters():
            done = run([python, os.path.join(HERE, "pstats_load.py"), path])
            assert done.returncode == 0, (python, done.stderr)
            loaded = json.loads(done.stdout)
            assert round(loaded["total"] * 1e9) == recording.total_ns, (python, loaded["total"])
            seen = 0
            for file, line, name, _, own, total in loaded["functions"]:
                if file == "~":
                    continue
                want = expected[(file, line, name)]
                assert (round(own * 1e9), round(total * 1e9)) == want, (python, file, name, want)
                seen += 1
            assert seen > 3, (python, seen)
    for python in pstats_interpreters():
        done = run([python, os.path.join(HERE, "pstats_load.py"), suite.fixtures()["pstats"]],
                   env=dict(os.environ, PYTHONIOENCODING="utf-8"))
        assert done.returncode == 0, (python, done.stderr)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@check
def snakeviz_shows_the_table(suite):
    program = suite.from_venv("snakeviz")
    recording = suite.recordings()[0]
    path = recording.export("pstats")
    port = free_port()
    server = subprocess.Popen([program, "-s", "-H", "127.0.0.1", "-p", str(port), path],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = "http://127.0.0.1:%d/snakeviz/%s" % (port, urllib.parse.quote(path, safe=""))
    try:
        for _ in range(100):
            try:
                with urllib.request.urlopen(address, timeout=30) as answer:
                    text = answer.read().decode()
                break
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError):
                    raise
                time.sleep(0.1)
        else:
            raise AssertionError("snakeviz does not answer")
        assert "main" in html.unescape(text) and "demo.py" in text
        page = suite.browser("page", address)
        row = next(each for each in page["rows"] if each.endswith("(parse)"))
        want = next(total for key, (_, total) in recording.functions().items()
                    if key[2] == "parse" and key[0].endswith("demo.py"))
        assert "%.4g" % (want / 1e9) in row.split(), (row, want)
    finally:
        server.terminate()
        server.wait(timeout=30)


# --- gprof2dot ----------------------------------------------------------------------------------

@check
def gprof2dot_draws_all_three(suite):
    program = suite.from_venv("gprof2dot")
    for recording in suite.recordings():
        for kind, name in (("pstats", "pstats"), ("callgrind", "callgrind"),
                           ("collapsed", "collapse")):
            done = run([program, "-f", name, "-n0", "-e0", recording.export(kind)])
            assert done.returncode == 0 and done.stdout.startswith("digraph"), done.stderr
            assert not done.stderr.strip(), (kind, done.stderr)
            share = 100 * max(own for own, _ in recording.functions().values()) / recording.total_ns
            assert "(%.2f%%)" % share in done.stdout, (recording.name, kind, share)


# --- callgrind ----------------------------------------------------------------------------------

def number(text):
    return int(text.replace(",", "").replace("\xa0", "").replace(" ", ""))


def annotated(path):
    """{"file:function": first cost} and the total, from callgrind_annotate."""
    # It shortens paths below the current folder.
    done = run(["callgrind_annotate", "--auto=no", "--threshold=100", path],
               cwd=os.path.dirname(path))
    assert done.returncode == 0, done.stderr
    assert not re.search("WARNING|uninitialized", done.stdout + done.stderr), done.stderr
    costs, total = {}, None
    for line in done.stdout.splitlines():
        found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)", line)
        if found and line.endswith("PROGRAM TOTALS"):
            total = number(found.group(1))
        elif found:
            name = re.sub(r"^\s*(?:(?:[\d,]+(?: \(\s*[\d.]+%\))?|\.)\s+)+", "", line)
            costs[re.sub(r" \[[^]]*\]$", "", name)] = number(found.group(1))
    return costs, total


@check
def callgrind_annotate_agrees(suite):
    need("callgrind_annotate", "valgrind")
    for recording in suite.recordings():
        path = recording.export("callgrind")
        own, total = annotated(path)
        assert total == recording.total_ns, (recording.name, total)
        names = [(key[0], key[2]) for key in recording.functions()]
        compared = 0
        for (file, line, name), (want, _) in recording.functions().items():
            if want == 0 or not file or file.startswith("<"):
                continue
            label = "%s:%s" % (file, name)
            if names.count((file, name)) > 1:
                label += ":%d" % line
            assert own.get(label) == want, (recording.name, label, own.get(label), want)
            compared += 1
        assert compared >= 1, compared
    costs, total = annotated(suite.fixtures()["callgrind"])
    assert total and len(costs) > 5


@check
def kcachegrind_loads_without_complaint(suite):
    for program, package in (("kcachegrind", "kcachegrind"), ("Xvfb", "xvfb"),
                             ("xdotool", "xdotool"), ("dbus-run-session", "dbus")):
        need(program, package)
    files = [recording.export("callgrind") for recording in suite.recordings()]
    for path in files + [suite.fixtures()["callgrind"]]:
        done = run([os.path.join(HERE, "kcachegrind.sh"), path])
        assert done.returncode == 0, (path, done.stdout)


@check
def kcachegrind_shows_our_numbers(suite):
    for program, package in (("kcachegrind", "kcachegrind"), ("xvfb-run", "xvfb"),
                             ("dbus-run-session", "dbus")):
        need(program, package)
    if run(["/usr/bin/python3", "-c", "import pyatspi"]).returncode:
        raise Skip("the accessibility bus is not installed (Debian package python3-pyatspi)")
    for recording in suite.recordings()[:2]:
        done = run([os.path.join(HERE, "kcachegrind_dump.sh"), recording.export("callgrind")])
        if "Cost:" not in done.stdout:
            raise Skip("KCachegrind's accessibility bridge did not come up in ten tries")
        found = re.search(r"Cost: ([\d \xa0]+)", done.stdout).group(1)
        assert number(found) == recording.total_ns, found
        rows = {}
        for line in done.stdout.splitlines():
            cells = [cell.strip() for cell in line.replace("row:", "", 1).split("|")]
            if line.startswith("row:") and len(cells) == 5 and cells[1]:
                rows.setdefault(cells[3], []).append((float(cells[0]), float(cells[1])))
        compared = 0
        for (_, _, name), (own, total) in recording.functions().items():
            if len(rows.get(name, [])) != 1:
                continue
            shown = rows[name][0]
            want = (100 * total / recording.total_ns, 100 * own / recording.total_ns)
            apart = max(abs(shown[0] - want[0]), abs(shown[1] - want[1]))
            assert apart < 0.011, (name, shown, want)
            compared += 1
        assert compared >= 10, (compared, rows)


# --- pprof --------------------------------------------------------------------------------------

def pprof_top(path, *options):
    """{function: (own, cumulative)} and the total of the default sample type, in its unit."""
    need("go", "golang-go")
    done = run(["go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0",
                "-unit=ns", *options, path])
    assert done.returncode == 0, done.stderr
    rows = {}
    for line in done.stdout.splitlines():
        found = re.match(r"\s*([\d.]+)(?:ns|B)?\s+[\d.]+%\s+[\d.]+%\s+([\d.]+)(?:ns|B)?"
                         r"\s+[\d.]+%\s+(.*)$", line)
        if found:
            rows[found.group(3)] = (float(found.group(1)), float(found.group(2)))
    total = re.search(r" of ([\d.]+)(?:ns|B)? total", done.stdout)
    return rows, float(total.group(1)) if total else 0


@check
def pprof_agrees(suite):
    for recording in suite.recordings():
        # Without -symbolize=none pprof also cleans names as if they were C++'s.
        for options in ((), ("-symbolize=none",)):
            rows, total = pprof_top(recording.export("pprof"), *options)
            assert total == recording.total_ns, (recording.name, total)
            names = [key[2] for key in recording.functions()]
            compared = 0
            for (_, _, name), want in recording.functions().items():
                if want[1] and names.count(name) == 1:  # it puts equal names together
                    assert rows[name] == want, (recording.name, name, rows[name], want)
                    compared += 1
            assert compared > 3, rows
    done = run(["go", "tool", "pprof", "-raw", suite.fixtures()["pprof"]])
    assert done.returncode == 0, done.stderr


# --- speedscope ---------------------------------------------------------------------------------

@check
def speedscope_schema(suite):
    files = [recording.export("speedscope", *options) for recording in suite.recordings()
             for options in ((), ("--lines",), ("--max-samples=20",))]
    done = suite.node("speedscope_schema.mjs", suite.fixtures()["speedscope"], *files)
    assert done.returncode == 0, done.stdout


def read_back(suite, path, importer):
    saved = os.path.join(suite.scratch, "saved.json")
    result = suite.browser("speedscope", path, "--save", saved)
    assert importer in result["importer"], result["importer"]
    with open(saved, encoding="utf-8") as file:
        return speedscope_own(json.load(file))


@check
def speedscope_reads_our_numbers(suite):
    for recording in suite.recordings():
        own = read_back(suite, recording.export("speedscope"), "speedscope json file")
        assert sum(own.values()) == recording.total_ns, (recording.name, sum(own.values()))
        if recording.wall:
            continue  # waits have frames of their own there
        for (file, line, name), (want, _) in recording.functions().items():
            if file and want:
                assert own.get((name, file, line)) == want, (recording.name, name, want)
    read_back(suite, suite.fixtures()["speedscope"], "speedscope json file")


@check
def speedscope_reads_the_others(suite):
    recording = suite.recordings()[0]
    own = read_back(suite, recording.export("collapsed"), "collapsed stack format")
    assert sum(own.values()) == (recording.total_ns + 500) // 1000, sum(own.values())
    own = read_back(suite, recording.export("callgrind"), "Callgrind profile")
    assert own
    own = read_back(suite, recording.export("pprof"), "pprof")
    assert sum(own.values()) == recording.total_ns, sum(own.values())
    own = read_back(suite, recording.export("chrome"), "Trace Event Format")
    assert round(1000 * sum(own.values())) == recording.total_ns, sum(own.values())  # it has us


@check
def speedscope_opens_a_large_trace(suite):
    recording = suite.large()
    path = recording.export("speedscope")
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    assert sum(len(profile["samples"]) for profile in data["profiles"]) <= 100000
    assert "put together" in data["name"], data["name"]
    assert sum(speedscope_own(data).values()) == recording.total_ns
    assert suite.browser("speedscope", path)["profiles"] == 16


# --- flame graph --------------------------------------------------------------------------------

@check
def svg_is_xml(suite):
    need("xmllint", "libxml2-utils")
    need("rsvg-convert", "librsvg2-bin")
    files = [recording.export("flamegraph") for recording in suite.recordings()]
    odd = os.path.join(suite.scratch, "odd.svg")
    done = run([suite.tool("scprof-convert"), suite.recordings()[0].trace, "-o", odd, "--title",
                "<b> & ]]> \x1b[1m \udce4".encode("utf-8", "surrogateescape")])
    assert done.returncode == 0, done.stderr
    for path in files + [odd, suite.fixtures()["flamegraph"]]:
        done = run(["xmllint", "--noout", "--nonet", path])
        assert done.returncode == 0, done.stderr
        with open(path, encoding="utf-8") as file:
            text = file.read()
        links = set(re.findall(r"https?://[^\"'/ ]+", text))
        assert links <= {"http://www.w3.org"}, links
        done = run(["rsvg-convert", path, "-o", os.path.join(suite.scratch, "out.png")])
        assert done.returncode == 0, done.stderr


@check
def svg_works_in_a_browser(suite):
    recording = suite.recordings()[0]
    seen = suite.browser("svg", recording.export("flamegraph"), "--search",
                         r"^parse \(samples/demo")
    want = sum(total for key, (_, total) in recording.functions().items()
               if key[2] == "parse" and key[0].endswith("demo.py"))
    share = "%.2f %%" % (100 * want / recording.total_ns)
    assert seen["load"]["boxes"] > 20 and seen["load"]["first"].startswith("all\n"), seen["load"]
    assert share in seen["target"] and share in seen["hover"], (share, seen["hover"])
    assert seen["zoomed"]["boxes"] < seen["load"]["boxes"]
    assert "hide" not in seen["zoomed"]["unzoom"] and "hide" in seen["reset"]["unzoom"]
    assert seen["reset"]["boxes"] == seen["load"]["boxes"]
    assert seen["selected"] != seen["load"]["details"]
    assert seen["searched"]["matched"].startswith("Matched: " + share), seen["searched"]
    assert seen["callers"]["boxes"] != seen["load"]["boxes"]
    assert seen["flipped"]["boxes"] == seen["load"]["boxes"]
    assert seen["reloaded"]["matched"] == seen["searched"]["matched"], seen["reloaded"]
    assert seen["image"][0] == 1200, seen["image"]


@check
def svg_with_odd_names(suite):
    seen = suite.browser("svg", suite.fixtures()["flamegraph"], "--search", "fib")
    assert seen["searched"]["matched"].startswith("Matched: ")


@check
def svg_of_a_large_trace(suite):
    seen = suite.browser("svg", suite.large().export("flamegraph"), "--search", "function_0001")
    assert 100 < seen["load"]["boxes"] <= 6000, seen["load"]["boxes"]


# --- collapsed ----------------------------------------------------------------------------------

@check
def collapsed_own_time_by_function(suite):
    recording = suite.recordings()[0]
    own = {}
    for stack, weight in collapsed_stacks(recording.export("collapsed")):
        assert not re.search(r" \d+$", stack[-1]), stack[-1]
        own[stack[-1]] = own.get(stack[-1], 0) + weight
    for (path, _, name), (want, _) in recording.functions().items():
        if path.endswith("demo.py") and name in ("parse", "write_log", "store"):
            found = own["%s (samples/demo.py)" % name]
            assert abs(found - want / 1000) < 50, (name, found, want)


# --- memory -------------------------------------------------------------------------------------

@check
def memory_in_callgrind_annotate(suite):
    need("callgrind_annotate", "valgrind")
    for metric, figure in MEMORY.items():
        recording = suite.memory(metric)
        own, total = annotated(recording.export("callgrind"))
        assert total == recording.profile["totals"][figure], (metric, total)
        assert sum(own.values()) == total, own


@check
def memory_in_kcachegrind(suite):
    for program, package in (("kcachegrind", "kcachegrind"), ("Xvfb", "xvfb"),
                             ("xdotool", "xdotool"), ("dbus-run-session", "dbus")):
        need(program, package)
    path = suite.memory("peak").export("callgrind")
    done = run([os.path.join(HERE, "kcachegrind.sh"), path])
    assert done.returncode == 0, done.stdout
    done = run([os.path.join(HERE, "kcachegrind_dump.sh"), path])
    if "Cost:" not in done.stdout:
        raise Skip("KCachegrind's accessibility bridge did not come up in ten tries")
    found = re.search(r"Total (.*) Cost: ([\d \xa0]+)", done.stdout)
    want = suite.memory("peak").profile["totals"]["peak_bytes"]
    assert "peak" in found.group(1) and number(found.group(2)) == want, found.group(0)


@check
def memory_in_pprof(suite):
    path = suite.memory("malloc").export("pprof")
    for metric, figure in MEMORY.items():
        index = {"malloc": "alloc", "peak": "peak", "live": "inuse", "temporary": "temporary",
                 "copies": "copy"}[metric]
        rows, total = pprof_top(path, "-sample_index=%s_space" % index, "-unit=B")
        assert total == suite.memory(metric).profile["totals"][figure], (metric, total)
        assert sum(own for own, _ in rows.values()) == total


@check
def memory_in_speedscope(suite):
    files = [suite.memory(metric).export("speedscope") for metric in [*MEMORY, "leaks"]]
    done = suite.node("speedscope_schema.mjs", *files)
    assert done.returncode == 0, done.stdout
    for metric, figure in MEMORY.items():
        recording = suite.memory(metric)
        own = read_back(suite, recording.export("speedscope"), "speedscope json file")
        assert sum(own.values()) == recording.profile["totals"][figure], (metric, own)


@check
def memory_in_ms_print(suite):
    need("ms_print", "valgrind")
    recording = suite.memory("peak")
    for path in (recording.export("massif"), suite.fixtures()["massif"]):
        done = run(["ms_print", path])
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr
        number_of_it = re.search(r"\[.*?(\d+) \(peak\).*\]", done.stdout, re.S).group(1)
        row = re.search(r"^ *%s +[\d,]+ +([\d,]+) .*\n100\.00%% \(([\d,]+)B\)" % number_of_it,
                        done.stdout, re.M)
        assert row.group(1) == row.group(2)
        if path == recording.export("massif"):
            assert number(row.group(1)) == recording.profile["totals"]["peak_bytes"]


@check
def memory_in_a_flame_graph(suite):
    recording = suite.memory("peak")
    seen = suite.browser("svg", recording.export("flamegraph"), "--search", "^load ")
    assert "%.2f MB" % (recording.profile["totals"]["peak_bytes"] / 2**20) in seen["load"]["first"]
    assert " KB" in seen["target"] and seen["zoomed"]["boxes"] < seen["load"]["boxes"] + 1
    assert re.match(r"Matched: [\d.]+ % · [\d.]+ KB", seen["searched"]["matched"])
    suite.browser("svg", suite.memory("leaks").export("flamegraph"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--keep", help="leave the exports in this folder")
    parser.add_argument("name", nargs="*")
    options = parser.parse_args()
    scratch = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="scprof-")
    os.makedirs(scratch, exist_ok=True)
    suite = Suite(os.path.abspath(options.build), scratch)
    passed = failed = skipped = 0
    for function in CHECKS:
        if options.name and not any(name in function.__name__ for name in options.name):
            continue
        start = time.monotonic()
        try:
            function(suite)
        except Skip as reason:
            skipped += 1
            print("SKIP %s: %s" % (function.__name__, reason))
        except Exception:
            failed += 1
            print("FAIL %s" % function.__name__)
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print("ok   %s (%.1f s)" % (function.__name__, time.monotonic() - start))
        sys.stdout.flush()
    if not options.keep:
        shutil.rmtree(scratch, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
