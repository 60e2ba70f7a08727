# SPDX-License-Identifier: Apache-2.0
"""Asks a CPython's own internal headers where its fields are, by compiling a small C program."""

import os
import subprocess

NONE = "none"

HEADERS = """
pycore_interp pycore_runtime pycore_gil pycore_pystate pycore_tstate pycore_frame
pycore_interpframe pycore_interpframe_structs pycore_code pycore_moduleobject pycore_dict
pycore_object pycore_genobject pycore_debug_offsets
""".split()


def expressions(minor, free_threaded):
    """Name of a field of struct py_layout -> C expression, or NONE."""
    def since(first, expression):
        return expression if minor >= first else NONE

    def until(last, expression):
        return expression if minor <= last else NONE

    def at(struct, member):
        return "offsetof(%s, %s)" % (struct, member)

    def runtime(member):
        return at("_PyRuntimeState", member)

    def interp(member):
        return at("PyInterpreterState", member)

    def ts(member):
        return at("PyThreadState", member)

    def code(member):
        return at("PyCodeObject", member)

    tlbc = free_threaded and minor >= 14
    with_cframe = minor in (11, 12)
    old_frame = minor <= 10
    frame = "PyFrameObject" if old_frame else "_PyInterpreterFrame"
    long_value = "long_value." if minor >= 12 else ""
    fields = {
        "runtime_finalizing": runtime("_finalizing"),
        "runtime_interpreters_head": runtime("interpreters.head"),
        "runtime_tstate_current": until(11, runtime("gilstate.tstate_current")),
        "runtime_gil": until(11, runtime("ceval.gil")),
        "interp_next": interp("next"),
        "interp_id": interp("id"),
        "interp_threads_head": interp("threads.head" if minor >= 11 else "tstate_head"),
        "interp_gil": since(12, interp("ceval.gil")),
        "interp_gc_collecting": interp("gc.collecting"),
        "interp_modules": interp("imports.modules" if minor >= 12 else "modules"),
        "interp_jit": since(14, interp("jit")),
        "gil_last_holder": at("struct _gil_runtime_state", "last_holder"),
        "gil_locked": at("struct _gil_runtime_state", "locked"),
        "gil_size": "sizeof(struct _gil_runtime_state)",
        "ts_next": ts("next"),
        "ts_interp": ts("interp"),
        "ts_frame": until(10, ts("frame")),
        "ts_cframe": ts("cframe") if with_cframe else NONE,
        "ts_current_frame": since(13, ts("current_frame")),
        "ts_state": since(13, ts("state")),
        "ts_holds_gil": since(14, ts("holds_gil")),
        "ts_thread_id": ts("thread_id"),
        "ts_native_thread_id": since(11, ts("native_thread_id")),
        "ts_datastack_chunk": since(11, ts("datastack_chunk")),
        "ts_root_cframe": ts("root_cframe") if with_cframe else NONE,
        "ts_tlbc_index": at("_PyThreadStateImpl", "tlbc_index") if tlbc else NONE,
        "cframe_current_frame": at("_PyCFrame", "current_frame") if with_cframe else NONE,
        "cframe_previous": at("_PyCFrame", "previous") if with_cframe else NONE,
        "frame_size":
            at(frame, "f_lasti") + " + sizeof(int)" if old_frame else "sizeof(%s)" % frame,
        "frame_previous": at(frame, "f_back" if old_frame else "previous"),
        "frame_code": at(frame, "f_code" if minor <= 12 else "f_executable"),
        "frame_instr": at(
            frame, "f_lasti" if old_frame else "prev_instr" if minor <= 12 else "instr_ptr"),
        "frame_owner": NONE if old_frame else at(frame, "owner"),
        "frame_tlbc_index": at(frame, "tlbc_index") if tlbc else NONE,
        "frame_locals": at(frame, "f_localsplus" if old_frame else "localsplus"),
        "owner_generator": "255" if old_frame else "FRAME_OWNED_BY_GENERATOR",
        "owner_shim": "255" if minor <= 11 else "FRAME_OWNED_BY_CSTACK" if minor <= 13 else
            "FRAME_OWNED_BY_INTERPRETER",
        "code_first_line": code("co_firstlineno"),
        "code_flags": code("co_flags"),
        "code_filename": code("co_filename"),
        "code_name": code("co_name"),
        "code_qualname": since(11, code("co_qualname")),
        "code_line_table": code("co_lnotab" if minor == 9 else "co_linetable"),
        "code_bytes": code("co_code" if old_frame else "co_code_adaptive"),
        "code_unit_count": since(11, at("PyVarObject", "ob_size")),
        "code_first_traceable": since(11, code("_co_firsttraceable")),
        "code_version": since(12, code("co_version")),
        "code_tlbc": code("co_tlbc") if tlbc else NONE,
        "code_local_names": code("co_varnames" if old_frame else "co_localsplusnames"),
        "code_local_kinds": since(11, code("co_localspluskinds")),
        "code_cell_names": until(10, code("co_cellvars")),
        "code_free_names": until(10, code("co_freevars")),
        "object_type": at("PyObject", "ob_type"),
        "var_size": at("PyVarObject", "ob_size"),
        "str_length": at("PyASCIIObject", "length"),
        "str_hash": at("PyASCIIObject", "hash"),
        "str_state": at("PyASCIIObject", "state"),
        "str_ascii_data": "sizeof(PyASCIIObject)",
        "str_compact_data": "sizeof(PyCompactUnicodeObject)",
        "str_kind_shift": "state_bit(kind)",
        "str_compact_bit": "state_bit(compact)",
        "str_ascii_bit": "state_bit(ascii)",
        "bytes_data": at("PyBytesObject", "ob_sval"),
        "type_name": at("PyTypeObject", "tp_name"),
        "type_flags": at("PyTypeObject", "tp_flags"),
        "type_basicsize": at("PyTypeObject", "tp_basicsize"),
        "type_dictoffset": at("PyTypeObject", "tp_dictoffset"),
        "heaptype_cached_keys": at("PyHeapTypeObject", "ht_cached_keys"),
        "dict_keys": at("PyDictObject", "ma_keys"),
        "dict_values": at("PyDictObject", "ma_values"),
        "long_tag":
            at("PyLongObject", "long_value.lv_tag") if minor >= 12 else
            at("PyVarObject", "ob_size"),
        "long_digit": at("PyLongObject", long_value + "ob_digit"),
        "tuple_items": at("PyTupleObject", "ob_item"),
        "gen_frame": at("PyGenObject", "gi_frame" if old_frame else "gi_iframe"),
    }
    if minor >= 10:  # 3.9 does not say it in a header
        fields["module_dict"] = at("PyModuleObject", "md_dict")
    return fields


