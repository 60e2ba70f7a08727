/* SPDX-License-Identifier: Apache-2.0
 *
 * The addresses of the sampled blocks that live. Buckets of eight words, one cache line, changed
 * by compare-and-swap alone; nobody waits. In front of them a table of one byte for each of 65536
 * hash values says how many addresses have that value: free() looks there first, and for nearly
 * every block that is all.
 *
 * Whoever frees a block owns its address until the real free, and whoever got it from the real
 * malloc owns it from there on: two threads meet at one address only as described at
 * heap_set_report.
 */
#ifndef SCPROF_HEAP_SET_H
#define SCPROF_HEAP_SET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HEAP_FILTER_SIZE (1u << 16)

/* How many addresses are in the set for each hash value. */
extern _Atomic uint8_t heap_filter[HEAP_FILTER_SIZE];

/* Blocks that are far apart have nothing in common but the low bits of their page's address; the
 * multiplication spreads these too. */
static inline uint32_t heap_set_hash(const void *block)
{
	return (uint32_t)(uintptr_t)block * 0x9e3779b1u;
}

/* False: it is certainly not in the set. */
static inline bool heap_set_maybe(const void *block)
{
	return atomic_load_explicit(&heap_filter[heap_set_hash(block) >> 16],
				    memory_order_relaxed) != 0;
}

/* Makes room for what lives when one sample stands for `mean` bytes. Returns 0 or -1. */
int heap_set_start(uint64_t mean);
/* From here on every block may be in the set, as heap_set_maybe sees it. */
void heap_set_fill(void);
/* That is over, and no block at all is. Only while nobody else runs. */
void heap_set_empty(void);
/* Forgets every address. Only while nobody else runs. */
void heap_set_reset(void);

/* Its place, for the others; NULL when the block is not in the set. */
_Atomic uint64_t *heap_set_find(const void *block);
/* Returns its place, or NULL when it has to be given up. *owed: the address was there with a
 * release that is not reported yet; the reader learns of that from the new block. */
_Atomic uint64_t *heap_set_add(const void *block, bool *owed);
void heap_set_remove(_Atomic uint64_t *place);

/* The block is about to be released, but the reader could not be told yet. */
void heap_set_owe(_Atomic uint64_t *place);
/* It was not released after all. False: the reader has been told that it was. */
bool heap_set_unowe(const void *block);

bool heap_set_owes(void);
/* Hands the released blocks that the reader does not know of to `report`, until it returns false.
 * A thread that gets the address of one meanwhile gives its sample up. */
void heap_set_report(bool (*report)(uint64_t address));

/* For ever in the filter, not in the set. */
void heap_set_keep(const void *block);

#endif
