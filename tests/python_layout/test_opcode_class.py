# SPDX-License-Identifier: Apache-2.0
"""The opcode classes of opcode_class.c, against the interpreters' own opcode tables."""

import os
import subprocess

from peek import hex_version

NAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "opcode_names.py")


def test_classes_agree_with_interpreter(interpreter, peek):
    answer = interpreter.run("-I", NAMES)
    assert answer.returncode == 0, answer.stderr
    expected = {number: 0 for number in range(256)}
    names = {}
    for line in answer.stdout.splitlines():
        number, number_class, name = line.split()
        expected[int(number)] = int(number_class)
        names[int(number)] = name
    output = subprocess.run([peek, "opcodes", hex_version(interpreter)], capture_output=True,
                            text=True, check=True).stdout
    got = dict(map(int, line.split()) for line in output.splitlines())
    assert len(got) == 256
    wrong = ["%d %s: %d, not %d" % (number, names.get(number), got[number], expected[number])
             for number in got if got[number] != expected[number]]
    assert wrong == []
    assert {1, 2, 3} <= set(got.values()) or interpreter.version < (3, 11)


def test_unknown_versions_have_no_table(peek):
    for version in ("030800f0", "031000f0"):
        assert subprocess.run([peek, "opcodes", version], capture_output=True).returncode == 1