def dict_facts(minor, free_threaded):
    """What dict_read.c takes for granted and headers say from 3.11 on: expression -> number."""
    facts = {
        "offsetof(struct _dictkeysobject, dk_log2_size)": 8,
        "offsetof(struct _dictkeysobject, dk_log2_index_bytes)": 9,
        "offsetof(struct _dictkeysobject, dk_kind)": 10,
        "offsetof(struct _dictkeysobject, dk_nentries)": 24,
        "offsetof(struct _dictkeysobject, dk_indices)": 32,
        "sizeof(PyDictKeyEntry)": 24,
        "offsetof(PyDictKeyEntry, me_key)": 8,
        "sizeof(PyDictUnicodeEntry)": 16,
        "offsetof(PyDictUnicodeEntry, me_key)": 0,
        "DICT_KEYS_GENERAL": 0,
        "Py_TPFLAGS_MANAGED_DICT": 1 << 4,
        "Py_TPFLAGS_LONG_SUBCLASS": 1 << 24,
        "Py_TPFLAGS_BYTES_SUBCLASS": 1 << 27,
        "Py_TPFLAGS_UNICODE_SUBCLASS": 1 << 28,
        "Py_TPFLAGS_DICT_SUBCLASS": 1 << 29,
        "offsetof(struct _dictvalues, values)": 8 if minor >= 13 else 0,
    }
    if minor != 12:
        facts["MANAGED_DICT_OFFSET"] = -8 if free_threaded else -24
    if minor >= 13:
        facts.update({
            "Py_TPFLAGS_INLINE_VALUES": 1 << 2,
            "offsetof(struct _dictvalues, capacity)": 0,
            "offsetof(struct _dictvalues, valid)": 3,
        })
    return facts


