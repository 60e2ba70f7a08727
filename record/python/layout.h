/* SPDX-License-Identifier: Apache-2.0
 *
 * Where one CPython build keeps what a profiler reads: byte offsets into the runtime, interpreter,
 * thread state, frame, code and string objects. From 3.13 on they come from the target's own
 * _Py_DebugOffsets table, completed by ours; for 3.9 to 3.12 from tables of the same shape.
 *
 * Compiled into the agent as well: no libc calls beyond mem*, no allocation.
 */
#ifndef SCPROF_LAYOUT_H
#define SCPROF_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PY_NO_OFFSET UINT32_MAX /* this version has no such field */

struct py_layout {
	uint32_t version; /* major << 8 | minor */
	bool free_threaded;

	/* _PyRuntime */
	uint32_t runtime_finalizing; /* pointer: the thread that finalizes, or NULL */
	uint32_t runtime_interpreters_head;
	uint32_t runtime_tstate_current; /* <= 3.11, else PY_NO_OFFSET */
	uint32_t runtime_gil;            /* <= 3.11: the struct itself, inline */

	/* PyInterpreterState */
	uint32_t interp_next;
	uint32_t interp_id;
	uint32_t interp_threads_head;
	uint32_t interp_gil; /* 3.12 on: pointer to the struct */
	uint32_t interp_gc_collecting;
	uint32_t interp_modules; /* dict */
	uint32_t interp_jit;     /* 3.14 on: bool */

	/* struct _gil_runtime_state */
	uint32_t gil_last_holder;
	uint32_t gil_locked;
	uint32_t gil_size; /* a futex address inside the struct is a wait for the GIL */

	/* PyThreadState */
	uint32_t ts_next;
	uint32_t ts_interp;
	uint32_t ts_frame;            /* <= 3.10: PyFrameObject * */
	uint32_t ts_cframe;           /* 3.11, 3.12 */
	uint32_t ts_current_frame;    /* 3.13 on */
	uint32_t ts_state;            /* 3.13 on: 1 = attached */
	uint32_t ts_holds_gil;        /* 3.14 on */
	uint32_t ts_thread_id;        /* pthread_t */
	uint32_t ts_native_thread_id; /* 3.11 on */
	uint32_t ts_datastack_chunk;  /* 3.11 on */
	uint32_t ts_root_cframe;      /* 3.11, 3.12 */
	uint32_t ts_tlbc_index;       /* free-threaded 3.14 on */

	uint32_t cframe_current_frame;
	uint32_t cframe_previous;

	/* frame: PyFrameObject (<= 3.10) or _PyInterpreterFrame */
	uint32_t frame_size; /* enough bytes to read all of the fields below */
	uint32_t frame_previous;
	uint32_t frame_code;
	uint32_t frame_instr; /* <= 3.10: int f_lasti; else a pointer into the bytecode */
	uint32_t frame_owner; /* 3.11 on: char */
	uint32_t frame_tlbc_index;
	uint32_t frame_locals; /* array of local variables, of cells from 3.11 on too */
	uint8_t owner_generator;
	uint8_t owner_shim; /* owner >= this: a shim frame; 255: this version has none */

	/* PyCodeObject */
	uint32_t code_first_line;
	uint32_t code_flags;
	uint32_t code_filename;
	uint32_t code_name;
	uint32_t code_qualname; /* 3.11 on */
	uint32_t code_line_table;
	uint32_t code_bytes; /* 3.11 on: offset of the inline bytecode; else of the bytes object */
	uint32_t code_unit_count; /* 3.11 on: ob_size, number of 2-byte units */
	uint32_t code_first_traceable;
	uint32_t code_version; /* 3.12 on: u32 unique per code object */
	uint32_t code_tlbc;
	uint32_t code_local_names; /* tuple */
	uint32_t code_local_kinds; /* 3.11 on: bytes, one per name */
	uint32_t code_cell_names;  /* <= 3.10: tuple; these and the next follow the locals */
	uint32_t code_free_names;  /* <= 3.10: tuple */
	uint32_t code_size;        /* enough bytes to read all of the fields above */

	/* objects */
	uint32_t object_type;
	uint32_t var_size; /* ob_size */
	uint32_t str_length;
	uint32_t str_hash;
	uint32_t str_state;
	uint32_t str_ascii_data;   /* data of compact ASCII strings */
	uint32_t str_compact_data; /* data of other compact strings */
	uint8_t str_kind_shift;    /* state >> shift & 7 = bytes per character */
	uint8_t str_compact_bit;
	uint8_t str_ascii_bit;
	uint32_t bytes_data;
	uint32_t type_name;
	uint32_t type_flags;
	uint32_t type_basicsize;
	uint32_t type_dictoffset;
	uint32_t heaptype_cached_keys;
	uint32_t dict_keys;
	uint32_t dict_values;
	uint32_t module_dict;
	uint32_t long_tag; /* ob_size (<= 3.11) or lv_tag */
	uint32_t long_digit;
	uint32_t gen_frame;
	uint32_t tuple_items;
};

/* Looks up the layout of PY_VERSION_HEX hex. debug_offsets is the first debug_size bytes of the
 * target's _PyRuntime; used (and range-checked) from 3.13 on, may be NULL before. Returns 0, or -1
 * with a static sentence in *why ("CPython 3.8 is older than ..."). */
int py_layout_find(struct py_layout *layout, uint32_t hex, bool free_threaded,
		   const void *debug_offsets, size_t debug_size, const char **why);

/* Bytes of _PyRuntime to hand to py_layout_find, for every version. */
#define PY_DEBUG_OFFSETS_SIZE 1024

#endif
