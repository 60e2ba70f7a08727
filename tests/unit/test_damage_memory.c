/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory events that our writer never makes: what cannot be is damage, what a later version may say
 * is taken for something.
 */
#include "formats/trace_columns.h"
#include "formats/trace_frame.h"
#include "formats/trace_reader.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/unit.h"

#define TICK_NS 1000u

static struct trace_reader *open_content(const struct buf *content)
{
	struct err err = {0};
	struct trace_reader *r = trace_reader_open_memory(content->data, content->size, &err);

	ck_assert_msg(r != NULL, "%s", err.text);
	return r;
}

static void add_item(struct buf *file, struct buf *packed)
{
	struct frame_writer *frames = frame_writer_new(1);

	ck_assert_int_eq(frame_writer_add(frames, packed, NULL, 0, file, NULL), 0);
	frame_writer_free(frames);
	buf_release(packed);
}

static struct buf start_file(void)
{
	const struct trace_header header = {
		.version = 1, .tool_version = "", .host = "", .system = "", .tick_ns = TICK_NS};
	struct buf packed = {0};
	struct buf file = {0};

	pack_header(&header, &packed);
	add_item(&file, &packed);
	return file;
}

static void add_block(struct buf *file, uint64_t sequence, const struct pack_block *from)
{
	struct pack_block block = *from;
	struct buf packed = {0};

	block.sequence = sequence;
	pack_block(&block, &packed);
	add_item(file, &packed);
}

#define OPS(...) .op = (uint8_t[]){__VA_ARGS__}, .count = sizeof((uint8_t[]){__VA_ARGS__})
#define RUNS(rows)                                                                      \
	.thread_runs = 1, .thread = (uint32_t[]){1}, .thread_rows = (uint32_t[]){rows}, \
	.time_runs = 1, .time = (uint64_t[]){0}, .time_rows = (uint32_t[])              \
	{                                                                               \
		rows                                                                    \
	}
#define ALLOCS(count) .site_count = 1, .site_node = (uint32_t[]){0}, .alloc_count = (count)

/* Two blocks, the first of which is freed: what is changed below is wrong in one thing each. */
static const struct pack_heap good_heap = {OPS(PACK_HEAP_ALLOC, PACK_HEAP_ALLOC, PACK_HEAP_FREE),
					   RUNS(3), ALLOCS(2), .named_count = 1};

static struct pack_heap bad_heap(size_t which)
{
	static uint64_t far_block = 3; /* zigzag: block -2 */
	static uint64_t next_block = 4;
	static uint32_t far_id = 4000000000;
	static uint32_t site[] = {0, 1};
	static uint32_t zero_rows[] = {0, 3};
	static uint64_t far_time = UINT64_MAX;
	static uint8_t recent[] = {PACK_HEAP_ALLOC, PACK_HEAP_ALLOC, PACK_HEAP_FREE_RECENT + 2};
	static uint8_t unknown[] = {PACK_HEAP_ALLOC, PACK_HEAP_ALLOC, 255};
	static uint32_t two[] = {2};
	struct pack_heap heap = good_heap;

	switch (which) {
	case 0:
		heap.block = &far_block;
		break;
	case 1:
		heap.block = &next_block;
		break;
	case 2:
		heap.first_block = UINT64_MAX - 1;
		break;
	case 3:
		heap.site_node = &far_id;
		break;
	case 4:
		heap.thread = &far_id;
		break;
	case 5:
		heap.site = site;
		break;
	case 6:
		heap.site_count = 0;
		break;
	case 7:
		heap.thread_rows = two;
		break;
	case 8:
		heap.time_rows = two;
		break;
	case 9:
		heap.thread_runs = 2;
		heap.thread = site;
		heap.thread_rows = zero_rows;
		break;
	case 10:
		heap.time = &far_time;
		break;
	case 11:
		heap.op = recent;
		heap.named_count = 0;
		break;
	case 12:
		heap.op = unknown;
		heap.named_count = 0;
		break;
	case 13:
		heap.alloc_count = 1;
		break;
	case 14:
		heap.named_count = 2;
		break;
	case 15:
		heap.thread_runs = 0;
		break;
	default:
		heap.resize_count = 1;
		heap.left = &far_time;
		break;
	}
	return heap;
}
#define BAD_HEAPS 17

