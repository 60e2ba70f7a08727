/* SPDX-License-Identifier: Apache-2.0
 *
 * The live blocks of a process by their number. Numbers are given in order of allocation, so
 * neighbours were allocated together: they lie in small pages, the pages hang on sheets, and a hash
 * table that is small enough to stay in the cache finds the sheets. A page goes when its last block
 * does, a sheet with its last page: memory grows with live blocks, never with the numbers. A zeroed
 * struct is empty.
 */
#ifndef SCPROF_LEDGER_BLOCKS_H
#define SCPROF_LEDGER_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/map.h"

#define LEDGER_PAGE_BLOCKS 16u
#define LEDGER_SHEET_PAGES 64u

struct ledger_block {
	uint64_t size : 62;
	uint64_t exact : 1; /* not sampled: stands for itself alone */
	uint64_t old : 1;   /* restored, or allocated in a gap: cannot be temporary any more */
	uint64_t time_ns;   /* of its allocation */
	uint32_t site;
	uint32_t thread;
};

struct ledger_page {
	uint32_t live;      /* a bit for each block */
	uint32_t next_free; /* id + 1, when it is free itself */
	struct ledger_block blocks[LEDGER_PAGE_BLOCKS];
};

struct ledger_sheet {
	uint32_t pages[LEDGER_SHEET_PAGES]; /* ids + 1; 0: no live block */
	uint32_t count;                     /* of pages; next free sheet (id + 1) when unused */
};

struct ledger_blocks {
	struct map numbers; /* of a sheet, to its id */
	struct ledger_sheet *sheets;
	uint32_t sheet_count; /* ids given out */
	size_t sheet_capacity;
	uint32_t free_sheet;   /* id + 1 */
	uint64_t newest;       /* number of the sheet last added to */
	uint32_t newest_sheet; /* its id + 1 */
	struct ledger_page **chunks;
	size_t chunk_count;
	size_t chunk_capacity;
	uint32_t page_count; /* ids given out */
	uint32_t free_page;  /* id + 1 */
	size_t count;        /* of live blocks */
};

void ledger_blocks_release(struct ledger_blocks *b);
/* Room for a block that is not live yet; borrowed until it is removed. */
struct ledger_block *ledger_blocks_add(struct ledger_blocks *b, uint64_t number);
/* NULL when it is not live. */
struct ledger_block *ledger_blocks_find(struct ledger_blocks *b, uint64_t number);
/* Brings a block into the cache that is about to be looked for. */
void ledger_blocks_prefetch(const struct ledger_blocks *b, uint64_t number);
/* The block must be live. */
void ledger_blocks_remove(struct ledger_blocks *b, uint64_t number);
/* All live blocks in order of their numbers, one call each. */
void ledger_blocks_walk(struct ledger_blocks *b,
			void (*visit)(void *arg, const struct ledger_block *), void *arg);

#endif
