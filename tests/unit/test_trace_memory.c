/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap events, copies, footprints and marks: what is written comes back, in its order, and what a
 * lost block takes with it is left out.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <zstd.h>

#include "formats/base/xalloc.h"
#include "formats/trace_index.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fixture_memory.h"
#include "tests/unit/unit.h"

#define GOLDEN "tests/golden/v1-memory.trace"

#define TICK_NS 1000u
#define NODES 40u

static struct trace_writer *open_writer(int fd)
{
	const struct trace_header header = {
		.tool_version = "0",
		.host = "",
		.system = "",
		.tick_ns = TICK_NS,
		.memory_rate = 1,
		.copy_rate = UINT64_C(1) << 40,
	};
	struct err err = {0};
	struct trace_writer *w = trace_writer_open(fd, &header, 0, &err);

	ck_assert_msg(w != NULL, "%s", err.text);
	trace_writer_process(w, &(struct trace_process){.parent = TRACE_NONE});
	trace_writer_process(w, &(struct trace_process){.index = 1});
	for (uint32_t i = 0; i < 4; i++)
		trace_writer_thread(w, &(struct trace_thread){.index = i, .process = i / 2});
	for (uint32_t i = 0; i < NODES; i++)
		trace_writer_node(w, i, 0, (int32_t)i);
	return w;
}

static struct trace_reader *open_content(const struct buf *content)
{
	struct err err = {0};
	struct trace_reader *r = trace_reader_open_memory(content->data, content->size, &err);

	ck_assert_msg(r != NULL, "%s", err.text);
	return r;
}

static void finish(struct trace_writer *w)
{
	struct err err = {0};

	ck_assert_int_eq(trace_writer_finish(w, &(struct trace_end){.time_ns = 1}, &err), 0);
	trace_writer_free(w);
}

START_TEST(every_kind_comes_back)
{
	int fd = unit_temporary();
	int copy = dup(fd);
	struct buf content;

	fixture_memory_write(fd);
	content = unit_content(copy);
	fixture_memory_check(open_content(&content));
	ck_assert_int_eq(fuzz_read_trace(content.data, content.size),
			 (int64_t)fixture_memory_events());
	buf_release(&content);
	close(copy);
}
END_TEST

/* With SCPROF_WRITE_GOLDEN_MEMORY=FILE the golden trace is written there: once per version. */
START_TEST(golden_trace_stays_readable)
{
	const char *write_to = getenv("SCPROF_WRITE_GOLDEN_MEMORY");

	if (write_to) {
		int fd = open(write_to, O_RDWR | O_CREAT | O_EXCL, 0644);

		ck_assert_int_ge(fd, 0);
		fixture_memory_write(fd);
	}
	fixture_memory_check(trace_reader_open(GOLDEN, NULL));
}
END_TEST

