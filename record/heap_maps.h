/* SPDX-License-Identifier: Apache-2.0
 *
 * Which mapping covers which addresses of a target. A mapping is one block, whatever holes are
 * punched into it later. Plain bookkeeping like heap_blocks.h; ranges are [start, end), as given:
 * whoever releases rounds to pages.
 */
#ifndef SCPROF_HEAP_MAPS_H
#define SCPROF_HEAP_MAPS_H

#include "record/heap_blocks.h"

#define HEAP_RANGES_MAX ((size_t)1 << 20)
#define HEAP_MAPS_ALL UINT32_MAX /* every kind */

struct heap_leaf;

struct heap_range {
	uint64_t start, end;
	uint32_t mapping;
};

struct heap_mapping {
	struct heap_block block; /* block.size: when it was new */
	uint64_t left;
	bool touched; /* by the take in progress */
	uint32_t next_unused;
};

/* A zeroed struct is an empty map. */
struct heap_maps {
	struct heap_leaf **leaves; /* sorted, none is empty */
	size_t leaf_count, leaf_capacity;
	size_t range_count;
	struct heap_mapping *mappings;
	size_t mapping_count, mapping_capacity;
	uint32_t unused;          /* first of a list of unused mappings, plus 1 */
	struct heap_range *taken; /* by the last heap_maps_take */
	size_t taken_count, taken_capacity;
};

void heap_maps_release(struct heap_maps *m);

/* The block that covers address. */
bool heap_maps_find(const struct heap_maps *m, uint64_t address, struct heap_block *block);

/* Takes what there is in [start, end) out, of blocks whose kind is in the bit set `kinds`. Then
 * calls, in order of address, released for each block that lost something: left is what it has
 * yet, 0 when it is gone. Returns the number of bytes taken. released must not change m. */
uint64_t heap_maps_take(struct heap_maps *m, uint64_t start, uint64_t end, uint32_t kinds,
			void (*released)(void *arg, const struct heap_block *block, uint64_t left),
			void *arg);

/* A new block in [start, end), where nothing may be. Returns 0, or -1 when there are too many. */
int heap_maps_add(struct heap_maps *m, uint64_t start, uint64_t end,
		  const struct heap_block *block);
/* A new block at all the places where the last heap_maps_take found something. */
int heap_maps_add_taken(struct heap_maps *m, const struct heap_block *block);

#endif