START_TEST(impossible_heap_events_are_damage)
{
	struct pack_block good = {.heap = good_heap};
	struct pack_block bad = {.heap = bad_heap((size_t)_i)};
	struct buf file = start_file();
	struct trace_reader *r;
	struct trace_block block;

	add_block(&file, 0, &bad);
	add_block(&file, 1, &good);
	good.heap.first_block = 1; /* a number that is taken */
	add_block(&file, 2, &good);
	good.heap.first_block = 2;
	add_block(&file, 3, &good);
	fuzz_read_trace(file.data, file.size);
	r = open_content(&file);
	for (uint64_t sequence = 1; sequence <= 3; sequence += 2) {
		ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
		ck_assert_uint_eq(block.sequence, sequence);
		ck_assert_uint_eq(block.heap_count, 3);
		ck_assert_uint_eq(block.heap[2].block, sequence - 1);
		ck_assert_ptr_nonnull(strstr(trace_reader_damage(r), "damaged: "));
	}
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 0);
	trace_reader_close(r);
	buf_release(&file);
}
END_TEST

START_TEST(impossible_rows_are_damage)
{
	static uint64_t time = 0;
	static uint64_t far_time = UINT64_MAX;
	static uint32_t far_id = 4000000000;
	static int64_t negative = -1;
	static int64_t large = INT64_MAX;
	const struct pack_block blocks[] = {
		{.copies = {.count = 1, .time = &far_time}},
		{.copies = {.count = 1, .time = &time, .thread = &far_id}},
		{.copies = {.count = 1, .time = &time, .node = &far_id}},
		{.footprints = {.count = 1, .time = &far_time}},
		{.footprints = {.count = 1, .time = &time, .rss_bytes = &negative}},
		{.footprints = {.count = 1, .time = &time, .minor_faults = &large}},
	};
	struct buf file = start_file();
	struct trace_reader *r;
	struct trace_block block;

	add_block(&file, 0, &blocks[_i]);
	add_block(&file, 1, &(struct pack_block){.copies = {.count = 1, .time = &time}});
	fuzz_read_trace(file.data, file.size);
	r = open_content(&file);
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
	ck_assert_uint_eq(block.sequence, 1);
	ck_assert_uint_eq(block.copies[0].thread, TRACE_NONE);
	ck_assert_ptr_nonnull(strstr(trace_reader_damage(r), "damaged: "));
	trace_reader_close(r);
	buf_release(&file);
}
END_TEST

/* What a later version may say: it is understood as far as it goes. */
START_TEST(unknown_numbers_are_taken_for_something)
{
	static uint64_t time = 1;
	static uint64_t size = UINT64_MAX;
	static uint32_t kind = 99;
	static uint32_t flags = 0xf0;
	const struct pack_heap heap = {
		OPS(PACK_HEAP_ALLOC), RUNS(1),      ALLOCS(1), .site_kind = &kind,
		.site_flags = &flags, .size = &size};
	const struct trace_mark marks[] = {{.kind = 99, .label = {"", 0}},
					   {.time_ns = 7, .label = {"a", 1}}};
	const struct pack_block from = {
		.heap = heap,
		.copies = {.count = 1, .time = &time, .kind = &kind, .size = &size},
		.footprints = {.count = 1, .time = &time, .pss_bytes = &size},
		.marks = marks,
		.mark_count = 2,
	};
	struct buf file = start_file();
	struct trace_reader *r;
	struct trace_block block;

	add_block(&file, 0, &from);
	ck_assert_int_eq(fuzz_read_trace(file.data, file.size), 4);
	r = open_content(&file);
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
	ck_assert_int_eq(block.heap[0].kind, TRACE_HEAP_FILE);
	ck_assert_uint_eq(block.heap[0].flags, flags);
	ck_assert_uint_eq(block.heap[0].size, TRACE_MAX_SIZE_BYTES);
	ck_assert_int_eq(block.copies[0].kind, TRACE_COPY_MEMORY);
	ck_assert_uint_eq(block.copies[0].size, TRACE_MAX_SIZE_BYTES);
	ck_assert_uint_eq(block.footprints[0].pss_bytes, TRACE_MAX_SIZE_BYTES);
	ck_assert_uint_eq(block.mark_count, 1);
	ck_assert_str_eq(block.marks[0].label.data, "a");
	trace_reader_close(r);
	buf_release(&file);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("damage_memory");

	tcase_add_loop_test(tests, impossible_heap_events_are_damage, 0, BAD_HEAPS);
	tcase_add_loop_test(tests, impossible_rows_are_damage, 0, 6);
	tcase_add_test(tests, unknown_numbers_are_taken_for_something);
	return unit_run("damage_memory", tests);
}