START_TEST(index_tells_the_kinds)
{
	struct trace_index index;
	struct err err = {0};
	char path[64];
	int fd = unit_temporary();
	int copy = dup(fd);

	fixture_memory_write(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	ck_assert_int_eq(trace_index_load(path, &index, &err), 1);
	ck_assert_uint_eq(index.count, FIXTURE_MEMORY_BLOCKS);
	ck_assert_uint_eq(index.entries[0].kinds, 1 << 2 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9);
	ck_assert_uint_eq(index.entries[1].kinds, 1 << 6);
	ck_assert_uint_eq(index.entries[2].kinds, 1 | 1 << 6 | 1 << 9);
	trace_index_release(&index);
	close(copy);
}
END_TEST

/* --- a program of two processes that does everything, at random --- */

struct life {
	struct trace_heap *events;
	size_t count;
	size_t capacity;
	size_t read; /* how many came back so far */
	uint64_t *live;
	size_t live_count;
	size_t live_capacity;
	uint64_t next;
	uint64_t now_ns;
};

static void add_event(struct life *life, struct trace_heap event)
{
	life->events = xgrow(life->events, &life->capacity, life->count + 1, sizeof(event));
	life->events[life->count++] = event;
}

static struct trace_heap random_alloc(struct life *life, uint32_t process, uint64_t *state)
{
	static const uint64_t sizes[] = {0, 1, 24, 56, 56, 56, 255, 256, 257, 65536, 1ull << 40};
	uint64_t dice = unit_random(state);

	life->live =
		xgrow(life->live, &life->live_capacity, life->live_count + 1, sizeof(*life->live));
	life->live[life->live_count++] = life->next;
	return (struct trace_heap){
		.op = TRACE_HEAP_ALLOC,
		.thread = dice % 17 ? process * 2 + dice % 2 : TRACE_NONE,
		.node = dice / 32 % NODES,
		.kind = dice % 5 ? TRACE_HEAP_PYTHON : dice / 128 % TRACE_HEAP_KINDS,
		.flags = dice % 23 ? 0 : dice / 512 % 8,
		.block = life->next++,
		.size = sizes[dice / 4096 % (sizeof(sizes) / sizeof(*sizes))],
	};
}

/* Mostly the newest, often the oldest, sometimes any. */
static struct trace_heap random_free(struct life *life, uint32_t process, uint64_t *state)
{
	uint64_t dice = unit_random(state);
	size_t at = dice % 8 < 5 ? life->live_count - 1 : unit_random(state) % life->live_count;
	struct trace_heap event = {.op = TRACE_HEAP_FREE, .thread = process * 2};

	if (dice % 8 == 5)
		at = 0;
	event.block = life->live[at];
	if (dice % 64 == 7) {
		event.op = TRACE_HEAP_RESIZE;
		event.size = dice / 64 % 100000;
		return event;
	}
	memmove(life->live + at, life->live + at + 1,
		(--life->live_count - at) * sizeof(*life->live));
	return event;
}

static void write_event(struct trace_writer *w, struct life *life, uint32_t process,
			struct trace_heap event)
{
	uint64_t block;

	event.time_ns = life->now_ns;
	add_event(life, event);
	if (event.op == TRACE_HEAP_ALLOC)
		event.block = 77; /* nobody looks */
	block = trace_writer_heap(w, process, &event);
	ck_assert_uint_eq(block, life->events[life->count - 1].block);
}

static void live_on(struct trace_writer *w, struct life *life, uint32_t process, uint64_t *state)
{
	if (unit_random(state) % 8 == 0)
		life->now_ns += unit_random(state) % 3000000 / TICK_NS * TICK_NS;
	if (life->live_count && unit_random(state) % 2)
		write_event(w, life, process, random_free(life, process, state));
	else
		write_event(w, life, process, random_alloc(life, process, state));
}

static void same_event(const struct trace_heap *a, const struct trace_heap *b)
{
	ck_assert_int_eq(a->op, b->op);
	ck_assert_uint_eq(a->thread, b->thread);
	ck_assert_uint_eq(a->node, b->node);
	ck_assert_int_eq(a->kind, b->kind);
	ck_assert_uint_eq(a->flags, b->flags);
	ck_assert_uint_eq(a->time_ns, b->time_ns);
	ck_assert_uint_eq(a->block, b->block);
	ck_assert_uint_eq(a->size, b->size);
}

static void release_life(struct life *life)
{
	free(life->events);
	free(life->live);
}

/* Few events and so many that blocks are cut. */
START_TEST(heap_events_come_back_in_order)
{
	static const size_t counts[] = {1, 2, 63, 1000, 700000};
	size_t count = counts[_i];
	struct life lives[2] = {{.now_ns = 5 * TICK_NS}, {.now_ns = 7 * TICK_NS}};
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd));
	uint64_t state = 11 + (uint64_t)_i;
	struct trace_block block;
	struct trace_reader *r;
	struct err err = {0};
	struct buf content;

	for (size_t i = 0; i < count; i++) {
		uint32_t process = unit_random(&state) % 3 == 0;

		live_on(w, &lives[process], process, &state);
		if (unit_random(&state) % 100000 == 0)
			ck_assert_int_eq(trace_writer_flush(w, &err), 0);
	}
	finish(w);
	content = unit_content(fd);
	r = open_content(&content);
	ck_assert_uint_eq(trace_reader_header(r)->memory_rate, 1);
	ck_assert_uint_eq(trace_reader_header(r)->copy_rate, UINT64_C(1) << 40);
	while (trace_reader_next(r, &block, &err) == 1) {
		struct life *life = &lives[block.process];

		ck_assert_uint_le(block.heap_count, 1 << 20);
		for (size_t i = 0; i < block.heap_count; i++) {
			ck_assert_uint_lt(life->read, life->count);
			same_event(&block.heap[i], &life->events[life->read++]);
			ck_assert_uint_ge(block.heap[i].time_ns, block.first_time_ns);
			ck_assert_uint_le(block.heap[i].time_ns, block.last_time_ns);
		}
	}
	ck_assert_ptr_null(trace_reader_damage(r));
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(lives[i].read, lives[i].count);
		release_life(&lives[i]);
	}
	trace_reader_close(r);
	buf_release(&content);
	close(fd);
}
END_TEST

