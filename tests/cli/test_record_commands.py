# SPDX-License-Identifier: Apache-2.0
"""Python is found wherever it hides; what never becomes Python runs untouched and is said so."""

import os
import shutil
import stat
import subprocess

import pytest

# Small numbers are there already: with nothing allocated no sample waits for the agent.
SPIN = """total = 0
for i in range(100000):
    for k in range(64): total ^= k
print('spun', total)
"""
SPUN = "spun 0\n"


def spun(tools, trace, done):
    """The program ran and its samples are there."""
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(SPUN), done.stdout
    profile = tools.profile(trace)
    assert profile.totals["samples"] > 10, done.stderr
    assert profile.totals["python_ns"] > 0.5 * profile.totals["cpu_ns"]
    return profile


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "t.trace"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "spin.py"
    path.write_text(SPIN)
    return path


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_script(tools, interpreter, trace, script):
    profile = spun(tools, trace, tools.record(trace, [interpreter.path, str(script)]))
    assert any(each["path"] == str(script) for each in profile.data["files"])
    assert ".".join(map(str, interpreter.version)) in str(profile.run["python"])


def test_command_line(tools, interpreter, trace):
    profile = spun(tools, trace, tools.record(trace, [interpreter.path, "-c", SPIN]))
    assert any(each["path"] == "<string>" for each in profile.data["files"])


def test_module(tools, interpreter, trace, script):
    spun(tools, trace, tools.record(trace, [interpreter.path, "-m", "spin"], cwd=script.parent))


def test_standard_input(tools, interpreter, trace):
    spun(tools, trace, tools.record(trace, [interpreter.path], input=SPIN))
    spun(tools, trace, tools.record(trace, [interpreter.path, "-"], input=SPIN))


def test_zip_archive(tools, python, trace, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__main__.py").write_text(SPIN)
    archive = shutil.make_archive(str(tmp_path / "app"), "zip", str(tmp_path / "package"))
    spun(tools, trace, tools.record(trace, [python.path, archive]))


@pytest.mark.parametrize("flags", [["-I"], ["-S"], ["-E"], ["-O"], ["-X", "dev"], ["-u"], ["-B"]])
def test_interpreter_flags(tools, python, trace, script, flags):
    spun(tools, trace, tools.record(trace, [python.path, *flags, str(script)], ["--quiet"]))


def test_env(tools, python, trace, script):
    spun(tools, trace, tools.record(trace, ["env", "A=b", python.path, str(script)]))


def test_env_cleared(tools, python, trace, script):
    """Not even `env -i` loses the program."""
    spun(tools, trace, tools.record(trace, ["env", "-i", python.path, str(script)]))


def test_shell_script(tools, python, trace, script, tmp_path):
    shell = executable(tmp_path / "run.sh", "#!/bin/sh\necho starting\n'%s' '%s'\n" % (
        python.path, script))
    spun(tools, trace, tools.record(trace, [shell]))


def test_shell_script_with_exec(tools, interpreter, trace, script, tmp_path):
    """How pyenv's shims start the interpreter."""
    shim = executable(tmp_path / "python3", "#!/bin/bash\nset -e\nexport SHIM=1\n"
                      "exec \"%s\" \"$@\"\n" % interpreter.path)
    spun(tools, trace, tools.record(trace, [shim, str(script)]))


def test_pyenv_shim(tools, trace, script):
    shim = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "shims",
                        "python3")
    if not os.access(shim, os.X_OK):
        pytest.skip("pyenv is not installed")
    spun(tools, trace, tools.record(trace, [shim, str(script)]))


def test_shebang(tools, interpreter, trace, tmp_path):
    """How console scripts start the interpreter."""
    spun(tools, trace, tools.record(trace, [
        executable(tmp_path / "console", "#!%s\n" % interpreter.path + SPIN)]))


def test_shebang_with_env(tools, trace, tmp_path):
    spun(tools, trace, tools.record(trace, [
        executable(tmp_path / "console", "#!/usr/bin/env python3\n" + SPIN)]))


def test_virtual_environment(tools, interpreter, trace, script, tmp_path):
    made = interpreter.run("-m", "venv", "--without-pip", str(tmp_path / "venv"))
    if made.returncode:
        pytest.skip("this interpreter has no venv: " + made.stdout.strip()[:80])
    spun(tools, trace, tools.record(trace, [str(tmp_path / "venv/bin/python"), str(script)]))


def test_uv_run(tools, trace, script):
    uv = shutil.which("uv")
    if not uv:
        pytest.skip("uv is not installed")
    spun(tools, trace, tools.record(trace, [uv, "run", "--no-project", str(script)]))


def test_found_on_the_path(tools, python, trace, script):
    environment = {**os.environ, "PATH": os.path.dirname(python.path) + ":" + os.environ["PATH"]}
    name = os.path.basename(python.path)
    spun(tools, trace, tools.record(trace, [name, str(script)], env=environment))


def test_without_separator(tools, python, trace, script):
    """Options after the command are the command's, with or without --."""
    done = subprocess.run([tools.recorder, "-o", str(trace), python.path, str(script), "--help",
                           "-o", "x"], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    spun(tools, trace, done)


def test_embedded(tools, interpreter, trace, tmp_path):
    """Python inside somebody else's program."""
    names = ("Py_ENABLE_SHARED", "INCLUDEPY", "LIBDIR", "LDVERSION")
    config = interpreter.run("-c", "import sysconfig; print(*[sysconfig.get_config_var(name) "
                             "for name in %r])" % (names,)).stdout.split()
    if config[0] != "1" or not os.path.exists(os.path.join(config[1], "Python.h")):
        pytest.skip("this interpreter has no shared library with headers")
    if not os.path.exists(os.path.join(config[2], "libpython%s.so" % config[3])):
        pytest.skip("libpython is not there to link to")
    source = tmp_path / "host.c"
    source.write_text("""\
#include <Python.h>
int main(int argc, char **argv)
{
	Py_Initialize();
	int failed = PyRun_SimpleString(argv[1]);
	(void)argc;
	return Py_FinalizeEx() || failed;
}
""")
    subprocess.run(["gcc", "-o", tmp_path / "host", source, "-I" + config[1], "-L" + config[2],
                    "-Wl,-rpath," + config[2], "-lpython" + config[3]], check=True)
    spun(tools, trace, tools.record(trace, [str(tmp_path / "host"), SPIN]))


@pytest.mark.parametrize("command, status", [(["true"], 0), (["false"], 1),
                                             (["sh", "-c", "exit 3"], 3)])
def test_not_python(tools, trace, command, status):
    done = tools.record(trace, command)
    assert done.returncode == status
    assert "python" in done.stderr.lower(), done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr


def test_unsupported_python_is_named(tools, trace, tmp_path):
    old = os.path.expanduser("~/.pyenv/versions/3.8.18/bin/python3")
    if not os.access(old, os.X_OK):
        pytest.skip("no interpreter older than 3.9")
    done = tools.record(trace, [old, "-c", "print('ran')"])
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "3.8" in done.stderr, done.stderr


def test_missing_command(tools, trace):
    done = tools.record(trace, ["no-such-command-here"])
    assert done.returncode == 127
    assert "no-such-command-here" in done.stderr
    assert done.stderr.startswith("scprof-record: ")


def test_not_executable(tools, trace, tmp_path):
    (tmp_path / "plain").write_text("text")
    done = tools.record(trace, [str(tmp_path / "plain")])
    assert done.returncode == 126, done.stderr
    assert "plain" in done.stderr
