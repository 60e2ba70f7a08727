# SPDX-License-Identifier: Apache-2.0
"""The live view on a real terminal: scprof-analyze --follow, scprof-record --live."""

import os
import signal
import subprocess

import pytest

from terminal import Terminal

HOT = """
import os, sys, threading, time

keep = []

def hot(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:    # seldom: late signals are noticed at system calls
        for _ in range(100):
            sum(range(1000))            # @hot

def grow():
    keep.append(bytearray(1 << 20))     # @grow

def rest():
    time.sleep(60)

threading.Thread(target=rest, name="resting", daemon=True).start()
print(os.getpid(), flush=True)
while len(keep) < int(sys.argv[1]):
    hot(0.1)
    grow()
"""


def line_of(text, mark):
    return next(number for number, line in enumerate(text.split("\n"), 1) if "# @" + mark in line)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "hot.py"
    path.write_text(HOT)
    # Source is only shown of files that cannot have changed since the recording began.
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture(scope="module")
def finished(tools, python, tmp_path_factory):
    """A complete trace."""
    folder = tmp_path_factory.mktemp("live")
    path = folder / "hot.py"
    path.write_text(HOT)
    trace = folder / "run.trace"
    done = tools.record(trace, [python.path, path, "10"])
    assert done.returncode == 0, done.stderr
    return trace


@pytest.fixture
def follow(tools):
    """follow(trace, ...): the view on a terminal."""
    opened = []

    def start(*arguments, **options):
        opened.append(Terminal(tools.build, [tools.analyzer, "--follow", *arguments], **options))
        return opened[-1]
    yield start
    for terminal in opened:
        terminal.close()


def quits(terminal):
    """"q" ends the view and leaves the terminal as it was."""
    terminal.send("q")
    assert terminal.wait() == 0
    assert b"\x1b[?1049h" in terminal.raw
    assert terminal.raw.rfind(b"\x1b[?1049l") > terminal.raw.rfind(b"\x1b[?1049h")
    # The cursor shows again.
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")


def test_a_recording_is_watched(tools, python, program, tmp_path, follow):
    trace = tmp_path / "run.trace"
    terminal = follow(trace)  # before there is anything to see
    recorder = tools.start(["-o", str(trace)], [python.path, str(program), "100000"])
    pid = int(recorder.stdout.readline())
    hot = "hot.py:%d" % line_of(HOT, "hot")
    terminal.wait_for(lambda: hot in terminal.lines[6] and "%" in terminal.lines[6],
                      "hot line on top")
    assert "recording" in terminal.lines[0] and "hot.py" in terminal.lines[0]
    assert "sum(range(1000))" in terminal.lines[6]
    assert ">now" in terminal.lines[5] and "overall" in terminal.lines[5]
    assert all(len(line) <= 80 for line in terminal.lines)

    terminal.send("2")
    terminal.wait_for(lambda: "+below" in terminal.lines[5], "functions")
    assert "hot" in terminal.lines[6]
    terminal.send("\t")
    terminal.wait_for_text("resting")
    assert "MainThread" in terminal.lines[6]
    terminal.send("4")
    terminal.wait_for(lambda: str(pid) in terminal.lines[6], "the process")
    terminal.send("5")
    grow = "hot.py:%d" % line_of(HOT, "grow")
    terminal.wait_for(lambda: grow in terminal.lines[6], "the line that grows")
    assert "MB" in terminal.lines[6] and "heap" in terminal.lines[3]

    os.kill(pid, signal.SIGTERM)
    terminal.wait_for_text("the recording has ended")
    quits(terminal)


def test_keys(finished, follow):
    terminal = follow(finished)
    terminal.wait_for_text("the recording has ended")
    terminal.wait_for(lambda: "sum(range" in terminal.text and "keep.append" in terminal.text,
                      "both lines")
    terminal.send("/grow")
    terminal.wait_for(lambda: terminal.lines[-1] == "/grow_", "the text typed")
    terminal.send("\r")
    terminal.wait_for_text('only with "grow"')
    terminal.wait_for(lambda: "sum(range" not in terminal.text, "only one of them")
    # Those of the function, and the line that calls it, should a sample have met that.
    rows = [line for line in terminal.lines[6:-1] if line]
    assert "keep.append" in terminal.text
    assert all("keep.append" in row or "grow()" in row for row in rows), rows
    terminal.send("\x1b")
    terminal.wait_for(lambda: "only with" not in terminal.text, "all rows again")
    terminal.send("s")
    terminal.wait_for(lambda: ">overall" in terminal.lines[5], "another order")
    terminal.send("<")
    terminal.wait_for(lambda: ">now" in terminal.lines[5], "the first order")
    terminal.send("?")
    terminal.wait_for_text("any key goes back")
    terminal.send(" ")
    terminal.wait_for(lambda: "any key goes back" not in terminal.text, "the table again")
    terminal.send("p")
    terminal.wait_for_text("picture paused")
    terminal.send("p")
    terminal.wait_for_text("the recording has ended")
    terminal.send("a")
    terminal.wait_for_text("a yours only")
    quits(terminal)


def test_resize(finished, follow):
    terminal = follow(finished)
    terminal.wait_for_text("hot.py:")
    for rows, columns in ((40, 120), (10, 40), (5, 20), (24, 80)):
        terminal.resize(rows, columns)
        if rows > 5:
            terminal.wait_for(lambda: "quit" in terminal.lines[-1] and
                              "line" in terminal.lines[5], "picture at %dx%d" % (columns, rows))
            assert "hot.py:" in terminal.text
        else:
            terminal.wait_for_text("too small")
    quits(terminal)


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_ascii_terminal(finished, follow, locale):
    terminal = follow(finished, LC_ALL=locale)
    terminal.wait_for_text("hot.py:")
    assert terminal.text.isascii() and "~" not in terminal.text
    quits(terminal)


