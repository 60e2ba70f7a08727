/* SPDX-License-Identifier: Apache-2.0
 *
 * Splitting columns, see pack_halves.h; once for each width, line by line the same.
 */
#include "formats/pack_halves.h"

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define LOW_BITS 8

uint8_t *halves_low_32(struct arena *arena, const uint32_t *values, size_t count)
{
	uint8_t *low = arena_alloc(arena, count);

	if (!low)
		xalloc_die(count);
	for (size_t i = 0; i < count; i++)
		low[i] = values ? (uint8_t)values[i] : 0;
	return low;
}

uint32_t *halves_high_32(struct arena *arena, const uint32_t *values, size_t count)
{
	uint32_t *high = values ? arena_alloc(arena, count * sizeof(*high)) : NULL;
	uint32_t all = 0;

	if (values && !high)
		xalloc_die(count * sizeof(*high));
	for (size_t i = 0; high && i < count; i++) {
		high[i] = values[i] >> LOW_BITS;
		all |= high[i];
	}
	return all ? high : NULL;
}

int halves_join_32(struct arena *arena, const uint8_t *low, size_t low_count, const uint32_t *high,
		   size_t high_count, size_t count, uint32_t **values)
{
	uint32_t *joined;

	*values = NULL;
	if ((low_count && low_count != count) || (high_count && high_count != count))
		return -1;
	if (!low_count && !high_count)
		return 0;
	joined = arena_alloc(arena, count * sizeof(*joined));
	if (!joined)
		return -1;
	for (size_t i = 0; i < count; i++) {
		uint32_t rest = high_count ? high[i] : 0;

		if (rest > UINT32_MAX >> LOW_BITS)
			return -1;
		joined[i] = rest << LOW_BITS | (low_count ? low[i] : 0);
	}
	*values = joined;
	return 0;
}

uint8_t *halves_low_64(struct arena *arena, const uint64_t *values, size_t count)
{
	uint8_t *low = arena_alloc(arena, count);

	if (!low)
		xalloc_die(count);
	for (size_t i = 0; i < count; i++)
		low[i] = values ? (uint8_t)values[i] : 0;
	return low;
}

uint64_t *halves_high_64(struct arena *arena, const uint64_t *values, size_t count)
{
	uint64_t *high = values ? arena_alloc(arena, count * sizeof(*high)) : NULL;
	uint64_t all = 0;

	if (values && !high)
		xalloc_die(count * sizeof(*high));
	for (size_t i = 0; high && i < count; i++) {
		high[i] = values[i] >> LOW_BITS;
		all |= high[i];
	}
	return all ? high : NULL;
}

int halves_join_64(struct arena *arena, const uint8_t *low, size_t low_count, const uint64_t *high,
		   size_t high_count, size_t count, uint64_t **values)
{
	uint64_t *joined;

	*values = NULL;
	if ((low_count && low_count != count) || (high_count && high_count != count))
		return -1;
	if (!low_count && !high_count)
		return 0;
	joined = arena_alloc(arena, count * sizeof(*joined));
	if (!joined)
		return -1;
	for (size_t i = 0; i < count; i++) {
		uint64_t rest = high_count ? high[i] : 0;

		if (rest > UINT64_MAX >> LOW_BITS)
			return -1;
		joined[i] = rest << LOW_BITS | (low_count ? low[i] : 0);
	}
	*values = joined;
	return 0;
}
