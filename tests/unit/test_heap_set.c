/* SPDX-License-Identifier: Apache-2.0
 *
 * The set of sampled addresses that free() looks into, alone and with many threads.
 */
#include <pthread.h>

#include "record/agent/agent.h"
#include "record/agent/heap_set.h"

#undef memcpy
#undef memset

#include "tests/unit/unit.h"

#define DEFAULT_MEAN (512u << 10)
#define MANY 20000u
#define THREADS 8
#define ROUNDS 50000

struct agent agent;

void *agent_map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* A block somewhere in 64 TiB; the same number gives the same one. Like malloc's: every fourth
 * stands right behind the start of a page. */
static void *block(uint64_t number)
{
	uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15ull;

	mixed ^= mixed >> 29;
	mixed = mixed % (1ull << 46) & ~15ull;
	return (void *)(uintptr_t)(number % 4 ? mixed + 4096 : (mixed & ~4095ull) + 4096 + 16);
}

static unsigned filter_sum(void)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < HEAP_FILTER_SIZE; i++)
		sum += heap_filter[i];
	return sum;
}

START_TEST(what_goes_in_comes_out)
{
	unsigned added = 0;
	bool owed;

	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	ck_assert_ptr_null(heap_set_find(NULL));
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_ptr_null(heap_set_find(block(i)));
		if (heap_set_add(block(i), &owed))
			added++;
		ck_assert(!owed);
	}
	/* Buckets fill up unevenly, but one sample in a thousand is all that may be given up. */
	ck_assert_uint_ge(added, MANY - MANY / 1000);
	ck_assert_uint_eq(filter_sum(), added);
	for (unsigned i = 0; i < MANY; i += 2) {
		_Atomic uint64_t *place = heap_set_find(block(i));

		if (place) {
			heap_set_remove(place);
			added--;
		}
		ck_assert_ptr_null(heap_set_find(block(i)));
	}
	ck_assert_uint_eq(filter_sum(), added);
	for (unsigned i = 1; i < MANY; i += 2)
		added -= heap_set_find(block(i)) != NULL;
	ck_assert_uint_eq(added, 0);
	heap_set_reset();
	ck_assert_uint_eq(filter_sum(), 0);
	ck_assert_ptr_null(heap_set_find(block(1)));
}
END_TEST

/* Whatever the rate: the buckets are more or fewer than the filter's values. */
START_TEST(every_rate)
{
	static const uint64_t means[] = {1, 1024, 20000, DEFAULT_MEAN, 1ull << 40};
	bool owed;

	ck_assert_int_eq(heap_set_start(means[_i]), 0);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_ptr_nonnull(heap_set_add(block(i), &owed));
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_ptr_nonnull(heap_set_find(block(i)));
	heap_set_reset();
	ck_assert_uint_eq(filter_sum(), 0);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_ptr_null(heap_set_find(block(i)));
}
END_TEST

START_TEST(filter_lets_nearly_nothing_through)
{
	unsigned passed = 0;
	bool owed;

	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	for (unsigned i = 0; i < 1000; i++)
		heap_set_add(block(i), &owed);
	for (unsigned i = 1000; i < 101000; i++)
		passed += heap_set_maybe(block(i));
	/* 1000 of 65536 values are taken: 1.5 % of 100000 are expected, with 39 of deviation. */
	ck_assert_uint_le(passed, 1526 + 6 * 39);
}
END_TEST

START_TEST(kept_blocks_stay)
{
	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	heap_set_keep(block(5));
	heap_set_reset();
	ck_assert(heap_set_maybe(block(5)));
	ck_assert_ptr_null(heap_set_find(block(5)));
}
END_TEST

/* --- releases that could not be reported --- */

static _Atomic unsigned reported;
static _Atomic unsigned room;
static _Atomic uint64_t last;

static bool report(uint64_t address)
{
	if (!room)
		return false;
	room--;
	reported++;
	last = address;
	return true;
}

