/* SPDX-License-Identifier: Apache-2.0
 *
 * Chooses the layout of a CPython build: our own table of its minor version (layout_table.c), and
 * over it, from 3.13 on, what the target says of itself. _Py_DebugOffsets stands at the start of
 * _PyRuntime: a cookie, the version, then 64-bit numbers whose order differs between minor
 * versions; debug_fields says which number is which of our fields.
 */
#include "record/python/layout.h"

#include <string.h>

#include "record/python/layout_table.h"

enum { OLDEST_MINOR = 9, NEWEST_MINOR = 15, FIRST_DEBUG_MINOR = 13, N_DEBUG_MINORS = 3 };

/* A number that no struct of CPython's reaches. */
#define MAX_STRUCT_SIZE (1u << 24)

/* The structs that the table describes, with the place of their size in the tables of 3.13, 3.14
 * and 3.15; 0 where that version's table does not have it. */
enum debug_struct {
	DEBUG_RUNTIME,
	DEBUG_INTERP,
	DEBUG_THREAD,
	DEBUG_FRAME,
	DEBUG_CODE,
	DEBUG_OBJECT,
	DEBUG_TYPE,
	DEBUG_TUPLE,
	DEBUG_HEAP_TYPE,
	DEBUG_DICT,
	DEBUG_LONG,
	DEBUG_BYTES,
	DEBUG_STR,
	DEBUG_GC,
	DEBUG_GEN,
};
static const uint16_t debug_size_at[][N_DEBUG_MINORS] = {
	[DEBUG_RUNTIME] = {24, 24, 24},   [DEBUG_INTERP] = {48, 48, 48},
	[DEBUG_THREAD] = {152, 176, 176}, [DEBUG_FRAME] = {224, 248, 312},
	[DEBUG_CODE] = {272, 312, 376},   [DEBUG_OBJECT] = {352, 400, 464},
	[DEBUG_TYPE] = {368, 416, 480},   [DEBUG_TUPLE] = {400, 448, 544},
	[DEBUG_HEAP_TYPE] = {0, 0, 528},  [DEBUG_DICT] = {448, 528, 624},
	[DEBUG_LONG] = {488, 568, 664},   [DEBUG_BYTES] = {512, 592, 688},
	[DEBUG_STR] = {536, 616, 712},    [DEBUG_GC] = {568, 648, 752},
	[DEBUG_GEN] = {0, 664, 792},
};

/* The bytes that the table takes. */
static const uint16_t debug_table_size[N_DEBUG_MINORS] = {584, 760, 888};

struct debug_field {
	uint16_t field; /* offset in struct py_layout */
	uint8_t of;     /* enum debug_struct */
	uint8_t width;  /* bytes of the field, which is also its alignment */
	bool free_threaded_only;
	uint16_t at[N_DEBUG_MINORS];
};

