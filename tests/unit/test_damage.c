/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged traces: what is whole is read, what is missing is said, and nothing is made up.
 */
#include <sys/resource.h>
#include <time.h>
#include <zstd.h>

#include "formats/pack.h"
#include "formats/trace_frame.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fixture.h"
#include "tests/unit/fixture_memory.h"
#include "tests/unit/unit.h"

#define MAX_FRAMES 16

/* The fixture's bytes and where its frames begin: header, four blocks, the End, the index. */
struct file {
	struct buf bytes;
	size_t at[MAX_FRAMES];
	size_t count;
};

static struct file make_file(void)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct file f = {0};
	size_t at = 0;

	fixture_write(fd);
	f.bytes = unit_content(copy);
	close(copy);
	while (at < f.bytes.size) {
		f.at[f.count++] = at;
		at += ZSTD_findFrameCompressedSize(f.bytes.data + at, f.bytes.size - at);
	}
	f.at[f.count] = at;
	ck_assert_uint_eq(f.count, 7);
	return f;
}

static void add_frame_of(const struct file *f, size_t frame, struct buf *to)
{
	buf_add(to, f->bytes.data + f->at[frame], f->at[frame + 1] - f->at[frame]);
}

/* What a reader makes of it. */
struct outcome {
	uint64_t samples;
	uint64_t events;
	bool ended;
	char damage[400]; /* "" when there is none */
	char error[sizeof(((struct err *)NULL)->text)];
	enum err_code code;
};

static struct outcome read_all(const void *data, size_t size)
{
	struct outcome o = {0};
	struct err err = {0};
	struct trace_reader *r = trace_reader_open_memory(data, size, &err);
	struct trace_block block;

	fuzz_read_trace(data, size);
	if (!r) {
		snprintf(o.error, sizeof(o.error), "%s", err.text);
		o.code = err.code;
		return o;
	}
	while (trace_reader_next(r, &block, &err) == 1) {
		o.samples += block.sample_count;
		o.events += block.sample_count + block.wait_count + block.loss_count;
	}
	o.ended = trace_reader_end(r) != NULL;
	if (trace_reader_damage(r))
		snprintf(o.damage, sizeof(o.damage), "%s", trace_reader_damage(r));
	trace_reader_close(r);
	return o;
}

START_TEST(every_truncation_gives_what_is_whole)
{
	struct file f = make_file();
	uint64_t most = 0;

	for (size_t n = 0; n <= f.bytes.size; n++) {
		struct outcome o = read_all(f.bytes.data, n);
		bool boundary = false;

		for (size_t i = 1; i <= f.count; i++)
			boundary |= f.at[i] == n;
		if (n < f.at[1]) {
			ck_assert_int_eq(o.code, ERR_CORRUPT);
			continue;
		}
		ck_assert_str_eq(o.error, "");
		ck_assert_uint_ge(o.events, most);
		most = o.events;
		ck_assert(o.ended == (n >= f.at[6]));
		ck_assert_msg((o.damage[0] == '\0') == boundary, "%zu: %s", n, o.damage);
	}
	ck_assert_uint_eq(most, FIXTURE_SAMPLES + 3 + 3 + 2);
	buf_release(&f.bytes);
}
END_TEST

/* The same for memory events, which need what came before them. */
START_TEST(every_truncation_gives_the_memory_events_before_it)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf bytes;
	int64_t most = -1;

	fixture_memory_write(fd);
	bytes = unit_content(copy);
	for (size_t n = 0; n <= bytes.size; n++) {
		int64_t events = fuzz_read_trace(bytes.data, n);

		ck_assert_int_ge(events, most);
		most = events;
	}
	ck_assert_int_eq(most, (int64_t)fixture_memory_events());
	buf_release(&bytes);
	close(copy);
}
END_TEST

START_TEST(a_torn_tail_is_measured)
{
	struct file f = make_file();
	struct outcome o = read_all(f.bytes.data, f.at[3] + 20);

	ck_assert_str_eq(o.damage, "the last block is cut off after 20 bytes");
	buf_release(&f.bytes);
}
END_TEST

START_TEST(a_damaged_block_is_stepped_over)
{
	struct file f = make_file();
	struct outcome o;

	/* Inside the block, in its checksum, in its magic number, in its first block header. */
	const size_t places[] = {f.at[2] - 40, f.at[2] - 2, f.at[1], f.at[1] + 7};

	for (size_t i = 0; i < 4; i++) {
		f.bytes.data[places[i]] ^= 0x55;
		o = read_all(f.bytes.data, f.bytes.size);
		f.bytes.data[places[i]] ^= 0x55;
		ck_assert_uint_eq(o.samples, FIXTURE_SAMPLES / 2 - 1 + 3);
		ck_assert(o.ended);
		ck_assert_ptr_nonnull(strstr(o.damage, "damaged"));
	}
	o = read_all(f.bytes.data, f.bytes.size);
	ck_assert_str_eq(o.damage, "");
	buf_release(&f.bytes);
}
END_TEST

