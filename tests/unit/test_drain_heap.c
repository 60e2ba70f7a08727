/* SPDX-License-Identifier: Apache-2.0
 *
 * What the drain makes of memory records: rings filled by hand, see scene.h.
 */
#include "formats/base/xalloc.h"
#include "tests/unit/scene.h"
#include "tests/unit/unit.h"

START_TEST(blocks_come_and_go)
{
	struct scene *s = scene_new(1, false);

	scene_heap(s, RING_ALLOC, 0x1000, 100, 0);
	scene_heap(s, RING_ALLOC, 0x2000, 60, RING_HEAP_PYTHON);
	scene_release(s, RING_FREE, 0x1000, 0);
	scene_heap(s, RING_ALLOC, 0x1000, 0, 0);
	scene_release(s, RING_FREE, 0x2000, 0);
	ck_assert_str_eq(scene_finish(s), "+0:100n +1:60p -0 +2:0n -1");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 0);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_UNMATCHED], 0);
	ck_assert_uint_gt(s->footprints, 0);
	scene_free(s);
}
END_TEST

START_TEST(an_address_that_comes_twice_was_freed)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_ALLOC, 0x1000, 100, 0);
	scene_heap(s, RING_ALLOC, 0x1000, 200, 0);
	scene_release(s, RING_FREE, 0x1000, 0);
	scene_release(s, RING_FREE, 0x1000, 0);
	ck_assert_str_eq(scene_finish(s), "+0:100n -0 +1:200n -1");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 1);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_UNMATCHED], 0);
	scene_free(s);
}
END_TEST

START_TEST(unknown_frees_count_in_a_full_recording)
{
	struct scene *full = scene_new(1, false), *fork = scene_new(1, true);

	scene_release(full, RING_FREE, 0x1000, 0);
	scene_release(full, RING_FREE, 0x1000, 0);
	scene_heap(full, RING_ALLOC, 0, 8, 0);
	ck_assert_str_eq(scene_finish(full), "");
	ck_assert_uint_eq(full->losses[TRACE_LOSS_UNMATCHED], 2);
	ck_assert_uint_eq(full->losses[TRACE_LOSS_HEAP], 1);
	scene_release(fork, RING_FREE, 0x1000, 0);
	ck_assert_str_eq(scene_finish(fork), "");
	ck_assert_uint_eq(fork->losses[TRACE_LOSS_UNMATCHED], 0);
	ck_assert_uint_gt(fork->footprints, 0);
	scene_free(full);
	scene_free(fork);
}
END_TEST

START_TEST(a_failed_realloc_restores)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_ALLOC, 0x1000, 100, RING_HEAP_PYTHON);
	scene_release(s, RING_FREE, 0x1000, 0);
	scene_release(s, RING_UNFREE, 0x1000, 0);
	scene_release(s, RING_UNFREE, 0x1000, 0);
	scene_release(s, RING_UNFREE, 0x5000, 0);
	scene_release(s, RING_FREE, 0x1000, 0);
	scene_release(s, RING_UNFREE, 0x1000, 0);
	ck_assert_str_eq(scene_finish(s), "+0:100p -0 +1:100pr -1 +2:100pr");
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 0);
	scene_free(s);
}
END_TEST

START_TEST(mappings_lose_parts)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_MAP, 0x10000, 4 * SCENE_PAGE, 0);
	/* The middle, the end, the start. */
	scene_release(s, RING_UNMAP, 0x11000, SCENE_PAGE);
	scene_release(s, RING_UNMAP, 0x13000, 1);
	scene_release(s, RING_UNMAP, 0x10000, SCENE_PAGE);
	scene_release(s, RING_UNMAP, 0x10000, 16 * SCENE_PAGE);
	scene_release(s, RING_UNMAP, 0x10000, 16 * SCENE_PAGE);
	ck_assert_str_eq(scene_finish(s), "+0:16384a! ~0:12288 ~0:8192 ~0:4096 -0");
	scene_free(s);
}
END_TEST

START_TEST(mappings_are_as_large_as_was_asked_for)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_MAP, 0x10000, 5000, RING_HEAP_FILE);
	scene_heap(s, RING_MAP, 0x20000, 5000, 0);
	scene_release(s, RING_UNMAP, 0x10000, 5000);
	scene_release(s, RING_UNMAP, 0x21000, 100);
	ck_assert_str_eq(scene_finish(s), "+0:5000f! +1:5000a! -0 ~1:4096");
	scene_free(s);
}
END_TEST

