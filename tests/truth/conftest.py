# SPDX-License-Identifier: Apache-2.0
"""Recordings of the samples, each made once per interpreter and shared by the tests."""

import csv
import io
import math
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from recording import sample  # noqa: E402


class Recording:
    def __init__(self, tools, trace, done):
        self.tools = tools
        self.trace = trace
        self.status = done.returncode
        self.output = done.stdout
        self.talk = done.stderr
        self.profiles = {}

    def profile(self, *options):
        if options not in self.profiles:
            self.profiles[options] = self.tools.profile(self.trace, *options)
        return self.profiles[options]

    def charged_wall_ns(self, path, number):
        """Of one line, as the user sees it: what libraries do is charged to who called them."""
        done = self.tools.analyze("--lines", "--wall", "--min-percent", "0", "--format", "csv",
                                  self.trace)
        assert done.returncode == 0, done.stderr
        return sum(int(row["charged_wall_ns"]) for row in csv.DictReader(io.StringIO(done.stdout))
                   if row["path"] == path and int(row["line"]) == number)


@pytest.fixture(scope="session")
def recorded(tools, tmp_path_factory):
    """recorded(interpreter, "nine_to_one.py", ...): the sample recorded with the defaults."""
    known = {}

    def record(interpreter, name, *arguments, options=(), status=0, module=None, before=()):
        key = (interpreter.name, name, arguments, options, before)
        if key not in known:
            environment = dict(os.environ)
            environment.pop("PYTHONPATH", None)
            if module:
                folder, why = interpreter.site_with(module, tools.build)
                if why:
                    pytest.skip(why)
                if folder:
                    environment["PYTHONPATH"] = folder
            trace = tmp_path_factory.mktemp(name.replace(".py", "")) / "run.trace"
            done = tools.record(trace, [interpreter.path, *before, sample(name), *arguments],
                                options, env=environment)
            known[key] = Recording(tools, trace, done)
        recording = known[key]
        assert recording.status == status, "%s ended with %d\n%s%s" % (
            name, recording.status, recording.output, recording.talk)
        return recording

    return record


# A bound is as wide as chance can make it, once in 100,000 runs, plus what the method may get
# wrong. Samples stand for unequal stretches of time, on a busy machine very unequal ones; the
# interval that is given with a figure says so, and may widen the bound but never narrow it.
SIGMAS = 4.5
SIGMAS_OF_INTERVAL = 1.96
DESIGN_EFFECT = 1.5
ENOUGH = 30
NO_VERDICT = 0.2


def spread(share, samples):
    """What chance does to a share of so many samples."""
    return SIGMAS * math.sqrt(DESIGN_EFFECT * share * (1 - share) / max(samples, 1))


def half_width(metrics):
    return (metrics["cpu_ns_high"] - metrics["cpu_ns_low"]) / 2


def check_enough(metrics, allowed, what):
    # So much CPU time is worth enough samples at the default rate, if the machine has time.
    if metrics["cpu_ns"] < 1e6 * ENOUGH:
        pytest.skip("%s: only %.1f ms of work on this machine" % (what, metrics["cpu_ns"] / 1e6))
    if metrics["samples"] < ENOUGH or allowed > NO_VERDICT:
        pytest.skip("%s: too few samples for a verdict, the machine is busy" % what)


@pytest.fixture(scope="session")
def near():
    """near(part, whole, share, tolerance): the part's CPU time is that share of the whole's."""

    def check(part, whole, share, tolerance, what=""):
        measured = part["cpu_ns"] / max(whole["cpu_ns"], 1)
        chance = SIGMAS / SIGMAS_OF_INTERVAL * half_width(part) / max(whole["cpu_ns"], 1)
        allowed = max(spread(share, whole["samples"]), chance) + tolerance
        check_enough(whole, allowed, what)
        assert abs(measured - share) <= allowed, \
            "%s: %.1f %% instead of %.1f %% (+- %.1f) in %d samples" % (
                what, measured * 100, share * 100, allowed * 100, whole["samples"])

    return check


@pytest.fixture(scope="session")
def at_least():
    """at_least(measured, share, metrics): a share of metrics' CPU time is no less than that."""

    def check(measured, share, metrics, what=""):
        # So many equal samples would give the same interval.
        worth = (SIGMAS_OF_INTERVAL * metrics["cpu_ns"] / max(half_width(metrics), 1)) ** 2
        allowed = spread(share, min(metrics["samples"], worth if half_width(metrics) else 1e9))
        check_enough(metrics, allowed, what)
        assert measured >= share - allowed, "%s: %.1f %%, not >= %.1f %% in %d samples" % (
            what, measured * 100, share * 100, metrics["samples"])

    return check