#define FIELD(name) .field = offsetof(struct py_layout, name)
static const struct debug_field debug_fields[] = {
	{FIELD(runtime_finalizing), DEBUG_RUNTIME, 8, false, {32, 32, 32}},
	{FIELD(runtime_interpreters_head), DEBUG_RUNTIME, 8, false, {40, 40, 40}},
	{FIELD(interp_id), DEBUG_INTERP, 8, false, {56, 56, 56}},
	{FIELD(interp_next), DEBUG_INTERP, 8, false, {64, 64, 64}},
	{FIELD(interp_threads_head), DEBUG_INTERP, 8, false, {72, 72, 72}},
	{FIELD(interp_modules), DEBUG_INTERP, 8, false, {88, 96, 96}},
	{FIELD(interp_gil), DEBUG_INTERP, 8, false, {112, 120, 120}},
	{FIELD(ts_next), DEBUG_THREAD, 8, false, {168, 192, 192}},
	{FIELD(ts_interp), DEBUG_THREAD, 8, false, {176, 200, 200}},
	{FIELD(ts_current_frame), DEBUG_THREAD, 8, false, {184, 208, 208}},
	{FIELD(ts_thread_id), DEBUG_THREAD, 8, false, {192, 216, 240}},
	{FIELD(ts_native_thread_id), DEBUG_THREAD, 8, false, {200, 224, 248}},
	{FIELD(ts_datastack_chunk), DEBUG_THREAD, 8, false, {208, 232, 256}},
	{FIELD(ts_holds_gil), DEBUG_THREAD, 4, false, {0, 0, 272}},
	{FIELD(frame_previous), DEBUG_FRAME, 8, false, {232, 256, 320}},
	{FIELD(frame_code), DEBUG_FRAME, 8, false, {240, 264, 328}},
	{FIELD(frame_instr), DEBUG_FRAME, 8, false, {248, 272, 336}},
	{FIELD(frame_owner), DEBUG_FRAME, 1, false, {264, 288, 352}},
	{FIELD(frame_tlbc_index), DEBUG_FRAME, 4, true, {0, 304, 368}},
	{FIELD(frame_locals), DEBUG_FRAME, 8, false, {256, 280, 344}},
	{FIELD(code_filename), DEBUG_CODE, 8, false, {280, 320, 384}},
	{FIELD(code_name), DEBUG_CODE, 8, false, {288, 328, 392}},
	{FIELD(code_qualname), DEBUG_CODE, 8, false, {296, 336, 400}},
	{FIELD(code_line_table), DEBUG_CODE, 8, false, {304, 344, 408}},
	{FIELD(code_first_line), DEBUG_CODE, 4, false, {312, 352, 416}},
	{FIELD(code_local_names), DEBUG_CODE, 8, false, {328, 368, 432}},
	{FIELD(code_local_kinds), DEBUG_CODE, 8, false, {336, 376, 440}},
	{FIELD(code_bytes), DEBUG_CODE, 2, false, {344, 384, 448}},
	{FIELD(code_tlbc), DEBUG_CODE, 8, true, {0, 392, 456}},
	{FIELD(object_type), DEBUG_OBJECT, 8, false, {360, 408, 472}},
	{FIELD(type_name), DEBUG_TYPE, 8, false, {376, 424, 488}},
	{FIELD(type_flags), DEBUG_TYPE, 8, false, {392, 440, 504}},
	{FIELD(type_basicsize), DEBUG_TYPE, 8, false, {0, 0, 512}},
	{FIELD(type_dictoffset), DEBUG_TYPE, 8, false, {0, 0, 520}},
	{FIELD(tuple_items), DEBUG_TUPLE, 8, false, {408, 456, 552}},
	{FIELD(heaptype_cached_keys), DEBUG_HEAP_TYPE, 8, false, {0, 0, 536}},
	{FIELD(dict_keys), DEBUG_DICT, 8, false, {456, 536, 632}},
	{FIELD(dict_values), DEBUG_DICT, 8, false, {464, 544, 640}},
	{FIELD(long_tag), DEBUG_LONG, 8, false, {496, 576, 672}},
	{FIELD(long_digit), DEBUG_LONG, 4, false, {504, 584, 680}},
	{FIELD(var_size), DEBUG_BYTES, 8, false, {520, 600, 696}},
	{FIELD(bytes_data), DEBUG_BYTES, 1, false, {528, 608, 704}},
	{FIELD(str_state), DEBUG_STR, 4, false, {544, 624, 720}},
	{FIELD(str_length), DEBUG_STR, 8, false, {552, 632, 728}},
	{FIELD(str_ascii_data), DEBUG_STR, 8, false, {560, 640, 736}},
	{FIELD(str_compact_data), DEBUG_STR, 8, false, {0, 0, 744}},
	{FIELD(gen_frame), DEBUG_GEN, 8, false, {0, 680, 808}},
};

/* Numbers that become a field of ours only together: gc.collecting counts from the start of the
 * collector's state, and the GIL's fields from the interpreter's. */
static const uint16_t interp_gc_at[] = {80, 88, 88};
static const uint16_t gc_collecting_at[] = {576, 656, 760};
static const uint16_t interp_own_gil_at[] = {120, 128, 128};
static const uint16_t own_gil_locked_at[] = {136, 144, 144};
static const uint16_t own_gil_holder_at[] = {144, 152, 152};

static const char *const too_old[OLDEST_MINOR] = {
	"CPython 3.0 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.1 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.2 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.3 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.4 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.5 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.6 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.7 is older than 3.9, the oldest version that scprof knows",
	"CPython 3.8 is older than 3.9, the oldest version that scprof knows",
};

static const char *const too_new[] = {
	"CPython 3.16 is newer than 3.15, the newest version that scprof knows",
	"CPython 3.17 is newer than 3.15, the newest version that scprof knows",
	"CPython 3.18 is newer than 3.15, the newest version that scprof knows",
};

static const char *const too_early[] = {
	"this is an alpha or beta of CPython 3.9, scprof knows only the released version",
	"this is an alpha or beta of CPython 3.10, scprof knows only the released version",
	"this is an alpha or beta of CPython 3.11, scprof knows only the released version",
	"this is an alpha or beta of CPython 3.12, scprof knows only the released version",
	"this is an alpha or beta of CPython 3.13, scprof knows only the released version",
	"this is an alpha or beta of CPython 3.14, scprof knows only the released version",
	"this is an alpha or beta of CPython 3.15, scprof knows only the released version",
};
_Static_assert(sizeof(too_early) / sizeof(too_early[0]) == NEWEST_MINOR - OLDEST_MINOR + 1,
	       "a sentence for each minor version");

/* Returns why this version cannot be profiled, or NULL when it can. */
static const char *version_refusal(uint32_t hex)
{
	uint32_t major = hex >> 24, minor = hex >> 16 & 0xff, level = hex >> 4 & 0xf;

	if (major < 3)
		return "Python 2 is older than 3.9, the oldest version that scprof knows";
	if (major > 3)
		return "this Python is newer than 3.15, the newest version that scprof knows";
	if (minor < OLDEST_MINOR)
		return too_old[minor];
	if (minor > NEWEST_MINOR) {
		size_t n = minor - NEWEST_MINOR - 1;

		if (n < sizeof(too_new) / sizeof(too_new[0]))
			return too_new[n];
		return "this CPython is newer than 3.15, the newest version that scprof knows";
	}
	if (level == 0xa || level == 0xb)
		return too_early[minor - OLDEST_MINOR];
	return NULL;
}