START_TEST(mappings_cover_others)
{
	struct scene *s = scene_new(524288, false);

	/* A reservation, and memory put into it with MAP_FIXED. */
	scene_heap(s, RING_MAP, 0x100000, 64ull << 30, RING_HEAP_RESERVED);
	scene_heap(s, RING_MAP, 0x200000, 1 << 20, 0);
	scene_heap(s, RING_MAP, 0x280000, 1 << 20, RING_HEAP_FILE);
	scene_release(s, RING_UNMAP, 0x100000, 64ull << 30);
	ck_assert_str_eq(scene_finish(s), "+0:68719476736r! ~0:68718428160 +1:1048576a! "
					  "~1:524288 ~0:68717903872 +2:1048576f! -0 -1 -2");
	scene_free(s);
}
END_TEST

START_TEST(mappings_move)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_MAP, 0x10000, 4 * SCENE_PAGE, RING_HEAP_FILE);
	scene_remap(s, 0x10000, 4 * SCENE_PAGE, 0x10000, 8 * SCENE_PAGE);
	scene_remap(s, 0x12000, 2 * SCENE_PAGE, 0x50000, 3 * SCENE_PAGE);
	/* Of a shared mapping: once more. */
	scene_remap(s, 0x50000, 0, 0x60000, SCENE_PAGE);
	/* Nobody knows what that was. */
	scene_remap(s, 0x90000, SCENE_PAGE, 0x60000, SCENE_PAGE);
	ck_assert_str_eq(scene_finish(s),
			 "+0:16384f! -0 +1:32768f! ~1:24576 +2:12288f! +3:4096f! -3");
	scene_free(s);
}
END_TEST

/* As mremap and munmap write it: ahead, and then whether it was so. */
START_TEST(what_is_let_go_ahead)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_MAP, 0x10000, 4 * SCENE_PAGE, RING_HEAP_FILE);
	/* Moved, and somebody else got the place at once. */
	scene_release(s, RING_UNMAP, 0x10000, 4 * SCENE_PAGE);
	scene_heap(s, RING_MAP, 0x10000, SCENE_PAGE, 0)->record.slot = 1;
	scene_remap(s, 0x10000, 4 * SCENE_PAGE, 0x50000, 8 * SCENE_PAGE);
	/* It could not be cut in two. */
	scene_release(s, RING_UNMAP, 0x51000, SCENE_PAGE);
	scene_release(s, RING_UNFREE, 0x51000, SCENE_PAGE);
	/* Not what was let go last, or nothing was. */
	scene_release(s, RING_UNFREE, 0x51000, SCENE_PAGE);
	scene_release(s, RING_UNMAP, 0x90000, SCENE_PAGE);
	scene_release(s, RING_UNFREE, 0x90000, SCENE_PAGE);
	scene_remap(s, 0x90000, SCENE_PAGE, 0xa0000, SCENE_PAGE);
	scene_release(s, RING_UNMAP, 0x50000, 8 * SCENE_PAGE);
	scene_release(s, RING_UNMAP, 0x10000, SCENE_PAGE);
	ck_assert_str_eq(scene_finish(s), "+0:16384f! -0 +1:4096a! +2:32768f! ~2:28672 "
					  "+3:4096f!r -2 -3 -1");
	scene_free(s);
}
END_TEST

START_TEST(protection_makes_memory)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_MAP, 0x100000, 1 << 20, RING_HEAP_RESERVED);
	scene_heap(s, RING_PROTECT, 0x110000, 0x10000, 0);
	/* Once more, and beyond: only what is new counts. */
	scene_heap(s, RING_PROTECT, 0x110000, 0x20000, 0);
	scene_heap(s, RING_PROTECT, 0x118000, 0x10000, RING_HEAP_RESERVED);
	scene_heap(s, RING_MAP, 0x800000, 0x4000, RING_HEAP_FILE);
	scene_heap(s, RING_MAP, 0x900000, 0x4000, RING_HEAP_ARENA);
	scene_heap(s, RING_PROTECT, 0x800000, 0x200000, RING_HEAP_RESERVED);
	scene_release(s, RING_UNMAP, 0x100000, 1 << 20);
	ck_assert_str_eq(scene_finish(s), "+0:1048576r! ~0:983040 +1:65536a! ~0:917504 +2:65536a! "
					  "~1:32768 ~2:32768 +3:65536r! +4:16384f! +5:16384A! "
					  "-0 -1 -3 -2");
	scene_free(s);
}
END_TEST

