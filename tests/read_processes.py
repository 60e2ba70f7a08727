# SPDX-License-Identifier: Apache-2.0
"""The processes of a trace, read without any of scprof's code, nor protobuf's: its wire format is
simple enough. scprof-trace(5) has the numbers of the fields."""

import collections
import struct
import subprocess

ITEM_HEADER, ITEM_BLOCK = 1, 2
HEADER_START = 3
BLOCK_PROCESSES, BLOCK_ENDS = 18, 33
ENDS = ("unknown", "exit", "signal", "exec")
ORIGINS = ("launch", "fork", "exec", "attach")


class Process:
    """One Process message and its ProcessEnd; times are CLOCK_MONOTONIC in nanoseconds."""

    def __init__(self, message, start_ns):
        def number(field, missing=0):
            return message.get(field, [missing])[0]
        self.index = number(1)
        self.pid = number(2)
        self.parent_pid = number(3)
        self.parent_index = number(4, None)
        self.start_ns = start_ns + number(5)
        self.command = [word.decode() for word in message.get(6, [])]
        self.executable = number(7, b"").decode()
        self.version = tuple(number(8) >> shift & 0xff for shift in (24, 16, 8))
        self.free_threaded = bool(number(10))
        self.origin = ORIGINS[number(11)]
        self.parent = None
        self.children = []
        self.ends = 0
        self.end_ns = None
        self.how = self.status = None
        self.cpu_ns = self.exit_cpu_ns = 0

    def end(self, message, start_ns):
        self.ends += 1
        self.end_ns = start_ns + message.get(2, [0])[0]
        self.how = ENDS[message.get(3, [0])[0]]
        self.status = message.get(4, [0])[0]
        self.cpu_ns = message.get(5, [0])[0]
        self.exit_cpu_ns = message.get(9, [0])[0]

    @property
    def code(self):
        """As multiprocessing and subprocess have it: minus the signal; None when not known."""
        return {"exit": self.status, "signal": -self.status}.get(self.how)

    def __repr__(self):
        return "<%d pid %d %s %s %s: %s>" % (self.index, self.pid, self.origin, self.how,
                                             self.status, " ".join(self.command))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """A message as {field: [values]}; what is nested is bytes."""
    found, at = collections.defaultdict(list), 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            width = {1: 8, 5: 4}[kind]
            value, at = struct.unpack_from("<Q" if width == 8 else "<I", data, at)[0], at + width
        found[key >> 3].append(value)
    return dict(found)


def read(trace):
    """All processes by index, with parents and children linked."""
    data = subprocess.run(["zstd", "-dcq", str(trace)], stdout=subprocess.PIPE).stdout
    processes, start_ns, at = {}, 0, 0
    while at < len(data):
        size, at = varint(data, at)
        item, at = fields(data[at:at + size]), at + size
        for header in item.get(ITEM_HEADER, []):
            start_ns = fields(header)[HEADER_START][0]
        for block in item.get(ITEM_BLOCK, []):
            block = fields(block)
            for message in block.get(BLOCK_PROCESSES, []):
                process = Process(fields(message), start_ns)
                assert process.index not in processes, "process %d is there twice" % process.index
                processes[process.index] = process
            for message in block.get(BLOCK_ENDS, []):
                message = fields(message)
                processes[message.get(1, [0])[0]].end(message, start_ns)
    for process in processes.values():
        if process.parent_index is not None:
            process.parent = processes[process.parent_index]
            process.parent.children.append(process)
    return [processes[index] for index in sorted(processes)]
