/* SPDX-License-Identifier: Apache-2.0
 *
 * Columns in halves: the low eight bits of each number as bytes, the rest as numbers. A column
 * of zeros can be NULL, and so can a high half of zeros.
 */
#ifndef SCPROF_PACK_HALVES_H
#define SCPROF_PACK_HALVES_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/arena.h"

/* The halves live in the arena, whose end is the end of the tool. */
uint8_t *halves_low_32(struct arena *arena, const uint32_t *values, size_t count);
uint32_t *halves_high_32(struct arena *arena, const uint32_t *values, size_t count);
uint8_t *halves_low_64(struct arena *arena, const uint64_t *values, size_t count);
uint64_t *halves_high_64(struct arena *arena, const uint64_t *values, size_t count);

/* Puts halves together again. Returns -1 when they are not count values each or none, when a number
 * does not fit, or when the arena's cap is reached. */
int halves_join_32(struct arena *arena, const uint8_t *low, size_t low_count, const uint32_t *high,
		   size_t high_count, size_t count, uint32_t **values);
int halves_join_64(struct arena *arena, const uint8_t *low, size_t low_count, const uint64_t *high,
		   size_t high_count, size_t count, uint64_t **values);

#endif
