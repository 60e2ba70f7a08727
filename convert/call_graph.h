/* SPDX-License-Identifier: Apache-2.0
 *
 * Who calls whom, for formats that keep no paths. Recursion is counted once: a sample adds to a
 * frame's total, and to an edge's, at most once however often they are on its stack.
 */
#ifndef SCPROF_CALL_GRAPH_H
#define SCPROF_CALL_GRAPH_H

#include "convert/frame_table.h"

/* Of the same index as the frame. */
struct graph_node {
	struct metrics self;
	struct metrics total;
};

/* One line of a frame's own time. */
struct graph_line {
	uint32_t frame;
	int32_t line;
	struct metrics self;
};

struct graph_edge {
	uint32_t caller;
	uint32_t callee;
	int32_t line;        /* of the caller; 0 without edge_lines */
	struct metrics self; /* the callee's own when called so */
	struct metrics total;
	struct metrics outer; /* of calls whose callee is not on the stack yet: all of a callee's
			       * outer edges add up to its total */
};

struct call_graph {
	struct graph_node *nodes;
	size_t node_count;
	struct graph_line *lines; /* by frame, then line */
	size_t line_count;
	size_t line_capacity;
	struct graph_edge *edges; /* by caller, then line, then callee; self-edges included */
	size_t edge_count;
	size_t edge_capacity;
};

/* edge_lines: keep the calls of each line apart. Then a recursive edge is charged to the line of
 * its outermost call. */
void call_graph_init(struct call_graph *g, const struct model_view *view,
		     const struct frame_table *frames, bool edge_lines);
void call_graph_release(struct call_graph *g);

#endif