/* The target's table while it is read. */
struct debug_table {
	const unsigned char *bytes;
	unsigned column; /* 0 for 3.13, 1 for 3.14, 2 for 3.15 */
	bool free_threaded;
};

static uint64_t debug_number(const struct debug_table *table, uint16_t at)
{
	uint64_t number;

	memcpy(&number, table->bytes + at, sizeof(number));
	return number;
}

static bool debug_fits(const struct debug_table *table, uint64_t offset, uint32_t width,
		       enum debug_struct of)
{
	uint64_t size = debug_number(table, debug_size_at[of][table->column]);

	return size <= MAX_STRUCT_SIZE && offset < size && width <= size - offset &&
	       offset % width == 0;
}

static int debug_fields_apply(const struct debug_table *table, struct py_layout *layout)
{
	for (size_t i = 0; i < sizeof(debug_fields) / sizeof(debug_fields[0]); i++) {
		const struct debug_field *field = &debug_fields[i];
		uint16_t at = field->at[table->column];
		uint64_t offset;
		uint32_t value;

		if (!at || (field->free_threaded_only && !table->free_threaded))
			continue;
		offset = debug_number(table, at);
		if (!debug_fits(table, offset, field->width, field->of))
			return -1;
		value = (uint32_t)offset;
		memcpy((char *)layout + field->field, &value, sizeof(value));
	}
	return 0;
}

static int debug_sums_apply(const struct debug_table *table, struct py_layout *layout)
{
	unsigned column = table->column;
	uint64_t gc = debug_number(table, interp_gc_at[column]);
	uint64_t collecting = debug_number(table, gc_collecting_at[column]);
	uint64_t gil = debug_number(table, interp_own_gil_at[column]);
	uint64_t locked = debug_number(table, own_gil_locked_at[column]);
	uint64_t holder = debug_number(table, own_gil_holder_at[column]);
	uint64_t frame_size = debug_number(table, debug_size_at[DEBUG_FRAME][column]);

	if (!debug_fits(table, collecting, 4, DEBUG_GC) ||
	    !debug_fits(table, gc, 8, DEBUG_INTERP) ||
	    !debug_fits(table, gc + collecting, 4, DEBUG_INTERP) ||
	    !debug_fits(table, gil, 8, DEBUG_INTERP) ||
	    !debug_fits(table, locked, 4, DEBUG_INTERP) ||
	    !debug_fits(table, holder, 8, DEBUG_INTERP))
		return -1;
	if (locked < gil || locked - gil > layout->gil_size - 4 || holder < gil ||
	    holder - gil > layout->gil_size - 8)
		return -1;
	layout->interp_gc_collecting = (uint32_t)(gc + collecting);
	layout->gil_locked = (uint32_t)(locked - gil);
	layout->gil_last_holder = (uint32_t)(holder - gil);
	layout->frame_size = (uint32_t)frame_size;
	return 0;
}

/* Returns why the target's table cannot be believed, or NULL when it was applied. */
static const char *debug_table_apply(struct py_layout *layout, const void *bytes, size_t size)
{
	struct debug_table table = {
		.bytes = bytes,
		.column = (layout->version & 0xff) - FIRST_DEBUG_MINOR,
		.free_threaded = layout->free_threaded,
	};

	if (!bytes || size < debug_table_size[table.column])
		return "the interpreter's own table of offsets (_Py_DebugOffsets) cannot be read";
	if (memcmp(bytes, "xdebugpy", 8) != 0)
		return "the interpreter's own table of offsets (_Py_DebugOffsets) is not where it "
		       "should be";
	if (debug_number(&table, 8) >> 16 != layout->version)
		return "the interpreter's own table of offsets (_Py_DebugOffsets) is of another "
		       "version";
	if (debug_number(&table, 16) != (layout->free_threaded ? 1 : 0))
		return "the interpreter's own table of offsets (_Py_DebugOffsets) disagrees on "
		       "whether "
		       "this is a free-threaded build";
	if (debug_fields_apply(&table, layout) || debug_sums_apply(&table, layout))
		return "the interpreter's own table of offsets (_Py_DebugOffsets) holds an "
		       "impossible "
		       "offset";
	return NULL;
}

int py_layout_find(struct py_layout *layout, uint32_t hex, bool free_threaded,
		   const void *debug_offsets, size_t debug_size, const char **why)
{
	const struct py_layout *known;
	struct py_layout found;

	*why = version_refusal(hex);
	if (*why)
		return -1;
	known = layout_table_find(hex >> 16, free_threaded);
	if (!known) {
		*why = "free-threaded builds of CPython began with 3.13, this one says it is older";
		return -1;
	}
	found = *known;
	if ((hex >> 16 & 0xff) >= FIRST_DEBUG_MINOR)
		*why = debug_table_apply(&found, debug_offsets, debug_size);
	if (*why)
		return -1;
	*layout = found;
	return 0;
}
