/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder's books of blocks and mappings, next to the simplest books that could be right.
 */
#include "formats/base/map.h"
#include "formats/base/xalloc.h"
#include "record/heap_blocks.h"
#include "record/heap_maps.h"
#include "tests/unit/unit.h"

#define PAGE 4096u

START_TEST(blocks_come_and_go)
{
	struct heap_blocks b = {0};
	struct heap_block block, first = {.number = 1, .size = 10, .node = 3};
	struct heap_block second = {.number = 2, .size = 20, .node = 4};

	ck_assert(!heap_blocks_remove(&b, 4096, &block));
	ck_assert(!heap_blocks_restore(&b, 4096, &block));
	ck_assert_int_eq(heap_blocks_add(&b, 0, &first), -1);
	ck_assert_int_eq(heap_blocks_add(&b, 4096, &first), 0);
	ck_assert_int_eq(heap_blocks_add(&b, 4112, &second), 0);
	ck_assert(!heap_blocks_restore(&b, 4096, &block));
	ck_assert(!heap_blocks_remove(&b, 0, &block));
	ck_assert(heap_blocks_remove(&b, 4096, &block));
	ck_assert_uint_eq(block.number, 1);
	ck_assert_uint_eq(block.size, 10);
	ck_assert_uint_eq(block.node, 3);
	ck_assert(!heap_blocks_remove(&b, 4096, &block));
	ck_assert_uint_eq(b.count, 1);
	heap_blocks_release(&b);
	heap_blocks_release(&b);
}
END_TEST

START_TEST(blocks_are_restored_once)
{
	struct heap_blocks b = {0};
	struct heap_block block, first = {.number = 1, .size = 10}, second = {.number = 2};

	heap_blocks_add(&b, 64, &first);
	ck_assert(heap_blocks_remove(&b, 64, &block));
	ck_assert(heap_blocks_restore(&b, 64, &block));
	ck_assert_uint_eq(block.size, 10);
	ck_assert(!heap_blocks_restore(&b, 64, &block));
	heap_blocks_add(&b, 64, &block);
	ck_assert(heap_blocks_remove(&b, 64, &block));
	/* Somebody else lives there by now. */
	heap_blocks_add(&b, 64, &second);
	ck_assert(!heap_blocks_restore(&b, 64, &block));
	ck_assert(!heap_blocks_restore(&b, 0, &block));
	heap_blocks_release(&b);
}
END_TEST

START_TEST(blocks_agree_with_a_list)
{
	enum { ADDRESSES = 5000 };
	struct heap_blocks b = {0};
	uint64_t random = 88172645463325252u;
	uint64_t *live = xcalloc(ADDRESSES, sizeof(*live)), count = 0;

	for (uint64_t i = 1; i < 400000; i++) {
		uint64_t at = unit_random(&random) % ADDRESSES;
		/* Neighbours, as a heap has them. */
		uint64_t address = 0x7f0000000000u + at * 16;
		struct heap_block block = {.number = i};

		if (live[at]) {
			ck_assert(heap_blocks_remove(&b, address, &block));
			ck_assert_uint_eq(block.number, live[at]);
			live[at] = 0;
			count--;
		} else if (unit_random(&random) & 1) {
			ck_assert(!heap_blocks_remove(&b, address, &block));
			ck_assert_int_eq(heap_blocks_add(&b, address, &block), 0);
			live[at] = i;
			count++;
		}
		ck_assert_uint_eq(b.count, count);
	}
	free(live);
	heap_blocks_release(&b);
}
END_TEST

/* What the last take released, in order. */
static struct {
	struct {
		uint64_t number, left;
	} list[4096];
	size_t count;
} told;

static void tell(void *arg, const struct heap_block *block, uint64_t left)
{
	ck_assert_ptr_eq(arg, &told);
	ck_assert_uint_lt(told.count, sizeof(told.list) / sizeof(told.list[0]));
	told.list[told.count].number = block->number;
	told.list[told.count++].left = left;
}

static uint64_t take(struct heap_maps *m, uint64_t start, uint64_t end, uint32_t kinds)
{
	told.count = 0;
	return heap_maps_take(m, start, end, kinds, tell, &told);
}

/* "number:left" of each block that the last take told of. */
static const char *said(void)
{
	static char text[4096];
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < told.count && used < sizeof(text) - 50; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%llu:%llu",
					 used ? " " : "", (unsigned long long)told.list[i].number,
					 (unsigned long long)told.list[i].left);
	return text;
}

static void add(struct heap_maps *m, uint64_t number, uint64_t start, uint64_t end, uint16_t kind)
{
	struct heap_block block = {.number = number, .size = end - start, .kind = kind};

	ck_assert_int_eq(heap_maps_add(m, start, end, &block), 0);
}