START_TEST(a_release_is_reported_later)
{
	bool owed;

	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	heap_set_report(report);
	for (unsigned i = 0; i < 10; i++)
		heap_set_add(block(i), &owed);
	for (unsigned i = 0; i < 5; i++)
		heap_set_owe(heap_set_find(block(i)));
	/* Nobody who frees these addresses again may take them for live samples. */
	ck_assert_ptr_null(heap_set_find(block(0)));
	ck_assert_ptr_nonnull(heap_set_find(block(7)));
	room = 0;
	heap_set_report(report);
	ck_assert_uint_eq(reported, 0);
	room = 2;
	heap_set_report(report);
	ck_assert_uint_eq(reported, 2);
	room = 100;
	heap_set_report(report);
	ck_assert_uint_eq(reported, 5);
	heap_set_report(report);
	ck_assert_uint_eq(reported, 5);
	ck_assert_uint_eq(filter_sum(), 5);
}
END_TEST

START_TEST(a_new_block_tells_of_the_release)
{
	_Atomic uint64_t *place;
	bool owed;

	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	place = heap_set_add(block(1), &owed);
	heap_set_owe(place);
	ck_assert_ptr_eq(heap_set_add(block(1), &owed), place);
	ck_assert(owed);
	room = 100;
	heap_set_report(report);
	ck_assert_uint_eq(reported, 0);
	ck_assert_ptr_eq(heap_set_find(block(1)), place);
	/* Had its record found no room: the release is still to be told. */
	heap_set_owe(place);
	heap_set_report(report);
	ck_assert_uint_eq(reported, 1);
	ck_assert_uint_eq(last, (uint64_t)(uintptr_t)block(1));
	ck_assert_uint_eq(filter_sum(), 0);
}
END_TEST

START_TEST(a_release_is_taken_back)
{
	bool owed;

	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	heap_set_owe(heap_set_add(block(1), &owed));
	ck_assert(heap_set_unowe(block(1)));
	ck_assert_ptr_nonnull(heap_set_find(block(1)));
	ck_assert(!heap_set_unowe(block(1)));
	heap_set_owe(heap_set_find(block(1)));
	room = 1;
	heap_set_report(report);
	ck_assert(!heap_set_unowe(block(1)));
}
END_TEST

/* --- many threads --- */

static _Atomic unsigned given_up;

/* Each has addresses of its own, as the allocator sees to it, but all share buckets; some releases
 * are owed and reported by whoever comes first. */
static void *worker(void *arg)
{
	uint64_t own = (uint64_t)(uintptr_t)arg;
	bool here[64] = {false}, owed;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned n = i * 2654435761u >> 26;
		void *it = block(own * 64 + n);

		if (!here[n]) {
			here[n] = heap_set_add(it, &owed) != NULL;
			if (!here[n])
				atomic_fetch_add(&given_up, 1);
		} else {
			_Atomic uint64_t *place = heap_set_find(it);

			if (!place)
				return (void *)1;
			if (i % 16 == 0)
				heap_set_owe(place);
			else
				heap_set_remove(place);
			here[n] = false;
			if (heap_set_find(it))
				return (void *)2;
		}
		if (i % 64 == 0)
			heap_set_report(report);
	}
	for (unsigned n = 0; n < 64; n++)
		if (here[n])
			heap_set_remove(heap_set_find(block(own * 64 + n)));
	return NULL;
}

START_TEST(many_threads)
{
	pthread_t threads[THREADS];
	void *result;

	ck_assert_int_eq(heap_set_start(DEFAULT_MEAN), 0);
	room = UINT32_MAX;
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &result), 0);
		ck_assert_ptr_null(result);
	}
	heap_set_report(report);
	ck_assert_uint_eq(filter_sum(), 0);
	ck_assert_uint_lt(given_up, THREADS * ROUNDS / 100);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("heap_set");

	tcase_add_test(tests, what_goes_in_comes_out);
	tcase_add_loop_test(tests, every_rate, 0, 5);
	tcase_add_test(tests, filter_lets_nearly_nothing_through);
	tcase_add_test(tests, kept_blocks_stay);
	tcase_add_test(tests, a_release_is_reported_later);
	tcase_add_test(tests, a_new_block_tells_of_the_release);
	tcase_add_test(tests, a_release_is_taken_back);
	tcase_add_test(tests, many_threads);
	return unit_run("heap_set", tests);
}
