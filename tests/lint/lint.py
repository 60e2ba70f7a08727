# SPDX-License-Identifier: Apache-2.0
"""Checks the tree against its own rules; see CONTRIBUTING.md.

    python3 tests/lint/lint.py [--build DIR]

Each check looks at files that git knows or would add. The checks of options and manual pages need
the built tools and are skipped without them.
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAX_LINES = 800
MAX_WIDTH = 100

# Folder: what its files may include, as regular expressions. The first folder that fits counts.
INCLUDES = [
    ("formats/base/", [r"formats/base/"]),
    ("formats/", [r"formats/", r"trace\.pb-c\.h$"]),
    ("record/agent/", [r"record/agent/", r"record/python/",
                       r"record/(ring|lane|child_pattern|preload)\.h$"]),
    ("record/python/", [r"record/python/", r"record/ring\.h$"]),
    ("record/lane.h", [r"record/ring\.h$"]),
    ("record/ring.h", [r"formats/trace_event\.h$"]),
    ("record/", [r"record/(?!agent/)", r"formats/"]),
    ("analyze/", [r"analyze/", r"formats/"]),
    ("convert/", [r"convert/", r"formats/", r"analyze/(model|filter|metrics)\w*\.h$"]),
]
ONLY_IN = {r"trace\.pb-c\.h$": ("formats/pack.c", "formats/unpack.c")}

BANNED = ["strcpy", "strcat", "strncpy", "strncat", "sprintf", "vsprintf", "strtok", "atoi", "atol",
          "atof", "gets", "alloca", "system", "popen", "tmpnam", "mktemp"]
# What must never happen in somebody else's process.
AGENT_BANNED = ["exit", "abort", "assert", "malloc", "calloc", "realloc", "printf", "fprintf",
                "puts", "perror", "sleep", "usleep", "nanosleep"]


def git_files():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split("\n")
    return sorted({name for name in listed if name and os.path.isfile(os.path.join(ROOT, name))})


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    """C without comments and string contents, lines kept."""
    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + found[0]
        return "\n" * found.count("\n")
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', blank, text,
                  flags=re.S)


class Lint:
    def __init__(self, build):
        self.build = build
        self.files = git_files()
        self.c_files = [name for name in self.files if name.endswith((".c", ".h"))]
        self.own_c = [name for name in self.c_files if not name.startswith("tests/")]

    def check_includes(self):
        """includes point in the allowed direction"""
        for name in self.own_c:
            allowed = next((rules for folder, rules in INCLUDES if name.startswith(folder)), None)
            if allowed is None:
                yield "%s: is in no known folder" % name
                continue
            for number, line in enumerate(read(name).split("\n"), 1):
                found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not found:
                    continue
                if not any(re.match(rule, found.group(1)) for rule in allowed):
                    yield "%s:%d: must not include %s" % (name, number, found.group(1))
                for pattern, only in ONLY_IN.items():
                    if re.search(pattern, found.group(1)) and name not in only:
                        yield "%s:%d: only %s may include %s" % (name, number, " and ".join(only),
                                                                    found.group(1))

    def check_banned_calls(self):
        """no banned calls"""
        for name in self.c_files:
            if name == "formats/base/banned.h":
                continue
            banned = list(BANNED)
            if name.startswith("record/agent/"):
                banned += AGENT_BANNED
            pattern = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(banned))
            for number, line in enumerate(without_comments(read(name)).split("\n"), 1):
                found = pattern.search(line)
                # At the left margin stand definitions: the agent interposes some of these.
                if found and not re.match(r"\w|\s*#\s*define\b", line):
                    yield "%s:%d: calls %s" % (name, number, found.group(1))

    def check_macros(self):
        """no hidden control flow in macros, no typedefs of structs"""
        for name in self.own_c:
            text = without_comments(read(name)).replace("\\\n", " ")
            for line in text.split("\n"):
                if re.match(r"\s*#\s*define\b.*\b(return|goto|break)\b", line):
                    yield "%s: macro with control flow: %s" % (name, line.split("(")[0].strip())
                if re.match(r"\s*typedef\s+struct\b", line):
                    yield "%s: %s" % (name, line.strip())

    def check_licence(self):
        """every source file names its licence in its first lines"""
        for name in self.files:
            source = name.endswith((".c", ".h", ".py", ".sh", ".proto", ".mk", ".1", ".5"))
            if source or name in ("Makefile", ".ci/run"):
                head = read(name).split("\n", 3)[:3]
                if not any("SPDX-License-Identifier: Apache-2.0" in line for line in head):
                    yield "%s: no SPDX line" % name

    def check_length(self):
        """no file is longer than %d lines"""
        for name in self.c_files + [each for each in self.files if each.endswith(".py")]:
            lines = read(name).count("\n")
            if lines > MAX_LINES:
                yield "%s: %d lines" % (name, lines)

    def check_text(self):
        """lines are short, end cleanly, and leave nothing for later"""
        later = re.compile(r"\b(%s)\b" % "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
        for name in self.files:
            if not name.endswith((".c", ".h", ".py", ".sh", ".proto", ".mk", ".md")):
                continue
            for number, line in enumerate(read(name).split("\n"), 1):
                if line != line.rstrip():
                    yield "%s:%d: trailing space" % (name, number)
                if later.search(line):
                    yield "%s:%d: unfinished: %s" % (name, number, line.strip())
                if len(line) > MAX_WIDTH and name.endswith(".py") and "http" not in line:
                    yield "%s:%d: %d characters" % (name, number, len(line))

    def check_names(self):
        """names of C files are unique in the tree"""
        where = collections.defaultdict(list)
        for name in self.c_files:
            where[os.path.basename(name)].append(name)
        for names in where.values():
            if len(names) > 1:
                yield " and ".join(names)

    def check_options(self):
        """every option of a tool is in its manual page and its --help"""
        tools = [tool for tool in ("scprof-record", "scprof-analyze", "scprof-convert")
                 if os.access(os.path.join(self.build, tool), os.X_OK)]
        if len(tools) < 3:
            return "the tools are not built in " + self.build
        return self.compare_options(tools)

    def compare_options(self, tools):
        for tool in tools:
            done = subprocess.run([os.path.join(self.build, tool), "--help"], capture_output=True,
                                  text=True)
            if done.returncode != 0:
                yield "%s --help: status %d" % (tool, done.returncode)
            helped = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", done.stdout))
            page = "man/%s.1" % tool
            if page not in self.files:
                yield "%s: missing" % page
                continue
            text = read(page)
            described = set(re.findall(r"^\.It.*?Fl -([a-z][a-z-]+)", text, flags=re.M))
            for line in re.findall(r"^\.It.*", text, flags=re.M):
                described |= set(re.findall(r"Fl -([a-z][a-z-]+)", line))
            for option in sorted(helped - described):
                yield "%s: --%s is not described" % (page, option)
            for option in sorted(described - helped):
                yield "%s: --%s is not in --help" % (page, option)

    def check_manual_pages(self):
        """manual pages are well-formed"""
        if not shutil.which("mandoc"):
            return "mandoc is not installed"
        return self.lint_pages()

    def lint_pages(self):
        pages = [name for name in self.files if re.match(r"man/.*\.[15]$", name)]
        for page in pages:
            done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], cwd=ROOT,
                                  capture_output=True, text=True)
            for line in done.stdout.splitlines():
                # Our pages refer to one another before they are installed.
                if "unknown manual" not in line and "outdated mandoc.db" not in line:
                    yield line.replace("mandoc: ", "")

    def check_format(self):
        """C is formatted by clang-format"""
        if not shutil.which("clang-format"):
            return "clang-format is not installed"
        version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True)
        if not re.search(r"version 14\.", version.stdout):
            return "clang-format is not version 14"
        return self.run_clang_format()

    def run_clang_format(self):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *self.c_files], cwd=ROOT,
                              capture_output=True, text=True)
        wrong = collections.Counter(
            re.findall(r"^([^:\n]+):\d+:\d+: error", done.stderr, flags=re.M))
        for name, count in sorted(wrong.items()):
            yield "%s: %d places differ" % (name, count)

    def check_shell(self):
        """shell scripts parse"""
        for name in self.files:
            if name.endswith(".sh") or name == ".ci/run":
                done = subprocess.run(["sh", "-n", os.path.join(ROOT, name)], capture_output=True,
                                      text=True)
                if done.returncode:
                    yield "%s: %s" % (name, done.stderr.strip())

    def check_python(self):
        """Python files compile"""
        for name in self.files:
            if name.endswith(".py"):
                try:
                    compile(read(name), name, "exec", dont_inherit=True)
                except SyntaxError as error:
                    yield "%s: %s" % (name, error)

    def run(self):
        passed = failed = skipped = 0
        checks = [name for name in dir(self) if name.startswith("check_")]
        for check in sorted(checks):
            method = getattr(self, check)
            what = method.__doc__ % MAX_LINES if "%d" in method.__doc__ else method.__doc__
            problems = method()
            if isinstance(problems, str):
                skipped += 1
                print("skipped  %s: %s" % (what, problems))
                continue
            problems = list(problems)
            passed += not problems
            failed += bool(problems)
            print("%s  %s" % ("FAILED " if problems else "ok     ", what))
            for problem in problems[:40]:
                print("         " + problem)
            if len(problems) > 40:
                print("         and %d more" % (len(problems) - 40))
        print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
        return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    sys.exit(Lint(os.path.abspath(parser.parse_args().build)).run())


if __name__ == "__main__":
    main()
