# SPDX-License-Identifier: Apache-2.0
"""scprof-convert: options, messages, files, and that every export has the same total."""

import json
import marshal
import os
import re
import stat
import subprocess

import pytest

import known_traces

FILES = {"callgrind": "callgrind.out.1", "collapsed": "x.folded", "flamegraph": "x.svg",
         "pstats": "x.pstats", "speedscope": "x.speedscope.json"}
KINDS = ("demo", "torn", "library", "empty", "deep", "big")


@pytest.fixture(scope="module")
def traces(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    return {kind: known_traces.make(tools, kind, folder / (kind + ".trace")) for kind in KINDS}


def convert(tools, *arguments, **run):
    return subprocess.run([tools.converter, *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL, **run)


def write(tools, folder, name, *arguments):
    path = os.path.join(str(folder), FILES[name])
    done = convert(tools, *arguments, "-o", path)
    assert done.returncode == 0, done.stderr
    return path


def speedscope_total(data):
    total = 0
    for profile in data["profiles"]:
        assert profile["startValue"] == 0
        if profile["type"] == "sampled":
            assert sum(profile["weights"]) == profile["endValue"]
            total += sum(weight for stack, weight in zip(profile["samples"], profile["weights"])
                         if stack)
            continue
        depth, last = 0, 0
        for event in profile["events"]:
            assert event["at"] >= last
            total += event["at"] - last if depth else 0
            last = event["at"]
            depth += 1 if event["type"] == "O" else -1
            assert depth >= 0
        assert depth == 0
    return total


def total_of(name, path):
    """The file's total in ns, or for collapsed stacks in µs."""
    if name == "pstats":
        with open(path, "rb") as file:
            stats = marshal.load(file)
        return round(sum(entry[2] for entry in stats.values()) * 1e9)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if name == "callgrind":
        totals = [int(each) for each in re.findall(r"^(?:summary|totals): (\d+)", text, re.M)]
        assert len(totals) == 2 and totals[0] == totals[1]
        own, calls = 0, False
        for line in text.splitlines():
            if re.match(r"\d", line):
                own += 0 if calls else int(line.split()[1])
            calls = line.startswith("calls=")
        assert own == totals[0]
        return totals[0]
    if name == "collapsed":
        return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())
    if name == "flamegraph":
        return int(re.search(r"^scprofData\.total = \[(\d+)", text, re.M).group(1))
    return speedscope_total(json.loads(text))


@pytest.mark.parametrize("kind", ["demo", "torn", "library", "deep", "big"])
@pytest.mark.parametrize("options", [[], ["--wall"], ["--lines"], ["--threads"],
                                     ["--from", "0.1", "--to", "0.5"]])
def test_totals_are_the_analyzers(tools, traces, tmp_path, kind, options):
    filters = [word for word in options if word not in ("--lines", "--threads")]
    totals = tools.profile(traces[kind], *filters).data["totals"]
    weight = totals["wall_ns" if "--wall" in options else "cpu_ns"]
    if weight == 0:
        for name in FILES:
            done = convert(tools, *options, traces[kind], "-o", tmp_path / FILES[name])
            assert done.returncode == 1 and "nothing to write" in done.stderr
        return
    for name in FILES:
        found = total_of(name, write(tools, tmp_path, name, *options, traces[kind]))
        assert found == ((weight + 500) // 1000 if name == "collapsed" else weight), name


def test_several_traces_add_up(tools, traces, tmp_path):
    both = tools.analyze("--format", "json", "--all", traces["demo"], traces["library"])
    weight = json.loads(both.stdout)["totals"]["cpu_ns"]
    for name in FILES:
        found = total_of(name, write(tools, tmp_path, name, traces["demo"], traces["library"]))
        assert found == ((weight + 500) // 1000 if name == "collapsed" else weight), name


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_limit_keeps_the_total(tools, traces, tmp_path, limit):
    weight = tools.profile(traces["big"]).data["totals"]["cpu_ns"]
    for name in ("speedscope", "flamegraph"):
        path = os.path.join(str(tmp_path), FILES[name])
        done = convert(tools, "--max-samples", limit, traces["big"], "-o", path)
        assert done.returncode == 0
        assert done.stderr.startswith("scprof-convert: ") and done.stderr.count("\n") == 1
        assert "--max-samples" in done.stderr
        assert total_of(name, path) == weight


def test_own_time_of_functions(tools, traces, tmp_path):
    """pstats, callgrind and speedscope name the functions like the analyzer, with its figures."""
    profile = tools.profile(traces["demo"])
    own = {(each["path"], each["function"]): each["self"].get("cpu_ns", 0)
           for each in profile.data["functions"]}
    total = {(each["path"], each["function"]): each["cumulative"].get("cpu_ns", 0)
             for each in profile.data["functions"]}
    with open(write(tools, tmp_path, "pstats", traces["demo"]), "rb") as file:
        stats = marshal.load(file)
    seen = 0
    for (path, line, name), (calls, all_calls, tt, ct, callers) in stats.items():
        assert 0 < calls <= all_calls
        assert set(callers) <= set(stats)
        if path != "~":
            assert round(tt * 1e9) == own[(path, name)] and line > 0
            assert round(ct * 1e9) == total[(path, name)]
            seen += 1
    assert seen >= 3


def test_threads_are_outermost(tools, traces, tmp_path):
    names = {thread["name"] for thread in tools.profile(traces["demo"]).threads
             if thread.get("cpu_ns")}
    with open(write(tools, tmp_path, "collapsed", "--threads", traces["demo"])) as file:
        roots = {line.split(";")[0].rsplit(" (", 1)[0] for line in file if ";" in line}
    assert roots == names


def test_lines_have_numbers(tools, traces, tmp_path):
    with open(write(tools, tmp_path, "collapsed", "--lines", traces["demo"])) as file:
        frames = {frame for line in file for frame in line.rsplit(" ", 1)[0].split(";")}
    assert all(re.search(r":\d+\)$", frame) for frame in frames if not frame.startswith("<no"))


def test_list_and_help_name_every_format(tools):
    for option in ("--list", "--help"):
        done = convert(tools, option)
        assert done.returncode == 0 and done.stderr == ""
        for name in FILES:
            assert re.search(r"^  %s " % name, done.stdout, re.M)
    with open(os.path.join(known_traces.ROOT, "man", "scprof-convert.1"), encoding="utf-8") as page:
        text = page.read()
    listed = re.findall(r"^  (\w+) ", convert(tools, "--list").stdout, re.M)
    assert listed == sorted(listed) == re.findall(r"^\.It Cm (\w+)$", text, re.M)


def test_format_from_option_or_name(tools, traces, tmp_path):
    plain = write(tools, tmp_path, "collapsed", traces["demo"])
    with open(plain) as file:
        expected = file.read()
    for option in ("--to", "--format", "-f"):
        done = convert(tools, option, "collapsed", traces["demo"], "-o", "-")
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
    odd = tmp_path / "profile.bin"
    assert convert(tools, "--to", "collapsed", traces["demo"], "-o", odd).returncode == 0
    assert odd.read_text() == expected


def test_metric_is_cpu_or_wall(tools, traces):
    def run(*options):
        return convert(tools, *options, "-f", "collapsed", traces["demo"], "-o", "-")
    assert run("--metric", "wall").stdout == run("--wall").stdout
    assert run("--metric", "cpu").stdout == run("--cpu").stdout == run().stdout
    assert run("--metric", "gpu").returncode == 2


@pytest.mark.parametrize("arguments, words", [
    ([], "--help"),
    (["TRACE"], "-o"),
    (["TRACE", "-o", "x.unknown"], "speedscope"),
    (["TRACE", "-o", "-"], "--to"),
    (["TRACE", "-o", "x.svg", "--to", "svg"], "flamegraph"),
    (["TRACE", "-o", "."], "folder"),
    (["TRACE", "-o", "x.svg", "--max-samples", "0"], "--max-samples"),
    (["TRACE", "-o", "x.svg", "--from", "2", "--to", "1"], "--from"),
    (["TRACE", "-o", "x.svg", "--nonsense"], "nonsense"),
    (["TRACE", "-o", "TRACE", "--to", "pstats"], "trace itself"),
])
def test_usage_errors(tools, traces, tmp_path, arguments, words):
    arguments = [traces["demo"] if word == "TRACE" else word for word in arguments]
    done = convert(tools, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("scprof-convert: ") and words in done.stderr, done.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_to_write(tools, traces, tmp_path, name):
    for trace in ([traces["empty"]], ["--function", "no_such_function", traces["demo"]]):
        done = convert(tools, *trace, "-o", tmp_path / FILES[name])
        assert done.returncode == 1
        assert "nothing to write" in done.stderr and done.stderr.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_what_cannot_be_read(tools, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a trace at all\n" * 10)
    for trace in (text, tmp_path / "missing.trace", tmp_path):
        done = convert(tools, trace, "-o", tmp_path / "x.svg")
        assert done.returncode == 1 and done.stderr.startswith("scprof-convert: ")
        assert os.path.basename(str(trace)) in done.stderr
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_failure_leaves_the_old_file(tools, traces, tmp_path):
    path = tmp_path / "x.svg"
    path.write_text("old")
    assert convert(tools, "--function", "nobody", traces["demo"], "-o", path).returncode == 1
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x.svg"]


def test_replaces_a_file_with_its_mode_and_link(tools, traces, tmp_path):
    path = tmp_path / "x.svg"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link.svg"
    link.symlink_to(path)
    assert convert(tools, traces["demo"], "-o", link).returncode == 0
    assert link.is_symlink() and path.read_text().startswith("<?xml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    fresh = tmp_path / "fresh.svg"
    assert convert(tools, traces["demo"], "-o", fresh, umask=0o027).returncode == 0
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["fresh.svg", "link.svg", "x.svg"]


def test_full_disk_is_said(tools, traces):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    for name in FILES:
        done = convert(tools, "-f", name, traces["demo"], "-o", "/dev/full")
        assert done.returncode == 1 and "No space left" in done.stderr
        with open("/dev/full", "w") as full:
            done = subprocess.run([tools.converter, "-f", name, traces["demo"], "-o", "-"],
                                  stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "No space left" in done.stderr


def test_a_folder_that_is_not_there(tools, traces, tmp_path):
    done = convert(tools, traces["demo"], "-o", tmp_path / "missing" / "x.svg")
    assert done.returncode == 1 and "missing" in done.stderr


def test_damage_is_a_warning(tools, traces, tmp_path):
    done = convert(tools, traces["torn"], "-o", tmp_path / "x.folded")
    assert done.returncode == 0 and done.stderr.startswith("scprof-convert: ")
    done = convert(tools, "-q", traces["torn"], "-o", tmp_path / "x.folded")
    assert (done.returncode, done.stderr) == (0, "")


def test_hostile_titles(tools, traces, tmp_path):
    title = b"]]> <script>alert(1)</script> & \" ' \x1b[1m \xed\xa0\x80 \xff"
    for name in FILES:
        write(tools, tmp_path, name, "--title", os.fsdecode(title), traces["demo"])
    import xml.etree.ElementTree
    tree = xml.etree.ElementTree.parse(tmp_path / FILES["flamegraph"])
    assert len(tree.getroot().findall("{http://www.w3.org/2000/svg}script")) == 2
    with open(tmp_path / FILES["speedscope"], encoding="utf-8") as file:
        assert "<script>" in json.load(file)["name"]
