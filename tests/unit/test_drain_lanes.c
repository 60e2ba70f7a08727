/* SPDX-License-Identifier: Apache-2.0
 *
 * What the drain makes of lanes: chunks filled by hand, see scene.h.
 */
#include "formats/base/xalloc.h"
#include "tests/unit/scene.h"
#include "tests/unit/unit.h"

#define LARGE ((uint64_t)5 << 32)

/* The writing side, one thread's. */
struct writer {
	struct scene *s;
	uint32_t lane, slot;
	uint32_t index; /* of its chunk */
	uint64_t number;
};

static struct scene *lanes_new(void)
{
	struct scene *s = scene_new(SCENE_LANES, false);

	s->target.lanes->next_number = 1;
	for (size_t i = 0; i < LANE_CHUNKS / 64; i++)
		s->target.lanes->free[i] = UINT64_MAX;
	return s;
}

static struct lane_chunk *chunk_at(struct scene *s, uint32_t index)
{
	return (struct lane_chunk *)((char *)s->target.lanes + LANE_HEADER_SIZE +
				     (size_t)index * LANE_CHUNK_SIZE);
}

static bool is_free(struct scene *s, uint32_t index)
{
	return s->target.lanes->free[index / 64] >> index % 64 & 1;
}

static void take_chunk(struct writer *w, uint32_t index)
{
	struct lane_chunk *chunk = chunk_at(w->s, index);

	ck_assert(is_free(w->s, index));
	ck_assert_uint_eq(chunk->used, 0);
	w->s->target.lanes->free[index / 64] &= ~((uint64_t)1 << index % 64);
	chunk->lane = w->lane;
	chunk->slot = w->slot;
	chunk->generation = SCENE_GENERATION;
	chunk->number = w->number;
	chunk->time_ns = w->s->now_ns;
	w->index = index;
}

static struct writer writer_new(struct scene *s, uint32_t lane, uint32_t index)
{
	struct writer w = {.s = s, .lane = lane, .slot = lane % 4};

	take_chunk(&w, index);
	return w;
}

static void put(struct writer *w, uint64_t what, uint64_t value)
{
	struct lane_chunk *chunk = chunk_at(w->s, w->index);

	chunk->entries[chunk->used] = (struct lane_entry){what, value};
	chunk->used++;
}

static uint64_t step(struct writer *w, uint64_t number)
{
	uint64_t difference = number - w->number;

	w->number = number;
	if (w->s->target.lanes->next_number <= number)
		w->s->target.lanes->next_number = number + 1;
	return difference << 32;
}

static void alloc(struct writer *w, uint64_t number, uint64_t address, uint32_t size)
{
	uint64_t what = address << 8 | TRACE_HEAP_PYTHON << 4 | LANE_ALLOC;

	put(w, what, step(w, number) | size);
}

static void release(struct writer *w, uint64_t number, uint64_t address)
{
	put(w, address << 8 | LANE_FREE, step(w, number));
}

static void drain(struct scene *s)
{
	drain_target(s->drain, &s->target);
}

START_TEST(lanes_are_merged_by_number)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0), b = writer_new(s, 1, 70);

	alloc(&a, 1, 0x1000, 10);
	alloc(&a, 3, 0x2000, 30);
	alloc(&a, 5, 0x3000, 50);
	release(&a, 8, 0x4000);
	release(&b, 2, 0x1000);
	alloc(&b, 4, 0x1000, 40);
	release(&b, 6, 0x2000);
	alloc(&b, 7, 0x4000, 70);
	ck_assert_str_eq(scene_finish(s), "+0:10p -0 +1:30p +2:40p +3:50p -1 +4:70p -4");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_UNMATCHED], 0);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 0);
	scene_free(s);
}
END_TEST

/* Thread b has number 2 but has not published it when the reader looks: the next pass gets it. */
START_TEST(a_late_event_comes_with_the_next_pass)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0), b = writer_new(s, 1, 1);

	alloc(&a, 1, 0x1000, 10);
	alloc(&a, 3, 0x2000, 30);
	drain(s);
	alloc(&b, 2, 0x3000, 20);
	release(&b, 4, 0x2000);
	ck_assert_str_eq(scene_finish(s), "+0:10p +1:30p +2:20p -1");
	scene_free(s);
}
END_TEST

