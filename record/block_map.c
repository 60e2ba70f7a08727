/* SPDX-License-Identifier: Apache-2.0 */
#include "record/block_map.h"

#include <stdbool.h>
#include <stdlib.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"

#define PAGE_SHIFT 12
#define SLOT_SHIFT 4
#define SLOTS (1u << (PAGE_SHIFT - SLOT_SHIFT))

/* Sweeping is worth it beyond this many empty pages. */
#define EMPTY_MAX 4096

struct block_map_page {
	uint64_t number;
	bool used;
	uint32_t live;
	uint32_t slots[SLOTS]; /* a number's lower bits, + 1; 0: nothing */
};

void block_map_release(struct block_map *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->list[i]);
	free(m->list);
	free(m->spare);
	map_release(&m->pages);
	map_release(&m->odd);
	*m = (struct block_map){0};
}

/* Never 0, and never MAP_NONE. */
static uint32_t shorten(uint64_t number)
{
	return (uint32_t)(number % (UINT32_MAX - 1)) + 1;
}

/* The newest number that is shortened to this. */
static uint64_t lengthen(const struct block_map *m, uint32_t shortened)
{
	uint32_t newest = shorten(m->newest);
	uint64_t behind = newest >= shortened ? newest - shortened
					      : (uint64_t)newest + (UINT32_MAX - 1) - shortened;

	return m->newest - behind;
}

static struct block_map_page *find_page(struct block_map *m, uint64_t page)
{
	uint32_t index;

	if (m->last_page == page + 1)
		return m->list[m->last_index];
	index = map_get(&m->pages, page);
	if (index == MAP_NONE)
		return NULL;
	m->last_page = page + 1;
	m->last_index = index;
	return m->list[index];
}

static struct block_map_page *make_page(struct block_map *m, uint64_t page)
{
	uint32_t index;

	if (m->count - m->spare_count >= BLOCK_MAP_PAGES)
		return NULL;
	if (m->spare_count) {
		index = m->spare[--m->spare_count];
	} else {
		m->list =
			xgrow(m->list, &m->capacity, m->count + 1, sizeof(struct block_map_page *));
		index = (uint32_t)m->count;
		m->list[m->count++] = xcalloc(1, sizeof(struct block_map_page));
	}
	m->list[index]->number = page;
	m->list[index]->used = true;
	m->empty++;
	map_set(&m->pages, page, index);
	m->last_page = page + 1;
	m->last_index = index;
	return m->list[index];
}

/* Empty pages serve elsewhere; but many fill up again soon, so they may stay for a while. */
static void sweep(struct block_map *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct block_map_page *p = m->list[i];

		if (!p->used || p->live)
			continue;
		p->used = false;
		map_remove(&m->pages, p->number);
		m->spare =
			xgrow(m->spare, &m->spare_capacity, m->spare_count + 1, sizeof(*m->spare));
		m->spare[m->spare_count++] = (uint32_t)i;
	}
	m->empty = 0;
	m->last_page = 0;
}

uint64_t block_map_set(struct block_map *m, uint64_t address, uint64_t number)
{
	uint64_t page = address >> PAGE_SHIFT;
	struct block_map_page *p;
	uint32_t old, *slot;

	m->newest = number;
	if (address & ((1u << SLOT_SHIFT) - 1)) {
		old = map_get(&m->odd, address);
		if (old == MAP_NONE && m->odd.count >= BLOCK_MAP_PAGES)
			return BLOCK_MAP_NONE;
		map_set(&m->odd, address, shorten(number));
		return old == MAP_NONE ? BLOCK_MAP_NONE : lengthen(m, old);
	}
	p = find_page(m, page);
	if (!p)
		p = make_page(m, page);
	if (!p)
		return BLOCK_MAP_NONE;
	slot = &p->slots[address >> SLOT_SHIFT & (SLOTS - 1)];
	old = *slot;
	*slot = shorten(number);
	if (old)
		return lengthen(m, old);
	if (!p->live++)
		m->empty--;
	return BLOCK_MAP_NONE;
}

bool block_map_has(struct block_map *m, uint64_t address)
{
	const struct block_map_page *p;

	if (address & ((1u << SLOT_SHIFT) - 1))
		return map_get(&m->odd, address) != MAP_NONE;
	p = find_page(m, address >> PAGE_SHIFT);
	return p && p->slots[address >> SLOT_SHIFT & (SLOTS - 1)];
}

uint64_t block_map_take(struct block_map *m, uint64_t address)
{
	uint64_t page = address >> PAGE_SHIFT;
	struct block_map_page *p;
	uint32_t old, *slot;

	if (address & ((1u << SLOT_SHIFT) - 1)) {
		old = map_remove(&m->odd, address);
		return old == MAP_NONE ? BLOCK_MAP_NONE : lengthen(m, old);
	}
	p = find_page(m, page);
	if (!p)
		return BLOCK_MAP_NONE;
	slot = &p->slots[address >> SLOT_SHIFT & (SLOTS - 1)];
	old = *slot;
	if (!old)
		return BLOCK_MAP_NONE;
	*slot = 0;
	if (!--p->live && ++m->empty > EMPTY_MAX + (m->count - m->spare_count) / 2)
		sweep(m);
	return lengthen(m, old);
}
