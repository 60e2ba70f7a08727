/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks into a running Python through record/python, for the tests and for whoever debugs a layout:
 *
 *	python_peek table HEX FREE_THREADED               our own layout, a field a line
 *	python_peek layout HEX FREE_THREADED < OFFSETS    as py_layout_find completes it
 *	python_peek opcodes HEX                           the class of each opcode
 *	python_peek names PID RUNTIME HEX FREE_THREADED [TIMES [SEED]]
 *	python_peek code PID RUNTIME HEX FREE_THREADED [SEED] < ADDRESSES
 *	python_peek str PID RUNTIME HEX FREE_THREADED < ADDRESSES
 *
 * Addresses and HEX are hexadecimal, text is printed as hexadecimal UTF-8. With a SEED other than 0
 * now and then a byte that is read gets another value, as if the target changed it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record/python/layout.h"
#include "record/python/layout_table.h"
#include "record/python/object_read.h"
#include "record/python/opcode_class.h"

struct target {
	pid_t pid;
	uint64_t runtime;
	uint64_t random; /* 0: memory is read as it is */
	uint64_t reads;
	struct py_layout layout;
	struct py_memory memory;
};

static const struct {
	const char *name;
	size_t at;
	size_t size;
} layout_fields[] = {
#define FIELD(field)                                                                              \
	{                                                                                         \
#field, offsetof(struct py_layout, field), sizeof(((struct py_layout *)0)->field) \
	}
	FIELD(version),
	FIELD(runtime_finalizing),
	FIELD(runtime_interpreters_head),
	FIELD(runtime_tstate_current),
	FIELD(runtime_gil),
	FIELD(interp_next),
	FIELD(interp_id),
	FIELD(interp_threads_head),
	FIELD(interp_gil),
	FIELD(interp_gc_collecting),
	FIELD(interp_modules),
	FIELD(interp_jit),
	FIELD(gil_last_holder),
	FIELD(gil_locked),
	FIELD(gil_size),
	FIELD(ts_next),
	FIELD(ts_interp),
	FIELD(ts_frame),
	FIELD(ts_cframe),
	FIELD(ts_current_frame),
	FIELD(ts_state),
	FIELD(ts_holds_gil),
	FIELD(ts_thread_id),
	FIELD(ts_native_thread_id),
	FIELD(ts_datastack_chunk),
	FIELD(ts_root_cframe),
	FIELD(ts_tlbc_index),
	FIELD(cframe_current_frame),
	FIELD(cframe_previous),
	FIELD(frame_size),
	FIELD(frame_previous),
	FIELD(frame_code),
	FIELD(frame_instr),
	FIELD(frame_owner),
	FIELD(frame_tlbc_index),
	FIELD(frame_locals),
	FIELD(owner_generator),
	FIELD(owner_shim),
	FIELD(code_first_line),
	FIELD(code_flags),
	FIELD(code_filename),
	FIELD(code_name),
	FIELD(code_qualname),
	FIELD(code_line_table),
	FIELD(code_bytes),
	FIELD(code_unit_count),
	FIELD(code_first_traceable),
	FIELD(code_version),
	FIELD(code_tlbc),
	FIELD(code_local_names),
	FIELD(code_local_kinds),
	FIELD(code_cell_names),
	FIELD(code_free_names),
	FIELD(code_size),
	FIELD(object_type),
	FIELD(var_size),
	FIELD(str_length),
	FIELD(str_hash),
	FIELD(str_state),
	FIELD(str_ascii_data),
	FIELD(str_compact_data),
	FIELD(str_kind_shift),
	FIELD(str_compact_bit),
	FIELD(str_ascii_bit),
	FIELD(bytes_data),
	FIELD(type_name),
	FIELD(type_flags),
	FIELD(type_basicsize),
	FIELD(type_dictoffset),
	FIELD(heaptype_cached_keys),
	FIELD(dict_keys),
	FIELD(dict_values),
	FIELD(module_dict),
	FIELD(long_tag),
	FIELD(long_digit),
	FIELD(gen_frame),
	FIELD(tuple_items),
#undef FIELD
};

static void die(const char *what)
{
	fprintf(stderr, "python_peek: %s\n", what);
	exit(1);
}

static void print_layout(const struct py_layout *layout)
{
	for (size_t i = 0; i < sizeof(layout_fields) / sizeof(layout_fields[0]); i++) {
		const char *field = (const char *)layout + layout_fields[i].at;
		uint32_t value = (uint8_t)*field;

		if (layout_fields[i].size == sizeof(value))
			memcpy(&value, field, sizeof(value));
		if (value == PY_NO_OFFSET)
			printf("%s none\n", layout_fields[i].name);
		else
			printf("%s %u\n", layout_fields[i].name, value);
	}
}

static void print_hex(const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)data)[i]);
}

/* xorshift: the same seed gives the same damage. */
static uint64_t next_random(struct target *target)
{
	target->random ^= target->random << 13;
	target->random ^= target->random >> 7;
	target->random ^= target->random << 17;
	return target->random;
}

static void damage(struct target *target, unsigned char *data, size_t size)
{
	uint64_t random = next_random(target);

	if (size == 0 || random % 64)
		return;
	data[(random >> 8) % size] = (unsigned char)(random >> 40);
}

