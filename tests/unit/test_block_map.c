/* SPDX-License-Identifier: Apache-2.0
 *
 * The map from addresses to blocks, against a plain table.
 */
#include "record/block_map.h"
#include "tests/unit/unit.h"

#define PLACES 20000u

/* Spread over pages, dense in some, with some that are no multiples of 16. */
static uint64_t address_of(uint32_t place)
{
	uint64_t page = 0x7f0000000000ull + (place / 50) * 0x10000ull;

	return page + place % 50 * 16 + (place % 97 == 0 ? 8 : 0);
}

START_TEST(as_a_plain_table)
{
	static uint64_t plain[PLACES];
	uint64_t state = 123456789, number = 0;
	struct block_map map = {0};

	memset(plain, 0xff, sizeof(plain));
	for (int i = 0; i < 2000000; i++) {
		/* Now many places, now few: pages come and go. */
		uint32_t spread = i / 100000 % 2 ? PLACES : PLACES / 40;
		uint32_t place = (uint32_t)(unit_random(&state) % spread);

		if (unit_random(&state) % 2) {
			uint64_t old = block_map_set(&map, address_of(place), number);

			ck_assert_uint_eq(old, plain[place]);
			plain[place] = number++;
		} else {
			ck_assert_uint_eq(block_map_take(&map, address_of(place)), plain[place]);
			plain[place] = BLOCK_MAP_NONE;
		}
	}
	block_map_release(&map);
}
END_TEST

START_TEST(numbers_beyond_32_bits)
{
	struct block_map map = {0};
	uint64_t number = ((uint64_t)7 << 32) - 3;

	for (uint64_t i = 0; i < 6; i++)
		ck_assert_uint_eq(block_map_set(&map, 0x1000 + 16 * i, number + i), BLOCK_MAP_NONE);
	for (uint64_t i = 0; i < 6; i++)
		ck_assert_uint_eq(block_map_take(&map, 0x1000 + 16 * i), number + i);
	block_map_set(&map, 0x1000, 1);
	block_map_set(&map, 0x2000, UINT32_MAX - 1);
	ck_assert_uint_eq(block_map_take(&map, 0x1000), 1);
	block_map_release(&map);
}
END_TEST

START_TEST(nothing_is_there)
{
	struct block_map map = {0};

	ck_assert_uint_eq(block_map_take(&map, 0), BLOCK_MAP_NONE);
	ck_assert_uint_eq(block_map_take(&map, UINT64_MAX), BLOCK_MAP_NONE);
	block_map_release(&map);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("block_map");

	tcase_add_test(tests, as_a_plain_table);
	tcase_add_test(tests, numbers_beyond_32_bits);
	tcase_add_test(tests, nothing_is_there);
	return unit_run("block_map", tests);
}
