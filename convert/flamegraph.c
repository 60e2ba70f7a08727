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
	uint64_t least;     /* lighter boxes are dropped */
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
	uint64_t least;
	size_t n = 0;

	if (count <= max_boxes)
		return 1;
	totals = xmalloc(count * sizeof(*totals));
	for (size_t i = 0; i < tree->count; i++)
		totals[n++] = tree->nodes[i].total;
	for (size_t i = 0; i < leaves->count; i++)
		totals[n++] = leaves->leaves[i].ns;
	qsort(totals, n, sizeof(*totals), compare_down);
	least = totals[max_boxes] + 1;
	free(totals);
	return least;
}

static void add_box(struct layout *l, size_t frame, uint32_t depth, uint64_t start, uint64_t total)
{
	struct flame_graph *g = l->graph;

	g->boxes = xgrow(g->boxes, &g->capacity, g->count + 1, sizeof(*g->boxes));
	g->boxes[g->count++] = (struct flame_box){
		.frame = (uint32_t)frame,
		.depth = depth,
		.start = start,
		.total = total,
	};
}

/* Boxes without children. */
static void add_leaf(struct layout *l, size_t frame, uint32_t depth, uint64_t start, uint64_t total)
{
	struct flame_graph *g = l->graph;

	add_box(l, frame, depth, start, total);
	g->boxes[g->count - 1].self = total;
	g->kind_total[g->frames[frame].kind] += total;
}

struct pending {
	uint32_t node;
	uint64_t start;
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
	uint64_t left = node->total;
	uint64_t start = at.start;
	uint64_t small = 0;
	size_t bottom = *height;

	add_box(l, node->frame, node->depth, at.start, left);
	for (uint32_t i = 0; i < node->child_count; i++) {
		uint32_t child = tree->children[node->first_child + i];
		uint64_t total = tree->nodes[child].total;

		left -= total;
		if (total >= l->least) {
			stack[(*height)++] = (struct pending){child, start};
			start += total;
		} else if (total > 0) {
			small += total;
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

		left -= leaf->ns;
		if (leaf->ns >= l->least) {
			add_leaf(l, l->leaf_frames + leaf->frame, node->depth + 1, start, leaf->ns);
			start += leaf->ns;
		} else {
			small += leaf->ns;
			g->dropped++;
		}
	}
	if (small > 0)
		add_leaf(l, g->frame_count - 1, node->depth + 1, start, small);
	g->boxes[box].self = left;
	g->kind_total[g->frames[node->frame].kind] += left;
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
		.least = find_least(tree, leaves, max_boxes),
	};
	struct pending *stack = xmalloc(tree->count * sizeof(*stack));
	size_t height = 0;

	*g = (struct flame_graph){.dropped_below = l.least};
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
