/* SPDX-License-Identifier: Apache-2.0
 *
 * A sorted array of ranges in pieces: finding one is two binary searches, and a change moves no
 * more than one piece, however many mappings there are.
 */
#include "record/heap_maps.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"

#define LEAF_RANGES 128u

struct heap_leaf {
	size_t count;
	struct heap_range ranges[LEAF_RANGES];
};

/* Between two ranges, or before the first or behind the last. leaf == leaf_count: behind all. */
struct place {
	size_t leaf, at;
};

void heap_maps_release(struct heap_maps *m)
{
	for (size_t i = 0; i < m->leaf_count; i++)
		free(m->leaves[i]);
	free(m->leaves);
	free(m->mappings);
	free(m->taken);
	memset(m, 0, sizeof(*m));
}

/* The first range that ends behind address. */
static struct place find(const struct heap_maps *m, uint64_t address)
{
	struct place place = {0, 0};
	size_t low = 0, high = m->leaf_count;
	const struct heap_leaf *leaf;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		leaf = m->leaves[middle];
		if (leaf->ranges[leaf->count - 1].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	place.leaf = low;
	if (low == m->leaf_count)
		return place;
	leaf = m->leaves[low];
	low = 0;
	high = leaf->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (leaf->ranges[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	place.at = low;
	return place;
}

static void insert_leaf(struct heap_maps *m, size_t at, struct heap_leaf *leaf)
{
	m->leaves = xgrow(m->leaves, &m->leaf_capacity, m->leaf_count + 1, sizeof(*m->leaves));
	memmove(m->leaves + at + 1, m->leaves + at, (m->leaf_count - at) * sizeof(*m->leaves));
	m->leaves[at] = leaf;
	m->leaf_count++;
}

/* Returns -1 when there are too many. */
static int insert(struct heap_maps *m, uint64_t start, uint64_t end, uint32_t mapping)
{
	struct place place = find(m, start);
	struct heap_leaf *leaf;

	if (m->range_count >= HEAP_RANGES_MAX)
		return -1;
	if (place.leaf == m->leaf_count && m->leaf_count) {
		place.leaf--;
		place.at = m->leaves[place.leaf]->count;
	} else if (!m->leaf_count) {
		insert_leaf(m, 0, xcalloc(1, sizeof(*leaf)));
	}
	leaf = m->leaves[place.leaf];
	if (leaf->count == LEAF_RANGES) {
		/* What is mapped downwards or upwards without end leaves full leaves behind. */
		size_t keep = place.at == 0             ? 0
			      : place.at == LEAF_RANGES ? LEAF_RANGES
							: LEAF_RANGES / 2;
		struct heap_leaf *more = xcalloc(1, sizeof(*more));

		if (keep == 0) {
			insert_leaf(m, place.leaf, more);
			leaf = more;
		} else {
			more->count = LEAF_RANGES - keep;
			memcpy(more->ranges, leaf->ranges + keep,
			       more->count * sizeof(*more->ranges));
			leaf->count = keep;
			insert_leaf(m, place.leaf + 1, more);
			if (place.at > keep || keep == LEAF_RANGES) {
				place.at -= keep;
				leaf = more;
			}
		}
	}
	memmove(leaf->ranges + place.at + 1, leaf->ranges + place.at,
		(leaf->count - place.at) * sizeof(*leaf->ranges));
	leaf->ranges[place.at] = (struct heap_range){start, end, mapping};
	leaf->count++;
	m->range_count++;
	return 0;
}

static void delete_range(struct heap_maps *m, const struct place *place)
{
	struct heap_leaf *leaf = m->leaves[place->leaf];

	leaf->count--;
	m->range_count--;
	memmove(leaf->ranges + place->at, leaf->ranges + place->at + 1,
		(leaf->count - place->at) * sizeof(*leaf->ranges));
	if (leaf->count)
		return;
	free(leaf);
	m->leaf_count--;
	memmove(m->leaves + place->leaf, m->leaves + place->leaf + 1,
		(m->leaf_count - place->leaf) * sizeof(*m->leaves));
}

bool heap_maps_find(const struct heap_maps *m, uint64_t address, struct heap_block *block)
{
	struct place place = find(m, address);
	const struct heap_range *range;

	if (place.leaf == m->leaf_count)
		return false;
	range = &m->leaves[place.leaf]->ranges[place.at];
	if (range->start > address)
		return false;
	*block = m->mappings[range->mapping].block;
	return true;
}

static void note_taken(struct heap_maps *m, uint64_t start, uint64_t end, uint32_t mapping)
{
	m->taken = xgrow(m->taken, &m->taken_capacity, m->taken_count + 1, sizeof(*m->taken));
	m->taken[m->taken_count++] = (struct heap_range){start, end, mapping};
	m->mappings[mapping].left -= end - start;
	m->mappings[mapping].touched = true;
}

static void
tell_released(struct heap_maps *m,
	      void (*released)(void *arg, const struct heap_block *block, uint64_t left), void *arg)
{
	for (size_t i = 0; i < m->taken_count; i++) {
		uint32_t id = m->taken[i].mapping;
		struct heap_mapping *mapping = &m->mappings[id];

		if (!mapping->touched)
			continue;
		mapping->touched = false;
		released(arg, &mapping->block, mapping->left);
		if (!mapping->left) {
			mapping->next_unused = m->unused;
			m->unused = id + 1;
		}
	}
}

uint64_t heap_maps_take(struct heap_maps *m, uint64_t start, uint64_t end, uint32_t kinds,
			void (*released)(void *arg, const struct heap_block *block, uint64_t left),
			void *arg)
{
	struct place place = find(m, start);
	uint64_t bytes = 0;

	m->taken_count = 0;
	while (place.leaf < m->leaf_count) {
		struct heap_range *range = &m->leaves[place.leaf]->ranges[place.at];
		uint64_t from = range->start > start ? range->start : start;
		uint64_t to = range->end < end ? range->end : end;
		uint64_t range_end = range->end;

		if (from >= to)
			break;
		if (kinds >> m->mappings[range->mapping].block.kind & 1) {
			note_taken(m, from, to, range->mapping);
			bytes += to - from;
			if (from == range->start && to == range->end) {
				delete_range(m, &place);
				if (place.leaf < m->leaf_count &&
				    place.at == m->leaves[place.leaf]->count)
					place = (struct place){place.leaf + 1, 0};
				continue;
			}
			if (from == range->start) {
				range->start = to;
				break;
			}
			range->end = from;
			if (to < range_end) {
				uint32_t id = range->mapping;

				/* Too many: the rest is gone, too. */
				if (insert(m, to, range_end, id))
					m->mappings[id].left -= range_end - to;
				break;
			}
		}
		if (++place.at == m->leaves[place.leaf]->count)
			place = (struct place){place.leaf + 1, 0};
	}
	tell_released(m, released, arg);
	return bytes;
}

static uint32_t new_mapping(struct heap_maps *m, const struct heap_block *block)
{
	uint32_t id;

	if (m->unused) {
		id = m->unused - 1;
		m->unused = m->mappings[id].next_unused;
	} else {
		m->mappings = xgrow(m->mappings, &m->mapping_capacity, m->mapping_count + 1,
				    sizeof(*m->mappings));
		id = (uint32_t)m->mapping_count++;
	}
	m->mappings[id] = (struct heap_mapping){.block = *block};
	return id;
}

static int add_range(struct heap_maps *m, uint64_t start, uint64_t end, uint32_t id)
{
	if (insert(m, start, end, id))
		return -1;
	m->mappings[id].left += end - start;
	return 0;
}

static int keep_if_used(struct heap_maps *m, uint32_t id)
{
	if (m->mappings[id].left)
		return 0;
	m->mappings[id].next_unused = m->unused;
	m->unused = id + 1;
	return -1;
}

int heap_maps_add(struct heap_maps *m, uint64_t start, uint64_t end, const struct heap_block *block)
{
	uint32_t id = new_mapping(m, block);

	if (start < end)
		add_range(m, start, end, id);
	return keep_if_used(m, id);
}

int heap_maps_add_taken(struct heap_maps *m, const struct heap_block *block)
{
	uint32_t id = new_mapping(m, block);

	for (size_t i = 0; i < m->taken_count; i++)
		add_range(m, m->taken[i].start, m->taken[i].end, id);
	m->taken_count = 0;
	return keep_if_used(m, id);
}