START_TEST(times_go_on)
{
	struct scene *s = scene_new(524288, false);
	uint64_t later = s->now_ns + SCENE_SECOND;

	scene_heap(s, RING_ALLOC, 0x1000, 1, 0)->time_ns = later;
	scene_heap(s, RING_ALLOC, 0x2000, 2, 0)->time_ns = later - 5000;
	scene_heap(s, RING_ALLOC, 0x3000, 3, 0)->time_ns = 0;
	ck_assert_str_eq(scene_finish(s), "+0:1n +1:2n +2:3n");
	ck_assert_uint_eq(s->last_time_ns, SCENE_SECOND);
	scene_free(s);
	/* Nothing happens in the future. */
	s = scene_new(524288, false);
	scene_heap(s, RING_ALLOC, 0x1000, 1, 0)->time_ns = UINT64_MAX;
	scene_heap(s, RING_ALLOC, 0x2000, 2, 0);
	ck_assert_str_eq(scene_finish(s), "+0:1n +1:2n");
	ck_assert_uint_lt(s->last_time_ns, 1000ull * SCENE_SECOND);
	scene_free(s);
}
END_TEST

START_TEST(threads_without_a_slot_are_nobody)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_ALLOC, 0x1000, 1, 0)->record.slot = RING_NO_SLOT;
	scene_heap(s, RING_ALLOC, 0x2000, 2, 0)->record.slot = 3;
	scene_heap(s, RING_ALLOC, 0x3000, 3, 0)->record.slot = RING_SLOTS;
	scene_heap(s, RING_ALLOC, 0x4000, 4, 0)->generation = SCENE_GENERATION - 1;
	scene_release(s, RING_FREE, 0x1000, 0)->record.slot = RING_NO_SLOT;
	ck_assert_str_eq(scene_finish(s), "+0:1n +1:2n +2:4n -0");
	ck_assert_uint_eq(s->last_thread, TRACE_NONE);
	/* With nothing but memory to show, a thread is in the trace nevertheless. */
	ck_assert_uint_ge(trace_reader_defs(s->reader)->thread_count, 1);
	ck_assert_int_eq(trace_reader_defs(s->reader)->threads[0].tid, getpid() + 3);
	scene_free(s);
}
END_TEST

START_TEST(stacks_that_make_no_sense_are_said)
{
	struct scene *s = scene_new(524288, false);
	struct ring_heap *heap;

	scene_heap(s, RING_ALLOC, 0x1000, 1, 0)->common = 5;
	heap = scene_put(s, RING_ALLOC, 0, sizeof(*heap) + sizeof(struct ring_frame));
	*heap = (struct ring_heap){.record = heap->record,
				   .generation = SCENE_GENERATION,
				   .count = 1,
				   .address = 0x2000};
	heap->frames[0].code = 12345;
	scene_heap(s, RING_ALLOC, 0x3000, 3, 0);
	scene_heap(s, RING_ALLOC, 0x4000, 4, RING_HEAP_UNWALKED);
	/* More frames than there are bytes: nothing that our agent would write. */
	scene_heap(s, RING_ALLOC, 0x5000, 5, 0)->count = 1;
	scene_heap(s, RING_ALLOC, 0x6000, 6, 0)->count = UINT32_MAX;
	scene_put(s, RING_ALLOC, 0, sizeof(struct ring_heap) - 8);
	scene_put(s, RING_FREE, 0, sizeof(struct ring_release) - 8);
	scene_put(s, RING_MARK, 0, sizeof(struct ring_mark) - 8);
	scene_put(s, 999, 0, 8);
	ck_assert_str_eq(scene_finish(s), "+0:1n? +1:0n? +2:3n +3:4n?");
	scene_free(s);
}
END_TEST