PROGRAM = """
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <stddef.h>
#include <stdio.h>
%(includes)s

#define state_bit(field) __extension__({ \\
	union { PyASCIIObject object; unsigned char bytes[sizeof(PyASCIIObject)]; } u; \\
	unsigned state; \\
	memset(&u, 0, sizeof(u)); \\
	u.object.state.field = 1; \\
	memcpy(&state, u.bytes + offsetof(PyASCIIObject, state), sizeof(state)); \\
	__builtin_ctz(state); })

int main(void)
{
%(prints)s
	return 0;
}
"""

PRINT_TABLE = """
	static const _Py_DebugOffsets table = {
		.cookie = "xdebugpy",
		.version = PY_VERSION_HEX,
%s	};
	for (size_t i = 0; i < sizeof(table); i++)
		printf("%%02x", ((const unsigned char *)&table)[i]);
	printf("\\n");
"""


class Headers:
    """The headers of one interpreter; self.problem says why they cannot be used."""

    def __init__(self, interpreter, scratch):
        self.minor = interpreter.version[1]
        self.scratch = scratch
        answer = interpreter.run(
            "-c", "import sysconfig; print(sysconfig.get_paths()['include'])")
        self.include = answer.stdout.strip()
        self.internal = os.path.join(self.include, "internal")
        self.problem = None
        if not os.path.exists(os.path.join(self.internal, "pycore_interp.h")):
            self.problem = "its headers are not installed"

    def _run(self, prints, free_threaded):
        includes = "\n".join(
            '#include "internal/%s.h"' % name
            for name in HEADERS + (["pycore_runtime_init"] if self.minor == 13 else [])
            if os.path.exists(os.path.join(self.internal, name + ".h")))
        source = os.path.join(self.scratch, "probe.c")
        program = os.path.join(self.scratch, "probe")
        with open(source, "w", encoding="utf-8") as file:
            file.write(PROGRAM % {"includes": includes, "prints": prints})
        command = [os.environ.get("CC", "gcc"), "-w", "-std=gnu11", "-O0", "-no-pie",
                   "-Wl,--unresolved-symbols=ignore-all", "-DNDEBUG"]
        if free_threaded:
            command.append("-DPy_GIL_DISABLED=1")
        command += ["-I" + self.include, "-I" + self.internal,
                    "-I" + os.path.join(self.internal, "mimalloc"),
                    "-idirafter", os.path.dirname(self.include), source, "-o", program]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        return subprocess.run([program], capture_output=True, text=True, check=True).stdout

    def fields(self, free_threaded):
        """What the headers say of each field: name -> number, or NONE."""
        wanted = expressions(self.minor, free_threaded)
        found = {name: NONE for name, expression in wanted.items() if expression == NONE}
        asked = [name for name in wanted if name not in found]
        numbers = self.numbers([wanted[name] for name in asked], free_threaded)
        return {**found, **dict(zip(asked, numbers))}

    def numbers(self, wanted, free_threaded):
        prints = "".join('\tprintf("%%ld\\n", (long)(%s));\n' % one for one in wanted)
        return [int(line) for line in self._run(prints, free_threaded).splitlines()]

    def debug_offsets(self, free_threaded):
        """The bytes of the _Py_DebugOffsets that a build from these headers would hold."""
        folder = self.internal
        for name in ("pycore_debug_offsets.h", "pycore_runtime_init.h"):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                if "_Py_DebugOffsets_INIT" in text or ".debug_offsets = {" in text:
                    break
        start = text.index(".free_threaded =")
        end = start
        depth = 0
        while depth >= 0:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        body = text[start:end - 1].replace("\\\n", "\n")
        prints = PRINT_TABLE % body
        return bytes.fromhex(self._run(prints, free_threaded).strip())
