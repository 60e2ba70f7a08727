/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace with every kind of memory event, see fixture_memory.h. The golden trace depends on
 * every value here.
 */
#include "tests/unit/fixture_memory.h"

#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)
#define GIB (UINT64_C(1) << 30)
#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define ROUNDS 300u /* of a loop in process 1 */

static const struct trace_header header = {
	.tool_version = "0.1.0",
	.start_monotonic_ns = 1,
	.start_realtime_ns = 1700000000000000000,
	.host = "host",
	.system = "Linux",
	.directory = {"/", 1},
	.tick_ns = 4000,
	.options = {"", 0},
	.memory_rate = 524288,
	.copy_rate = 2097152,
};

/* Process 0: each line that can be said of a block. Flushed after the 13th. */
#define FIRST_FLUSH 13u
static const struct trace_heap events[] = {
	{.op = TRACE_HEAP_ALLOC, .kind = TRACE_HEAP_PYTHON, .node = 1, .time_ns = MS, .size = 56},
	{.op = TRACE_HEAP_ALLOC,
	 .thread = 1,
	 .node = 2,
	 .time_ns = MS,
	 .block = 1,
	 .size = 3 * GIB},
	{.op = TRACE_HEAP_ALLOC,
	 .kind = TRACE_HEAP_PYTHON,
	 .node = 1,
	 .time_ns = MS,
	 .block = 2,
	 .size = 56},
	{.op = TRACE_HEAP_FREE, .thread = 1, .time_ns = 2 * MS, .block = 2},
	{.op = TRACE_HEAP_ALLOC,
	 .thread = TRACE_NONE,
	 .kind = TRACE_HEAP_ANONYMOUS,
	 .flags = TRACE_HEAP_EXACT,
	 .node = 3,
	 .time_ns = 2 * MS,
	 .block = 3,
	 .size = GIB},
	{.op = TRACE_HEAP_ALLOC,
	 .kind = TRACE_HEAP_FILE,
	 .flags = TRACE_HEAP_EXACT,
	 .node = 3,
	 .time_ns = 3 * MS,
	 .block = 4,
	 .size = 4096},
	{.op = TRACE_HEAP_ALLOC,
	 .kind = TRACE_HEAP_RESERVED,
	 .flags = TRACE_HEAP_EXACT,
	 .node = 3,
	 .time_ns = 3 * MS,
	 .block = 5,
	 .size = UINT64_C(1) << 46},
	{.op = TRACE_HEAP_ALLOC,
	 .kind = TRACE_HEAP_ARENA,
	 .flags = TRACE_HEAP_EXACT,
	 .node = 1,
	 .time_ns = 3 * MS,
	 .block = 6,
	 .size = 262144},
	{.op = TRACE_HEAP_RESIZE, .time_ns = 4 * MS, .block = 3, .size = GIB / 2},
	{.op = TRACE_HEAP_RESIZE, .thread = 1, .time_ns = 5 * MS, .block = 3, .size = 4096},
	{.op = TRACE_HEAP_FREE, .thread = TRACE_NONE, .time_ns = 5 * MS, .block = 3},
	{.op = TRACE_HEAP_ALLOC,
	 .flags = TRACE_HEAP_UNWALKED,
	 .time_ns = 6 * MS,
	 .block = 7,
	 .size = 1},
	{.op = TRACE_HEAP_ALLOC, .node = 2, .time_ns = 6 * MS, .block = 8},
	{.op = TRACE_HEAP_FREE, .time_ns = 500 * MS, .block = 1},
	{.op = TRACE_HEAP_ALLOC,
	 .flags = TRACE_HEAP_RESTORED,
	 .node = 2,
	 .time_ns = 500 * MS,
	 .block = 9,
	 .size = 3 * GIB},
	{.op = TRACE_HEAP_FREE, .time_ns = 500 * MS, .block = 9},
	{.op = TRACE_HEAP_FREE, .time_ns = 500 * MS, .block = 8},
	{.op = TRACE_HEAP_FREE, .time_ns = 500 * MS, .block = 0},
};

/* Process 1, the i-th: a list grows by one object, whose key is gone at once, and loses its oldest
 * one after a while. */
static struct trace_heap loop_event(uint32_t i)
{
	uint32_t round = i / 4;
	struct trace_heap event = {
		.op = i % 4 < 2 ? TRACE_HEAP_ALLOC : TRACE_HEAP_FREE,
		.thread = 2,
		.time_ns = 20 * MS + i / 10 * 4000,
	};

	if (event.op == TRACE_HEAP_ALLOC) {
		event.node = 1 + i % 2;
		event.kind = i % 2 ? TRACE_HEAP_PYTHON : TRACE_HEAP_NATIVE;
		event.block = round * 2 + i % 2;
		event.size = i % 2 ? 50 + round % 9 : 1000;
	} else if (i % 4 == 2) {
		event.block = round * 2 + 1;
	} else {
		event.block = round / 2 * 2;
		if (round % 2 == 0) { /* every other round takes a part of it */
			event.op = TRACE_HEAP_RESIZE;
			event.size = 1000 - round;
		}
	}
	return event;
}

