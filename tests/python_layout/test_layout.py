# SPDX-License-Identifier: Apache-2.0
"""The layouts of layout.c: each number against the interpreter's own headers and own table."""

import subprocess

import pytest

import headers
from peek import DEBUG_OFFSETS, hex_version


def parse(text):
    fields = {}
    for line in text.splitlines():
        name, value = line.split()
        fields[name] = value if value == headers.NONE else int(value)
    return fields


def layout(peek, version, free_threaded, offsets=b""):
    return subprocess.run([peek, "layout", version, "1" if free_threaded else "0"], input=offsets,
                          capture_output=True)


def known(peek, version, free_threaded):
    return parse(subprocess.run([peek, "table", version, "1" if free_threaded else "0"],
                                capture_output=True, text=True, check=True).stdout)


def differences(got, expected):
    return ["%s is %s, not %s" % (name, value, got[name])
            for name, value in expected.items() if got[name] != value]


@pytest.fixture
def probed(interpreter, tmp_path):
    found = headers.Headers(interpreter, str(tmp_path))
    if found.problem:
        pytest.skip(found.problem)
    return found


def threadings(interpreter):
    """The builds that this interpreter's headers describe: its own, and free-threaded."""
    return {interpreter.free_threaded, interpreter.version >= (3, 13)}


def test_tables_agree_with_headers(interpreter, probed, peek):
    for free_threaded in threadings(interpreter):
        got = known(peek, hex_version(interpreter), free_threaded)
        assert differences(got, probed.fields(free_threaded)) == []


def test_found_layout_agrees_with_headers(interpreter, probed, peek):
    for free_threaded in threadings(interpreter):
        offsets = b""
        if interpreter.version >= (3, 13):
            offsets = probed.debug_offsets(free_threaded)
        done = layout(peek, hex_version(interpreter), free_threaded, offsets)
        assert done.returncode == 0, done.stderr
        assert differences(parse(done.stdout.decode()), probed.fields(free_threaded)) == []


def test_dicts_are_as_dict_read_takes_them(interpreter, probed):
    if interpreter.version < (3, 11):
        pytest.skip("no header says it before 3.11; test_objects.py reads dicts of all versions")
    for free_threaded in threadings(interpreter):
        facts = headers.dict_facts(interpreter.version[1], free_threaded)
        got = probed.numbers(facts, free_threaded)
        assert dict(zip(facts, got)) == facts


def test_running_interpreter_agrees_with_table(interpreter, peek):
    """Also without headers: the table that the interpreter holds changes nothing in ours."""
    if interpreter.version < (3, 13):
        pytest.skip("_Py_DebugOffsets began with 3.13")
    answer = interpreter.run("-c", DEBUG_OFFSETS)
    assert answer.returncode == 0, answer.stderr
    done = layout(peek, hex_version(interpreter), interpreter.free_threaded,
                  bytes.fromhex(answer.stdout.strip()))
    assert done.returncode == 0, done.stderr
    ours = known(peek, hex_version(interpreter), interpreter.free_threaded)
    assert differences(parse(done.stdout.decode()), ours) == []


REFUSED = [
    ("02071200", "Python 2 "),
    ("030812f0", "CPython 3.8 is older"),
    ("03060ff0", "CPython 3.6 is older"),
    ("031000f0", "CPython 3.16 is newer"),
    ("031000a1", "CPython 3.16 is newer"),
    ("032000f0", "this CPython is newer"),
    ("040000f0", "this Python is newer"),
    ("030f00a3", "alpha or beta of CPython 3.15"),
    ("030d00b1", "alpha or beta of CPython 3.13"),
]


@pytest.mark.parametrize("version, why", REFUSED)
def test_refused_versions(peek, version, why):
    done = layout(peek, version, False)
    assert done.returncode == 1
    assert why in done.stderr.decode()


def test_no_free_threaded_build_before_3_13(peek):
    done = layout(peek, "030c00f0", True)
    assert done.returncode == 1 and b"free-threaded" in done.stderr


def number(table, at, value):
    return table[:at] + value.to_bytes(8, "little") + table[at + 8:]


def test_implausible_tables_are_refused(interpreter, peek):
    if interpreter.version < (3, 13):
        pytest.skip("_Py_DebugOffsets began with 3.13")
    version = hex_version(interpreter)
    table = bytes.fromhex(interpreter.run("-c", DEBUG_OFFSETS).stdout.strip())

    def refusal(changed, free_threaded=interpreter.free_threaded):
        done = layout(peek, version, free_threaded, changed)
        assert done.returncode == 1
        return done.stderr.decode()

    assert "cannot be read" in refusal(b"")
    assert "cannot be read" in refusal(table[:500])
    assert "is not where" in refusal(b"xdebugpx" + table[8:])
    assert "another version" in refusal(number(table, 8, 0x030c00f0))
    assert "free-threaded" in refusal(table, not interpreter.free_threaded)
    assert "impossible" in refusal(number(table, 40, 1 << 40))  # interpreters.head
    assert "impossible" in refusal(number(table, 40, 3))        # not aligned
    assert "impossible" in refusal(number(table, 48, 8))        # size of the interpreter
    assert "impossible" in refusal(number(table, 72, (1 << 64) - 8))  # threads.head


def test_layout_never_crashes_on_damaged_tables(interpreter, peek_sanitized):
    if interpreter.version < (3, 13):
        pytest.skip("_Py_DebugOffsets began with 3.13")
    version = hex_version(interpreter)
    table = bytes.fromhex(interpreter.run("-c", DEBUG_OFFSETS).stdout.strip())
    for at in range(24, 900, 56):
        for value in (0, 1, 1 << 31, (1 << 64) - 1):
            done = layout(peek_sanitized, version, interpreter.free_threaded,
                          number(table, at, value))
            assert done.returncode in (0, 1), done.stderr
            assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr
