# SPDX-License-Identifier: Apache-2.0
"""scprof-convert: options, messages, files, and that every export has the same total."""

import gzip
import json
import marshal
import os
import re
import stat
import subprocess
import sys

import pytest

import known_traces
import recording

FILES = {"callgrind": "callgrind.out.1", "chrome": "x.trace.json", "collapsed": "x.folded",
         "flamegraph": "x.svg", "massif": "massif.out.1", "pprof": "x.pb.gz",
         "pstats": "x.pstats", "speedscope": "x.speedscope.json"}
OF_PEAK = ("massif",)  # hold the peak, and nothing else
OF_TIME = [name for name in FILES if name not in OF_PEAK]
OF_MEMORY = [name for name in FILES if name not in ("chrome", "pstats")]
MEMORY = ("malloc", "peak", "live", "leaks", "temporary", "copies")
KINDS = ("demo", "torn", "library", "empty", "deep", "big", "memory", "leaks")


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


def slices_total(data):
    """Own time of all slices: those of a thread nest, outer ones first."""
    total, last = 0, {}
    for event in data["traceEvents"]:
        if event["ph"] != "X":
            continue
        start = round(event["ts"] * 1000)
        end = start + round(event["dur"] * 1000)
        thread = (event["pid"], event["tid"])
        open_ends = last.setdefault(thread, [])
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        if not open_ends:
            total += end - start
        assert not open_ends or end <= open_ends[-1]
        open_ends.append(end)
    return total


def massif_tree(lines):
    """The bytes of the tree's root. Whoever has children has their sum or more."""
    def node(depth):
        indent, children, size = re.match(r"( *)n(\d+): (\d+) ", lines.pop(0)).groups()
        assert len(indent) == depth
        below = sum(node(depth + 1) for _ in range(int(children)))
        assert below <= int(size) and (depth > 0 or below == int(size))
        return int(size)
    size = node(0)
    assert not lines
    return size


def massif_peak(text):
    """The size of the heap at the peak; each snapshot's tree has the snapshot's size."""
    found = re.findall(r"^time=(\d+)\nmem_heap_B=(\d+)\nmem_heap_extra_B=0\nmem_stacks_B=0\n"
                       r"heap_tree=(\w+)\n((?: *n\d+: .*\n)*)", text, re.M)
    assert len(found) == text.count("snapshot=")
    assert [each[0] for each in found] == sorted((each[0] for each in found), key=int)
    for _, size, kind, tree in found:
        assert tree == "" if kind == "empty" else massif_tree(tree.splitlines()) == int(size)
    (peak,) = [int(size) for _, size, kind, _ in found if kind == "peak"]
    assert peak == max(int(size) for _, size, _, _ in found)
    return peak


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a message: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            at += value
            assert at <= len(data)
            value = data[at - value:at]
        else:
            assert key & 7 == 0
        yield key >> 3, value


def varints(data):
    at, found = 0, []
    while at < len(data):
        value, at = varint(data, at)
        found.append(value)
    return found


def pprof_values(path):
    """{sample type: total}, and the default type."""
    with gzip.open(path) as file:
        profile = list(fields(file.read()))
    strings = [value.decode() for number, value in profile if number == 6]
    assert strings[0] == ""
    names = [strings[dict(fields(value))[1]] for number, value in profile if number == 1]
    samples = [list(fields(value)) for number, value in profile if number == 2]
    locations = {dict(fields(value))[1] for number, value in profile if number == 4}
    totals = [0] * len(names)
    for sample in samples:
        parts = dict(sample)
        assert parts[1] and set(varints(parts[1])) <= locations
        values = varints(parts[2])
        assert len(values) == len(names)
        totals = [total + value for total, value in zip(totals, values)]
    return dict(zip(names, totals)), strings[dict(profile)[14]]


