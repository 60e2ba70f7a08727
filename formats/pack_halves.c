/* SPDX-License-Identifier: Apache-2.0
 *
 * Splitting columns, see pack_halves.h. The width of a number, 4 or 8 bytes, is a constant wherever
 * these are inlined.
 */
#include "formats/pack_halves.h"

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define LOW_BITS 8

static inline uint64_t number_at(const void *values, size_t i, size_t width)
{
	return width == 8 ? ((const uint64_t *)values)[i] : ((const uint32_t *)values)[i];
}

static inline void set_number(void *values, size_t i, size_t width, uint64_t number)
{
	if (width == 8)
		((uint64_t *)values)[i] = number;
	else
		((uint32_t *)values)[i] = (uint32_t)number;
}

static inline uint8_t *low_half(struct arena *arena, const void *values, size_t count, size_t width)
{
	uint8_t *low = arena_alloc(arena, count);

	if (!low)
		xalloc_die(count);
	for (size_t i = 0; i < count; i++)
		low[i] = values ? (uint8_t)number_at(values, i, width) : 0;
	return low;
}

static inline void *high_half(struct arena *arena, const void *values, size_t count, size_t width)
{
	void *high = values ? arena_alloc(arena, count * width) : NULL;
	uint64_t all = 0;

	if (values && !high)
		xalloc_die(count * width);
	for (size_t i = 0; high && i < count; i++) {
		uint64_t rest = number_at(values, i, width) >> LOW_BITS;

		set_number(high, i, width, rest);
		all |= rest;
	}
	return all ? high : NULL;
}

/* *values is set on success, to NULL for a column of zeros. */
static inline int join(struct arena *arena, const uint8_t *low, size_t low_count, const void *high,
		       size_t high_count, size_t count, size_t width, void **values)
{
	const uint64_t most = (width == 8 ? UINT64_MAX : UINT32_MAX) >> LOW_BITS;
	void *joined = NULL;

	if ((low_count && low_count != count) || (high_count && high_count != count))
		return -1;
	if (low_count || high_count) {
		joined = arena_alloc(arena, count * width);
		if (!joined)
			return -1;
	}
	for (size_t i = 0; joined && i < count; i++) {
		uint64_t rest = high_count ? number_at(high, i, width) : 0;

		if (rest > most)
			return -1;
		set_number(joined, i, width, rest << LOW_BITS | (low_count ? low[i] : 0));
	}
	*values = joined;
	return 0;
}

uint8_t *halves_low_32(struct arena *arena, const uint32_t *values, size_t count)
{
	return low_half(arena, values, count, sizeof(*values));
}

uint32_t *halves_high_32(struct arena *arena, const uint32_t *values, size_t count)
{
	return high_half(arena, values, count, sizeof(*values));
}

int halves_join_32(struct arena *arena, const uint8_t *low, size_t low_count, const uint32_t *high,
		   size_t high_count, size_t count, uint32_t **values)
{
	void *joined = NULL;
	int ret = join(arena, low, low_count, high, high_count, count, sizeof(*high), &joined);

	*values = joined;
	return ret;
}

uint8_t *halves_low_64(struct arena *arena, const uint64_t *values, size_t count)
{
	return low_half(arena, values, count, sizeof(*values));
}

uint64_t *halves_high_64(struct arena *arena, const uint64_t *values, size_t count)
{
	return high_half(arena, values, count, sizeof(*values));
}

int halves_join_64(struct arena *arena, const uint8_t *low, size_t low_count, const uint64_t *high,
		   size_t high_count, size_t count, uint64_t **values)
{
	void *joined = NULL;
	int ret = join(arena, low, low_count, high, high_count, count, sizeof(*high), &joined);

	*values = joined;
	return ret;
}
