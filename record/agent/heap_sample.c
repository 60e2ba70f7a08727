/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/heap_sample.h"

#include <stddef.h>

#include "record/agent/countdown.h"
#include "record/agent/heap_lane.h"
#include "record/agent/heap_python.h"
#include "record/agent/heap_slab.h"
#include "record/agent/stack.h"

/* After so many bytes a thread asks again whether recording has begun. */
#define ASK_AGAIN (16u << 20)
/* Of owed releases: it may take 1/REPORT_SHARE of the time. */
#define REPORT_SHARE 32u
#define REPORT_MAX_NS 1000000000u

_Thread_local struct heap_thread heap_self;

/* Is anything to be recorded here and now? Costs a system call. */
static bool is_on(void)
{
	return atomic_load_explicit(&agent.live, memory_order_acquire) && agent_is_home();
}

static uint64_t draw(void)
{
	return agent.memory_rate <= 1 ? 0 : (uint64_t)countdown_draw(agent.memory_rate) + 1;
}

bool heap_is_due(size_t size)
{
	struct heap_thread *self = &heap_self;
	uint64_t left;
	bool due;

	if (agent_self.busy && !agent_was_left((uintptr_t)__builtin_frame_address(0), NULL))
		return false;
	if (self->inside)
		return self->given != 0;
	if (!atomic_load_explicit(&agent.live, memory_order_acquire) || !agent.memory_rate) {
		self->left = agent.memory_rate == 1 ? 0 : ASK_AGAIN;
		self->drawn = false;
		return false;
	}
	if (self->watches)
		self->watches = heap_python_watch();
	left = self->left ? self->left : self->parked;
	if (!self->drawn) {
		self->drawn = true;
		left = draw();
	}
	due = left <= size;
	left = due ? draw() : left - size;
	self->parked = self->watches ? left : 0;
	self->left = self->watches ? 0 : left;
	return due;
}

/* --- records --- */

static void count_lost(void)
{
	atomic_fetch_add_explicit(&agent.ring->heap_lost, 1, memory_order_relaxed);
}

static uint32_t generation_of(uint32_t slot)
{
	return atomic_load_explicit(&agent.slots[slot].generation, memory_order_relaxed);
}

/* Writes a record with the calling thread's stack. Returns whether there was room. */
static bool write_heap(unsigned type, const struct heap_range *range)
{
	struct ring_heap *record = NULL;
	struct stack stack;
	uint64_t now = agent_now(), number;
	uint32_t slot = agent_slot();
	bool has_stack = slot && stack_open(&stack, slot - 1, now) == 0;

	if (has_stack)
		stack_read(&stack, (uint64_t)(uintptr_t)__builtin_frame_address(0));
	/* Before the record has its place: what lower numbers need stands in front of it. */
	number = lane_take_number();
	if (has_stack) {
		if (!stack.no_room)
			record = (struct ring_heap *)stack_reserve(&stack, sizeof(*record));
	} else {
		record = (struct ring_heap *)ring_reserve(sizeof(*record));
	}
	if (!record)
		return false;
	record->flags = range->flags | (has_stack && stack.unwalked ? RING_HEAP_UNWALKED : 0);
	record->time_ns = now;
	record->address = (uint64_t)(uintptr_t)range->address;
	record->size = range->size;
	record->old_address = (uint64_t)(uintptr_t)range->old_address;
	record->old_size = range->old_size;
	record->number = number;
	if (has_stack)
		stack_commit(&stack, &record->record, sizeof(*record), type);
	else
		ring_commit(&record->record, sizeof(*record), type, RING_NO_SLOT);
	return true;
}

static bool write_release(unsigned type, uint64_t address, size_t size)
{
	uint64_t number = lane_take_number();
	struct ring_release *record = (struct ring_release *)ring_reserve(sizeof(*record));
	uint32_t slot = agent_slot();

	if (!record)
		return false;
	record->number = number;
	record->generation = slot ? generation_of(slot - 1) : 0;
	record->time_ns = agent_now();
	record->address = address;
	record->size = size;
	ring_commit(&record->record, sizeof(*record), type, slot ? slot - 1 : RING_NO_SLOT);
	return true;
}

static bool report_free(uint64_t address)
{
	return write_release(RING_FREE, address, 0);
}

/* Looking for them may take milliseconds: only when there is room for many, and for a small part of
 * the time. */
static void report_owed(void)
{
	static _Atomic uint64_t next_ns;
	uint64_t next, start;

	if (HEAP_LIKELY(!heap_set_owes()) || !ring_has_room())
		return;
	next = atomic_load_explicit(&next_ns, memory_order_relaxed);
	start = agent_now();
	if (start < next ||
	    !atomic_compare_exchange_strong_explicit(&next_ns, &next, start + REPORT_MAX_NS,
						     memory_order_relaxed, memory_order_relaxed))
		return;
	heap_set_report(report_free);
	atomic_store_explicit(&next_ns, start + REPORT_SHARE * (agent_now() - start),
			      memory_order_relaxed);
}

static enum trace_heap_kind kind_of(uint32_t flags)
{
	return flags & RING_HEAP_PYTHON ? TRACE_HEAP_PYTHON : TRACE_HEAP_NATIVE;
}