def total_of(name, path):
    """The file's total in ns, or for collapsed stacks in µs."""
    if name == "pstats":
        with open(path, "rb") as file:
            stats = marshal.load(file)
        return round(sum(entry[2] for entry in stats.values()) * 1e9)
    if name == "pprof":
        totals, default = pprof_values(path)
        return totals[default]
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
    if name == "massif":
        return massif_peak(text)
    if name == "collapsed":
        return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())
    if name == "flamegraph":
        return int(re.search(r"^scprofData\.total = \[(\d+)", text, re.M).group(1))
    data = json.loads(text)
    return slices_total(data) if name == "chrome" else speedscope_total(data)


@pytest.mark.parametrize("kind", ["demo", "torn", "library", "deep", "big"])
@pytest.mark.parametrize("options", [[], ["--wall"], ["--lines"], ["--threads"],
                                     ["--from", "0.1", "--to", "0.5"]])
def test_totals_are_the_analyzers(tools, traces, tmp_path, kind, options):
    filters = [word for word in options if word not in ("--lines", "--threads")]
    totals = tools.profile(traces[kind], *filters).data["totals"]
    weight = totals["wall_ns" if "--wall" in options else "cpu_ns"]
    if weight == 0:
        for name in OF_TIME:
            done = convert(tools, *options, traces[kind], "-o", tmp_path / FILES[name])
            assert done.returncode == 1 and "nothing to write" in done.stderr
        return
    for name in OF_TIME:
        found = total_of(name, write(tools, tmp_path, name, *options, traces[kind]))
        assert found == ((weight + 500) // 1000 if name == "collapsed" else weight), name


# What scprof-analyze, callgrind and pprof call them.
FIGURES = {"malloc": ("malloc_bytes", "Malloc", "alloc_space"),
           "peak": ("peak_bytes", "Peak", "peak_space"),
           "live": ("growth_bytes", "Live", "inuse_space"),
           "leaks": (None, "Leaks", "leak_space"),
           "temporary": ("temporary_bytes", "Temporary", "temporary_space"),
           "copies": ("copy_bytes", "Copies", "copy_space")}


def callgrind_events(path):
    """{event: total}, the first one that of the metric."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    names = re.search(r"^events: (.*)$", text, re.M).group(1).split()
    assert names == re.findall(r"^event: (\w+) : .", text, re.M)
    totals = [int(each) for each in re.search(r"^totals: (.*)$", text, re.M).group(1).split()]
    assert len(names) == len(totals)
    return dict(zip(names, totals))


@pytest.mark.parametrize("options", [[], ["--lines"], ["--threads"], ["--function", "parse"],
                                     ["--from", "0.2", "--to", "0.7"]])
@pytest.mark.parametrize("metric", MEMORY)
def test_totals_of_memory(tools, traces, tmp_path, metric, options):
    filters = [word for word in options if word not in ("--lines", "--threads")]
    profile = tools.profile(traces["memory"], *filters).data
    want = {name: profile["totals"][figure] if figure else
            sum(leak["live_bytes"] for leak in profile["leaks"])
            for name, (figure, _, _) in FIGURES.items()}
    if "--from" in options:
        # Some stacks shrank: the exports have the others.
        path = write(tools, tmp_path, "collapsed", "--metric", "live", *options, traces["memory"])
        assert total_of("collapsed", path) > max(want["live"], 0)
        want["live"] = total_of("collapsed", path)
        # Of a leak only what it grew by in that time counts.
        path = write(tools, tmp_path, "collapsed", "--metric", "leaks", *options, traces["memory"])
        assert 0 < total_of("collapsed", path) < want["leaks"]
        want["leaks"] = total_of("collapsed", path)
    weight = want[metric]
    for name in OF_MEMORY:
        if name in OF_PEAK and metric != "peak":
            continue
        path = os.path.join(str(tmp_path), FILES[name])
        done = convert(tools, "--metric", metric, *options, traces["memory"], "-o", path)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("\n") == (weight == 0) and (weight or "empty" in done.stderr)
        assert total_of(name, path) == weight, name
    everything = callgrind_events(os.path.join(str(tmp_path), FILES["callgrind"]))
    values, default = pprof_values(os.path.join(str(tmp_path), FILES["pprof"]))
    assert (list(everything)[0], default) == FIGURES[metric][1:]
    for name, (_, event, sample_type) in FIGURES.items():
        assert everything[event] == values[sample_type] == want[name], name
    assert everything["Blocks"] == values["alloc_objects"] == profile["totals"]["malloc_count"]


@pytest.mark.parametrize("options", [[], ["--lines"], ["--threads"], ["--function", "keep*"]])
def test_totals_of_leaks(tools, traces, tmp_path, options):
    """What a cache and another process keep is no leak; in the exports, neither."""
    filters = [word for word in options if word not in ("--lines", "--threads")]
    profile = tools.profile(traces["leaks"], *filters).data
    weight = sum(leak["live_bytes"] for leak in profile["leaks"])
    assert weight == 2000 * 20000
    for name in OF_MEMORY:
        if name not in OF_PEAK:
            path = write(tools, tmp_path, name, "--metric", "leaks", *options, traces["leaks"])
            assert total_of(name, path) == weight, name


def test_totals_of_a_recording(tools, tmp_path):
    """Estimates are fractions of bytes; the exports agree to the byte all the same."""
    trace = tmp_path / "service.trace"
    done = tools.record(trace, [sys.executable, recording.sample("leaky_service.py"), "2"],
                        ["--memory-rate", "64K"])
    assert done.returncode == 0, done.stderr
    totals = tools.profile(trace).data["totals"]
    for metric, (figure, event, sample_type) in FIGURES.items():
        found = set()
        for name in OF_MEMORY:
            if name not in OF_PEAK or metric == "peak":
                path = os.path.join(str(tmp_path), FILES[name])
                done = convert(tools, "--metric", metric, trace, "-o", path)
                assert done.returncode == 0, done.stderr
                found.add(total_of(name, path))
        assert len(found) == 1, (metric, found)
        if figure:
            assert abs(found.pop() - totals[figure]) <= 1, (metric, found, totals[figure])
    assert totals["malloc_bytes"] > totals["peak_bytes"] > totals["growth_bytes"] > 2000000


def test_units_of_memory(tools, traces, tmp_path):
    with open(write(tools, tmp_path, "speedscope", "--metric", "peak", traces["memory"]),
              encoding="utf-8") as file:
        profiles = json.load(file)["profiles"]
    assert [(each["unit"], each["name"]) for each in profiles] == [("bytes", "memory at the peak")]
    with open(write(tools, tmp_path, "flamegraph", "--metric", "peak", traces["memory"]),
              encoding="utf-8") as file:
        text = file.read()
    peak = tools.profile(traces["memory"]).data["totals"]["peak_bytes"]
    assert "memory at the peak %.2f MB" % (peak / (1 << 20)) in text
    assert 'scprofData.unit = "bytes"' in text and not re.search(r"\d [mµn]?s[,<;]", text)


def test_several_traces_add_up(tools, traces, tmp_path):
    both = tools.analyze("--format", "json", "--all", traces["demo"], traces["library"])
    weight = json.loads(both.stdout)["totals"]["cpu_ns"]
    for name in OF_TIME:
        found = total_of(name, write(tools, tmp_path, name, traces["demo"], traces["library"]))
        assert found == ((weight + 500) // 1000 if name == "collapsed" else weight), name


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_limit_keeps_the_total(tools, traces, tmp_path, limit):
    weight = tools.profile(traces["big"]).data["totals"]["cpu_ns"]
    for name in ("speedscope", "flamegraph", "chrome"):
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


def test_pprof_labels_threads(tools, traces, tmp_path):
    for options, want in (([], {None}), (["--threads"], {
            (thread["name"], thread["tid"], thread["pid"])
            for thread in tools.profile(traces["demo"]).threads if thread.get("wall_ns")})):
        with gzip.open(write(tools, tmp_path, "pprof", *options, traces["demo"])) as file:
            profile = list(fields(file.read()))
        strings = [value.decode() for number, value in profile if number == 6]
        found = set()
        for number, value in profile:
            if number != 2:
                continue
            labels = [dict(fields(label)) for key, label in fields(value) if key == 3]
            values = {strings[label[1]]: strings[label[2]] if 2 in label else label[3]
                      for label in labels}
            found.add((values["thread"], values["thread_id"], values["pid"]) if values else None)
        assert found == want


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
    options, formats = text.split(".Sh FORMATS")
    assert listed == sorted(listed) == re.findall(r"^\.It Cm (\w+)$", formats, re.M)
    assert re.findall(r"^\.It Cm (\w+)$", options, re.M) == list(MEMORY)


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


def test_metric_of_time(tools, traces):
    def run(*options):
        return convert(tools, *options, "-f", "collapsed", traces["demo"], "-o", "-")
    assert run("--metric", "wall").stdout == run("--wall").stdout
    assert run("--metric", "cpu").stdout == run("--cpu").stdout == run().stdout
    assert run("--metric", "cpu", "--wall").stdout == run("--wall").stdout
    done = run("--metric", "gpu")
    assert done.returncode == 2 and all(word in done.stderr for word in ("cpu", *MEMORY))


@pytest.mark.parametrize("metric", MEMORY)
def test_memory_that_was_not_recorded(tools, traces, tmp_path, metric):
    for name in FILES:
        done = convert(tools, "--metric", metric, traces["demo"], "-o", tmp_path / FILES[name])
        if name not in OF_MEMORY or (name in OF_PEAK and metric != "peak"):
            assert done.returncode == 2 and "callgrind" in done.stderr, done.stderr
        else:
            assert done.returncode == 1 and "recorded" in done.stderr, done.stderr
            assert ("--copies" if metric == "copies" else "--memory") in done.stderr
        assert done.stderr.count("\n") == 1
    assert not os.listdir(tmp_path)


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
    (["TRACE", "-o", "x.svg", "--metric", "peak", "--wall"], "--wall"),
    (["TRACE", "-o", "x.svg", "--metric", "peak", "--gil"], "--gil"),
    (["TRACE", "-o", "x.pstats", "--metric", "peak"], "cannot hold --metric peak, use one of"),
    (["TRACE", "-o", "massif.out.1", "--wall"], "cannot hold --metric wall"),
    (["TRACE", "-o", "massif.out.1", "--metric", "cpu"], "cannot hold --metric cpu"),
    (["TRACE", "-o", "TRACE", "--to", "pstats"], "trace itself"),
])
def test_usage_errors(tools, traces, tmp_path, arguments, words):
    arguments = [traces["demo"] if word == "TRACE" else word for word in arguments]
    done = convert(tools, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("scprof-convert: ") and words in done.stderr, done.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", OF_TIME)
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
        trace = traces["memory" if name in OF_PEAK else "demo"]
        done = convert(tools, "-f", name, trace, "-o", "/dev/full")
        assert done.returncode == 1 and "No space left" in done.stderr
        with open("/dev/full", "w") as full:
            done = subprocess.run([tools.converter, "-f", name, trace, "-o", "-"],
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
        write(tools, tmp_path, name, "--title", os.fsdecode(title),
              traces["memory" if name in OF_PEAK else "demo"])
    import xml.etree.ElementTree
    tree = xml.etree.ElementTree.parse(tmp_path / FILES["flamegraph"])
    assert len(tree.getroot().findall("{http://www.w3.org/2000/svg}script")) == 2
    with open(tmp_path / FILES["speedscope"], encoding="utf-8") as file:
        assert "<script>" in json.load(file)["name"]
