# SPDX-License-Identifier: Apache-2.0
"""Reads a trace without any of scprof's code: zstd, and classes made by protoc from trace.proto.

    read_trace.py TRACE     (trace_pb2.py must be importable)

Prints the CPU time of each function, itself only, as JSON. It shows that a trace is an open format.
"""
import collections
import json
import subprocess
import sys

from google.protobuf.internal.decoder import _DecodeVarint32
import trace_pb2


def items(path):
    data = subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE).stdout
    at = 0
    while at < len(data):
        size, at = _DecodeVarint32(data, at)
        yield trace_pb2.Item.FromString(data[at:at + size])
        at += size


def column(values, count, high=()):
    low = values or [0] * count
    return [one + 256 * more for one, more in zip(low, high)] if high else low


def main(path):
    strings, codes, nodes = {}, {}, {0: None}
    cpu_ticks, samples, tick_ns = collections.Counter(), 0, 0
    for item in items(path):
        tick_ns = tick_ns or item.header.tick_ns
        block = item.block
        strings.update(enumerate(block.strings, block.first_string))
        codes.update(enumerate(block.codes, block.first_code))
        nodes.update(enumerate(block.nodes.code, block.nodes.first))
        rows, now, last = block.samples, block.first_time_ns // (tick_ns or 1), {}
        count = len(rows.time)
        for thread, step, wall, off, node in zip(
                column(rows.thread, count), column(rows.time, count, rows.time_high),
                column(rows.wall, count), column(rows.off_cpu, count),
                column(rows.node, count, rows.node_high)):
            now += step
            name = strings[codes[nodes[node]].qualname].decode() if node else "(no stack)"
            cpu_ticks[name] += wall + now - last.get(thread, now) - off
            last[thread] = now
            samples += 1
    json.dump({"samples": samples, "functions": {name: ticks * tick_ns
                                                 for name, ticks in sorted(cpu_ticks.items())}},
              sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
