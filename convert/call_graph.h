/* SPDX-License-Identifier: Apache-2.0
 *
 * Who calls whom, for formats that keep no paths. Recursion is counted once: a sample adds to a
 * frame's total, and to an edge's, at most once however often they are on its stack.
 */
#ifndef SCPROF_CALL_GRAPH_H
#define SCPROF_CALL_GRAPH_H

#include "convert/cost.h"
#include "convert/frame_table.h"

/* One line of a frame's own cost. */
struct graph_line {
	uint32_t frame;
	int32_t line;
	uint32_t id; /* index into line_self */
};

struct graph_edge {
	uint32_t caller;
	uint32_t callee;
	int32_t line; /* of the caller; 0 without edge_lines */
	uint32_t id;  /* for graph_edge_costs */
};

enum edge_part {
	EDGE_SELF, /* the callee's own when called so */
	EDGE_TOTAL,
	EDGE_OUTER, /* of calls whose callee is not on the stack yet: all of a callee's outer edges
		     * add up to its total */
	EDGE_PARTS,
};

/* Each of the arrays of costs has width numbers for an item, in the order of the kinds asked for.
 */
struct call_graph {
	size_t width;
	uint64_t *node_self; /* of the same index as the frame */
	uint64_t *node_total;
	size_t node_count;
	struct graph_line *lines; /* by frame, then line */
	uint64_t *line_self;
	size_t line_count;
	size_t line_capacity;
	size_t line_self_capacity;
	struct graph_edge *edges; /* by caller, then line, then callee; self-edges included */
	uint64_t *edge_costs;
	size_t edge_count;
	size_t edge_capacity;
	size_t edge_cost_capacity;
};

/* edge_lines: keep the calls of each line apart. Then a recursive edge is charged to the line of
 * its outermost call. */
void call_graph_init(struct call_graph *g, const struct model_view *view,
		     const struct frame_table *frames, const enum cost_kind *kinds, size_t width,
		     bool edge_lines);
void call_graph_release(struct call_graph *g);

static inline const uint64_t *graph_edge_costs(const struct call_graph *g,
					       const struct graph_edge *edge, enum edge_part part)
{
	return g->edge_costs + ((size_t)edge->id * EDGE_PARTS + part) * g->width;
}

/* Whether all width costs are 0. */
bool graph_is_nothing(const struct call_graph *g, const uint64_t *of);

#endif
