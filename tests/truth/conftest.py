# SPDX-License-Identifier: Apache-2.0
"""Recordings of the samples, each made once per interpreter and shared by the tests."""

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

    def own_code(self):
        """As the user sees it: what libraries do is charged to the line that called them."""
        return self.tools.profile(self.trace, everything=False)


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


# A bound is as wide as chance can make it, once in 100,000 runs, for the number of samples that
# there are, plus what the method may get wrong. Samples stand for unequal stretches of time, which
# makes them worth less than their number.
SIGMAS = 4.5
DESIGN_EFFECT = 1.5
ENOUGH = 30


def spread(share, samples):
    return SIGMAS * math.sqrt(DESIGN_EFFECT * share * (1 - share) / max(samples, 1))


@pytest.fixture(scope="session")
def near():
    """near(measured, expected share, samples, tolerance): asserts a share."""

    def check(measured, expected, samples, tolerance, what=""):
        assert samples >= ENOUGH, "%s: only %d samples" % (what, samples)
        allowed = spread(expected, samples) + tolerance
        assert abs(measured - expected) <= allowed, \
            "%s: %.1f %% instead of %.1f %% (+- %.1f) in %d samples" % (
                what, measured * 100, expected * 100, allowed * 100, samples)

    return check


@pytest.fixture(scope="session")
def at_least():
    """at_least(measured, bound, samples): asserts that a share is no less than the bound."""

    def check(measured, bound, samples, what=""):
        assert samples >= ENOUGH, "%s: only %d samples" % (what, samples)
        assert measured >= bound - spread(bound, samples), "%s: %.1f %%, not >= %.1f %%" % (
            what, measured * 100, bound * 100)

    return check