/* Block 0x1000 moves in thread a: number 2 is taken, but whether it was released is not known when
 * thread b already has the address. */
START_TEST(a_pending_release_holds_the_reader_back)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0), b = writer_new(s, 1, 1);

	alloc(&a, 1, 0x1000, 10);
	chunk_at(s, 0)->pending = 2;
	alloc(&b, 3, 0x1000, 30);
	drain(s);
	release(&a, 2, 0x1000);
	chunk_at(s, 0)->pending = 0;
	alloc(&a, 4, 0x2000, 40);
	ck_assert_str_eq(scene_finish(s), "+0:10p -0 +1:30p +2:40p");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 0);
	scene_free(s);
}
END_TEST

/* The end of user code comes between numbers 2 and 4, all within a microsecond. */
START_TEST(a_mark_parts_what_was_before_it)
{
	for (int drains = 0; drains < 2; drains++) {
		struct scene *s = lanes_new();
		struct writer a = writer_new(s, 0, 0), b = writer_new(s, 1, 1);
		struct ring_mark *mark;

		alloc(&a, 1, 0x1000, 10);
		alloc(&b, 2, 0x2000, 20);
		if (drains)
			drain(s);
		mark = scene_put(s, RING_MARK, 0, sizeof(*mark));
		mark->kind = TRACE_MARK_FINALIZE;
		mark->time_ns = s->now_ns - 1000;
		mark->number = 3;
		release(&a, 5, 0x1000);
		release(&b, 4, 0x2000);
		ck_assert_str_eq(scene_finish(s), "+0:10p +1:20p -1 -0");
		ck_assert_uint_eq(s->marks, 1);
		ck_assert_uint_le(s->times_ns[1], s->mark_ns);
		ck_assert_uint_gt(s->times_ns[2], s->mark_ns);
		scene_free(s);
	}
}
END_TEST

START_TEST(a_release_that_stays_pending_ends_with_the_process)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	alloc(&a, 1, 0x1000, 10);
	chunk_at(s, 0)->pending = 1;
	ck_assert_str_eq(scene_finish(s), "+0:10p");
	scene_free(s);
}
END_TEST

START_TEST(sizes_and_numbers_may_be_large)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	put(&a, LANE_LARGE, LARGE);
	alloc(&a, 1, 0x1000, 7);
	put(&a, LANE_JUMP, 1ull << 40);
	a.number = 1ull << 40;
	alloc(&a, (1ull << 40) + 1, 0x2000, UINT32_MAX);
	put(&a, LANE_PAD, 0);
	release(&a, (1ull << 40) + 2, 0x1000);
	ck_assert_str_eq(scene_finish(s), "+0:21474836487p +1:4294967295p -0");
	scene_free(s);
}
END_TEST

START_TEST(times_stand_for_all_that_follows)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	put(&a, LANE_TIME, s->now_ns + 3 * SCENE_SECOND);
	alloc(&a, 1, 0x1000, 1);
	put(&a, LANE_TIME, s->now_ns + SCENE_SECOND);
	alloc(&a, 2, 0x2000, 2);
	put(&a, LANE_TIME, s->now_ns + 5 * SCENE_SECOND);
	alloc(&a, 3, 0x3000, 3);
	ck_assert_str_eq(scene_finish(s), "+0:1p +1:2p +2:3p");
	ck_assert_uint_ge(s->last_time_ns, 5ull * SCENE_SECOND - 1000000);
	ck_assert_uint_le(s->last_time_ns, 5ull * SCENE_SECOND + 1000000);
	scene_free(s);
}
END_TEST

