# SPDX-License-Identifier: Apache-2.0
"""Finds the CPython interpreters of this machine that scprof supports.

Looks at pyenv's versions, /usr/bin and /usr/local/bin, and the colon-separated list in
$SCPROF_PYTHONS. Run it to see what the tests will use.
"""

import functools
import glob
import json
import os
import subprocess
import sys
import tempfile

OLDEST = (3, 9)
NEWEST = (3, 15)

PROBE = """
import json, sys, sysconfig
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "executable": sys.executable,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""


class Interpreter:
    def __init__(self, path, facts):
        self.path = path
        self.version = tuple(facts["version"])
        self.free_threaded = facts["free_threaded"]
        where = "pyenv" if "/.pyenv/" in path else "system" if path.startswith("/usr/bin/") else \
            "other"
        self.name = "%s%s-%s" % (
            ".".join(map(str, self.version)), "t" if self.free_threaded else "", where)

    def __repr__(self):
        return self.name

    def run(self, *arguments, **options):
        options.setdefault("capture_output", True)
        options.setdefault("text", True)
        options.setdefault("timeout", 120)
        return subprocess.run([self.path, *arguments], **options)

    def has_module(self, name):
        return self.run("-c", "import " + name).returncode == 0

    def site_with(self, module, build):
        """A folder for PYTHONPATH that makes `import module` work, "" when none is needed.

        Returns (folder, None), or (None, why not) when the module cannot be had.
        """
        return _site_with(self, module, os.path.abspath(build))


@functools.lru_cache(maxsize=None)
def _site_with(interpreter, module, build):
    if interpreter.has_module(module):
        return "", None
    folder = os.path.join(build, "site", interpreter.name, module)
    environment = {**os.environ, "PYTHONPATH": folder}
    if interpreter.run("-c", "import " + module, env=environment).returncode == 0:
        return folder, None
    # Its own pip, or that of the Python that runs this.
    pip = [interpreter.path, "-m", "pip"] if interpreter.has_module("pip") else \
        [sys.executable, "-m", "pip", "--python", interpreter.path]
    try:
        pip = subprocess.run(
            [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input",
             "--only-binary", ":all:", "--retries", "1", "--timeout", "20", "--target", folder,
             module], capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        return None, "%s is not installed, and pip took too long" % module
    if pip.returncode == 0 and interpreter.run(
            "-c", "import " + module, env=environment).returncode == 0:
        return folder, None
    return None, "%s is not installed and pip cannot get it" % module


def _candidates():
    listed = os.environ.get("SCPROF_PYTHONS", "")
    for path in listed.split(":"):
        if path:
            yield os.path.abspath(path)
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    yield from sorted(glob.glob(os.path.join(pyenv, "versions", "*", "bin", "python3")))
    for folder in ("/usr/bin", "/usr/local/bin"):
        for path in sorted(glob.glob(os.path.join(folder, "python3*"))):
            if not path.endswith("-config"):
                yield path


@functools.lru_cache(maxsize=None)
def find():
    """All supported interpreters, oldest first, each installation once."""
    found = {}
    for path in _candidates():
        if not os.access(path, os.X_OK):
            continue
        # In an empty folder, so that no file beside us is imported.
        try:
            with tempfile.TemporaryDirectory() as folder:
                answer = subprocess.run([path, "-c", PROBE], capture_output=True, text=True,
                                        timeout=60, cwd=folder)
            facts = json.loads(answer.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            continue
        if facts["implementation"] != "cpython" or not \
                OLDEST <= tuple(facts["version"][:2]) <= NEWEST:
            continue
        real = os.path.realpath(facts["executable"])
        found.setdefault(real, Interpreter(path, facts))
    return sorted(found.values(), key=lambda one: (one.version, one.name))


if __name__ == "__main__":
    for each in find():
        print("%-24s %s" % (each.name, each.path))
    sys.exit(0 if find() else 1)
