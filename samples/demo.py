# SPDX-License-Identifier: Apache-2.0
"""Reads a day of web server logs, finds what is slow, and stores the result: the README's example.

It reads like any small program and spends its time in different ways: a parser in pure Python, a
regular expression and a compressor in C, threads that wait for a slow disk, a library call.
True of it: main() is on the stack of everything the main thread does after the imports.
"""

import collections
import hashlib
import json
import os
import random
import re
import statistics
import tempfile
import threading
import time
import zlib

LINE = re.compile(r'(\S+) \S+ \S+ \[([^]]+)\] "(\w+) ([^ "]+)[^"]*" (\d+) (\d+) (\d+)')
PAGES = ["/", "/login", "/search", "/cart", "/api/items", "/api/prices", "/img/logo.png"]


def write_log(path, count):
    """A log with a few pages that are slower than the others."""
    dice = random.Random(7)
    with open(path, "w") as file:
        for i in range(count):
            page = dice.choice(PAGES)
            millis = dice.expovariate(1 / (80 if page.startswith("/api") else 15))
            status = 500 if millis > 400 else 200
            clock = "%02d:%02d:%02d" % (i // 3600 % 24, i // 60 % 60, i % 60)
            file.write('10.0.%d.%d - - [21/Nov/2025:%s] "GET %s HTTP/1.1" %d %d %d\n' % (
                i % 7, i % 251, clock, page, status, 300 + i % 5000, millis))


def parse(path):
    """One regular expression per line: the time is C's, the line is ours."""
    hits = []
    with open(path) as file:
        for line in file:
            match = LINE.match(line)
            if match:
                host, _, _, page, status, size, millis = match.groups()
                hits.append((host, page, int(status), int(size), int(millis)))
    return hits


def smooth(values, weight):
    """An exponential average, element by element in Python."""
    level = values[0]
    result = []
    for value in values:
        level += (value - level) * weight
        result.append(level)
    return result


def busiest_hosts(hits, count=5):
    traffic = collections.Counter()
    for host, _, _, size, _ in hits:
        traffic[host] += size
    return traffic.most_common(count)


def slow_pages(hits):
    times = collections.defaultdict(list)
    for _, page, _, _, millis in hits:
        times[page].append(millis)
    report = {}
    for page, values in times.items():
        trends = [round(smooth(values, weight)[-1], 1) for weight in (0.3, 0.1, 0.03, 0.01)]
        report[page] = {"median": statistics.median(values), "trends": trends}
    return report


def store(folder, name, text):
    """Compress, hash, write; then wait for a disk that is far away."""
    packed = zlib.compress(text.encode(), 4)
    digest = hashlib.sha256(packed).hexdigest()
    with open(os.path.join(folder, name + "." + digest[:8]), "wb") as file:
        file.write(packed)
    time.sleep(0.2)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "access.log")
        write_log(path, 200000)
        hits = parse(path)
        report = {"hosts": busiest_hosts(hits), "pages": slow_pages(hits)}
        text = json.dumps(hits)
        parts = [text[i::3] for i in range(3)]
        writers = [threading.Thread(target=store, args=(folder, "part%d" % i, part),
                                    name="writer-%d" % i) for i, part in enumerate(parts)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        slowest = max(report["pages"], key=lambda page: report["pages"][page]["median"])
        print(len(hits), "requests, slowest page:", slowest, report["pages"][slowest])


if __name__ == "__main__":
    main()