START_TEST(chunks_are_read_in_order_and_given_back)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 9);
	uint64_t number = 1;

	/* The second chunk has the lower index. */
	for (size_t i = 0; i < LANE_ENTRIES; i++)
		alloc(&a, number++, 0x10000 + 16 * i, 8);
	take_chunk(&a, 3);
	chunk_at(s, 9)->closed = LANE_FULL;
	for (size_t i = 0; i < LANE_ENTRIES; i++)
		release(&a, number++, 0x10000 + 16 * i);
	drain(s);
	ck_assert(is_free(s, 9));
	ck_assert(!is_free(s, 3));
	chunk_at(s, 3)->closed = LANE_ENDED;
	drain(s);
	ck_assert(is_free(s, 3));
	ck_assert_uint_eq(chunk_at(s, 3)->lane, 0);
	/* Another thread takes what was given back. */
	a = writer_new(s, 5, 3);
	a.number = number - 1;
	chunk_at(s, 3)->number = a.number;
	alloc(&a, number, 0x10000, 77);
	scene_finish(s);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_UNMATCHED], 0);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 0);
	ck_assert_ptr_nonnull(strstr(buf_text(&s->text), " +4092:77p"));
	scene_free(s);
}
END_TEST

/* The events that the ring brings stand among those of the lanes. */
START_TEST(the_ring_is_in_the_same_order)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	alloc(&a, 1, 0x1000, 10);
	scene_heap(s, RING_MAP, 0x100000, 4096, 0)->number = 2;
	release(&a, 3, 0x1000);
	alloc(&a, 4, 0x1000, 40);
	scene_release(s, RING_FREE, 0x1000, 0)->number = 5;
	alloc(&a, 6, 0x2000, 60);
	scene_heap(s, RING_ALLOC, 0x3000, 70, 0)->number = 7;
	scene_release(s, RING_UNMAP, 0x100000, 4096)->number = 8;
	release(&a, 9, 0x3000);
	release(&a, 10, 0x5000);
	ck_assert_str_eq(scene_finish(s), "+0:10p +1:4096a! -0 +2:40p -2 +3:60p +4:70n -1 -4");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_UNMATCHED], 1);
	scene_free(s);
}
END_TEST

static void define_code(struct scene *s, uint32_t id)
{
	struct ring_code *code = scene_put(s, RING_CODE, 0, sizeof(*code));

	code->id = id;
	code->code_bytes = 100;
	code->filename.kind = code->name.kind = code->qualname.kind = 1;
	code->first_line = (int32_t)id + 1;
}

static void put_stack(struct writer *w, uint32_t common, uint32_t count, uint32_t first_code)
{
	uint64_t what = (uint64_t)count << 32 | common << 8 | LANE_STACK;

	put(w, what, count ? first_code : 0);
	for (uint32_t i = 1; i < count; i += 2)
		put(w, first_code + i, i + 1 < count ? first_code + i + 1 : 0);
}

/* The code objects of the last stack that was read back, root first. */
static void check_stack(const struct scene *s, uint32_t depth, const int32_t *lines)
{
	const struct trace_defs *defs = trace_reader_defs(s->reader);
	uint32_t node = s->last_node;

	for (uint32_t i = depth; i > 0; i--) {
		ck_assert_uint_ne(node, 0);
		ck_assert_int_eq(defs->codes[defs->nodes[node].code].first_line, lines[i - 1]);
		node = defs->nodes[node].parent;
	}
	ck_assert_uint_eq(node, 0);
}

START_TEST(stacks_are_told_as_differences)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	for (uint32_t id = 0; id < 8; id++)
		define_code(s, id);
	put_stack(&a, 0, 5, 0);
	alloc(&a, 1, 0x1000, 1);
	put_stack(&a, 2, 0, 0);
	put_stack(&a, 2, 2, 6);
	alloc(&a, 2, 0x2000, 2);
	ck_assert_str_eq(scene_finish(s), "+0:1p +1:2p");
	check_stack(s, 4, (const int32_t[]){1, 2, 7, 8});
	scene_free(s);
}
END_TEST

/* What lies beyond the limit may name code objects that come with the next pass. */
START_TEST(stacks_beyond_the_limit_can_wait)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	alloc(&a, 1, 0x1000, 1);
	put_stack(&a, 0, 3, 0);
	alloc(&a, 2, 0x2000, 2);
	s->target.lanes->next_number = 2;
	drain(s);
	for (uint32_t id = 0; id < 3; id++)
		define_code(s, id);
	s->target.lanes->next_number = 3;
	ck_assert_str_eq(scene_finish(s), "+0:1p +1:2p");
	check_stack(s, 3, (const int32_t[]){1, 2, 3});
	scene_free(s);
}
END_TEST