static uint64_t number_at(const struct heap_maps *m, uint64_t address)
{
	struct heap_block block;

	return heap_maps_find(m, address, &block) ? block.number : 0;
}

START_TEST(maps_lose_parts)
{
	struct heap_maps m = {0};

	take(&m, 0, UINT64_MAX, HEAP_MAPS_ALL);
	ck_assert_str_eq(said(), "");
	add(&m, 1, 1000, 2000, 2);
	add(&m, 2, 2000, 3000, 2);
	add(&m, 3, 5000, 6000, 2);
	ck_assert_uint_eq(number_at(&m, 999), 0);
	ck_assert_uint_eq(number_at(&m, 1000), 1);
	ck_assert_uint_eq(number_at(&m, 1999), 1);
	ck_assert_uint_eq(number_at(&m, 2000), 2);
	ck_assert_uint_eq(number_at(&m, 3000), 0);
	/* In the middle, at the start, at the end, across, all. */
	ck_assert_uint_eq(take(&m, 1400, 1500, HEAP_MAPS_ALL), 100);
	ck_assert_str_eq(said(), "1:900");
	ck_assert_uint_eq(number_at(&m, 1450), 0);
	ck_assert_uint_eq(number_at(&m, 1500), 1);
	take(&m, 900, 1100, HEAP_MAPS_ALL);
	ck_assert_str_eq(said(), "1:800");
	ck_assert_uint_eq(take(&m, 1900, 2100, HEAP_MAPS_ALL), 200);
	ck_assert_str_eq(said(), "1:700 2:900");
	ck_assert_uint_eq(take(&m, 1300, 1600, HEAP_MAPS_ALL), 200);
	ck_assert_str_eq(said(), "1:500");
	ck_assert_uint_eq(take(&m, 3000, 5000, HEAP_MAPS_ALL), 0);
	ck_assert_str_eq(said(), "");
	ck_assert_uint_eq(take(&m, 0, UINT64_MAX, HEAP_MAPS_ALL), 500 + 900 + 1000);
	ck_assert_str_eq(said(), "1:0 2:0 3:0");
	ck_assert_uint_eq(m.range_count, 0);
	heap_maps_release(&m);
	heap_maps_release(&m);
}
END_TEST

START_TEST(maps_change_kind)
{
	struct heap_maps m = {0};
	struct heap_block accessible = {.number = 9, .kind = 2};

	add(&m, 1, 0x1000, 0x9000, 4);
	add(&m, 2, 0x9000, 0xa000, 3);
	add(&m, 3, 0xa000, 0xc000, 4);
	/* Only what is reserved, and as one block although a file lies between. */
	ck_assert_uint_eq(take(&m, 0x8000, 0xb000, 1u << 4), 0x2000);
	ck_assert_str_eq(said(), "1:28672 3:4096");
	ck_assert_int_eq(heap_maps_add_taken(&m, &accessible), 0);
	ck_assert_uint_eq(number_at(&m, 0x7fff), 1);
	ck_assert_uint_eq(number_at(&m, 0x8000), 9);
	ck_assert_uint_eq(number_at(&m, 0x9000), 2);
	ck_assert_uint_eq(number_at(&m, 0xa000), 9);
	ck_assert_uint_eq(number_at(&m, 0xb000), 3);
	take(&m, 0, UINT64_MAX, 1u << 2);
	ck_assert_str_eq(said(), "9:0");
	/* Nothing was taken: nothing to add. */
	take(&m, 0, UINT64_MAX, 1u << 2);
	ck_assert_str_eq(said(), "");
	ck_assert_int_eq(heap_maps_add_taken(&m, &accessible), -1);
	ck_assert_int_eq(heap_maps_add(&m, 5, 5, &accessible), -1);
	take(&m, 0, UINT64_MAX, HEAP_MAPS_ALL);
	ck_assert_str_eq(said(), "1:0 2:0 3:0");
	heap_maps_release(&m);
}
END_TEST

enum { PAGES = 3000, ROUNDS = 60000 };

/* The same in pages: which block each belongs to, and what each block has. Block n is of kind
 * n % 3. */
struct pages {
	uint32_t number[PAGES];
	uint64_t left[ROUNDS];
};

/* Takes [at, end) and compares what is said of it. */
static void take_pages(struct heap_maps *m, struct pages *pages, uint64_t at, uint64_t end,
		       uint32_t kinds)
{
	uint64_t bytes = 0;
	size_t count = 0;

	for (uint64_t i = at; i < end; i++) {
		uint32_t n = pages->number[i];

		if (n && kinds >> n % 3 & 1) {
			pages->left[n] -= PAGE;
			bytes += PAGE;
		}
	}
	ck_assert_uint_eq(take(m, at * PAGE, end * PAGE, kinds), bytes);
	for (uint64_t i = at; i < end; i++) {
		uint32_t n = pages->number[i];
		size_t k = 0;

		if (!n || !(kinds >> n % 3 & 1))
			continue;
		pages->number[i] = 0;
		/* Named once, at its first page. */
		while (k < count && told.list[k].number != n)
			k++;
		if (k < count)
			continue;
		ck_assert_uint_lt(count, told.count);
		ck_assert_uint_eq(told.list[count].number, n);
		ck_assert_uint_eq(told.list[count++].left, pages->left[n]);
	}
	ck_assert_uint_eq(told.count, count);
}

