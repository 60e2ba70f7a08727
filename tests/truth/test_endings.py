# SPDX-License-Identifier: Apache-2.0
"""Programs that end early, hard, or twice; that use signals; that are several processes."""

import re

from recording import Metrics, marked_line, sample


def test_short(interpreter, recorded, tools):
    recording = recorded(interpreter, "short.py")
    assert recording.output == "short\n"
    profile = recording.profile()
    assert profile.totals["cpu_ns"] < 1e9
    assert len(profile.processes) == 1
    for view in ("text", "csv", "markdown"):
        done = tools.analyze("--format", view, recording.trace)
        assert done.returncode == 0 and done.stdout, done.stderr


def test_os_exit(interpreter, recorded, near):
    recording = recorded(interpreter, "os_exit.py", status=7)
    profile = recording.profile()
    own = [int(word) for word in recording.output.split()]
    path = sample("os_exit.py")
    work, late = profile.marked(path, "work"), profile.marked(path, "late")
    near(late, work.plus(late), own[1] / sum(own), 0.02, "@late")
    assert profile.run["exit_status"] == 7
    assert profile.quality["cpu_seen_fraction"] >= 0.97


def test_sigkill(interpreter, recorded, at_least):
    recording = recorded(interpreter, "sigkill.py", status=128 + 9)
    assert "signal 9" in recording.talk or "SIGKILL" in recording.talk
    profile = recording.profile()
    work = profile.marked(sample("sigkill.py"), "work")
    at_least(work["cpu_ns"] / profile.totals["cpu_ns"], 0.9, profile.totals, "@work")
    assert profile.quality["cpu_seen_fraction"] >= 0.97


def test_fork_child(interpreter, recorded, near):
    recording = recorded(interpreter, "fork_child.py")
    profile = recording.profile()
    own = {name: int(cpu_ns) for name, cpu_ns in map(str.split, recording.output.splitlines())}
    path = sample("fork_child.py")
    parent, child = profile.marked(path, "parent"), profile.marked(path, "child")
    near(child, parent.plus(child), own["child"] / sum(own.values()), 0.02, "@child")
    assert len(profile.processes) == 2
    pids = {each["pid"]: each for each in profile.processes}
    forked = [each for each in profile.processes if each.get("parent") in pids]
    assert len(forked) == 1
    assert abs(forked[0]["cpu_ns"] - child["cpu_ns"]) <= 0.05 * child["cpu_ns"] + 10e6
    waited = profile.line(path, marked_line(path, "wait"))
    assert waited.waits >= 0.8 * child["cpu_ns"], dict(waited)


def test_signal_user(interpreter, recorded, at_least):
    recording = recorded(interpreter, "signal_user.py")
    assert recording.output == "as expected\n"
    profile = recording.profile()
    work = profile.marked(sample("signal_user.py"), "work")
    at_least(work["cpu_ns"] / profile.totals["cpu_ns"], 0.85, profile.totals, "@work")


def test_faulthandler_user(interpreter, recorded, at_least):
    recording = recorded(interpreter, "faulthandler_user.py")
    assert recording.output == "as expected\n"
    profile = recording.profile()
    work = profile.marked(sample("faulthandler_user.py"), "work")
    at_least(work["cpu_ns"] / profile.totals["cpu_ns"], 0.9, profile.totals, "@work")


def test_subprocess_tree(interpreter, recorded, near):
    recording = recorded(interpreter, "subprocess_tree.py")
    assert re.findall("^(.* done)", recording.output, re.MULTILINE) == [
        "level 2 done", "the shell is done", "level 1 done", "level 0 done"]
    own = {int(pid): int(cpu_ns)
           for pid, cpu_ns in re.findall("done ([0-9]+) ([0-9]+)", recording.output)}
    profile = recording.profile()
    pythons = [each for each in profile.processes if each.get("cpu_ns", 0) > 50e6]
    assert len(pythons) == 3
    total = sum(each["cpu_ns"] for each in pythons)
    for each in pythons:
        near(Metrics(each), Metrics(cpu_ns=total, samples=profile.totals["samples"]),
             own[each["pid"]] / sum(own.values()), 0.02, str(each["pid"]))
    work = profile.marked(sample("subprocess_tree.py"), "work")
    assert work["cpu_ns"] >= 0.85 * total
    roots = [each for each in profile.processes
             if each.get("parent") not in {other["pid"] for other in profile.processes}]
    assert len(roots) == 1