START_TEST(lost_definitions_have_placeholders)
{
	struct file f = make_file();
	const struct trace_defs *defs;
	const struct trace_code *code;
	struct trace_reader *r;
	struct trace_block block;
	struct buf cut = {0};

	for (size_t i = 0; i < f.count; i++) {
		if (i != 1)
			add_frame_of(&f, i, &cut);
	}
	r = trace_reader_open_memory(cut.data, cut.size, NULL);
	ck_assert_ptr_nonnull(r);
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
	ck_assert_uint_eq(block.sequence, 1);
	ck_assert_str_eq(trace_reader_damage(r), "1 block is missing before block 1");
	defs = trace_reader_defs(r);
	code = &defs->codes[defs->nodes[block.samples[0].node].code];
	ck_assert_str_eq(defs->strings[code->name].data, "lost definition");
	ck_assert_str_eq(defs->strings[code->filename].data, "?");
	ck_assert_uint_eq(defs->nodes[block.samples[0].node].parent, 0);
	ck_assert_uint_eq(block.samples[0].pc, 0);
	ck_assert_uint_eq(defs->threads[0].process, 0);
	ck_assert_int_eq(defs->threads[0].tid, 0);
	ck_assert_str_eq(defs->threads[1].name.data, "worker-1");
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
	ck_assert_uint_eq(block.process, 1);
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 0);
	ck_assert_str_eq(defs->modules[trace_reader_defs(r)->symbols[0].module].path.data, "?");
	trace_reader_close(r);
	fuzz_read_trace(cut.data, cut.size);
	buf_release(&cut);
	buf_release(&f.bytes);
}
END_TEST

START_TEST(blocks_are_not_counted_twice)
{
	struct file f = make_file();
	struct buf twice = {0};
	struct outcome o;

	for (size_t i = 0; i < f.count; i++) {
		add_frame_of(&f, i, &twice);
		if (i == 2)
			add_frame_of(&f, 1, &twice);
	}
	o = read_all(twice.data, twice.size);
	ck_assert_uint_eq(o.samples, FIXTURE_SAMPLES + 3);
	ck_assert_str_eq(o.damage, "block 0 is out of order");
	buf_release(&twice);
	buf_release(&f.bytes);
}
END_TEST

START_TEST(garbage_between_frames_is_skipped)
{
	/* A frame that seems to begin, and one that seems to go on for ever. */
	static const uint8_t garbage[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x40, 0x28, 0x28, 0xb5,
					  0x2f, 0xfd, 0x04, 0x60, 0xff, 0xff, 0x07, 0x28, 0xb5};
	struct file f = make_file();
	struct buf mixed = {0};
	struct outcome o;

	for (size_t i = 0; i < f.count; i++) {
		if (i)
			buf_add(&mixed, garbage, sizeof(garbage));
		add_frame_of(&f, i, &mixed);
	}
	o = read_all(mixed.data, mixed.size);
	ck_assert_uint_eq(o.samples, FIXTURE_SAMPLES + 3);
	ck_assert(o.ended);
	ck_assert_ptr_nonnull(strstr(o.damage, "18 bytes from byte"));
	ck_assert_ptr_nonnull(strstr(o.damage, "(and 5 more damaged places)"));
	buf_release(&mixed);
	buf_release(&f.bytes);
}
END_TEST

START_TEST(a_second_trace_is_not_read)
{
	struct file f = make_file();
	struct buf both = {0};
	struct outcome o;

	buf_add(&both, f.bytes.data, f.bytes.size);
	buf_add(&both, f.bytes.data, f.bytes.size);
	o = read_all(both.data, both.size);
	ck_assert_uint_eq(o.samples, FIXTURE_SAMPLES + 3);
	ck_assert_ptr_nonnull(strstr(o.damage, "another trace follows"));
	buf_release(&both);
	buf_release(&f.bytes);
}
END_TEST