/* A thread that was stopped for good between its step of `head` and its first word there. */
static void leave_hole(struct scene *s, size_t size)
{
	struct ring_record *record = scene_put(s, RING_ALLOC, 0, size);

	memset(record, 0, sizeof(*record));
}

START_TEST(what_a_thread_did_not_begin_hides_nothing)
{
	struct scene *s = scene_new(524288, false);
	struct ring_heap *unfinished;

	scene_put(s, RING_PAD, 0, 4096);
	scene_heap(s, RING_ALLOC, 0x1000, 1, 0);
	leave_hole(s, sizeof(struct ring_heap));
	leave_hole(s, 8);
	scene_heap(s, RING_ALLOC, 0x2000, 2, 0);
	unfinished = scene_heap(s, RING_ALLOC, 0x3000, 3, 0);
	unfinished->record.size |= 0x80000000u;
	leave_hole(s, 16);
	/* Up to the end of the data, and on at its beginning. */
	drain_target(s->drain, &s->target);
	ck_assert_uint_gt(s->target.ring->head, s->target.ring->tail);
	leave_hole(s, RING_DATA_SIZE - s->target.ring->head % RING_DATA_SIZE);
	leave_hole(s, 24);
	scene_heap(s, RING_ALLOC, 0x4000, 4, 0);
	leave_hole(s, 64);
	ck_assert_str_eq(scene_finish(s), "+0:1n +1:2n +2:4n");
	scene_free(s);
}
END_TEST

START_TEST(ranges_that_make_no_sense_are_ignored)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_MAP, 0x10000, 0, 0);
	scene_heap(s, RING_MAP, UINT64_MAX - SCENE_PAGE + 1, SCENE_PAGE, 0);
	scene_heap(s, RING_MAP, UINT64_MAX - 10, 5, 0);
	scene_heap(s, RING_MAP, 0x10000, UINT64_MAX, 0);
	scene_heap(s, RING_MAP, 0x10000, SCENE_PAGE, 0);
	scene_release(s, RING_UNMAP, 0x10000, 0);
	scene_release(s, RING_UNMAP, 0x10000, UINT64_MAX);
	scene_heap(s, RING_PROTECT, 0, 0, 0);
	scene_heap(s, RING_PROTECT, 1, UINT64_MAX, RING_HEAP_RESERVED);
	scene_remap(s, 0x10000, UINT64_MAX, 0x10000, UINT64_MAX);
	ck_assert_str_eq(scene_finish(s), "+0:4096a!");
	scene_free(s);
}
END_TEST

START_TEST(copies_and_marks)
{
	struct scene *s = scene_new(524288, false);
	struct ring_mark *mark;

	scene_heap(s, RING_COPY, 0, 100, TRACE_COPY_READ << RING_HEAP_KIND_SHIFT);
	scene_heap(s, RING_COPY, 0, 100, TRACE_COPY_KINDS << RING_HEAP_KIND_SHIFT);
	mark = scene_put(s, RING_MARK, 0, sizeof(*mark));
	mark->kind = TRACE_MARK_FINALIZE;
	mark->time_ns = s->now_ns;
	mark = scene_put(s, RING_MARK, RING_NO_SLOT, sizeof(*mark) + 8);
	mark->kind = TRACE_MARK_LABEL;
	mark->length = 5;
	memcpy(mark->label, "phase", 5);
	mark = scene_put(s, RING_MARK, 0, sizeof(*mark));
	mark->kind = TRACE_MARK_LABEL;
	mark->length = 5;
	mark = scene_put(s, RING_MARK, 0, sizeof(*mark));
	mark->kind = TRACE_MARK_KINDS;
	ck_assert_str_eq(scene_finish(s), "");
	ck_assert_uint_eq(s->copies, 1);
	ck_assert_uint_eq(s->marks, 2);
	scene_free(s);
}
END_TEST

