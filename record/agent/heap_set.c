/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/heap_set.h"

#include <stddef.h>

#include "record/agent/agent.h"

#define BUCKET ((size_t)8)
#define BITS_LEAST 14u
#define BITS_MOST 20u
/* The buckets of a heap of so many bytes are half full. */
#define HEAP_EXPECTED (64ull << 30)
#define FILTER_BITS 16u

/* The lowest bits of a word; addresses have none. */
#define OWED 1u     /* released, not reported */
#define REPORTED 2u /* somebody is reporting it */
#define STATE 7u

_Alignas(64) _Atomic uint8_t heap_filter[HEAP_FILTER_SIZE];

static struct {
	_Atomic uint64_t *words; /* BUCKET << bits */
	unsigned bits;
	_Atomic uint64_t owed; /* words that are OWED or REPORTED */
} set;

int heap_set_start(uint64_t mean)
{
	/* One for each size: a recording after this one may want another. */
	static _Atomic uint64_t *tables[BITS_MOST + 1];

	set.bits = BITS_LEAST;
	while (set.bits < BITS_MOST &&
	       ((uint64_t)BUCKET << set.bits) / 2 < HEAP_EXPECTED / (mean ? mean : 1))
		set.bits++;
	if (!tables[set.bits])
		tables[set.bits] = agent_map((sizeof(uint64_t) * BUCKET) << set.bits);
	set.words = tables[set.bits];
	return set.words ? 0 : -1;
}

static _Atomic uint64_t *bucket_of(uint32_t hash)
{
	return set.words + (size_t)BUCKET * (hash >> (32 - set.bits));
}

static void filter_add(const void *block, int n)
{
	atomic_fetch_add_explicit(&heap_filter[heap_set_hash(block) >> 16], (uint8_t)n,
				  memory_order_relaxed);
}

void heap_set_keep(const void *block)
{
	filter_add(block, 1);
}

/* Calls `visit` for every used word; false ends it. Eight values of the filter, mostly zeros, are
 * looked at together. */
static inline void each_word(bool (*visit)(_Atomic uint64_t *word, void *arg), void *arg)
{
	size_t count = (8 * BUCKET) << set.bits >> FILTER_BITS;

	for (size_t value = 0; value < HEAP_FILTER_SIZE; value += 8) {
		_Atomic uint64_t *words = set.words + value / 8 * count;
		uint64_t counts;

		memcpy(&counts, (const void *)&heap_filter[value], sizeof(counts));
		if (!counts)
			continue;
		for (size_t i = 0; i < count; i++)
			if (atomic_load_explicit(&words[i], memory_order_relaxed) &&
			    !visit(&words[i], arg))
				return;
	}
}

static bool forget(_Atomic uint64_t *word, void *arg)
{
	(void)arg;
	heap_set_remove(word);
	return true;
}

void heap_set_fill(void)
{
	/* Far from where adding or removing one would make it 0. */
	for (size_t i = 0; i < HEAP_FILTER_SIZE; i++)
		atomic_store_explicit(&heap_filter[i], 128, memory_order_relaxed);
}

void heap_set_empty(void)
{
	for (size_t i = 0; i < HEAP_FILTER_SIZE; i++)
		atomic_store_explicit(&heap_filter[i], 0, memory_order_relaxed);
}

void heap_set_reset(void)
{
	if (set.words)
		each_word(forget, NULL);
	atomic_store_explicit(&set.owed, 0, memory_order_relaxed);
}

_Atomic uint64_t *heap_set_find(const void *block)
{
	_Atomic uint64_t *bucket;

	if (!block || !set.words || !heap_set_maybe(block))
		return NULL;
	bucket = bucket_of(heap_set_hash(block));
	for (unsigned i = 0; i < BUCKET; i++)
		if (atomic_load_explicit(&bucket[i], memory_order_relaxed) ==
		    (uint64_t)(uintptr_t)block)
			return &bucket[i];
	return NULL;
}

/* Of a block whose address is in the bucket already. */
static _Atomic uint64_t *add_again(_Atomic uint64_t *word, uint64_t value, uint64_t address,
				   bool *owed)
{
	*owed = (value & STATE) != 0;
	if (value == address)
		return word; /* its release went by unseen */
	if ((value & STATE) != OWED ||
	    !atomic_compare_exchange_strong_explicit(word, &value, address, memory_order_relaxed,
						     memory_order_relaxed))
		return NULL;
	atomic_fetch_sub_explicit(&set.owed, 1, memory_order_relaxed);
	return word;
}

_Atomic uint64_t *heap_set_add(const void *block, bool *owed)
{
	uint64_t address = (uint64_t)(uintptr_t)block;
	_Atomic uint64_t *bucket;

	*owed = false;
	if (!set.words || address & STATE)
		return NULL;
	bucket = bucket_of(heap_set_hash(block));
	for (unsigned i = 0; i < BUCKET; i++) {
		uint64_t value = atomic_load_explicit(&bucket[i], memory_order_relaxed);

		if ((value & ~(uint64_t)STATE) == address)
			return add_again(&bucket[i], value, address, owed);
	}
	/* Before the address: who finds it must have been let through. */
	filter_add(block, 1);
	for (unsigned i = 0; i < BUCKET; i++) {
		uint64_t empty = 0;

		if (atomic_compare_exchange_strong_explicit(&bucket[i], &empty, address,
							    memory_order_relaxed,
							    memory_order_relaxed))
			return &bucket[i];
	}
	filter_add(block, -1);
	return NULL;
}

void heap_set_remove(_Atomic uint64_t *place)
{
	uint64_t value = atomic_exchange_explicit(place, 0, memory_order_relaxed);

	filter_add((void *)(uintptr_t)(value & ~(uint64_t)STATE), -1);
}

void heap_set_owe(_Atomic uint64_t *place)
{
	atomic_fetch_add_explicit(&set.owed, 1, memory_order_relaxed);
	atomic_fetch_or_explicit(place, OWED, memory_order_relaxed);
}

bool heap_set_unowe(const void *block)
{
	uint64_t address = (uint64_t)(uintptr_t)block;
	_Atomic uint64_t *bucket = bucket_of(heap_set_hash(block));

	for (unsigned i = 0; i < BUCKET; i++) {
		uint64_t owed = address | OWED;

		if (!atomic_compare_exchange_strong_explicit(
			    &bucket[i], &owed, address, memory_order_relaxed, memory_order_relaxed))
			continue;
		atomic_fetch_sub_explicit(&set.owed, 1, memory_order_relaxed);
		return true;
	}
	return false;
}

static bool report_word(_Atomic uint64_t *word, void *arg)
{
	bool (**report)(uint64_t) = arg;
	uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
	uint64_t address = value & ~(uint64_t)STATE;

	if ((value & STATE) != OWED ||
	    !atomic_compare_exchange_strong_explicit(word, &value, address | REPORTED,
						     memory_order_relaxed, memory_order_relaxed))
		return true;
	if (!(*report)(address)) {
		atomic_store_explicit(word, address | OWED, memory_order_relaxed);
		return false;
	}
	heap_set_remove(word);
	atomic_fetch_sub_explicit(&set.owed, 1, memory_order_relaxed);
	return true;
}

bool heap_set_owes(void)
{
	return atomic_load_explicit(&set.owed, memory_order_relaxed) != 0;
}

void heap_set_report(bool (*report)(uint64_t address))
{
	if (heap_set_owes())
		each_word(report_word, &report);
}
