/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/run_stack.h"

#include "formats/base/banned.h"

const char *const extra_frame_names[EXTRA_FRAMES] = {
	[EXTRA_CUT] = "[frames left out]",
	[EXTRA_OTHER] = "[rare stacks]",
	[EXTRA_WAIT + TRACE_WAIT_RUNNABLE] = "[waiting for a processor]",
	[EXTRA_WAIT + TRACE_WAIT_IO] = "[waiting for I/O]",
	[EXTRA_WAIT + TRACE_WAIT_LOCK] = "[waiting for a lock]",
	[EXTRA_WAIT + TRACE_WAIT_SLEEP] = "[sleeping]",
	[EXTRA_WAIT + TRACE_WAIT_GIL] = "[waiting for the GIL]",
	[EXTRA_WAIT + TRACE_WAIT_OTHER] = "[waiting]",
	[EXTRA_WAIT + TRACE_WAIT_END] = "[ending]",
};

void run_stack_fill(struct run_stack *stack, const struct call_tree *tree,
		    const struct frame_table *frames, const struct timeline_run *run,
		    size_t max_depth)
{
	uint32_t extra = (uint32_t)frames->count;
	uint32_t waiting = run->state > 0;
	uint32_t node = run->node;
	size_t kept_outside = max_depth * 2 / 3;
	size_t depth;
	size_t left_out = 0;

	stack->depth = 0;
	if (node == TIMELINE_GAP)
		return;
	if (node == TIMELINE_OTHER) {
		stack->frames[stack->depth++] = extra + EXTRA_OTHER;
		return;
	}
	depth = tree->nodes[node].depth;
	if (depth > max_depth - 1)
		left_out = depth - (max_depth - 2);
	stack->depth = depth - left_out + (left_out > 0) + waiting;
	if (waiting)
		stack->frames[stack->depth - 1] = extra + EXTRA_WAIT + run->state - 1;
	for (size_t at = stack->depth - waiting; node != 0; node = tree->nodes[node].parent) {
		if (left_out > 0 && at == kept_outside + 1) {
			stack->frames[--at] = extra + EXTRA_CUT;
			for (; left_out > 1; left_out--)
				node = tree->nodes[node].parent;
			left_out = 0;
			continue;
		}
		stack->frames[--at] = tree->nodes[node].frame;
	}
}

size_t run_stack_common(const struct run_stack *a, const struct run_stack *b)
{
	size_t n = 0;

	while (n < a->depth && n < b->depth && a->frames[n] == b->frames[n])
		n++;
	return n;
}
