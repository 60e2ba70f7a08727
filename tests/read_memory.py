# SPDX-License-Identifier: Apache-2.0
"""Reads the memory events of a trace without any of scprof's code, as read_trace.py does samples.

    read_memory.py TRACE     (trace_pb2.py must be importable)

Prints one JSON object: the header's rates, and the lists heap, copies, footprints and marks in the
order of the file. A stack is a list of functions, innermost first. What names a block that a
missing part of the trace made is left out.
"""
import json
import sys

from read_trace import column, items

KINDS = ["native", "python", "anonymous", "file", "reserved", "arena"]
COPIES = ["memory", "realloc", "read", "write"]
MARKS = ["label", "start", "stop", "finalize", "fork"]
ALLOC, RESIZE, FREE, FREE_RECENT = range(4)  # of Heap.op; see scprof-trace(5)


def unzigzag(value):
    return value >> 1 ^ -(value & 1)


def runs(values, rows):
    """The value of each row."""
    for value, count in zip(values, rows):
        yield from [value] * count


def running(steps, now):
    for step in steps:
        now += step
        yield now


def thread_id(value):
    return value - 1 if value else None


class Process:
    """The numbers of one process's blocks."""

    def __init__(self):
        self.next = 0
        self.lost = []

    def begin(self, first):
        if first > self.next:
            self.lost.append(range(self.next, first))
        self.next = first

    def knows(self, block):
        return not any(block in gap for gap in self.lost)


def heap_events(heap, first_tick, tick_ns, process):
    process.begin(heap.first_block)
    allocs = zip(column(heap.site, 0, heap.site_high), column(heap.size, 0, heap.size_high))
    names = iter(column(heap.block, 0, heap.block_high))
    left = iter(heap.left)
    last_size, recent, named = {}, [], heap.first_block
    threads = runs(heap.thread, heap.thread_rows)
    times = runs(running(heap.time, first_tick), heap.time_rows)
    for op, thread, time in zip(heap.op, threads, times):
        event = {"op": "free", "thread": thread_id(thread), "time_ns": time * tick_ns}
        if op == ALLOC:
            site, size = next(allocs)
            last_size[site] = size - 1 if size else last_size.get(site, 0)
            event.update(op="alloc", block=process.next, size=last_size[site],
                         node=heap.site_node[site],
                         kind=KINDS[heap.site_kind[site] if heap.site_kind else 0],
                         flags=heap.site_flags[site] if heap.site_flags else 0)
            recent.insert(0, process.next)
            process.next += 1
            if recent[-1] < process.next - 64:
                recent.pop()
        elif op >= FREE_RECENT:
            event.update(block=recent.pop(op - FREE_RECENT))
        else:
            named += unzigzag(next(names))
            event.update(block=named)
            if op == RESIZE:
                event.update(op="resize", size=next(left))
            if not process.knows(named):
                continue
        yield event


def copy_events(copies, first_tick, tick_ns):
    count = len(copies.time)
    times = running(column(copies.time, count, copies.time_high), first_tick)
    for thread, time, node, size, kind, flags in zip(
            column(copies.thread, count), times, column(copies.node, count, copies.node_high),
            column(copies.size, count, copies.size_high), column(copies.kind, count),
            column(copies.flags, count)):
        yield {"thread": thread_id(thread), "time_ns": time * tick_ns, "node": node, "size": size,
               "kind": COPIES[kind], "flags": flags}


def footprint_events(rows, first_tick, tick_ns):
    count = len(rows.time)
    names = ["rss_bytes", "file_bytes", "pss_bytes", "swap_bytes", "minor_faults", "major_faults"]
    columns = [column(getattr(rows, name), count) for name in names]
    for at in (0, 1, 4, 5):
        columns[at] = running(columns[at], 0)
    for time, *values in zip(running(rows.time, first_tick), *columns):
        yield dict(zip(names, values), time_ns=time * tick_ns)


def read(path):
    """All of it, see above."""
    found = {"heap": [], "copies": [], "footprints": [], "marks": []}
    strings, codes, nodes, processes, tick_ns = {}, {}, {}, {}, 0

    def stack(node):
        names = []
        while node:
            node, code = nodes[node]
            names.append(strings[codes[code].qualname].decode("utf-8", "surrogatepass"))
        return names

    def add(kind, process, events):
        for event in events:
            if "node" in event:
                event["stack"] = stack(event.pop("node"))
            found[kind].append(dict(event, process=process))

    for item in items(path):
        if item.HasField("header"):
            found["memory_rate"] = item.header.memory_rate
            found["copy_rate"] = item.header.copy_rate
            tick_ns = item.header.tick_ns
        block = item.block
        strings.update(enumerate(block.strings, block.first_string))
        codes.update(enumerate(block.codes, block.first_code))
        for number, (back, code) in enumerate(zip(block.nodes.parent, block.nodes.code),
                                              block.nodes.first):
            nodes[number] = (number - back, code)
        first_tick = block.first_time_ns // (tick_ns or 1)
        process = block.process
        if block.HasField("heap"):
            add("heap", process, heap_events(block.heap, first_tick, tick_ns,
                                             processes.setdefault(process, Process())))
        add("copies", process, copy_events(block.copies, first_tick, tick_ns))
        add("footprints", process, footprint_events(block.footprints, first_tick, tick_ns))
        add("marks", process, ({"kind": MARKS[mark.kind], "time_ns": mark.time_ns,
                                "label": mark.label.decode("utf-8", "replace")}
                               for mark in block.marks))
    return found


if __name__ == "__main__":
    json.dump(read(sys.argv[1]), sys.stdout)
