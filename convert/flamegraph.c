/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/flamegraph.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

struct layout {
	struct flame_graph *graph;
	const struct call_tree *tree;
	const struct leaf_table *leaves;
	size_t *first_leaf; /* of each node; one more at the end */
	size_t leaf_frames; /* index of the first leaf's frame; "[small frames]" is the last one */
	uint64_t least_ns;  /* lighter boxes are dropped */
};

char flame_kind_letter(enum flame_kind kind)
{
	static const char letters[FLAME_KINDS] = {
		[FLAME_USER] = 'u',   [FLAME_LIBRARY] = 'l', [FLAME_STANDARD] = 's',
		[FLAME_NATIVE] = 'n', [FLAME_SYSTEM] = 'k',  [FLAME_WAIT] = 'w',
		[FLAME_THREAD] = 't', [FLAME_OTHER] = 'o',
	};

	return letters[kind];
}

static enum flame_kind leaf_kind(enum leaf_kind kind)
{
	switch (kind) {
	case LEAF_NATIVE:
		return FLAME_NATIVE;
	case LEAF_SYSTEM:
		return FLAME_SYSTEM;
	case LEAF_WAIT:
		break;
	}
	return FLAME_WAIT;
}

static enum flame_kind frame_kind(const struct frame *frame)
{
	switch (frame->origin) {
	case MODEL_USER:
		return FLAME_USER;
	case MODEL_LIBRARY:
		return FLAME_LIBRARY;
	case MODEL_STANDARD:
		return FLAME_STANDARD;
	case MODEL_NONE:
		break;
	}
	return FLAME_THREAD;
}

static void fill_frames(struct flame_graph *g, const struct frame_table *frames,
			const struct leaf_table *leaves)
{
	size_t n = 0;

	g->frame_count = frames->count + leaves->frame_count + 1;
	g->frames = xcalloc(g->frame_count, sizeof(*g->frames));
	for (size_t i = 0; i < frames->count; i++) {
		const struct frame *frame = &frames->frames[i];

		g->frames[n++] = (struct flame_frame){
			.label = frame->label,
			.name_length = strlen(frame->name),
			.path = frame->path,
			.line = frame->line,
			.kind = frame_kind(frame),
		};
	}
	for (size_t i = 0; i < leaves->frame_count; i++) {
		const struct leaf_frame *frame = &leaves->frames[i];

		g->frames[n++] = (struct flame_frame){
			.label = frame->label,
			.name_length = frame->name_length,
			.path = "",
			.kind = leaf_kind(frame->kind),
		};
	}
	g->frames[n] = (struct flame_frame){
		.label = "[small frames]",
		.name_length = strlen("[small frames]"),
		.path = "",
		.kind = FLAME_OTHER,
	};
}

