/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/copy.h"

#include <errno.h>

#include "record/agent/agent.h"
#include "record/agent/countdown.h"
#include "record/agent/stack.h"

/* After so many bytes a thread asks again whether recording has begun. */
#define ASK_AGAIN (16 << 20)

_Thread_local int64_t copy_left = -1;
static _Thread_local bool drawn; /* copy_left is a distance to the next sample */

void copy_start(void)
{
	copy_left = -1;
	drawn = false;
}

void copy_start_thread(uint64_t pthread_id)
{
	static const int64_t left = -1;
	static const bool not_drawn;

	agent_poke_thread(pthread_id, &drawn, &not_drawn, sizeof(drawn));
	agent_poke_thread(pthread_id, &copy_left, &left, sizeof(left));
}

/* The stack of a thread without a slot has no chain to be written to. */
static bool write_copy(size_t size, enum trace_copy_kind kind)
{
	uint32_t flags = (uint32_t)kind << RING_HEAP_KIND_SHIFT;
	struct ring_heap *record;
	uint64_t now = agent_now();
	uint32_t slot = agent_slot();
	struct stack stack;

	if (!slot) {
		record = (struct ring_heap *)ring_reserve(sizeof(*record));
		if (!record)
			return false;
		record->generation = record->common = record->count = 0;
		flags |= RING_HEAP_UNWALKED;
	} else {
		if (stack_open(&stack, slot - 1, now))
			return false;
		stack_read(&stack, (uint64_t)(uintptr_t)__builtin_frame_address(0));
		if (stack.no_room)
			return false;
		record = (struct ring_heap *)stack_reserve(&stack, sizeof(*record));
		if (!record)
			return false;
		if (stack.unwalked)
			flags |= RING_HEAP_UNWALKED;
	}
	record->flags = flags;
	record->time_ns = now;
	record->address = 0;
	record->size = size;
	record->old_address = record->old_size = 0;
	if (slot)
		stack_commit(&stack, &record->record, sizeof(*record), RING_COPY);
	else
		ring_commit(&record->record, sizeof(*record), RING_COPY, RING_NO_SLOT);
	return true;
}

void copy_used_up(size_t size, enum trace_copy_kind kind, const void *pc)
{
	int saved_errno = errno;

	if (!agent.copy_rate || !atomic_load_explicit(&agent.live, memory_order_relaxed)) {
		copy_left = ASK_AGAIN;
		drawn = false;
		return;
	}
	if (!drawn) {
		drawn = true;
		copy_left = countdown_draw(agent.copy_rate) - (int64_t)size;
		if (copy_left >= 0)
			return;
	}
	/* Before anything else: the next copy may come from a handler. */
	copy_left = countdown_draw(agent.copy_rate);
	if (agent_is_home() && !agent_is_paused() && agent_enter()) {
		if (!write_copy(size, kind))
			atomic_fetch_add_explicit(&agent.ring->heap_lost, 1, memory_order_relaxed);
		agent_leave(pc);
	}
	errno = saved_errno;
}