static const struct trace_copy copies[] = {
	{.node = 1, .kind = TRACE_COPY_MEMORY, .time_ns = MS, .size = 100},
	{.thread = 1, .node = 2, .kind = TRACE_COPY_REALLOC, .time_ns = MS, .size = 3 * GIB},
	{.thread = TRACE_NONE,
	 .kind = TRACE_COPY_READ,
	 .flags = TRACE_HEAP_UNWALKED,
	 .time_ns = 2 * MS,
	 .size = 65536},
	{.node = 3, .kind = TRACE_COPY_WRITE, .time_ns = 9 * MS},
};

static const struct trace_footprint footprints[] = {
	{.time_ns = MS, .rss_bytes = 10000384, .file_bytes = 4096000, .minor_faults = 2000},
	{.time_ns = 101 * MS,
	 .rss_bytes = 20000768,
	 .file_bytes = 4096000,
	 .pss_bytes = 18000000,
	 .swap_bytes = 4096,
	 .minor_faults = 5000,
	 .major_faults = 3},
	{.time_ns = 201 * MS, .rss_bytes = 9998336, .minor_faults = 5001, .major_faults = 3},
};

static const struct trace_mark marks[] = {
	{.kind = TRACE_MARK_START, .label = {"", 0}},
	{.kind = TRACE_MARK_LABEL, .time_ns = 7 * MS + 1, .label = {"before \xff it", 11}},
	{.kind = TRACE_MARK_STOP, .time_ns = 8 * MS, .label = {"", 0}},
	{.kind = TRACE_MARK_FINALIZE, .time_ns = 499 * MS, .label = {"", 0}},
};

static const struct trace_loss losses[] = {
	{.kind = TRACE_LOSS_HEAP, .thread = 1, .time_ns = 8 * MS, .count = 7},
	{.kind = TRACE_LOSS_UNMATCHED, .thread = TRACE_NONE, .time_ns = 8 * MS, .count = 1},
};

static const struct trace_sample sample = {.node = 1, .time_ns = 600 * MS};

static void write_definitions(struct trace_writer *w)
{
	const struct trace_code code = {
		.filename = trace_writer_string(w, "app.py", 6),
		.name = trace_writer_string(w, "grow", 4),
		.qualname = trace_writer_string(w, "grow", 4),
		.first_line = 1,
		.python = 0x30b,
		.line_table = (const uint8_t *)"",
	};

	trace_writer_process(w, &(struct trace_process){.pid = 10, .parent = TRACE_NONE});
	trace_writer_process(w, &(struct trace_process){.index = 1, .pid = 11});
	for (uint32_t i = 0; i < 3; i++)
		trace_writer_thread(w, &(struct trace_thread){.index = i, .process = i / 2});
	trace_writer_code(w, &code);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(trace_writer_node(w, i, 0, (int32_t)i * 2), i + 1);
}

static void write_heap(struct trace_writer *w, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		ck_assert_uint_eq(trace_writer_heap(w, 0, &events[i]), events[i].block);
}

void fixture_memory_write(int fd)
{
	struct err err = {0};
	struct trace_writer *w = trace_writer_open(fd, &header, 0, &err);

	ck_assert_msg(w != NULL, "%s", err.text);
	write_definitions(w);
	write_heap(w, 0, FIRST_FLUSH);
	for (size_t i = 0; i < COUNT(copies); i++)
		trace_writer_copy(w, 0, &copies[i]);
	for (size_t i = 0; i < COUNT(footprints); i++)
		trace_writer_footprint(w, 0, &footprints[i]);
	for (size_t i = 0; i < 3; i++)
		trace_writer_mark(w, &marks[i]);
	for (size_t i = 0; i < COUNT(losses); i++)
		trace_writer_loss(w, &losses[i]);
	for (uint32_t i = 0; i < 2 * ROUNDS; i++) {
		struct trace_heap event = loop_event(i);

		ck_assert_uint_eq(trace_writer_heap(w, 1, &event), event.block);
	}
	ck_assert_uint_eq(trace_writer_pending(w),
			  FIRST_FLUSH + COUNT(copies) + COUNT(footprints) + 2 * ROUNDS);
	ck_assert_int_eq(trace_writer_flush(w, &err), 0);
	ck_assert_uint_eq(trace_writer_pending(w), 0);
	write_heap(w, FIRST_FLUSH, COUNT(events));
	trace_writer_mark(w, &marks[3]);
	trace_writer_sample(w, 0, &sample);
	for (uint32_t i = 2 * ROUNDS; i < 4 * ROUNDS; i++) {
		struct trace_heap event = loop_event(i);

		trace_writer_heap(w, 1, &event);
	}
	ck_assert_int_eq(trace_writer_finish(w, &(struct trace_end){.time_ns = 700 * MS}, &err), 0);
	trace_writer_free(w);
}

size_t fixture_memory_events(void)
{
	return COUNT(events) + COUNT(copies) + COUNT(footprints) + COUNT(marks) + COUNT(losses) +
	       4 * ROUNDS + 1;
}

