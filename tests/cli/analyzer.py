# SPDX-License-Identifier: Apache-2.0
"""Runs scprof-analyze in an environment that does not depend on who tests."""

import os
import subprocess


def run(tools, *arguments, **kwargs):
    environment = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC")
    for name in ("COLUMNS", "NO_COLOR"):
        environment.pop(name, None)
    environment.update(kwargs.pop("env", {}))
    return subprocess.run([tools.analyzer, *arguments], capture_output=True, text=True,
                          env=environment, **kwargs)


def report(tools, *arguments, **kwargs):
    done = run(tools, *arguments, **kwargs)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
