/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages of blocks, cut out of chunks that never move, and their sheets; both are used again.
 */
#include "analyze/ledger_blocks.h"

#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define CHUNK_PAGES 256u
#define SHEET_BLOCKS (LEDGER_SHEET_PAGES * LEDGER_PAGE_BLOCKS)

static struct ledger_page *page_at(const struct ledger_blocks *b, uint32_t id)
{
	return &b->chunks[id / CHUNK_PAGES][id % CHUNK_PAGES];
}

void ledger_blocks_release(struct ledger_blocks *b)
{
	for (size_t i = 0; i < b->chunk_count; i++)
		free(b->chunks[i]);
	free(b->chunks);
	free(b->sheets);
	map_release(&b->numbers);
	*b = (struct ledger_blocks){0};
}

static uint32_t new_page(struct ledger_blocks *b)
{
	uint32_t id;

	if (b->free_page) {
		id = b->free_page - 1;
		b->free_page = page_at(b, id)->next_free;
	} else {
		id = b->page_count++;
		if (id / CHUNK_PAGES == b->chunk_count) {
			b->chunks = xgrow(b->chunks, &b->chunk_capacity, b->chunk_count + 1,
					  sizeof(struct ledger_page *));
			b->chunks[b->chunk_count++] = xmalloc(CHUNK_PAGES * sizeof(**b->chunks));
		}
	}
	page_at(b, id)->live = 0;
	return id + 1;
}

static uint32_t new_sheet(struct ledger_blocks *b, uint64_t number)
{
	uint32_t id;

	if (b->free_sheet) {
		id = b->free_sheet - 1;
		b->free_sheet = b->sheets[id].count;
	} else {
		id = b->sheet_count++;
		b->sheets =
			xgrow(b->sheets, &b->sheet_capacity, b->sheet_count, sizeof(*b->sheets));
	}
	b->sheets[id] = (struct ledger_sheet){0};
	map_set(&b->numbers, number, id);
	return id + 1;
}

/* The sheet's id + 1, or 0. Most look-ups are for a young block. */
static uint32_t find_sheet(const struct ledger_blocks *b, uint64_t number)
{
	uint32_t id;

	if (b->newest_sheet && b->newest == number)
		return b->newest_sheet;
	id = map_get(&b->numbers, number);
	return id == MAP_NONE ? 0 : id + 1;
}

/* An empty sheet goes, unless it is the newest: that is about to be used again. */
static void drop_if_empty(struct ledger_blocks *b, uint64_t number, uint32_t sheet)
{
	if (b->sheets[sheet - 1].count || sheet == b->newest_sheet)
		return;
	map_remove(&b->numbers, number);
	b->sheets[sheet - 1].count = b->free_sheet;
	b->free_sheet = sheet;
}

/* Where the sheet has the page of the block. */
static uint32_t *page_slot(const struct ledger_blocks *b, uint32_t sheet, uint64_t number)
{
	return &b->sheets[sheet - 1].pages[number / LEDGER_PAGE_BLOCKS % LEDGER_SHEET_PAGES];
}

struct ledger_block *ledger_blocks_add(struct ledger_blocks *b, uint64_t number)
{
	uint64_t sheet_number = number / SHEET_BLOCKS;
	uint32_t bit = (uint32_t)(number % LEDGER_PAGE_BLOCKS);
	uint32_t sheet = find_sheet(b, sheet_number);
	uint32_t *slot;
	struct ledger_page *page;

	if (!sheet)
		sheet = new_sheet(b, sheet_number);
	if (sheet != b->newest_sheet) {
		uint64_t before = b->newest;
		uint32_t before_sheet = b->newest_sheet;

		b->newest = sheet_number;
		b->newest_sheet = sheet;
		if (before_sheet)
			drop_if_empty(b, before, before_sheet);
	}
	slot = page_slot(b, sheet, number);
	if (!*slot) {
		*slot = new_page(b);
		b->sheets[sheet - 1].count++;
	}
	page = page_at(b, *slot - 1);
	page->live |= 1u << bit;
	b->count++;
	return &page->blocks[bit];
}

struct ledger_block *ledger_blocks_find(struct ledger_blocks *b, uint64_t number)
{
	uint32_t bit = (uint32_t)(number % LEDGER_PAGE_BLOCKS);
	uint32_t sheet = find_sheet(b, number / SHEET_BLOCKS);
	uint32_t id = sheet ? *page_slot(b, sheet, number) : 0;
	struct ledger_page *page;

	if (!id)
		return NULL;
	page = page_at(b, id - 1);
	return page->live >> bit & 1 ? &page->blocks[bit] : NULL;
}

void ledger_blocks_prefetch(const struct ledger_blocks *b, uint64_t number)
{
	uint32_t sheet = find_sheet(b, number / SHEET_BLOCKS);
	uint32_t id = sheet ? *page_slot(b, sheet, number) : 0;
	const struct ledger_page *page;

	if (!id)
		return;
	page = page_at(b, id - 1);
	__builtin_prefetch(page);
	__builtin_prefetch(&page->blocks[number % LEDGER_PAGE_BLOCKS]);
}

void ledger_blocks_remove(struct ledger_blocks *b, uint64_t number)
{
	uint64_t sheet_number = number / SHEET_BLOCKS;
	uint32_t sheet = find_sheet(b, sheet_number);
	uint32_t *slot = page_slot(b, sheet, number);
	struct ledger_page *page = page_at(b, *slot - 1);

	page->live &= ~(1u << number % LEDGER_PAGE_BLOCKS);
	b->count--;
	if (page->live)
		return;
	page->next_free = b->free_page;
	b->free_page = *slot;
	*slot = 0;
	b->sheets[sheet - 1].count--;
	drop_if_empty(b, sheet_number, sheet);
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void walk_sheet(const struct ledger_blocks *b, const struct ledger_sheet *sheet,
		       void (*visit)(void *arg, const struct ledger_block *), void *arg)
{
	for (size_t i = 0; i < LEDGER_SHEET_PAGES; i++) {
		const struct ledger_page *page;

		if (!sheet->pages[i])
			continue;
		page = page_at(b, sheet->pages[i] - 1);
		for (uint32_t bit = 0; bit < LEDGER_PAGE_BLOCKS; bit++) {
			if (page->live >> bit & 1)
				visit(arg, &page->blocks[bit]);
		}
	}
}

void ledger_blocks_walk(struct ledger_blocks *b,
			void (*visit)(void *arg, const struct ledger_block *), void *arg)
{
	uint64_t *numbers = xcalloc(b->numbers.count + 1, sizeof(*numbers));
	size_t count = 0;
	uint64_t number;
	uint32_t id;

	for (size_t at = 0; map_next(&b->numbers, &at, &number, &id);)
		numbers[count++] = number;
	qsort(numbers, count, sizeof(*numbers), compare_numbers);
	for (size_t i = 0; i < count; i++)
		walk_sheet(b, &b->sheets[map_get(&b->numbers, numbers[i])], visit, arg);
	free(numbers);
}