def colors(terminal):
    return {terminal.screen.buffer[y][x].fg for y in range(24) for x in range(80)}


def test_colors(finished, follow):
    terminal = follow(finished)
    terminal.wait_for_text("hot.py:")
    assert colors(terminal) != {"default"}
    quits(terminal)
    for options in ({"NO_COLOR": "1"}, {"TERM": "vt100"}):
        terminal = follow(finished, **options)
        terminal.wait_for_text("hot.py:")
        assert colors(terminal) == {"default"}
    terminal = follow(finished, "--color", "never")
    terminal.wait_for_text("hot.py:")
    assert colors(terminal) == {"default"}


def test_filters_work(finished, follow):
    terminal = follow(finished, "--thread", "resting", "--wall")
    terminal.wait_for_text("time.sleep(60)")
    assert "sum(range" not in terminal.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_restore_the_terminal(finished, follow, number):
    terminal = follow(finished)
    terminal.wait_for_text("hot.py:")
    os.kill(terminal.pid, number)
    assert terminal.wait() == 0
    assert terminal.raw.rfind(b"\x1b[?1049l") > terminal.raw.rfind(b"\x1b[?1049h")


def test_no_terminal(tools, finished):
    done = subprocess.run([tools.analyzer, "--follow", finished], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "terminal" in done.stderr


@pytest.mark.parametrize("options", [["--json"], ["--functions"], ["-"], ["a.trace", "b.trace"],
                                     ["-f", "json", "a.trace"], ["-o", "x", "a.trace"]])
def test_bad_uses(tools, options):
    done = tools.analyze("--follow", *options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_unknown_terminals_and_files(tmp_path, finished, follow):
    # Sanitized: what ncurses itself leaks when it finds no description is not ours to see.
    terminal = follow(finished, TERM="no-such-terminal", ASAN_OPTIONS="detect_leaks=0")
    assert terminal.wait() == 2
    assert "no-such" in terminal.text and "TERM" in terminal.text
    junk = tmp_path / "junk"
    junk.write_text("nothing that was ever recorded")
    terminal = follow(junk)
    assert terminal.wait() == 1
    # Where the name of the file ends decides where the line does.
    assert "not a scprof trace" in terminal.text.replace("\n", "")


# ---- scprof-record --live -------------------------------------------------------------------

PRINTS = HOT + """
print("what it has to say")
print("and complains", file=sys.stderr)
assert sys.stdin.read() == ""
sys.exit(3)
"""


@pytest.fixture
def live(tools):
    """live(option, ...): scprof-record --live on a terminal."""
    opened = []

    def start(*arguments):
        opened.append(Terminal(tools.build, [tools.recorder, "--live", *arguments]))
        return opened[-1]
    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def talker(tmp_path):
    path = tmp_path / "talks.py"
    path.write_text(PRINTS)
    return path


def test_live_until_the_program_ends(tools, python, talker, tmp_path, live):
    trace = tmp_path / "run.trace"
    terminal = live("-o", trace, "--", python.path, talker, "20")
    terminal.wait_for_text("the recording has ended")
    terminal.wait_for_text("talks.py:%d" % line_of(PRINTS, "hot"))
    assert "has to say" not in terminal.text
    terminal.send("q")
    assert terminal.wait() == 3
    assert "run.trace.out" in terminal.text and "scprof-analyze" in terminal.text
    printed = (tmp_path / "run.trace.out").read_text()
    assert "what it has to say\n" in printed and "and complains\n" in printed
    assert (tmp_path / "run.trace.out").stat().st_mode & 0o777 == 0o600
    assert tools.profile(trace).run["exit_status"] == 3


def test_live_view_closed_before_the_end(tools, python, talker, tmp_path, live):
    trace = tmp_path / "run.trace"
    terminal = live("-o", trace, "--", python.path, talker, "100000")
    terminal.wait_for_text("talks.py:")
    terminal.send("q")
    terminal.wait_for_text("the recording goes on")
    assert terminal.status is None
    terminal.send("\x03")
    assert terminal.wait() == 128 + signal.SIGINT
    assert tools.analyze(trace).returncode == 0


def test_live_of_a_running_program(python, talker, tmp_path, live):
    process = subprocess.Popen([python.path, talker, "100000"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        process.stdout.readline()
        terminal = live("-o", tmp_path / "run.trace", "--pid", str(process.pid))
        terminal.wait_for(lambda: "talks.py:" in terminal.text or terminal.status is not None or
                          "ptrace" in terminal.text, "a line")
        if "ptrace" in terminal.text:
            pytest.skip("may not attach here")
        process.kill()
        terminal.wait_for_text("the recording has ended")
        terminal.send("q")
        assert terminal.wait() == 0
        assert not (tmp_path / "run.trace.out").exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("options", [["-o", "x.trace"], ["-o", "-"], ["--dump", "--pid", "1"]])
def test_live_needs_a_terminal_and_a_file(tools, tmp_path, options):
    command = [] if "--pid" in options else ["--", "true"]
    done = subprocess.run([tools.recorder, "--live", *options, *command], capture_output=True,
                          text=True, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert not os.listdir(tmp_path)
