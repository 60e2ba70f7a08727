# SPDX-License-Identifier: Apache-2.0
"""Runs the tools for the tests: record a program, read the trace back as JSON, look things up."""

import fnmatch
import json
import os
import signal
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLES = os.path.join(ROOT, "samples")


def sample(name):
    return os.path.join(SAMPLES, name)


def marked_line(path, mark):
    """Number of the line that ends in the comment "# @mark"."""
    with open(path, encoding="utf-8") as file:
        numbers = [number for number, line in enumerate(file, 1)
                   if line.rstrip().endswith("# @" + mark)]
    assert len(numbers) == 1, "%s: mark @%s is there %d times" % (path, mark, len(numbers))
    return numbers[0]


def mind_signals():
    """In a child before exec: what a background job ignores, a program at a terminal does not."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Tools:
    def __init__(self, build):
        self.build = build
        self.recorder = os.path.join(build, "scprof-record")
        self.analyzer = os.path.join(build, "scprof-analyze")
        self.converter = os.path.join(build, "scprof-convert")
        # With all that can be left out: the functions that copy.
        self.copy_agent = os.path.join(build, "libscprof-agent-memory-copies.so")
        self.started = []

    def start(self, options, command, **popen):
        """scprof-record as a running process in a session of its own, its trace in options."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        popen.setdefault("text", True)
        process = subprocess.Popen([self.recorder, *options, "--", *command],
                                   start_new_session=True, preexec_fn=mind_signals, **popen)
        self.started.append(process)
        return process

    def kill_started(self):
        """After a test: nothing that it started stays behind, whatever went wrong."""
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.started = []

    def record(self, trace, command, options=(), timeout=120, **run):
        """Records command; returns the finished process."""
        if "input" not in run:
            run.setdefault("stdin", subprocess.DEVNULL)
        run.setdefault("capture_output", True)
        run.setdefault("text", True)
        run.setdefault("preexec_fn", mind_signals)
        return subprocess.run([self.recorder, "-o", str(trace), *options, "--", *command],
                              timeout=timeout, **run)

    def analyze(self, *arguments, **run):
        run.setdefault("capture_output", True)
        run.setdefault("text", True)
        run.setdefault("timeout", 300)
        return subprocess.run([self.analyzer, *map(str, arguments)], **run)

    def convert(self, *arguments, **run):
        run.setdefault("capture_output", True)
        run.setdefault("text", True)
        run.setdefault("timeout", 300)
        return subprocess.run([self.converter, *map(str, arguments)], **run)

    def profile(self, trace, *options):
        """The trace as a Profile, library code too; fails when the analyzer does."""
        done = self.analyze("--format", "json", "--all", *options, trace)
        assert done.returncode == 0, "scprof-analyze: " + done.stderr
        return Profile(json.loads(done.stdout))


class Profile:
    """The analyzer's JSON with look-ups. Missing times are 0."""

    def __init__(self, data):
        self.data = data
        self.totals = Metrics(data["totals"])
        self.quality = data["quality"]
        self.run = data["run"]
        self.threads = data["threads"]
        self.processes = data["processes"]

    def line(self, path, number):
        """Metrics of one line of the file that ends in path, 0 everywhere when it is not listed."""
        total = Metrics({})
        for each in self.data["files"]:
            if each["path"].endswith(os.path.basename(path)):
                for line in each["lines"]:
                    if line["line"] == number:
                        total = total.plus(line)
        return total

    def marked(self, path, mark):
        return self.line(path, marked_line(path, mark))

    def function(self, path, name, kind="self"):
        """Metrics of the functions called name (the last part of the qualified name)."""
        total = Metrics({})
        for each in self.data["functions"]:
            if each["path"].endswith(os.path.basename(path)) and \
                    each["function"].split(".")[-1] == name:
                total = total.plus(each[kind])
        return total

    def thread(self, pattern):
        return [each for each in self.threads if fnmatch.fnmatch(each["name"], pattern)]


class Metrics(dict):
    def __missing__(self, name):
        return 0

    def plus(self, other):
        summed = Metrics(self)
        for name, value in other.items():
            if isinstance(value, (int, float)) and name != "line":
                summed[name] = summed[name] + value
        return summed

    def share(self, name, of="cpu_ns"):
        return self[name] / self[of] if self[of] else 0.0

    @property
    def waits(self):
        return sum(value for name, value in self.items()
                   if name.startswith("wait_") and not name.endswith(("_low", "_high")))
