# SPDX-License-Identifier: Apache-2.0
"""A program with interval timers and signal handlers of its own.

True of it: it uses SIGPROF, SIGALRM and SIGVTALRM itself. It checks that its handlers are called
about as often as its timers say, that every other signal's disposition and the signal mask are what
a fresh Python has, that system calls are not interrupted by anything else, and says so; any
deviation ends it with status 1.
"""

import os
import signal
import sys
import time

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
counts = {signal.SIGPROF: 0, signal.SIGALRM: 0, signal.SIGVTALRM: 0}
problems = []


def handler(number, frame):
    counts[number] += 1


if signal.pthread_sigmask(signal.SIG_BLOCK, []):
    problems.append("signals are blocked")
usual = {signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN,
         getattr(signal, "SIGXFSZ", signal.SIGPIPE): signal.SIG_IGN}
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD,
               signal.SIGPROF, signal.SIGALRM, signal.SIGVTALRM, *usual):
    if signal.getsignal(number) != usual.get(number, signal.SIG_DFL):
        problems.append("disposition of %s is %s" % (number, signal.getsignal(number)))

for number in counts:
    signal.signal(number, handler)
cpu = time.process_time()
wall = time.monotonic()
signal.setitimer(signal.ITIMER_PROF, 0.02, 0.02)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.02, 0.02)
total = 0
for _ in range(rounds):
    for i in range(40000): total ^= i  # @work
for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL, signal.ITIMER_VIRTUAL):
    signal.setitimer(timer, 0)
cpu = time.process_time() - cpu
wall = time.monotonic() - wall

# Timers of CPU time may be late by a tick of the kernel each, and handlers run between bytecodes.
for number, spent in ((signal.SIGPROF, cpu), (signal.SIGVTALRM, cpu), (signal.SIGALRM, wall)):
    if not spent / 0.02 * 0.3 - 2 <= counts[number] <= spent / 0.02 * 1.2 + 2:
        problems.append("%s came %d times in %.3f s" % (number, counts[number], spent))

# A blocking call returns early, with EINTR, only for signals that Python has a handler for.
reader, writer = os.pipe()
before = time.monotonic()
time.sleep(0.2)
if time.monotonic() - before < 0.19:
    problems.append("sleep was cut short")

print("\n".join(problems) if problems else "as expected")
sys.exit(1 if problems else 0)
