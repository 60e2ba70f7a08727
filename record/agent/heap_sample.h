/* SPDX-License-Identifier: Apache-2.0
 *
 * Which allocations are recorded, and how. Every way to memory (heap_malloc.c, heap_python.c)
 * counts what is asked for down from an exponential distance (countdown.h) with heap_count; that
 * and a look at the filter of heap_set.h is all that most calls do. Mappings (heap_map.c) are all
 * recorded.
 */
#ifndef SCPROF_HEAP_SAMPLE_H
#define SCPROF_HEAP_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/agent/agent.h"
#include "record/agent/heap_set.h"

#define HEAP_LIKELY(condition) __builtin_expect(condition, 1)
#define HEAP_UNLIKELY(condition) __builtin_expect(condition, 0)
#define HEAP_COLD __attribute__((noinline, cold))
#define HEAP_CALLER __builtin_return_address(0)

/* What `left` is set to so that nothing counts. */
#define HEAP_UNCOUNTED (UINT64_MAX / 2)

struct heap_thread {
	/* An allocation of this size or more has to look closer: heap_is_due. 0 in a new thread. */
	uint64_t left;
	uint64_t parked; /* while `watches`: what left would be */
	/* The next block from malloc is to be recorded, as Python's and with this size plus 1. */
	uint64_t given;
	bool drawn;   /* left is a distance to the next sample */
	bool watches; /* every call looks whether Python's allocators need hooking again */
	bool inside;  /* a layer further up does the counting */
	bool arena;   /* in Python's arena allocator */
};
extern _Thread_local struct heap_thread heap_self;

/* Counts a block. True: heap_is_due decides. */
static inline bool heap_count(size_t size)
{
	uint64_t left = heap_self.left;

	if (HEAP_UNLIKELY(left <= size))
		return true;
	heap_self.left = left - size;
	return false;
}

/* After heap_count: is this block to be recorded? Counts it, and draws again. */
bool heap_is_due(size_t size);

/* Records a block that was allocated; flags: enum ring_heap_flag. pc: who called for it. */
void heap_add(const void *block, size_t size, uint32_t flags, const void *pc);
/* Records that a block is about to be released, if it was recorded. */
void heap_drop(const void *block, const void *pc);

/* Around a realloc: its old block, NULL or not, is about to be released, perhaps. */
struct heap_move {
	void *old;
	const void *pc;
	bool dropped;
	uint64_t number;
};
struct heap_move heap_move_begin(void *block, const void *pc);
/* block: what it returned for size bytes; due: that is to be recorded. */
void heap_move_end(const struct heap_move *move, void *block, size_t size, bool due,
		   uint32_t flags);

/* A record about mappings: RING_MAP, RING_PROTECT; RING_UNMAP ahead of what may let go, and then
 * RING_REMAP when it moved, RING_UNFREE when it failed. */
struct heap_range {
	const void *address;
	size_t size;
	const void *old_address;
	size_t old_size;
	uint32_t flags;
};
void heap_range(unsigned type, const struct heap_range *range, const void *pc);

void heap_map_start(void); /* heap_map.c */

/* heap_malloc.c: puts its early blocks into the filter, which is empty. */
void heap_keep_early(void);

#endif