START_TEST(maps_agree_with_pages)
{
	struct heap_maps m = {0};
	struct pages *pages = xcalloc(1, sizeof(*pages));
	uint64_t random = 362436069u;

	for (uint32_t i = 1; i < ROUNDS; i++) {
		/* Small ones mostly, so that there are thousands. */
		uint64_t at = unit_random(&random) % PAGES;
		uint64_t most = unit_random(&random) % 50 ? 3 : PAGES;
		uint64_t end = at + 1 + unit_random(&random) % most;
		struct heap_block block = {.number = i, .kind = (uint16_t)(i % 3)};

		if (end > PAGES)
			end = PAGES;
		if (unit_random(&random) % 4) {
			take_pages(&m, pages, at, end, HEAP_MAPS_ALL);
			ck_assert_int_eq(heap_maps_add(&m, at * PAGE, end * PAGE, &block), 0);
			for (uint64_t k = at; k < end; k++)
				pages->number[k] = i;
			pages->left[i] = (end - at) * PAGE;
		} else {
			take_pages(&m, pages, at, end, (uint32_t)(unit_random(&random) % 8));
		}
		if (i % 1000 == 0)
			for (uint64_t k = 0; k < PAGES; k++)
				ck_assert_uint_eq(number_at(&m, k * PAGE + k % PAGE),
						  pages->number[k]);
	}
	free(pages);
	heap_maps_release(&m);
}
END_TEST

START_TEST(maps_are_many)
{
	enum { COUNT = 100000 };
	struct heap_maps m = {0};
	uint64_t random = 521288629u;

	/* Downwards, as the kernel gives them out, then a hole in each. */
	for (uint64_t i = COUNT; i > 0; i--)
		add(&m, i, i * 0x10000, i * 0x10000 + 0x8000, 2);
	for (uint64_t i = 1; i <= COUNT; i++)
		take(&m, i * 0x10000 + 0x2000, i * 0x10000 + 0x3000, HEAP_MAPS_ALL);
	ck_assert_uint_eq(m.range_count, 2 * COUNT);
	for (int i = 0; i < COUNT; i++) {
		uint64_t n = 1 + unit_random(&random) % COUNT;

		ck_assert_uint_eq(number_at(&m, n * 0x10000 + 0x7fff), n);
		ck_assert_uint_eq(number_at(&m, n * 0x10000 + 0x2fff), 0);
	}
	for (uint64_t i = 1; i <= COUNT; i += 2)
		ck_assert_uint_eq(take(&m, i * 0x10000, i * 0x10000 + 0x8000, HEAP_MAPS_ALL),
				  0x7000);
	ck_assert_uint_eq(m.range_count, COUNT);
	ck_assert_uint_eq(m.mapping_count, COUNT);
	heap_maps_release(&m);
}
END_TEST

START_TEST(maps_have_an_end)
{
	struct heap_maps m = {0};
	struct heap_block block = {.number = 7};

	for (uint64_t i = 0; i < HEAP_RANGES_MAX; i++)
		add(&m, i, i * 16, i * 16 + 10, 0);
	ck_assert_int_eq(heap_maps_add(&m, 11, 12, &block), -1);
	/* No room for the second half. */
	ck_assert_uint_eq(take(&m, 161, 162, HEAP_MAPS_ALL), 1);
	ck_assert_str_eq(said(), "10:1");
	ck_assert_uint_eq(take(&m, 0, UINT64_MAX, 0), 0);
	ck_assert_uint_eq(take(&m, 0, 16, HEAP_MAPS_ALL), 10);
	ck_assert_str_eq(said(), "0:0");
	ck_assert_int_eq(heap_maps_add(&m, 11, 12, &block), 0);
	heap_maps_release(&m);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("heap");

	tcase_add_test(tests, blocks_come_and_go);
	tcase_add_test(tests, blocks_are_restored_once);
	tcase_add_test(tests, blocks_agree_with_a_list);
	tcase_add_test(tests, maps_lose_parts);
	tcase_add_test(tests, maps_change_kind);
	tcase_add_test(tests, maps_agree_with_pages);
	tcase_add_test(tests, maps_are_many);
	tcase_add_test(tests, maps_have_an_end);
	return unit_run("heap", tests);
}