/* --- orders --- */

/* Reads all of a trace's heap events; caller frees. */
static struct trace_heap *read_heap(const struct buf *content, size_t *count, bool damaged)
{
	struct trace_reader *r = open_content(content);
	struct trace_heap *events = NULL;
	size_t capacity = 0;
	struct trace_block block;

	*count = 0;
	fuzz_read_trace(content->data, content->size);
	while (trace_reader_next(r, &block, NULL) == 1) {
		events = xgrow(events, &capacity, *count + block.heap_count, sizeof(*events));
		if (block.heap_count)
			memcpy(events + *count, block.heap, block.heap_count * sizeof(*events));
		*count += block.heap_count;
	}
	ck_assert((trace_reader_damage(r) != NULL) == damaged);
	trace_reader_close(r);
	return events;
}

START_TEST(order_counts_more_than_time)
{
	static const uint64_t times_ns[] = {5000, 9000, 7000, 9000, 9999, 3000};
	static const uint64_t expected_ns[] = {5000, 9000, 9000, 9000, 9000, 9000};
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd));
	struct trace_heap *events;
	struct buf content;
	size_t count;

	for (size_t i = 0; i < 6; i++) {
		struct trace_heap event = {.time_ns = times_ns[i], .size = i + 1, .node = 1};

		ck_assert_uint_eq(trace_writer_heap(w, 0, &event), i);
		if (i == 2)
			ck_assert_int_eq(trace_writer_flush(w, NULL), 0);
	}
	finish(w);
	content = unit_content(fd);
	events = read_heap(&content, &count, false);
	ck_assert_uint_eq(count, 6);
	for (size_t i = 0; i < 6; i++) {
		ck_assert_uint_eq(events[i].size, i + 1);
		ck_assert_uint_eq(events[i].time_ns, expected_ns[i]);
	}
	free(events);
	buf_release(&content);
	close(fd);
}
END_TEST

START_TEST(events_of_unknown_blocks_are_not_written)
{
	const struct trace_heap alloc = {.size = 8};
	const struct trace_heap dead = {.op = TRACE_HEAP_FREE, .block = 1};
	const struct trace_heap resize = {.op = TRACE_HEAP_RESIZE, .block = UINT64_MAX};
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd));
	struct trace_heap *events;
	struct buf content;
	size_t count;

	trace_writer_heap(w, 0, &alloc);
	trace_writer_heap(w, 0, &dead);
	trace_writer_heap(w, 0, &resize);
	trace_writer_heap(w, 1, &dead); /* a child has no blocks of its parent's */
	trace_writer_heap(w, 0, &alloc);
	finish(w);
	content = unit_content(fd);
	events = read_heap(&content, &count, false);
	ck_assert_uint_eq(count, 2);
	ck_assert_uint_eq(events[1].block, 1);
	free(events);
	buf_release(&content);
	close(fd);
}
END_TEST

/* So many events of several kinds that blocks are cut: each kind stays in order of time, and no
 * block begins before the last one ended. */