static void check_heap(const struct trace_block *block, size_t *at)
{
	for (size_t i = 0; i < block->heap_count; i++, ++*at) {
		const struct trace_heap *event = &block->heap[i];
		struct trace_heap expected =
			block->process ? loop_event((uint32_t)*at) : events[*at];

		ck_assert_int_eq(event->op, expected.op);
		ck_assert_uint_eq(event->thread, expected.thread);
		ck_assert_uint_eq(event->node, expected.node);
		ck_assert_int_eq(event->kind, expected.kind);
		ck_assert_uint_eq(event->flags, expected.flags);
		ck_assert_uint_eq(event->time_ns, expected.time_ns);
		ck_assert_uint_eq(event->block, expected.block);
		ck_assert_uint_eq(event->size, expected.size);
	}
}

static void check_copies(const struct trace_block *block)
{
	ck_assert_uint_eq(block->copy_count, COUNT(copies));
	for (size_t i = 0; i < COUNT(copies); i++) {
		ck_assert_uint_eq(block->copies[i].thread, copies[i].thread);
		ck_assert_uint_eq(block->copies[i].node, copies[i].node);
		ck_assert_int_eq(block->copies[i].kind, copies[i].kind);
		ck_assert_uint_eq(block->copies[i].flags, copies[i].flags);
		ck_assert_uint_eq(block->copies[i].time_ns, copies[i].time_ns);
		ck_assert_uint_eq(block->copies[i].size, copies[i].size);
	}
}

static void check_footprints(const struct trace_block *block)
{
	ck_assert_uint_eq(block->footprint_count, COUNT(footprints));
	for (size_t i = 0; i < COUNT(footprints); i++) {
		const struct trace_footprint *row = &block->footprints[i];

		ck_assert_uint_eq(row->time_ns, footprints[i].time_ns);
		ck_assert_uint_eq(row->rss_bytes, footprints[i].rss_bytes);
		ck_assert_uint_eq(row->file_bytes, footprints[i].file_bytes);
		ck_assert_uint_eq(row->pss_bytes, footprints[i].pss_bytes);
		ck_assert_uint_eq(row->swap_bytes, footprints[i].swap_bytes);
		ck_assert_uint_eq(row->minor_faults, footprints[i].minor_faults);
		ck_assert_uint_eq(row->major_faults, footprints[i].major_faults);
	}
}

static void check_marks(const struct trace_block *block, size_t first, size_t count)
{
	ck_assert_uint_eq(block->mark_count, count);
	for (size_t i = 0; i < count; i++) {
		const struct trace_mark *mark = &block->marks[i];

		ck_assert_uint_eq(mark->process, 0);
		ck_assert_int_eq(mark->kind, marks[first + i].kind);
		ck_assert_uint_eq(mark->time_ns, marks[first + i].time_ns);
		ck_assert_uint_eq(mark->label.size, marks[first + i].label.size);
		ck_assert_str_eq(mark->label.data, marks[first + i].label.data);
	}
}

static void check_losses(const struct trace_block *block)
{
	ck_assert_uint_eq(block->loss_count, COUNT(losses));
	for (size_t i = 0; i < COUNT(losses); i++) {
		ck_assert_int_eq(block->losses[i].kind, losses[i].kind);
		ck_assert_uint_eq(block->losses[i].thread, losses[i].thread);
		ck_assert_uint_eq(block->losses[i].count, losses[i].count);
	}
}

void fixture_memory_check(struct trace_reader *r)
{
	size_t at[2] = {0, 0};
	struct trace_block block;
	struct err err = {0};

	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(trace_reader_header(r)->memory_rate, header.memory_rate);
	ck_assert_uint_eq(trace_reader_header(r)->copy_rate, header.copy_rate);
	for (uint32_t n = 0; n < FIXTURE_MEMORY_BLOCKS; n++) {
		ck_assert_int_eq(trace_reader_next(r, &block, &err), 1);
		ck_assert_uint_eq(block.process, n % 2);
		check_heap(&block, &at[block.process]);
		if (n == 0) {
			check_copies(&block);
			check_footprints(&block);
			check_marks(&block, 0, 3);
			check_losses(&block);
			ck_assert_uint_eq(block.last_time_ns, 201 * MS);
		} else if (n == 2) {
			check_marks(&block, 3, 1);
			ck_assert_uint_eq(block.sample_count, 1);
			ck_assert_uint_eq(block.samples[0].time_ns, sample.time_ns);
		} else {
			ck_assert_uint_eq(block.copy_count + block.footprint_count, 0);
		}
	}
	ck_assert_int_eq(trace_reader_next(r, &block, &err), 0);
	ck_assert_uint_eq(at[0], COUNT(events));
	ck_assert_uint_eq(at[1], 4 * ROUNDS);
	ck_assert_ptr_nonnull(trace_reader_end(r));
	ck_assert_ptr_null(trace_reader_damage(r));
	trace_reader_close(r);
}
