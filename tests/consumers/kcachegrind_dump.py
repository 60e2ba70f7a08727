# SPDX-License-Identifier: Apache-2.0
"""Prints the labels and tables of the KCachegrind that runs on this session; see
kcachegrind_dump.sh. Status 1 when it is not there."""

import sys
import time

import pyatspi

ROWS = 200


def find():
    for _ in range(16):
        for program in pyatspi.Registry.getDesktop(0):
            if program and "kcachegrind" in (program.name or "").lower() and program.childCount:
                return program
        time.sleep(0.2)
    return None


def walk(item, depth, lines):
    try:
        role = item.getRoleName()
        if role in ("tree table", "tree", "table"):
            table = item.queryTable()
            for row in range(min(table.nRows, ROWS)):
                cells = [table.getAccessibleAt(row, i) for i in range(table.nColumns)]
                lines.append("row: " + " | ".join(cell.name if cell else "" for cell in cells))
            return
        if role in ("label", "status bar") and item.name:
            lines.append("label: " + item.name)
        if depth < 14:
            for child in item:
                if child:
                    walk(child, depth + 1, lines)
    except Exception:  # widgets come and go, the bus raises whatever it likes
        return


def main():
    program = find()
    lines = []
    for _ in range(30):
        if not program:
            break
        lines = []
        for window in program:
            walk(window, 0, lines)
        text = "\n".join(lines)
        if "Cost:" in text and "row:" in text:
            break
        time.sleep(0.3)
    print("\n".join(lines))
    return 0 if any("Cost:" in line for line in lines) else 1


sys.exit(main())
