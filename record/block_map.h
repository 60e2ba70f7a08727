/* SPDX-License-Identifier: Apache-2.0
 *
 * Which block lives at which address, for full recordings: a number for each 16 bytes of those
 * 4 KiB of a target's memory that hold blocks. Faster than heap_blocks.h and knows less.
 */
#ifndef SCPROF_BLOCK_MAP_H
#define SCPROF_BLOCK_MAP_H

#include <stdbool.h>

#include "formats/base/map.h"

#define BLOCK_MAP_NONE UINT64_MAX
#define BLOCK_MAP_PAGES ((size_t)1 << 22) /* some 5 GiB of ours */

struct block_map_page;

/* A zeroed struct is an empty map. */
struct block_map {
	struct map pages; /* address / 4 KiB -> index */
	struct block_map_page **list;
	size_t count, capacity;
	uint32_t *spare; /* indices that are free */
	size_t spare_count, spare_capacity;
	size_t empty;       /* pages without a block */
	struct map odd;     /* blocks that do not begin at a multiple of 16 */
	uint64_t last_page; /* number + 1 of the page used last, 0: none, and its index */
	uint32_t last_index;
	uint64_t newest; /* the largest number seen */
};

void block_map_release(struct block_map *m);

/* The block at address becomes `number`, which grows from call to call. Returns the one that lived
 * there, or BLOCK_MAP_NONE. Numbers are right as long as a block is not outlived by 2^32 - 1 later
 * ones. */
uint64_t block_map_set(struct block_map *m, uint64_t address, uint64_t number);
/* Whether a block lives at address. */
bool block_map_has(struct block_map *m, uint64_t address);
/* Takes out the block at address: its number, or BLOCK_MAP_NONE when there is none. */
uint64_t block_map_take(struct block_map *m, uint64_t address);

#endif