/* Every ninth byte looks like the start of a frame that goes on to the end of the file. */
START_TEST(looking_for_frames_comes_to_an_end)
{
	static const uint8_t piece[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x40, 0x30, 0, 0};
	struct file f = make_file();
	struct timespec before;
	struct timespec after;
	struct buf mixed = {0};
	struct outcome o;

	for (size_t i = 0; i < 3; i++)
		add_frame_of(&f, i, &mixed);
	buf_add_byte(&mixed, 0);
	while (mixed.size < 4000000)
		buf_add(&mixed, piece, sizeof(piece));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	o = read_all(mixed.data, mixed.size);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	ck_assert_uint_eq(o.samples, FIXTURE_SAMPLES);
	ck_assert_ptr_nonnull(strstr(o.damage, "too much is damaged"));
	ck_assert_int_lt(after.tv_sec - before.tv_sec, 20);
	buf_release(&mixed);
	buf_release(&f.bytes);
}
END_TEST

/* --- contents that our writer never makes --- */

static void add_frame(struct buf *file, const void *data, size_t size)
{
	struct frame_writer *w = frame_writer_new(1);
	struct buf content = {0};

	buf_add(&content, data, size);
	ck_assert_int_eq(frame_writer_add(w, &content, NULL, 0, file, NULL), 0);
	buf_release(&content);
	frame_writer_free(w);
}

static struct buf start_file(uint32_t version)
{
	const struct trace_header header = {.version = version,
					    .tool_version = "9.9",
					    .host = "",
					    .system = "",
					    .tick_ns = 1000};
	struct buf packed = {0};
	struct buf file = {0};

	pack_header(&header, &packed);
	add_frame(&file, packed.data, packed.size);
	buf_release(&packed);
	return file;
}

static void add_block(struct buf *file, const struct pack_block *block)
{
	struct buf packed = {0};

	pack_block(block, &packed);
	add_frame(file, packed.data, packed.size);
	buf_release(&packed);
}

START_TEST(unknown_things_are_skipped)
{
	/* An Item of a kind from the future, and a block with a field from the future. */
	static const uint8_t unknown[] = {4, 0x7a, 2, 'h', 'i'};
	uint64_t time = 5;
	struct pack_block block = {.samples = {.count = 1, .time = &time}};
	struct buf packed = {0};
	struct buf file = start_file(1);
	struct buf extended = {0};
	const uint8_t *at;
	struct outcome o;
	uint64_t size;

	add_frame(&file, unknown, sizeof(unknown));
	pack_block(&block, &packed);
	at = packed.data;
	ck_assert_int_eq(varint_read(&at, packed.data + packed.size, &size), 0);
	/* Item.block once more, with field 99: messages that repeat are merged. */
	buf_add_varint(&extended, size + 7);
	buf_add(&extended, at, size);
	buf_add(&extended, "\x12\x05\x9a\x06\x02hi", 7);
	buf_add(&extended, unknown, sizeof(unknown));
	add_frame(&file, extended.data, extended.size);
	o = read_all(file.data, file.size);
	ck_assert_str_eq(o.error, "");
	ck_assert_str_eq(o.damage, "");
	ck_assert_uint_eq(o.samples, 1);
	buf_release(&packed);
	buf_release(&extended);
	buf_release(&file);
}
END_TEST

START_TEST(far_ids_are_damage)
{
	static const struct trace_text string = {"x", 1};
	static const struct trace_code code = {.python = 0x30b, .line_table = (const uint8_t *)""};
	uint64_t time = 0;
	uint32_t far_id = 4000000000;
	const struct pack_block blocks[] = {
		{.first_string = far_id, .strings = &string, .string_count = 1},
		{.first_code = far_id, .codes = &code, .code_count = 1},
		{.first_node = far_id, .nodes = &(struct trace_node){0}, .node_count = 1},
		{.nodes = &(struct trace_node){.code = far_id}, .first_node = 1, .node_count = 1},
		{.first_module = far_id,
		 .modules = &(struct trace_module){.path = {"m", 1}},
		 .module_count = 1},
		{.first_pc = far_id, .pcs = &(struct trace_pc){0}, .pc_count = 1},
		{.first_pc = 1, .pcs = &(struct trace_pc){.module = far_id}, .pc_count = 1},
		{.threads = &(struct trace_thread){.index = far_id, .name = {"", 0}},
		 .thread_count = 1},
		{.processes = &(struct trace_process){.index = far_id,
						      .executable = {"", 0},
						      .python_build = {"", 0},
						      .prefix = {"", 0}},
		 .process_count = 1},
		{.process = far_id},
		{.samples = {.count = 1, .time = &time, .thread = &far_id}},
		{.samples = {.count = 1, .time = &time, .node = &far_id}},
		{.waits = {.count = 1, .time = &time, .thread = &far_id}},
		{.samples = {.count = 1, .time = &time}, .first_time_ns = UINT64_MAX},
	};
	struct buf file = start_file(1);
	struct rusage usage;
	struct outcome o;

	add_block(&file, &blocks[_i]);
	add_block(&file,
		  &(struct pack_block){.sequence = 1, .samples = {.count = 1, .time = &time}});
	o = read_all(file.data, file.size);
	ck_assert_uint_eq(o.samples, 1);
	ck_assert_ptr_nonnull(strstr(o.damage, "block 0 is damaged: "));
	getrusage(RUSAGE_SELF, &usage);
	ck_assert_int_lt(usage.ru_maxrss, UNIT_SANITIZED ? 600000 : 100000);
	buf_release(&file);
}
END_TEST