void heap_add(const void *block, size_t size, uint32_t flags, const void *pc)
{
	struct heap_range range = {.address = block, .size = size, .flags = flags};
	_Atomic uint64_t *place;
	bool owed;

	if (heap_self.given) {
		range.size = heap_self.given - 1;
		range.flags |= RING_HEAP_PYTHON;
		heap_self.given = 0;
		heap_self.left = HEAP_UNCOUNTED;
	}
	if (lane_area) {
		if (!agent_is_paused())
			lane_alloc(block, range.size, kind_of(range.flags));
		return;
	}
	if (!is_on() || agent_is_paused() || !agent_enter())
		return;
	agent_watch_end();
	report_owed();
	place = heap_set_add(block, &owed);
	if (!place) {
		atomic_fetch_add_explicit(&agent.ring->heap_given_up, 1, memory_order_relaxed);
	} else if (!write_heap(RING_ALLOC, &range)) {
		count_lost();
		if (owed)
			heap_set_owe(place);
		else
			heap_set_remove(place);
	}
	agent_leave(pc);
}

/* Returns whether it was recorded. */
static bool drop(const void *block, const void *pc)
{
	_Atomic uint64_t *place = heap_set_find(block);

	if (!place || !is_on() || !agent_enter())
		return false;
	agent_watch_end();
	if (write_release(RING_FREE, (uint64_t)(uintptr_t)block, 0))
		heap_set_remove(place);
	else
		heap_set_owe(place);
	agent_leave(pc);
	return true;
}

void heap_drop(const void *block, const void *pc)
{
	if (!lane_area)
		drop(block, pc);
	else if (block && !heap_self.inside)
		lane_free(block);
}

static void restore(const void *block, const void *pc)
{
	bool owed;

	if (!agent_enter())
		return;
	if (!heap_set_unowe(block)) {
		if (!write_release(RING_UNFREE, (uint64_t)(uintptr_t)block, 0))
			count_lost();
		else if (!heap_set_add(block, &owed))
			atomic_fetch_add_explicit(&agent.ring->heap_given_up, 1,
						  memory_order_relaxed);
	}
	agent_leave(pc);
}

struct heap_move heap_move_begin(void *block, const void *pc)
{
	struct heap_move move = {.old = block, .pc = pc};

	if (!block || !heap_set_maybe(block))
		return move;
	if (!lane_area)
		move.dropped = drop(block, pc);
	else if (!heap_self.inside)
		move.number = lane_before_move();
	return move;
}

void heap_move_end(const struct heap_move *move, void *block, size_t size, bool due, uint32_t flags)
{
	/* Asked for no bytes, a realloc that returns NULL has freed the block. */
	if (lane_area && !heap_self.inside && move->old)
		lane_after_move(move->number, block || !size ? move->old : NULL);
	else if (move->dropped && !block && size)
		restore(move->old, move->pc);
	if (block && due)
		heap_add(block, size, flags, move->pc);
}

/* In a pause a mapping is nothing but the end of what it covers. */
static bool write_unmap(unsigned type, const struct heap_range *range)
{
	if (type == RING_PROTECT)
		return true;
	return write_release(type == RING_UNFREE ? RING_UNFREE : RING_UNMAP,
			     (uint64_t)(uintptr_t)range->address, range->size);
}

void heap_range(unsigned type, const struct heap_range *range, const void *pc)
{
	bool done;

	if (!agent.memory_rate || !is_on() || !agent_enter())
		return;
	agent_watch_end();
	if (type == RING_UNMAP || type == RING_UNFREE || agent_is_paused())
		done = write_unmap(type, range);
	else
		done = write_heap(type, range);
	if (!done)
		count_lost();
	agent_leave(pc);
}

/* --- the process's life --- */

static void start(void)
{
	/* What was recorded before. Preloaded, some addresses have to be found for ever. */
	if (agent.session)
		heap_set_reset();
	if (agent_is_late())
		heap_set_empty();
	if (!agent.memory_rate || (agent.memory_rate > 1 && heap_set_start(agent.memory_rate))) {
		agent.memory_rate = 0;
		return;
	}
	lane_area = NULL; /* of a recording before this one */
	/* What free() must find for good cannot be handed out by one that is going to leave. */
	if (agent.memory_rate > 1 && !agent_is_late())
		heap_slab_start();
	heap_map_start();
	heap_self.drawn = false;
	heap_self.left = 0;
	heap_self.parked = 0;
}

static void hook(void)
{
	if (agent.memory_rate)
		heap_self.watches = heap_python_start();
}

static void thread_start(uint64_t pthread_id)
{
	static const struct heap_thread fresh;

	/* All that concerns counting; the rest says what the thread is doing. */
	agent_poke_thread(pthread_id, &heap_self, &fresh, offsetof(struct heap_thread, given));
	agent_poke_thread(pthread_id, &heap_self.drawn, &fresh.drawn, 2 * sizeof(bool));
}

/* What the parent had sampled is the parent's. */
static void fork_child(void)
{
	heap_set_reset();
}

static void fork_left(void)
{
	heap_set_reset();
	if (lane_area) {
		lane_area = NULL;
		heap_set_empty();
		heap_keep_early();
	}
}

static int open_lanes(struct lane_area *area)
{
	if (lane_start(area))
		return -1;
	heap_set_fill();
	return 0;
}

static void end(void)
{
	if (agent.memory_rate <= 1 || !agent_enter())
		return;
	heap_set_report(report_free);
	agent_leave(HEAP_CALLER);
}

static const struct agent_part part = {
	.start = start,
	.fork_child = fork_child,
	.fork_left = fork_left,
	.end = end,
	.thread_end = lane_end_thread,
	.number = lane_take_number,
	.marked = lane_look_at_clocks,
	.open_lanes = open_lanes,
	.hook = hook,
	.unhook = heap_python_stop,
	.close = lane_close,
	.thread_start = thread_start,
};

/* Before the constructor in start.c. */
__attribute__((constructor(101))) static void announce(void)
{
	agent.heap = &part;
}
