/* SPDX-License-Identifier: Apache-2.0
 *
 * The reading side of the ring: records, and the space of those that will never come.
 */
#include "record/drain_ring.h"

#include "formats/base/xalloc.h"
#include "tests/unit/unit.h"

#define SECOND 1000000000u
#define SIZE 48u
#define RESERVED 0x80000000u
#define PASSES 20u

struct ring {
	struct target target;
	char taken[64]; /* the slots of the records that were taken, as letters */
	size_t count;
	uint64_t now_ns;
};

static struct ring *ring_new(uint64_t start)
{
	struct ring *r = xcalloc(1, sizeof(*r));
	char *memory = xcalloc(1, RING_REGION_SIZE);

	r->target.pid = getpid();
	r->target.ring = (struct ring_header *)memory;
	r->target.data = memory + RING_DATA_OFFSET;
	r->target.ring->head = r->target.ring->tail = start;
	r->now_ns = 5 * (uint64_t)SECOND;
	return r;
}

static void ring_free(struct ring *r)
{
	free(r->target.ring);
	free(r);
}

/* Takes space as a writer does; 0: and dies. */
static struct ring_record *reserve(struct ring *r, uint32_t word)
{
	struct ring_header *ring = r->target.ring;
	struct ring_record *record =
		(struct ring_record *)(r->target.data + ring->head % RING_DATA_SIZE);

	ck_assert_uint_le(ring->head % RING_DATA_SIZE + SIZE, RING_DATA_SIZE);
	ring->head += SIZE;
	record->size = word;
	return record;
}

static void commit(struct ring_record *record, char letter)
{
	record->type = RING_SAMPLE;
	record->slot = (uint16_t)letter;
	memset(record + 1, letter, SIZE - sizeof(*record));
	record->size = SIZE;
}

static void put(struct ring *r, char letter)
{
	commit(reserve(r, SIZE | RESERVED), letter);
}

static void take(void *arg, const struct ring_record *record, size_t size)
{
	struct ring *r = arg;

	ck_assert_uint_eq(size, SIZE);
	ck_assert_uint_lt(r->count, sizeof(r->taken) - 1);
	r->taken[r->count++] = (char)record->slot;
}

static void drain(struct ring *r, unsigned passes, uint64_t apart_ns)
{
	for (unsigned i = 0; i < passes; i++) {
		r->now_ns += apart_ns;
		ring_drain(&r->target, false, r->now_ns, take, r);
	}
}

static void check_empty(const struct ring *r, uint64_t lost)
{
	const uint64_t *words = (const uint64_t *)r->target.data;

	ck_assert_uint_eq(r->target.ring->head, r->target.ring->tail);
	ck_assert_uint_eq(r->target.ring->lost, lost);
	ck_assert(!r->target.stuck);
	for (size_t i = 0; i < RING_DATA_SIZE / 8; i++)
		ck_assert_uint_eq(words[i], 0);
}

START_TEST(what_nobody_fills_is_passed_in_the_end)
{
	struct ring *r = ring_new(0);

	put(r, 'a');
	reserve(r, 0);
	put(r, 'b');
	reserve(r, 0);
	put(r, 'c');
	drain(r, 1, 0);
	ck_assert(!r->target.stuck);
	/* Neither many passes in no time are enough, nor much time without any. */
	drain(r, PASSES, SECOND / 100);
	ck_assert(r->target.stuck);
	ck_assert_str_eq(r->taken, "a");
	ck_assert_uint_eq(r->target.ring->lost, 0);
	drain(r, PASSES / 2, SECOND / 10);
	ck_assert_str_eq(r->taken, "ab");
	drain(r, PASSES, SECOND / 10);
	ck_assert_str_eq(r->taken, "abc");
	check_empty(r, 2);
	ring_free(r);
}
END_TEST

START_TEST(a_pause_of_the_reader_proves_nothing)
{
	struct ring *r = ring_new(0);
	struct ring_record *late = reserve(r, 0);

	put(r, 'b');
	drain(r, 3, 60 * (uint64_t)SECOND);
	ck_assert_str_eq(r->taken, "");
	commit(late, 'a');
	drain(r, 1, 0);
	ck_assert_str_eq(r->taken, "ab");
	check_empty(r, 0);
	ring_free(r);
}
END_TEST

/* What is not followed by a record is being filled, or the next one to come. */
START_TEST(space_at_the_head_is_left_alone)
{
	struct ring *r = ring_new(0);
	struct ring_record *first = reserve(r, 0), *second = reserve(r, 0);

	drain(r, PASSES, SECOND);
	commit(first, 'a');
	drain(r, PASSES, SECOND);
	ck_assert_str_eq(r->taken, "a");
	commit(second, 'b');
	drain(r, 1, 0);
	ck_assert_str_eq(r->taken, "ab");
	check_empty(r, 0);
	ring_free(r);
}
END_TEST

/* A gap is as old as its last change. */
START_TEST(a_gap_that_gets_smaller_is_another_one)
{
	struct ring *r = ring_new(0);
	struct ring_record *first = reserve(r, 0), *second = reserve(r, 0);

	put(r, 'c');
	drain(r, 1, 0);
	drain(r, PASSES / 2 - 1, SECOND / 5);
	commit(second, 'b');
	drain(r, 1, SECOND);
	ck_assert_str_eq(r->taken, "");
	commit(first, 'a');
	drain(r, 1, 0);
	ck_assert_str_eq(r->taken, "abc");
	check_empty(r, 0);
	ring_free(r);
}
END_TEST

START_TEST(a_record_that_was_begun_is_waited_for)
{
	struct ring *r = ring_new(0);

	reserve(r, SIZE | RESERVED);
	put(r, 'b');
	drain(r, 3 * PASSES, SECOND);
	ck_assert_str_eq(r->taken, "");
	ck_assert(r->target.stuck);
	/* Of a process that is gone it is not. */
	ring_drain(&r->target, true, r->now_ns, take, r);
	ck_assert_str_eq(r->taken, "b");
	check_empty(r, 0);
	ring_free(r);
}
END_TEST

/* Who finds no room at the end of the data takes that, too. */
START_TEST(a_gap_goes_round_the_end)
{
	struct ring *r = ring_new(RING_DATA_SIZE - SIZE / 2);

	r->target.ring->head += SIZE / 2;
	reserve(r, 0);
	put(r, 'b');
	drain(r, PASSES, SECOND / 10);
	ck_assert_str_eq(r->taken, "");
	drain(r, PASSES, SECOND / 10);
	ck_assert_str_eq(r->taken, "b");
	check_empty(r, 2);
	ring_free(r);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("drain_ring");

	tcase_add_test(tests, what_nobody_fills_is_passed_in_the_end);
	tcase_add_test(tests, a_pause_of_the_reader_proves_nothing);
	tcase_add_test(tests, space_at_the_head_is_left_alone);
	tcase_add_test(tests, a_gap_that_gets_smaller_is_another_one);
	tcase_add_test(tests, a_record_that_was_begun_is_waited_for);
	tcase_add_test(tests, a_gap_goes_round_the_end);
	return unit_run("drain_ring", tests);
}
