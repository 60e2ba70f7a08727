/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear probing, at most 3/4 full; a removal closes its gap, so nothing is left behind.
 */
#include "record/heap_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"

#define FIRST_CAPACITY 256u

void heap_blocks_release(struct heap_blocks *b)
{
	free(b->places);
	memset(b, 0, sizeof(*b));
}

/* Where address is, or would go. */
static size_t find(const struct heap_blocks *b, uint64_t address)
{
	size_t i = map_hash(address) & (b->capacity - 1);

	while (b->places[i].address && b->places[i].address != address)
		i = (i + 1) & (b->capacity - 1);
	return i;
}

static void make_room(struct heap_blocks *b)
{
	struct heap_place *old = b->places;
	size_t old_capacity = b->capacity;

	if (old_capacity && (b->count + 1) * 4 <= old_capacity * 3)
		return;
	b->capacity = old_capacity ? old_capacity * 2 : FIRST_CAPACITY;
	b->places = xcalloc(b->capacity, sizeof(*b->places));
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i].address)
			b->places[find(b, old[i].address)] = old[i];
	free(old);
}

int heap_blocks_add(struct heap_blocks *b, uint64_t address, const struct heap_block *block)
{
	struct heap_place *place;

	if (!address || b->count >= HEAP_BLOCKS_MAX)
		return -1;
	make_room(b);
	place = &b->places[find(b, address)];
	b->count += !place->address;
	*place = (struct heap_place){address, *block};
	return 0;
}

static struct heap_place *freed_place(struct heap_blocks *b, uint64_t address)
{
	return &b->freed[map_hash(address) % HEAP_FREED];
}

bool heap_blocks_remove(struct heap_blocks *b, uint64_t address, struct heap_block *block)
{
	size_t mask = b->capacity - 1, hole;

	if (!address || !b->count)
		return false;
	hole = find(b, address);
	if (!b->places[hole].address)
		return false;
	*block = b->places[hole].block;
	*freed_place(b, address) = b->places[hole];
	b->count--;
	/* Whoever was pushed past the hole by it moves back into it. */
	for (size_t i = (hole + 1) & mask; b->places[i].address; i = (i + 1) & mask) {
		size_t home = map_hash(b->places[i].address) & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			b->places[hole] = b->places[i];
			hole = i;
		}
	}
	b->places[hole].address = 0;
	return true;
}

bool heap_blocks_restore(struct heap_blocks *b, uint64_t address, struct heap_block *block)
{
	struct heap_place *freed = freed_place(b, address);

	if (!address || freed->address != address ||
	    (b->count && b->places[find(b, address)].address))
		return false;
	*block = freed->block;
	freed->address = 0;
	return true;
}
