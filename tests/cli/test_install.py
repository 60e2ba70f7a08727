# SPDX-License-Identifier: Apache-2.0
"""make install, uninstall, help, clean, and what is said when a package is missing."""

import os
import subprocess

import pytest

from recording import ROOT, Tools


def make(*arguments, **options):
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("MAKE") and name not in ("CI", "MFLAGS")}
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, text=True,
                          capture_output=True, timeout=600, env=environment, **options)


@pytest.fixture(scope="module")
def installed(tools, tmp_path_factory, pytestconfig):
    if pytestconfig.getoption("--sanitized"):
        pytest.skip("the sanitized tools are not for installing")
    folder = tmp_path_factory.mktemp("root")
    build = os.path.relpath(tools.build, ROOT)
    done = make("install", "O=" + build, "DESTDIR=%s" % folder, "PREFIX=/opt/scprof")
    assert done.returncode == 0, done.stderr
    return folder / "opt/scprof"


def test_everything_is_installed(installed):
    for name in ("bin/scprof-record", "bin/scprof-analyze", "bin/scprof-convert",
                 "lib/scprof/libscprof-agent.so", "lib/scprof/libscprof-agent-memory.so",
                 "lib/scprof/libscprof-agent-copies.so",
                 "lib/scprof/libscprof-agent-memory-copies.so", "lib/scprof/scprof.py",
                 "share/man/man1/scprof-record.1",
                 "share/man/man1/scprof-analyze.1", "share/man/man1/scprof-convert.1",
                 "share/man/man5/scprof-trace.5"):
        assert (installed / name).is_file(), name


def test_installed_tools_work(installed, python, tmp_path):
    """They find the agent relative to themselves, also through a symbolic link."""
    tools = Tools(str(installed / "bin"))
    (tmp_path / "link").symlink_to(tools.recorder)
    spin = "total = 0\nfor i in range(2000000): total ^= i\n"
    for recorder in (tools.recorder, str(tmp_path / "link")):
        trace = tmp_path / "t.trace"
        done = subprocess.run([recorder, "-o", str(trace), "--", python.path, "-c", spin],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert tools.profile(trace).totals["samples"] > 10, done.stderr
    assert tools.convert("--to", "collapsed", trace, "-o", tmp_path / "t.txt").returncode == 0


def test_missing_agent_is_said(installed, python, tmp_path):
    agents = installed / "lib/scprof"
    hidden = agents.with_name("hidden")
    agents.rename(hidden)
    try:
        done = Tools(str(installed / "bin")).record(tmp_path / "t.trace", [python.path, "-c", ""])
    finally:
        hidden.rename(agents)
    assert done.returncode == 1
    assert "cannot find libscprof-agent" in done.stderr


def test_uninstall(installed, tools):
    # Last in this module: it takes away what the others use.
    folder = str(installed)[:-len("/opt/scprof")]
    done = make("uninstall", "O=" + os.path.relpath(tools.build, ROOT), "DESTDIR=" + folder,
                "PREFIX=/opt/scprof")
    assert done.returncode == 0, done.stderr
    left = [name for _, _, names in os.walk(installed) for name in names]
    assert left == []


def test_help_needs_nothing():
    done = make("help", "PKG_CONFIG=false", "PROTOC_C=no-such-program")
    assert done.returncode == 0
    for target in ("demo", "test", "install", "bench", "fuzz", "lint"):
        assert target in done.stdout


@pytest.mark.parametrize("setting, package", [("PKG_CONFIG=false", "libzstd-dev"),
                                              ("PKG_CONFIG=no-such-program", "pkg-config"),
                                              ("PROTOC_C=no-such-program", "protobuf-c-compiler")])
def test_missing_package_is_one_sentence(setting, package, tmp_path):
    done = make("all", "O=%s" % tmp_path, setting)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and package in done.stderr
