# SPDX-License-Identifier: Apache-2.0
"""The agent stands in for the functions that copy: they must do what the C library's do."""

import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
FORTIFIED = 12


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    built = str(tmp_path_factory.mktemp("copy") / "copy_functions")
    subprocess.run(["gcc", "-O1", "-w", "-D_GNU_SOURCE", "-o", built,
                    os.path.join(HERE, "copy_functions.c")], check=True)
    return built


def run(program, agent, *arguments):
    environment = dict(os.environ, LD_PRELOAD=agent) if agent else os.environ
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_same_results(program, tools):
    alone = run(program, None)
    assert alone[0] == 0 and alone[1].count("\n") > 500
    assert run(program, tools.copy_agent) == alone


@pytest.mark.parametrize("which", range(FORTIFIED))
def test_same_end_when_there_is_no_room(program, tools, which):
    alone = run(program, None, "overflow", str(which))
    assert alone[0] < 0 and "went on" not in alone[1]
    assert run(program, tools.copy_agent, "overflow", str(which)) == alone


def test_agent_stays_out_of_them(tools):
    """Nothing in the agent itself goes through the functions that it counts."""
    listed = subprocess.run(["readelf", "-rW", tools.copy_agent], capture_output=True, text=True,
                            check=True).stdout
    used = {line.split()[4].split("@")[0] for line in listed.splitlines()
            if len(line.split()) >= 5 and line.split()[2].startswith("R_")}
    assert "strlen" in used
    assert not used & {"memcpy", "memmove", "bcopy", "strcpy", "stpcpy", "strcat"}
