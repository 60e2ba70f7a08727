/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/heap_slab.h"

#include <stdatomic.h>

#include "record/agent/agent.h"
#include "record/agent/heap_set.h"

#define SLOTS ((uint32_t)(HEAP_SLAB_SIZE / HEAP_SLAB_SLOT))
#define NO_SLOT 0u /* slots are numbered from 1 in the list */

char *heap_slab_memory;

/* The free slots, last in first out: the first one's number below, and above it a count that grows
 * with every change, so that a list which looks the same is the same. */
static _Atomic uint64_t list;
static _Atomic uint32_t used; /* slots that were ever handed out */

static char *slot_at(uint32_t number)
{
	return heap_slab_memory + (size_t)(number - 1) * HEAP_SLAB_SLOT;
}

static _Atomic uint32_t *next_of(uint32_t number)
{
	return (_Atomic uint32_t *)slot_at(number);
}

static uint64_t head_of(uint64_t old, uint32_t number)
{
	return ((old >> 32) + 1) << 32 | number;
}

void heap_slab_start(void)
{
	if (!heap_slab_memory)
		heap_slab_memory = agent_map(HEAP_SLAB_SIZE);
}

static void *take_new(void)
{
	uint32_t at = atomic_load_explicit(&used, memory_order_relaxed);

	do {
		if (at == SLOTS)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(&used, &at, at + 1, memory_order_relaxed,
							memory_order_relaxed));
	/* For ever: free() must find it in the child of a fork, too, which forgets the set. */
	heap_set_keep(slot_at(at + 1));
	return slot_at(at + 1);
}

void *heap_slab_alloc(void)
{
	uint64_t old = atomic_load_explicit(&list, memory_order_acquire);
	uint32_t number, next;

	if (!heap_slab_memory)
		return NULL;
	do {
		number = (uint32_t)old;
		if (number == NO_SLOT)
			return take_new();
		/* Whoever took it meanwhile may have written there: then the exchange fails. */
		next = atomic_load_explicit(next_of(number), memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
		&list, &old, head_of(old, next), memory_order_acquire, memory_order_acquire));
	return slot_at(number);
}

void heap_slab_free(void *block)
{
	uint32_t number = (uint32_t)(((char *)block - heap_slab_memory) / HEAP_SLAB_SLOT) + 1;
	uint64_t old = atomic_load_explicit(&list, memory_order_relaxed);

	do {
		atomic_store_explicit(next_of(number), (uint32_t)old, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
		&list, &old, head_of(old, number), memory_order_release, memory_order_relaxed));
}