/* Events have the time in ticks, marks have not. */
START_TEST(a_mark_parts_what_was_before_it)
{
	struct scene *s = scene_new(524288, false);
	struct ring_mark *mark;
	uint64_t time_ns;

	scene_heap(s, RING_ALLOC, 0x1000, 1, 0);
	scene_heap(s, RING_ALLOC, 0x2000, 1, 0);
	time_ns = s->now_ns;
	mark = scene_put(s, RING_MARK, 0, sizeof(*mark));
	mark->kind = TRACE_MARK_FINALIZE;
	mark->time_ns = time_ns;
	scene_release(s, RING_FREE, 0x1000, 0)->time_ns = time_ns;
	ck_assert_str_eq(scene_finish(s), "+0:1n +1:1n -0");
	ck_assert_uint_le(s->times_ns[1], s->mark_ns);
	ck_assert_uint_gt(s->times_ns[2], s->mark_ns);
	scene_free(s);
}
END_TEST

START_TEST(lost_records_are_counted)
{
	struct scene *s = scene_new(524288, false);

	scene_heap(s, RING_ALLOC, 0x1000, 1, 0);
	s->target.ring->heap_lost = 5;
	drain_target(s->drain, &s->target);
	s->target.ring->heap_lost = 7;
	s->target.ring->heap_given_up = 10;
	scene_finish(s);
	ck_assert_uint_eq(s->losses[TRACE_LOSS_HEAP], 17);
	scene_free(s);
}
END_TEST

/* What a target that means harm could write: every type, sizes that fit and content that does not.
 */
START_TEST(anything_is_survived)
{
	uint64_t random = 2463534242u;

	for (int round = 0; round < 20; round++) {
		struct scene *s = scene_new(round % 2 ? 1 : 524288, round % 3 == 0);

		for (int i = 0; i < 5000; i++) {
			size_t words = 1 + unit_random(&random) % 16;
			uint16_t type = (uint16_t)(unit_random(&random) % (RING_MARK + 3));
			uint16_t slot = (uint16_t)(unit_random(&random) % 6);
			uint64_t *record;

			/* Some slots are far off. */
			if (slot == 5)
				slot = (uint16_t)unit_random(&random);
			else if (slot == 4)
				slot = RING_NO_SLOT;
			record = scene_put(s, type, slot, words * 8);
			for (size_t k = 1; k < words; k++) {
				uint64_t value = unit_random(&random);

				/* Small numbers mostly, so that some of it makes sense. */
				record[k] = value % 4 ? value % 8 : value;
				if (k == 1 && value % 8)
					record[k] = SCENE_GENERATION;
				if (k >= 4 && value % 3 == 0)
					record[k] = value % 64 * SCENE_PAGE;
			}
			if (i % 500 == 0)
				drain_target(s->drain, &s->target);
		}
		s->target.ring->state = (uint32_t)round % 4;
		s->target.ring->start_ns = unit_random(&random);
		s->target.ring->start_cpu_ns = unit_random(&random);
		s->target.ring->end_ns = unit_random(&random);
		s->target.ring->end_cpu_ns = unit_random(&random);
		s->target.ring->heap_lost = unit_random(&random);
		s->target.ring->heap_given_up = unit_random(&random);
		s->target.ring->lost = unit_random(&random);
		s->target.slots[1].start_ns = unit_random(&random);
		scene_finish(s);
		scene_free(s);
	}
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("drain_heap");

	tcase_add_test(tests, blocks_come_and_go);
	tcase_add_test(tests, an_address_that_comes_twice_was_freed);
	tcase_add_test(tests, unknown_frees_count_in_a_full_recording);
	tcase_add_test(tests, a_failed_realloc_restores);
	tcase_add_test(tests, mappings_lose_parts);
	tcase_add_test(tests, mappings_are_as_large_as_was_asked_for);
	tcase_add_test(tests, mappings_cover_others);
	tcase_add_test(tests, mappings_move);
	tcase_add_test(tests, what_is_let_go_ahead);
	tcase_add_test(tests, protection_makes_memory);
	tcase_add_test(tests, times_go_on);
	tcase_add_test(tests, threads_without_a_slot_are_nobody);
	tcase_add_test(tests, stacks_that_make_no_sense_are_said);
	tcase_add_test(tests, what_a_thread_did_not_begin_hides_nothing);
	tcase_add_test(tests, ranges_that_make_no_sense_are_ignored);
	tcase_add_test(tests, copies_and_marks);
	tcase_add_test(tests, a_mark_parts_what_was_before_it);
	tcase_add_test(tests, lost_records_are_counted);
	tcase_add_test(tests, anything_is_survived);
	return unit_run("drain_heap", tests);
}
