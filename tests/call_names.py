# SPDX-License-Identifier: Apache-2.0
"""Judges stacks of samples/call_heavy.py, whose names say who may call whom."""


def impossible(functions):
    """Why a stack, root first, cannot be; None when it can."""
    for caller, name in zip([None] + functions, functions):
        wanted = name.split("_of_")[1] if "_of_" in name else None
        if wanted and (caller or "nobody").split("_of_")[0] != wanted and not (
                name == "r_of_r" and caller == "recurse_of_work"):
            return "%s called by %s" % (name, caller)
    return None
