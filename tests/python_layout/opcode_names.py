# SPDX-License-Identifier: Apache-2.0
"""Prints what each opcode of the running interpreter is to a profiler, as its name says.

Run by opcode_class_test.py under every interpreter found: one line "number class name" for each
opcode, specialised and instrumented ones included.
"""
import re
import sys

C = re.compile(
    r"""(CALL_|PRECALL_)(NO_KW_|KW_|EX_)?(
        BUILTIN_.*|METHOD_DESCRIPTOR_.*|NON_PY.*|TYPE_1|STR_1|TUPLE_1|LEN|ISINSTANCE
        |LIST_APPEND)$""",
    re.X,
)
PYTHON = re.compile(
    r"""(CALL_PY_.*|CALL_(KW|EX)_PY|CALL_(KW_)?BOUND_METHOD.*|PRECALL_PYFUNC
        |CALL_(NO_KW_)?ALLOC_AND_ENTER_INIT|BINARY_(OP_)?SUBSCR_GETITEM|FOR_ITER_GEN|SEND_GEN
        |LOAD_ATTR_PROPERTY|LOAD_ATTR_GETATTRIBUTE_OVERRIDDEN)$""",
    re.X,
)
CALL = re.compile(
    r"""((INSTRUMENTED_)?CALL(_FUNCTION|_METHOD)?(_KW|_EX)?|CALL_ADAPTIVE
        |PRECALL(_ADAPTIVE|_BOUND_METHOD)?
        |BEFORE_WITH|BEFORE_ASYNC_WITH|SETUP_WITH|WITH_EXCEPT_START)$""",
    re.X,
)
NOT_CALLS = re.compile(r"CALL_INTRINSIC_[12]$")


def opcodes():
    """Name -> number of every opcode that running bytecode can hold."""
    if sys.version_info >= (3, 13):
        import _opcode_metadata

        return {**_opcode_metadata.opmap, **_opcode_metadata._specialized_opmap}
    if sys.version_info >= (3, 11):
        import dis

        return dis._all_opmap
    import opcode

    return opcode.opmap


def classify(name):
    for number, names in ((2, C), (3, PYTHON), (1, CALL)):
        if names.match(name):
            return number
    if "CALL" in name and not NOT_CALLS.match(name):
        sys.exit(f"the test does not know what {name} is")
    return 0


if __name__ == "__main__":
    for opcode_name, opcode_number in sorted(opcodes().items(), key=lambda item: item[1]):
        if opcode_number < 256:
            print(opcode_number, classify(opcode_name), opcode_name)
