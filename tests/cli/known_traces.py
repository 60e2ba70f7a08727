# SPDX-License-Identifier: Apache-2.0
"""Traces whose profile is known by construction, written by tests/unit/make_trace.c.

The writer is compiled here, without the build's flags, so that any build can be tested with it.
"""

import atexit
import functools
import glob
import os
import shlex
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@functools.lru_cache(maxsize=None)
def _maker(build):
    folder = tempfile.mkdtemp(prefix="scprof-make-trace-")
    atexit.register(shutil.rmtree, folder, True)
    program = os.path.join(folder, "make_trace")
    sources = (glob.glob(os.path.join(ROOT, "formats", "*.c")) +
               glob.glob(os.path.join(ROOT, "formats", "base", "*.c")) +
               [os.path.join(build, "formats", "trace.pb-c.c"),
                os.path.join(ROOT, "tests", "unit", "make_trace.c")])
    packages = subprocess.run(["pkg-config", "--cflags", "--libs", "libzstd", "libprotobuf-c"],
                              capture_output=True, text=True, check=True).stdout
    subprocess.run(shlex.split(os.environ.get("CC", "cc")) +
                   ["-std=gnu11", "-D_GNU_SOURCE", '-DSCPROF_VERSION="test"', "-O1", "-w",
                    "-I" + ROOT, "-I" + build, "-I" + os.path.join(build, "formats"), *sources,
                    "-o", program, *shlex.split(packages), "-lm", "-pthread"], check=True)
    return program


def make(tools, kind, path, *count):
    subprocess.run([_maker(tools.build), kind, str(path), *map(str, count)], check=True)
    return str(path)
