# SPDX-License-Identifier: Apache-2.0
"""Loads a pstats file with the pstats of the Python that runs this (2.7 too), prints it in every
way that pstats knows into the void, and then as JSON: {"total": seconds, "functions": [[file, line,
name, calls, own, cumulative]]}."""

import io
import json
import pstats
import sys


class Void(io.StringIO):
    def write(self, text):
        return len(text)


def main():
    stats = pstats.Stats(sys.argv[1], stream=Void())
    functions = []
    for key, (primitive, calls, own, total, callers) in stats.stats.items():
        assert len(key) == 3 and isinstance(key[1], int), key
        assert isinstance(primitive, int) and isinstance(calls, int) and calls >= primitive > 0, key
        assert own >= 0 and total + 1e-9 >= own, key
        for caller, numbers in callers.items():
            assert caller in stats.stats and len(numbers) == 4, (key, caller)
        functions.append([key[0], key[1], key[2], calls, own, total])
    stats.sort_stats("cumulative").print_stats()
    stats.print_callers()
    stats.print_callees()
    print(json.dumps({"total": stats.total_tt, "functions": functions}))
    stats.strip_dirs()
    stats.add(sys.argv[1])


main()
