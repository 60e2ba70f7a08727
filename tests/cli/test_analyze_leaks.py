# SPDX-License-Identifier: Apache-2.0
"""scprof-analyze's report on leaks.

The trace "leaks" (tests/unit/make_trace.c) is a server of 20 s that keeps 20,000 bytes of each of
its 2000 requests, fills a cache with the first 200 of them, and drops 100,000 bytes each time.
"""

import csv
import io
import json
import re

import pytest

import known_traces
from analyzer import report, run

LEAK = {"path", "line", "function", "likelihood", "growth_bytes_per_s", "live_bytes",
        "live_bytes_low", "live_bytes_high", "allocated_bytes", "freed_bytes", "blocks_alive",
        "stack"}


@pytest.fixture(scope="module")
def traces(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    return {"leaks": known_traces.make(tools, "leaks", folder / "leaks.trace")}


def test_leaks(tools, traces):
    text = report(tools, "--leaks", traces["leaks"])
    first, once = text.split("Grew once, then stayed")
    assert re.search(r"^  1\. /srv/a\?\[2J`id`\"\.py:12 in keep\?\[31m$", first, re.M)
    assert "  2. " not in first and "app.py:30" not in text  # the loop that frees each turn
    assert re.search(r"grows +1\.9\d MB/s", first)
    assert "live     38.1 MB; 38.1 MB allocated, 0 B freed" in first
    assert "2,000 alive" in first
    assert re.search(r"app\.py:36 +<module> +│ main\(\)$", first, re.M)
    assert re.search(r"9\.54 MB +200 .* app\.py:24 ", once)


def test_leaks_in_a_window(tools, traces):
    text = report(tools, "--leaks", "--from", "5s", "--to", "15s", traces["leaks"])
    assert "19.1 MB allocated" in text and "app.py:24" not in text


def test_no_leaks(tools, traces, tmp_path):
    suppressed = tmp_path / "known.supp"
    suppressed.write_text("# ours\nleak:keep*\n")
    for options in (["--suppress", str(suppressed)], ["--min-leak", "2M/s"],
                    ["--min-leak", "40M"], ["--to", "1s", "--function", "main"]):
        text = report(tools, "--leaks", *options, traces["leaks"])
        assert "nothing grew to the end" in text and "keep" not in text
        data = json.loads(report(tools, "--format", "json", *options, traces["leaks"]))
        assert data["leaks"] == []


@pytest.mark.parametrize("option, status", [
    ("--fail-on-leak", 3), ("--fail-on-leak=1M/s", 3), ("--fail-on-leak=2M/s", 0)])
def test_fail_on_leak(tools, traces, option, status):
    done = run(tools, option, traces["leaks"])
    assert done.returncode == status and "Functions" in done.stdout
    if status:
        assert re.fullmatch(r"scprof-analyze: 1 leak; the worst grows by 1\.9\d? MB/s at "
                            r"/srv/a\?\[2J`id`\"\.py:12\n", done.stderr)
    else:
        assert done.stderr == ""
    assert run(tools, "--fail-on-leak", "--min-leak", "2M/s", traces["leaks"]).returncode == 0


def test_json_leaks(tools, traces):
    data = json.loads(report(tools, "--format", "json", traces["leaks"]))
    assert len(data["leaks"]) == 1
    leak = data["leaks"][0]
    assert set(leak) == LEAK
    assert (leak["line"], leak["function"]) == (12, "keep\x1b[31m")
    assert leak["live_bytes"] == leak["live_bytes_low"] == leak["live_bytes_high"] == 40_000_000
    assert (leak["allocated_bytes"], leak["freed_bytes"]) == (40_000_000, 0)
    assert leak["blocks_alive"] == 2000 and 0.5 < leak["likelihood"] <= 1
    assert leak["growth_bytes_per_s"] == pytest.approx(2_000_000, rel=0.05)
    assert [(one["line"], one["function"]) for one in leak["stack"]] == [
        (36, "<module>"), (12, "keep\x1b[31m")]


def test_csv_leaks(tools, traces):
    text = report(tools, "--format", "csv", "--leaks", traces["leaks"])
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [(row["verdict"], row["function"]) for row in rows] == [
        ("growing", "keep\x1b[31m"), ("once", "<no Python frame>"), ("once", "load")]
    assert rows[0]["stack"].startswith("<module> (/home/me/project/app.py:36);")