START_TEST(blocks_are_cut_at_one_time)
{
	enum { ROUNDS = 150000 };
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd));
	size_t heap = 0, copies = 0, samples = 0, footprints = 0, marks = 0, blocks = 0;
	struct trace_reader *r;
	struct trace_block block;
	struct buf content;
	uint64_t end_ns = 0;

	for (uint32_t thread = 2; thread-- > 0;) { /* the second thread's copies come first */
		for (uint64_t i = 0; i < ROUNDS; i++)
			trace_writer_copy(w, 0,
					  &(struct trace_copy){.thread = thread,
							       .time_ns = i * 3000 + thread * 1000,
							       .size = i});
	}
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t now_ns = i * 3000;

		for (uint64_t n = 0; n < 4; n++)
			trace_writer_heap(w, 0, &(struct trace_heap){.time_ns = now_ns});
		if (i % 10)
			continue;
		trace_writer_sample(w, 0,
				    &(struct trace_sample){.time_ns = now_ns, .wall_ns = 30000});
		trace_writer_footprint(w, 0, &(struct trace_footprint){.time_ns = now_ns});
		if (i % 10000 == 0) /* the other way round */
			trace_writer_mark(
				w, &(struct trace_mark){.time_ns = ROUNDS - i, .label = {"x", 1}});
	}
	finish(w);
	content = unit_content(fd);
	r = open_content(&content);
	for (; trace_reader_next(r, &block, NULL) == 1; blocks++) {
		ck_assert_uint_le(end_ns, block.first_time_ns);
		end_ns = block.last_time_ns;
		for (size_t i = 0; i < block.copy_count; i++, copies++) {
			ck_assert_uint_eq(block.copies[i].thread, copies % 2);
			ck_assert_uint_eq(block.copies[i].size, copies / 2);
		}
		for (size_t i = 0; i < block.heap_count; i++)
			ck_assert_uint_eq(block.heap[i].block, heap++);
		for (size_t i = 1; i < block.mark_count; i++)
			ck_assert(block.marks[i - 1].time_ns < block.marks[i].time_ns);
		for (size_t i = 0; i < block.footprint_count; i++)
			ck_assert_uint_eq(block.footprints[i].time_ns, footprints++ * 30000);
		samples += block.sample_count;
		marks += block.mark_count;
	}
	ck_assert_ptr_null(trace_reader_damage(r));
	ck_assert_uint_eq(copies, 2 * ROUNDS);
	ck_assert_uint_eq(heap, 4 * ROUNDS);
	ck_assert_uint_eq(samples, ROUNDS / 10);
	ck_assert_uint_eq(footprints, ROUNDS / 10);
	ck_assert_uint_eq(marks, ROUNDS / 10000);
	ck_assert_uint_gt(blocks, 3);
	trace_reader_close(r);
	buf_release(&content);
	close(fd);
}
END_TEST

/* --- losses --- */

static size_t frame_size(const struct buf *content, size_t at)
{
	return ZSTD_findFrameCompressedSize(content->data + at, content->size - at);
}

/* Whatever block is lost: the others' events come back, but for those of blocks that it made. */
START_TEST(a_lost_block_takes_its_blocks_along)
{
	enum { PARTS = 6, EACH = 500 };
	struct life life = {0};
	size_t part_end[PARTS];
	int fd = unit_temporary();
	struct trace_writer *w = open_writer(dup(fd));
	uint64_t state = 5;
	struct buf content;

	for (size_t part = 0; part < PARTS; part++) {
		for (size_t i = 0; i < EACH; i++)
			live_on(w, &life, 0, &state);
		part_end[part] = life.count;
		ck_assert_int_eq(trace_writer_flush(w, NULL), 0);
	}
	finish(w);
	content = unit_content(fd);
	for (size_t lost = 0; lost < PARTS - 1; lost++) {
		size_t begin = lost ? part_end[lost - 1] : 0;
		size_t end = part_end[lost];
		size_t at = frame_size(&content, 0); /* the header */
		uint64_t first = UINT64_MAX;
		uint64_t last = 0;
		struct trace_heap *events;
		struct buf cut = {0};
		size_t count;
		size_t n = 0;

		for (size_t i = 0; i < lost; i++)
			at += frame_size(&content, at);
		buf_add(&cut, content.data, at);
		at += frame_size(&content, at);
		buf_add(&cut, content.data + at, content.size - at);
		for (size_t i = begin; i < end; i++) {
			if (life.events[i].op != TRACE_HEAP_ALLOC)
				continue;
			first = first == UINT64_MAX ? life.events[i].block : first;
			last = life.events[i].block;
		}
		events = read_heap(&cut, &count, true);
		for (size_t i = 0; i < life.count; i++) {
			uint64_t block = life.events[i].block;

			if ((i >= begin && i < end) || (block >= first && block <= last))
				continue;
			ck_assert_uint_lt(n, count);
			same_event(&events[n++], &life.events[i]);
		}
		ck_assert_uint_eq(n, count);
		free(events);
		buf_release(&cut);
	}
	release_life(&life);
	buf_release(&content);
	close(fd);
}
END_TEST