static int compare_down(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* The weight that only about max_boxes boxes reach. */
static uint64_t find_least(const struct call_tree *tree, const struct leaf_table *leaves,
			   size_t max_boxes)
{
	size_t count = tree->count + leaves->count;
	uint64_t *totals;
	uint64_t least_ns;
	size_t n = 0;

	if (count <= max_boxes)
		return 1;
	totals = xmalloc(count * sizeof(*totals));
	for (size_t i = 0; i < tree->count; i++)
		totals[n++] = metrics_weight(&tree->nodes[i].total, tree->weight);
	for (size_t i = 0; i < leaves->count; i++)
		totals[n++] = leaves->leaves[i].ns;
	qsort(totals, n, sizeof(*totals), compare_down);
	least_ns = totals[max_boxes] + 1;
	free(totals);
	return least_ns;
}

static void add_box(struct layout *l, size_t frame, uint32_t depth, uint64_t start_ns,
		    uint64_t total_ns)
{
	struct flame_graph *g = l->graph;

	g->boxes = xgrow(g->boxes, &g->capacity, g->count + 1, sizeof(*g->boxes));
	g->boxes[g->count++] = (struct flame_box){
		.frame = (uint32_t)frame,
		.depth = depth,
		.start_ns = start_ns,
		.total_ns = total_ns,
	};
}

/* Boxes without children. */
static void add_leaf(struct layout *l, size_t frame, uint32_t depth, uint64_t start_ns,
		     uint64_t total_ns)
{
	struct flame_graph *g = l->graph;

	add_box(l, frame, depth, start_ns, total_ns);
	g->boxes[g->count - 1].self_ns = total_ns;
	g->kind_ns[g->frames[frame].kind] += total_ns;
}

struct pending {
	uint32_t node;
	uint64_t start_ns;
};

/* Draws a node's box and the leaves on it, behind the room its children take, and lays its children
 * down for later. Leaves come before the children in the array: order among siblings is by start.
 */
static void place_node(struct layout *l, struct pending at, struct pending *stack, size_t *height)
{
	const struct call_tree *tree = l->tree;
	const struct call_node *node = &tree->nodes[at.node];
	struct flame_graph *g = l->graph;
	size_t box = g->count;
	uint64_t left_ns = metrics_weight(&node->total, tree->weight);
	uint64_t start_ns = at.start_ns;
	uint64_t small_ns = 0;
	size_t bottom = *height;

	add_box(l, node->frame, node->depth, at.start_ns, left_ns);
	for (uint32_t i = 0; i < node->child_count; i++) {
		uint32_t child = tree->children[node->first_child + i];
		uint64_t total_ns = metrics_weight(&tree->nodes[child].total, tree->weight);

		left_ns -= total_ns;
		if (total_ns >= l->least_ns) {
			stack[(*height)++] = (struct pending){child, start_ns};
			start_ns += total_ns;
		} else if (total_ns > 0) {
			small_ns += total_ns;
			g->dropped++;
		}
	}
	/* The first child comes off the stack first. */
	for (size_t low = bottom, high = *height; low + 1 < high; low++) {
		struct pending swap = stack[low];

		stack[low] = stack[--high];
		stack[high] = swap;
	}
	for (size_t i = l->first_leaf[at.node]; i < l->first_leaf[at.node + 1]; i++) {
		const struct leaf *leaf = &l->leaves->leaves[i];

		left_ns -= leaf->ns;
		if (leaf->ns >= l->least_ns) {
			add_leaf(l, l->leaf_frames + leaf->frame, node->depth + 1, start_ns,
				 leaf->ns);
			start_ns += leaf->ns;
		} else {
			small_ns += leaf->ns;
			g->dropped++;
		}
	}
	if (small_ns > 0)
		add_leaf(l, g->frame_count - 1, node->depth + 1, start_ns, small_ns);
	g->boxes[box].self_ns = left_ns;
	g->kind_ns[g->frames[node->frame].kind] += left_ns;
}

static size_t *index_leaves(const struct call_tree *tree, const struct leaf_table *leaves)
{
	size_t *first = xcalloc(tree->count + 1, sizeof(*first));
	size_t leaf = 0;

	for (size_t i = 0; i < tree->count; i++) {
		first[i] = leaf;
		for (; leaf < leaves->count && leaves->leaves[leaf].node == i; leaf++)
			;
	}
	first[tree->count] = leaf;
	return first;
}

void flame_graph_init(struct flame_graph *g, const struct frame_table *frames,
		      const struct call_tree *tree, const struct leaf_table *leaves,
		      size_t max_boxes)
{
	struct layout l = {
		.graph = g,
		.tree = tree,
		.leaves = leaves,
		.first_leaf = index_leaves(tree, leaves),
		.leaf_frames = frames->count,
		.least_ns = find_least(tree, leaves, max_boxes),
	};
	struct pending *stack = xmalloc(tree->count * sizeof(*stack));
	size_t height = 0;

	*g = (struct flame_graph){.dropped_below_ns = l.least_ns};
	fill_frames(g, frames, leaves);
	stack[height++] = (struct pending){0, 0};
	while (height > 0) {
		struct pending at = stack[--height];

		place_node(&l, at, stack, &height);
	}
	free(l.first_leaf);
	free(stack);
}

void flame_graph_release(struct flame_graph *g)
{
	free(g->frames);
	free(g->boxes);
	*g = (struct flame_graph){0};
}
