# SPDX-License-Identifier: Apache-2.0
"""A service that answers requests for a few seconds. It keeps a piece of every answer (the leak),
fills a cache with what it loaded (once, then it stays), and makes much that it drops at once.

    leaky_service.py [SECONDS]
"""

import sys
import time

cache = {}
history = []


def load(page):
    return [bytes(1000) + b"%d/%d" % (page, i) for i in range(400)]


def page_of(page):
    if page not in cache:
        cache[page] = load(page)
    return cache[page]


def render(rows):
    body = b"".join(rows)
    return body.replace(b"/", b":")


def remember(answer):
    history.append(bytearray(answer[:100000]))


def main(seconds):
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        answer = render(page_of(count % 40))
        remember(answer)
        count += 1
        time.sleep(0.01)
    print("%d requests, %d bytes kept" % (count, sum(map(len, history))))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 8)
