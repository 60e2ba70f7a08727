/* SPDX-License-Identifier: Apache-2.0
 *
 * A full recording: every allocation and release of every thread, written to the thread's own lane
 * (record/lane.h). heap_lane.c numbers and writes events, heap_lane_stack.c their stacks.
 */
#ifndef SCPROF_HEAP_LANE_H
#define SCPROF_HEAP_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/lane.h"

#define LANE_CACHE 1024u /* a power of two */

/* What an instruction of a stack is to the reader. */
struct lane_place {
	uint64_t key; /* see heap_lane_stack.c; 0: empty */
	struct ring_frame frame;
};

/* A thread's lane, its own alone. */
struct lane {
	struct lane_entry *next, *end; /* in the chunk */
	struct lane_chunk *chunk;
	uint64_t number;  /* of the last event written */
	uint64_t ticks;   /* as when the clock was last looked at */
	uint32_t events;  /* since then */
	uint64_t starved; /* the ticks, + 1, when there was no free chunk; 0: there was */
	uint32_t session; /* see agent.h */
	uint32_t index;
	uint32_t slot;
	uint32_t generation;

	/* The stack as keys, leaf first; and what the reader was told last, root first. */
	uint32_t told, capacity;
	uint32_t skipped; /* of those told: not started, so the reader does not know them */
	uint32_t epoch;
	uint64_t *keys, *told_keys;
	struct ring_frame *told_frames;
	uint64_t other_state; /* a thread state known to be another thread's */
	struct lane_place cache[LANE_CACHE];
};

/* NULL unless all of memory is recorded: the part of the region that lanes are in. */
extern struct lane_area *lane_area;
/* The session that is being recorded, see agent.h, in the very process that it was started in;
 * else, even behind a raw clone, 0. */
extern const volatile uint32_t *lane_gate;

/* In the process that is to be recorded, or in the child of a fork: lanes live in `area`, which is
 * all zeros. Returns 0, or -1 without memory. */
int lane_start(struct lane_area *fresh);
void lane_close(void); /* nothing is recorded any more */
/* The calling thread ends; what it still allocates or frees goes through the ring. */
void lane_end_thread(void);

/* A block was allocated: by Python's own allocator, or not. */
void lane_alloc(const void *block, size_t size, enum trace_heap_kind kind);
/* It is about to be freed. */
void lane_free(const void *block);
/* Around a realloc of a block that the books know: takes the number that the release will have if
 * it happens, and holds the reader back until lane_after_move has told. */
uint64_t lane_before_move(void);
/* block: what was released; NULL: nothing. */
void lane_after_move(uint64_t number, const void *block);
/* The next event of every thread looks at the clock. */
void lane_look_at_clocks(void);
/* For an event that goes through the ring; 0 when there are no lanes. */
uint64_t lane_take_number(void);

/* heap_lane_stack.c: brings the reader's view of the calling thread's stack up to date, ahead of an
 * ALLOC. Returns LANE_UNWALKED or 0, or -1: no room. */
int lane_write_stack(struct lane *lane);
void lane_stack_release(struct lane *lane);
/* Python frees a block: perhaps a code object, whose address then means nothing any more. */
void lane_forget_code(const void *block);

/* heap_lane.c: room for count entries in a row at lane->next. Returns 0 or -1. */
int lane_room(struct lane *lane, size_t count);

#endif