START_TEST(stacks_that_cannot_be_are_said)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0), b = writer_new(s, 1, 1);

	put_stack(&a, 0, 2, 0); /* not defined */
	alloc(&a, 1, 0x1000, 1);
	put(&a, (uint64_t)0x2000 << 8 | LANE_UNWALKED | LANE_ALLOC, step(&a, 2) | 2);
	put_stack(&a, 0, 0, 0);
	alloc(&a, 3, 0x3000, 3);
	/* More frames than there are: nothing in this lane can be believed from here on. */
	put_stack(&b, 1, 0, 0);
	alloc(&b, 4, 0x4000, 4);
	chunk_at(s, 1)->closed = LANE_ENDED;
	drain(s);
	ck_assert(is_free(s, 1));
	ck_assert_str_eq(scene_finish(s), "+0:1p? +1:2n? +2:3p");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 1);
	scene_free(s);
}
END_TEST

START_TEST(an_address_that_comes_twice_was_freed)
{
	struct scene *s = lanes_new();
	struct writer a = writer_new(s, 0, 0);

	alloc(&a, 1, 0x1000, 1);
	alloc(&a, 2, 0x1000, 2);
	alloc(&a, 3, 0x1008, 3); /* not a multiple of 16 */
	release(&a, 4, 0x1008);
	release(&a, 5, 0x1008);
	ck_assert_str_eq(scene_finish(s), "+0:1p -0 +1:2p +2:3p -2");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 1);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_UNMATCHED], 1);
	scene_free(s);
}
END_TEST

START_TEST(anything_is_survived)
{
	uint64_t state = 88172645463325252ull;

	for (int round = 0; round < 30; round++) {
		struct scene *s = lanes_new();

		s->target.lanes->next_number = unit_random(&state) % 5000;
		for (uint32_t index = 0; index < 6; index++) {
			struct lane_chunk *chunk = chunk_at(s, index);

			s->target.lanes->free[0] &= ~((uint64_t)1 << index);
			chunk->lane = (uint32_t)unit_random(&state) % 3;
			chunk->slot = (uint32_t)unit_random(&state) % 5;
			chunk->generation = SCENE_GENERATION;
			chunk->closed = (uint32_t)unit_random(&state) % 3;
			chunk->number = unit_random(&state) % 100;
			chunk->used = (uint32_t)unit_random(&state) % (2 * LANE_ENTRIES);
			for (size_t i = 0; i < LANE_ENTRIES; i++) {
				uint64_t what = unit_random(&state), value = unit_random(&state);

				chunk->entries[i].what = what % 16 < 9 ? (what & ~15ull) | what % 7
								       : what % 3 << 32 | what;
				chunk->entries[i].value = what & 64 ? value : value % 3 << 32;
			}
		}
		drain(s);
		s->target.lanes->next_number += 1000;
		drain(s);
		scene_finish(s);
		scene_free(s);
	}
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("drain_lanes");

	tcase_add_test(tests, lanes_are_merged_by_number);
	tcase_add_test(tests, a_late_event_comes_with_the_next_pass);
	tcase_add_test(tests, a_pending_release_holds_the_reader_back);
	tcase_add_test(tests, a_mark_parts_what_was_before_it);
	tcase_add_test(tests, a_release_that_stays_pending_ends_with_the_process);
	tcase_add_test(tests, sizes_and_numbers_may_be_large);
	tcase_add_test(tests, times_stand_for_all_that_follows);
	tcase_add_test(tests, chunks_are_read_in_order_and_given_back);
	tcase_add_test(tests, the_ring_is_in_the_same_order);
	tcase_add_test(tests, stacks_are_told_as_differences);
	tcase_add_test(tests, stacks_beyond_the_limit_can_wait);
	tcase_add_test(tests, stacks_that_cannot_be_are_said);
	tcase_add_test(tests, an_address_that_comes_twice_was_freed);
	tcase_add_test(tests, anything_is_survived);
	return unit_run("drain_lanes", tests);
}
