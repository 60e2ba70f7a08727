/* SPDX-License-Identifier: Apache-2.0
 *
 * Which block lives at which address of a target. Plain bookkeeping: what an event means, and what
 * goes into the trace, is decided in drain_heap.c.
 */
#ifndef SCPROF_HEAP_BLOCKS_H
#define SCPROF_HEAP_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_BLOCKS_MAX ((size_t)1 << 26)
#define HEAP_FREED 1024u

/* A block as the trace knows it. */
struct heap_block {
	uint64_t number; /* in its process */
	uint64_t size;
	uint32_t node;
	uint16_t kind;  /* enum trace_heap_kind */
	uint16_t flags; /* enum trace_heap_flag */
};

struct heap_place {
	uint64_t address; /* 0: nothing here */
	struct heap_block block;
};

/* A zeroed struct is an empty table. */
struct heap_blocks {
	struct heap_place *places; /* open addressing */
	size_t capacity;           /* a power of two, or 0 */
	size_t count;
	/* What was removed last at some addresses, by their hash: one of many may be forgotten. */
	struct heap_place freed[HEAP_FREED];
};

void heap_blocks_release(struct heap_blocks *b);

/* Nothing may live at address, see heap_blocks_remove. Returns 0, or -1 when the table is full or
 * the address is 0. */
int heap_blocks_add(struct heap_blocks *b, uint64_t address, const struct heap_block *block);
/* Takes out what lives at address and remembers it for a while. False when nothing does. */
bool heap_blocks_remove(struct heap_blocks *b, uint64_t address, struct heap_block *block);
/* The block that was removed last at address: it was not freed after all, and it is the caller's to
 * add again. False when something lives there or the block is forgotten. */
bool heap_blocks_restore(struct heap_blocks *b, uint64_t address, struct heap_block *block);

#endif
