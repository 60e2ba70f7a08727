/* SPDX-License-Identifier: Apache-2.0
 *
 * The stack of a run of a timeline as frames from the root on: those of the frame table and a few
 * more that only timelines have. They come behind it.
 */
#ifndef SCPROF_RUN_STACK_H
#define SCPROF_RUN_STACK_H

#include "convert/timeline.h"

#define RUN_STACK_MAX 1500

enum extra_frame {
	EXTRA_CUT,   /* stands for the frames left out of a deep stack */
	EXTRA_OTHER, /* several rare stacks */
	EXTRA_WAIT,  /* one for each enum trace_wait_kind */
	EXTRA_FRAMES = EXTRA_WAIT + TRACE_WAIT_KINDS,
};

extern const char *const extra_frame_names[EXTRA_FRAMES];

struct run_stack {
	uint32_t frames[RUN_STACK_MAX + 1]; /* index into the table's, EXTRA_ ones behind them */
	size_t depth;
};

/* Stacks deeper than max_depth (at most RUN_STACK_MAX) keep two thirds of it at the root and the
 * rest at the leaf. A gap has depth 0. */
void run_stack_fill(struct run_stack *stack, const struct call_tree *tree,
		    const struct frame_table *frames, const struct timeline_run *run,
		    size_t max_depth);
/* How many frames both begin with. */
size_t run_stack_common(const struct run_stack *a, const struct run_stack *b);

#endif
