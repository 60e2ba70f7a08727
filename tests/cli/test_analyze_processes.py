# SPDX-License-Identifier: Apache-2.0
"""The tree of processes: who started whom, what each cost, how it ended, and who was left out."""

import csv
import io
import os
import re
import subprocess

import pytest

from terminal import Terminal

MB = 1 << 20
BLOCKS, SIZE = 40, 1000003

# Python, under it a shell with Python under it, forks that inherit, keep and leave in their ways.
PROGRAM = """
import os, subprocess, sys
def spin(n=200000):
    for i in range(n): pass
def wait(pid):
    return os.waitpid(pid, 0)[1]
held = [bytearray(%d) for i in range(%d)]
spin()
if not os.fork():
    spin()
    if not os.fork():
        held.clear()
        spin()
        os._exit(7)
    os.wait()
    more = [bytearray(%d) for i in range(%d)]
    os._exit(0)
os.wait()
held.clear()
if not os.fork():
    spin()
    os._exit(3)
os.wait()
subprocess.run(['sh', '-c', sys.executable + ' ./' + sys.argv[1] + '; true'])
subprocess.run(['sh', '-c', 'exit 0'])
""" % (SIZE, BLOCKS, SIZE, BLOCKS // 2)


def record(tools, python, folder, program, *options):
    (folder / "outer.py").write_text(program)
    (folder / "inner.py").write_text("for i in range(200000): pass\n")
    done = tools.record(folder / "t.trace", [python.path, "outer.py", "inner.py"],
                        options=options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "t.trace"


@pytest.fixture(scope="module")
def recorded(tools, python, tmp_path_factory):
    return record(tools, python, tmp_path_factory.mktemp("processes"), PROGRAM, "--memory=full")


def rows_of(tools, trace, *options):
    done = tools.analyze("--processes", "--format", "csv", *options, trace)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def table_of(text):
    """The rows of the section, with the indentation of their commands."""
    lines = text.split("\nProcesses\n")[1].split("\n\n")[0].splitlines()
    at = lines[0].index("command")
    return [(line[:at].split(), line[at:]) for line in lines[1:]]


def test_tree(tools, recorded):
    """Outer has three forks or programs; a shell between two of them is passed over."""
    text = tools.analyze("--processes", recorded).stdout
    rows = table_of(text)
    depths = [len(command) - len(command.lstrip()) for _, command in rows]
    assert depths == [0, 2, 4, 2, 2], text
    assert [re.search(r"exit \d", " ".join(row)) is not None for row, _ in rows] == \
        [False, False, True, True, False], text
    assert "exit 7" in " ".join(rows[2][0]) and "exit 3" in " ".join(rows[3][0])


def test_rows(tools, python, recorded):
    rows = rows_of(tools, recorded)
    pids = [row["pid"] for row in rows]
    assert [row["parent_pid"] for row in rows] == ["", pids[0], pids[1], pids[0], pids[0]]
    assert [row["ended_by"] for row in rows] == ["", "", "exit 7", "exit 3", ""]
    assert [row["command"].split()[-2:] for row in rows[3:]] == \
        [["outer.py", "inner.py"], [python.path, "./inner.py"]]
    starts = [int(row["start_ns"]) for row in rows]
    assert starts == sorted(starts)
    assert all(int(row["cpu_ns"]) > 0 and int(row["end_ns"]) > int(row["start_ns"]) for row in rows)


def test_inherited_memory(tools, recorded):
    """What was live at the fork is told as inherited, and is nobody's but the parent's."""
    outer, child, grandchild, second, inner = rows_of(tools, recorded)
    held = BLOCKS * SIZE
    assert float(outer["peak_bytes"]) >= held
    assert [float(row["inherited_bytes"]) for row in (outer, inner)] == [0, 0]
    for row in (child, grandchild):
        assert held <= float(row["inherited_bytes"]) <= held + 8 * MB
    # 0: it was gone before it was looked at. What is resident is shared with the parent.
    assert float(child["first_rss_bytes"]) == 0 or float(child["first_rss_bytes"]) > held / 2
    # The child freed nothing of it, the grandchild all, and neither is a release or growth.
    assert held // 2 <= float(child["peak_bytes"]) <= held // 2 + 4 * MB
    assert float(grandchild["peak_bytes"]) < 4 * MB
    assert float(grandchild["growth_bytes"]) > -MB
    assert float(grandchild["free_bytes"]) <= float(grandchild["malloc_bytes"])
    # It had been freed before the last fork.
    assert float(second["inherited_bytes"]) < 8 * MB
    profile = tools.profile(recorded)
    assert profile.quality["lost_events"] == 0
    assert re.search(r"^  forks +3   inherited up to 4\d\.\d MB",
                     tools.analyze("--memory", recorded).stdout, re.M)


def test_sampled_memory_is_inherited(tools, python, tmp_path):
    """The same, estimated: blocks this large are always sampled."""
    program = PROGRAM.replace(str(SIZE), str(20 * MB)).replace("range(%d)" % BLOCKS, "range(3)")
    rows = rows_of(tools, record(tools, python, tmp_path, program))
    for row in rows[1:3]:
        assert 60 * MB <= float(row["inherited_bytes"]) <= 80 * MB, row
    assert float(rows[2]["peak_bytes"]) < 16 * MB


def test_filter(tools, recorded):
    """Every report is about the processes that are asked for."""
    whole = rows_of(tools, recorded)
    for row, pattern in ((whole[0], whole[0]["pid"]), (whole[4], "* ./inner.py")):
        one, = rows_of(tools, recorded, "--process", pattern)
        assert one["pid"] == row["pid"] and one["cpu_ns"] == row["cpu_ns"]
        assert tools.profile(recorded, "--process", pattern).totals["cpu_ns"] == \
            int(row["cpu_ns"])
    two = rows_of(tools, recorded, "--process", whole[1]["pid"], "--process", whole[2]["pid"])
    assert [row["parent_pid"] for row in two] == ["", whole[1]["pid"]]
    assert tools.profile(recorded).totals["cpu_ns"] == sum(int(row["cpu_ns"]) for row in whole)


def test_order_and_limit(tools, recorded):
    shown = rows_of(tools, recorded, "--sort", "peak")
    assert [row["pid"] for row in shown][:1] == [rows_of(tools, recorded)[0]["pid"]]
    done = tools.analyze("--processes", "--top", "1", recorded)
    assert re.search(r"^  [234] more, see --top$", done.stdout, re.M), done.stdout


def test_narrow_terminal(tools, recorded):
    """80 columns have what matters."""
    terminal = Terminal(tools.build, [tools.analyzer, "--processes", "--color", "never", recorded],
                        rows=40)
    try:
        terminal.wait_for_text("it counts there")
        assert terminal.wait() == 0
        head, = [line for line in terminal.lines if line.endswith("command")]
        for title in ("CPU", "wall", "peak", "inherited", "ended by", "pid"):
            assert title in head, terminal.text
        at = head.index("command")
        rows = terminal.lines[terminal.lines.index(head) + 1:][:5]
        assert all(len(row) > at + 5 for row in rows), terminal.text
    finally:
        terminal.close()


def test_markdown(tools, recorded):
    text = tools.analyze("--processes", "--format", "markdown", recorded).stdout
    assert re.search(r"^\| .* CPU .*\| pid \| command \|$", text, re.M), text
    assert len(re.findall(r"^\| .*outer.py .*\|$", text, re.M)) >= 4, text


def test_not_recorded(tools, python, tmp_path):
    """Who cannot be recorded is listed with the reason."""
    program = tmp_path / "odd"
    program.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(57))
    program.chmod(0o755)
    trace = tmp_path / "t.trace"
    code = ("import os, sys\n"
            "for i in range(3):\n"
            "    try: os.posix_spawn(sys.argv[1], sys.argv[1:], {})\n"
            "    except OSError: pass\n")
    done = tools.record(trace, [python.path, "-c", code, str(program)])
    assert done.returncode == 0, done.stderr
    text = tools.analyze("--processes", trace).stdout
    assert re.search(r"^Not recorded\n.*\n +\d+ +it is a program for another kind of machine +\S",
                     text, re.M), text
    assert "Not recorded" in tools.analyze("--processes", "--format", "markdown", trace).stdout
    row = rows_of(tools, trace)[-1]
    assert row["command"] == str(program) and "another kind of machine" in row["not_recorded"]
    assert "Not recorded" not in tools.analyze("--processes", "--process", "nobody", trace).stdout


KILLED = """
import os, signal, time
for number in (9, 15):
    pid = os.fork()
    if not pid:
        for i in range(100000): pass
        time.sleep(60)
    time.sleep(0.2)
    os.kill(pid, number)
    os.waitpid(pid, 0)
pid = os.fork()
if not pid:
    for i in range(100000): pass
    os.abort()
os.waitpid(pid, 0)
"""


def test_killed_children(tools, python, tmp_path):
    """Who is killed has no last words: the kernel tells of their end, even when they are gone."""
    trace = tmp_path / "t.trace"
    done = tools.record(trace, [python.path, "-c", KILLED])
    assert done.returncode == 0, done.stderr
    ends = [row["ended_by"] for row in rows_of(tools, trace)]
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    if release >= (6, 15):
        assert ends == ["", "signal 9", "signal 15", "signal 6"]
        text = tools.analyze("--processes", trace).stdout
        assert re.findall(r" SIG\w+ ", text) == [" SIGKILL ", " SIGTERM ", " SIGABRT "], text
    else:
        assert all(end in ("?", known) for end, known in
                   zip(ends[1:], ("signal 9", "signal 15", "signal 6"))), ends


def test_python_that_is_not_supported(tools, python, tmp_path):
    """A child of another version runs on unrecorded, and is told of with its command line."""
    source = tmp_path / "old.c"
    source.write_text('#include <stdio.h>\n'
                      'const char *Py_GetVersion(void) { return "3.6.1 (default)"; }\n'
                      'int main(void) { puts("ran"); return 0; }\n')
    subprocess.run(["gcc", "-rdynamic", "-o", tmp_path / "old", source], check=True)
    code = "import subprocess, sys\nfor i in range(2): subprocess.run(sys.argv[1:])\n"
    trace = tmp_path / "t.trace"
    done = tools.record(trace, [python.path, "-c", code, str(tmp_path / "old"), "word"])
    assert (done.returncode, done.stdout) == (0, "ran\nran\n"), done.stderr
    assert len(re.findall("is not recorded: Python 3.6.1 is older than 3.9", done.stderr)) == 1
    text = tools.analyze("--processes", trace).stdout
    assert "2 processes not recorded" in text
    rows = rows_of(tools, trace)
    assert [row["not_recorded"][:12] for row in rows] == ["", "Python 3.6.1", "Python 3.6.1"]
    assert all(row["command"] == "%s word" % (tmp_path / "old") for row in rows[1:]), rows
    assert all(row["parent_pid"] == rows[0]["pid"] for row in rows[1:]), rows
    # The same when there is nothing else.
    done = tools.record(trace, [str(tmp_path / "old"), "word"])
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert "Not recorded" in tools.analyze(trace).stdout