START_TEST(missing_ids_are_made_up_to_a_limit)
{
	uint32_t near_id = 1000;
	uint64_t time = 0;
	struct pack_block block = {
		.process = 3,
		.samples = {.count = 1,
			    .time = &time,
			    .thread = &near_id,
			    .node = &near_id,
			    .pc = &near_id},
	};
	struct buf file = start_file(1);
	struct outcome o;

	add_block(&file, &block);
	o = read_all(file.data, file.size);
	ck_assert_uint_eq(o.samples, 1);
	ck_assert_str_eq(o.damage, "");
	buf_release(&file);
}
END_TEST

static const struct {
	const char *bytes;
	size_t size;
	const char *message;
} others[] = {
	{"", 0, "the file is empty"},
	{"#!/bin/sh\n", 10, "not a scprof trace"},
	{"(", 1, "its header is damaged: the last block is cut off after 1 bytes"},
	{"\x28\xb5\x2f\xfd", 4, "its header is damaged: the last block is cut off after 4 bytes"},
};

START_TEST(other_files_are_refused)
{
	struct outcome o = read_all(others[_i].bytes, others[_i].size);

	ck_assert_int_eq(o.code, ERR_CORRUPT);
	ck_assert_str_eq(o.error, others[_i].message);
}
END_TEST

START_TEST(other_zstd_files_are_refused)
{
	struct buf file = {0};
	struct outcome o;

	add_frame(&file, "\x05hello", 6);
	o = read_all(file.data, file.size);
	ck_assert_int_eq(o.code, ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(o.error, "header"));
	buf_release(&file);
	add_frame(&file, "\x00", 1);
	o = read_all(file.data, file.size);
	ck_assert_str_eq(o.error, "a zstd file, but not a scprof trace");
	buf_release(&file);
}
END_TEST

START_TEST(newer_traces_say_so)
{
	struct buf file = start_file(2);
	struct outcome o = read_all(file.data, file.size);

	ck_assert_int_eq(o.code, ERR_VERSION);
	ck_assert_str_eq(o.error,
			 "made by a newer scprof (9.9, format 2): this one reads formats up "
			 "to 1, use scprof 9.9 or newer");
	buf_release(&file);
}
END_TEST

START_TEST(paths_are_in_the_errors)
{
	struct err err = {0};

	ck_assert_ptr_null(trace_reader_open("/nowhere/x", &err));
	ck_assert_str_eq(err.text, "cannot open '/nowhere/x': No such file or directory");
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	ck_assert_ptr_null(trace_reader_open("/tmp", &err));
	ck_assert_str_eq(err.text, "cannot read '/tmp': it is a directory");
	ck_assert_ptr_null(trace_reader_open("/dev/null", &err));
	ck_assert_str_eq(err.text, "/dev/null: the file is empty");
	ck_assert_ptr_null(trace_reader_open("/proc/self/status", &err));
	ck_assert_str_eq(err.text, "/proc/self/status: not a scprof trace");
	ck_assert_int_eq(err.code, ERR_CORRUPT);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("damage");

	tcase_add_test(tests, every_truncation_gives_what_is_whole);
	tcase_add_test(tests, every_truncation_gives_the_memory_events_before_it);
	tcase_add_test(tests, a_torn_tail_is_measured);
	tcase_add_test(tests, a_damaged_block_is_stepped_over);
	tcase_add_test(tests, lost_definitions_have_placeholders);
	tcase_add_test(tests, blocks_are_not_counted_twice);
	tcase_add_test(tests, garbage_between_frames_is_skipped);
	tcase_add_test(tests, looking_for_frames_comes_to_an_end);
	tcase_add_test(tests, a_second_trace_is_not_read);
	tcase_add_test(tests, unknown_things_are_skipped);
	tcase_add_loop_test(tests, far_ids_are_damage, 0, 14);
	tcase_add_test(tests, missing_ids_are_made_up_to_a_limit);
	tcase_add_loop_test(tests, other_files_are_refused, 0, 4);
	tcase_add_test(tests, other_zstd_files_are_refused);
	tcase_add_test(tests, newer_traces_say_so);
	tcase_add_test(tests, paths_are_in_the_errors);
	return unit_run("damage", tests);
}
