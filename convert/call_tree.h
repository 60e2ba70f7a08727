/* SPDX-License-Identifier: Apache-2.0
 *
 * The model's call tree with lines merged into frames: what collapsed stacks and flame graphs draw.
 */
#ifndef SCPROF_CALL_TREE_H
#define SCPROF_CALL_TREE_H

#include "convert/cost.h"
#include "convert/frame_table.h"

struct call_node {
	uint32_t parent;
	uint32_t frame;
	uint32_t depth; /* the root has 0 */
	uint32_t child_count;
	size_t first_child; /* index into children */
	uint64_t self;      /* in the unit of the tree's cost */
	uint64_t total;
};

/* Parents come before their children; node 0 is the root. What has no Python frame is a child of
 * the root or of its thread, so the root and threads have no cost of their own. */
struct call_tree {
	struct call_node *nodes;
	size_t count;
	size_t capacity;
	uint32_t *children; /* each node's together, the heaviest first */
	uint32_t *of_self;  /* by model node: where its own time is */
	uint32_t max_depth;
	enum cost_kind cost;
};

/* By the cost that the view is weighed by. */
void call_tree_init(struct call_tree *t, const struct model_view *view,
		    const struct frame_table *frames);
void call_tree_release(struct call_tree *t);

#endif