START_TEST(a_full_disk_takes_its_blocks_along)
{
	const struct rlimit small = {.rlim_cur = 1, .rlim_max = RLIM_INFINITY};
	const struct rlimit large = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
	const struct trace_mark mark = {.kind = TRACE_MARK_LABEL, .label = {"kept", 4}};
	const struct trace_heap alloc = {.size = 10};
	FILE *file = tmpfile();
	int fd = fileno(file);
	struct trace_writer *w = open_writer(dup(fd));
	struct trace_reader *r;
	struct trace_block block;
	struct buf content;
	uint64_t lost = 0;

	trace_writer_heap(w, 0, &alloc);
	ck_assert_int_eq(trace_writer_flush(w, NULL), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	trace_writer_heap(w, 0, &alloc);
	trace_writer_copy(w, 0, &(struct trace_copy){.size = 1});
	trace_writer_footprint(w, 0, &(struct trace_footprint){.rss_bytes = 1});
	trace_writer_mark(w, &mark);
	ck_assert_int_eq(trace_writer_flush(w, NULL), -1);
	ck_assert_uint_eq(trace_writer_pending(w), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &large), 0);
	ck_assert_uint_eq(trace_writer_heap(w, 0, &alloc), 2);
	for (uint64_t i = 0; i < 3; i++)
		trace_writer_heap(w, 0, &(struct trace_heap){.op = TRACE_HEAP_FREE, .block = i});
	finish(w);
	content = unit_content(fd);
	r = open_content(&content);
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
	ck_assert_uint_eq(block.heap_count, 1);
	ck_assert_int_eq(trace_reader_next(r, &block, NULL), 1);
	ck_assert_uint_eq(block.heap_count, 3);
	ck_assert_uint_eq(block.heap[0].block, 2);
	ck_assert_uint_eq(block.heap[1].block, 0);
	ck_assert_uint_eq(block.heap[2].block, 2);
	for (size_t i = 0; i < block.loss_count; i++)
		lost += block.losses[i].kind == TRACE_LOSS_WRITE ? block.losses[i].count : 0;
	ck_assert_uint_eq(lost, 3);
	ck_assert_uint_eq(block.mark_count, 1);
	ck_assert_str_eq(block.marks[0].label.data, "kept");
	ck_assert_ptr_null(trace_reader_damage(r));
	trace_reader_close(r);
	buf_release(&content);
	fclose(file);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("trace_memory");

	tcase_add_test(tests, every_kind_comes_back);
	tcase_add_test(tests, golden_trace_stays_readable);
	tcase_add_test(tests, index_tells_the_kinds);
	tcase_add_loop_test(tests, heap_events_come_back_in_order, 0, 5);
	tcase_add_test(tests, order_counts_more_than_time);
	tcase_add_test(tests, events_of_unknown_blocks_are_not_written);
	tcase_add_test(tests, blocks_are_cut_at_one_time);
	tcase_add_test(tests, a_lost_block_takes_its_blocks_along);
	tcase_add_test(tests, a_full_disk_takes_its_blocks_along);
	return unit_run("trace_memory", tests);
}