static int read_target(void *arg, uint64_t address, void *to, size_t size)
{
	struct target *target = arg;
	struct iovec local = {.iov_base = to, .iov_len = size};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};

	target->reads++;
	if (process_vm_readv(target->pid, &local, 1, &remote, 1, 0) != (ssize_t)size)
		return -1;
	if (target->random)
		damage(target, to, size);
	return 0;
}

static void target_open(struct target *target, char **argv)
{
	unsigned char offsets[PY_DEBUG_OFFSETS_SIZE];
	const char *why;

	memset(target, 0, sizeof(*target));
	target->pid = (pid_t)strtol(argv[0], NULL, 10);
	target->runtime = strtoull(argv[1], NULL, 16);
	target->memory.read = read_target;
	target->memory.arg = target;
	if (read_target(target, target->runtime, offsets, sizeof(offsets))) {
		perror("python_peek: process_vm_readv");
		exit(1);
	}
	if (py_layout_find(&target->layout, (uint32_t)strtoul(argv[2], NULL, 16), argv[3][0] == '1',
			   offsets, sizeof(offsets), &why))
		die(why);
}

struct names_found {
	int count;
};

static void name_found(void *arg, uint64_t ident, const char *name, size_t size)
{
	struct names_found *names = arg;

	names->count++;
	printf("%" PRIu64 " ", ident);
	print_hex(name, size);
	printf("\n");
}

/* Reads the names `times` times, prints them all, then what happened. */
static void peek_names(struct target *target, long times)
{
	long failed = 0, entries = 0;

	for (long i = 0; i < times; i++) {
		struct names_found names = {0};
		int n = py_read_thread_names(&target->layout, &target->memory, target->runtime,
					     name_found, &names);

		if (n < 0)
			failed++;
		else
			entries += n;
		if (n >= 0 && n != names.count)
			die("py_read_thread_names miscounted");
	}
	printf("times %ld failed %ld entries %ld reads %" PRIu64 "\n", times, failed, entries,
	       target->reads);
}

static void peek_code(struct target *target, uint64_t address)
{
	struct py_code_text text;

	if (py_read_code(&target->layout, &target->memory, address, &text)) {
		printf("-\n");
		return;
	}
	if (target->random) { /* may be tens of megabytes of what only looked like text */
		printf("+\n");
		py_code_text_release(&text);
		return;
	}
	printf("f");
	print_hex(text.filename, text.filename_size);
	printf(" n");
	print_hex(text.name, text.name_size);
	printf(" q");
	print_hex(text.qualname, text.qualname_size);
	printf(" l");
	print_hex(text.line_table, text.line_table_size);
	printf(" %d %u %u\n", text.first_line, text.flags, text.code_bytes);
	py_code_text_release(&text);
}

static void peek_str(struct target *target, uint64_t address)
{
	char *text;
	size_t size;

	if (py_read_str(&target->layout, &target->memory, address, &text, &size)) {
		printf("-\n");
		return;
	}
	printf("s");
	print_hex(text, size);
	printf("\n");
	free(text);
}

static void peek_each(struct target *target, void (*peek)(struct target *, uint64_t))
{
	char line[64];

	while (fgets(line, sizeof(line), stdin))
		peek(target, strtoull(line, NULL, 16));
}

static void show_table(uint32_t hex, bool free_threaded)
{
	const struct py_layout *layout = layout_table_find(hex >> 16, free_threaded);

	if (!layout)
		die("no such table");
	print_layout(layout);
}

static void show_layout(uint32_t hex, bool free_threaded)
{
	static unsigned char offsets[PY_DEBUG_OFFSETS_SIZE];
	struct py_layout layout;
	const char *why;
	size_t size = fread(offsets, 1, sizeof(offsets), stdin);

	if (py_layout_find(&layout, hex, free_threaded, size ? offsets : NULL, size, &why))
		die(why);
	print_layout(&layout);
}

static void show_opcodes(uint32_t hex)
{
	const uint8_t *classes = opcode_class_table(hex >> 16);

	if (!classes)
		die("no such table");
	for (int i = 0; i < 256; i++)
		printf("%d %d\n", i, classes[i]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	struct target target;

	if (argc == 4 && strcmp(what, "table") == 0) {
		show_table((uint32_t)strtoul(argv[2], NULL, 16), argv[3][0] == '1');
	} else if (argc == 4 && strcmp(what, "layout") == 0) {
		show_layout((uint32_t)strtoul(argv[2], NULL, 16), argv[3][0] == '1');
	} else if (argc == 3 && strcmp(what, "opcodes") == 0) {
		show_opcodes((uint32_t)strtoul(argv[2], NULL, 16));
	} else if (argc >= 6 && strcmp(what, "names") == 0) {
		target_open(&target, argv + 2);
		target.random = argc > 7 ? strtoull(argv[7], NULL, 10) : 0;
		peek_names(&target, argc > 6 ? strtol(argv[6], NULL, 10) : 1);
	} else if (argc >= 6 && strcmp(what, "code") == 0) {
		target_open(&target, argv + 2);
		target.random = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
		peek_each(&target, peek_code);
	} else if (argc >= 6 && strcmp(what, "str") == 0) {
		target_open(&target, argv + 2);
		peek_each(&target, peek_str);
	} else {
		fprintf(stderr, "usage: python_peek table|layout|opcodes|names|code|str ...\n");
		return 2;
	}
	return 0;
}
