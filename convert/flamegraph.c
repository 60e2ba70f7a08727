/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/flamegraph.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* Frames that are not in the frame table come behind it. */
enum extra_frame {
	EXTRA_NATIVE,
	EXTRA_SYSTEM,
	EXTRA_WAIT, /* one for each enum trace_wait_kind */
	EXTRA_OTHER = EXTRA_WAIT + TRACE_WAIT_KINDS,
	EXTRA_FRAMES,
};

static const char *const extra_labels[EXTRA_FRAMES] = {
	[EXTRA_NATIVE] = "[native]",
	[EXTRA_SYSTEM] = "[system]",
	[EXTRA_WAIT + TRACE_WAIT_RUNNABLE] = "[waiting for a processor]",
	[EXTRA_WAIT + TRACE_WAIT_IO] = "[waiting for I/O]",
	[EXTRA_WAIT + TRACE_WAIT_LOCK] = "[waiting for a lock]",
	[EXTRA_WAIT + TRACE_WAIT_SLEEP] = "[sleeping]",
	[EXTRA_WAIT + TRACE_WAIT_GIL] = "[waiting for the GIL]",
	[EXTRA_WAIT + TRACE_WAIT_OTHER] = "[waiting]",
	[EXTRA_WAIT + TRACE_WAIT_END] = "[ending]",
	[EXTRA_OTHER] = "[small frames]",
};

struct layout {
	struct flame_graph *graph;
	const struct call_tree *tree;
	size_t extra;      /* index of the first extra frame */
	uint64_t least_ns; /* lighter boxes are dropped */
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

static enum flame_kind extra_kind(size_t extra)
{
	switch (extra) {
	case EXTRA_NATIVE:
		return FLAME_NATIVE;
	case EXTRA_SYSTEM:
		return FLAME_SYSTEM;
	case EXTRA_OTHER:
		return FLAME_OTHER;
	default:
		return FLAME_WAIT;
	}
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

static void fill_frames(struct flame_graph *g, const struct frame_table *frames)
{
	g->frame_count = frames->count + EXTRA_FRAMES;
	g->frames = xcalloc(g->frame_count, sizeof(*g->frames));
	for (size_t i = 0; i < frames->count; i++) {
		const struct frame *frame = &frames->frames[i];

		g->frames[i] = (struct flame_frame){
			.label = frame->label,
			.name_length = strlen(frame->name),
			.path = frame->path,
			.line = frame->line,
			.kind = frame_kind(frame),
		};
	}
	for (size_t i = 0; i < EXTRA_FRAMES; i++) {
		g->frames[frames->count + i] = (struct flame_frame){
			.label = extra_labels[i],
			.name_length = strlen(extra_labels[i]),
			.path = "",
			.kind = extra_kind(i),
		};
	}
}

/* How a node's own time was spent beyond Python: parts[i] for extra frame i. */
static void split_self(const struct metrics *self, enum model_weight weight,
		       uint64_t parts[EXTRA_FRAMES])
{
	uint64_t left_ns = metrics_weight(self, weight);

	memset(parts, 0, EXTRA_FRAMES * sizeof(*parts));
	parts[EXTRA_NATIVE] = self->native_ns;
	parts[EXTRA_SYSTEM] = self->system_ns;
	for (size_t i = 0; weight == MODEL_WALL && i < TRACE_WAIT_KINDS; i++)
		parts[EXTRA_WAIT + i] = self->wait_ns[i];
	for (size_t i = 0; i < EXTRA_FRAMES; i++) {
		if (parts[i] > left_ns)
			parts[i] = left_ns;
		left_ns -= parts[i];
	}
}

static int compare_down(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* The weight that only about max_boxes boxes reach. */
static uint64_t find_least(const struct call_tree *tree, size_t max_boxes)
{
	size_t capacity = 0;
	size_t count = 0;
	uint64_t *totals = NULL;
	uint64_t parts[EXTRA_FRAMES];
	uint64_t least_ns = 1;

	for (size_t i = 0; i < tree->count; i++) {
		const struct call_node *node = &tree->nodes[i];

		totals = xgrow(totals, &capacity, count + 1 + EXTRA_FRAMES, sizeof(*totals));
		totals[count++] = metrics_weight(&node->total, tree->weight);
		split_self(&node->self, tree->weight, parts);
		for (size_t k = 0; k < EXTRA_FRAMES; k++) {
			if (parts[k] > 0)
				totals[count++] = parts[k];
		}
	}
	if (count > max_boxes) {
		qsort(totals, count, sizeof(*totals), compare_down);
		least_ns = totals[max_boxes] + 1;
	}
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
static void add_leaf(struct layout *l, size_t extra, uint32_t depth, uint64_t start_ns,
		     uint64_t total_ns)
{
	struct flame_graph *g = l->graph;

	add_box(l, l->extra + extra, depth, start_ns, total_ns);
	g->boxes[g->count - 1].self_ns = total_ns;
	g->kind_ns[extra_kind(extra)] += total_ns;
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
	uint64_t parts[EXTRA_FRAMES];
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
	split_self(&node->self, tree->weight, parts);
	for (size_t i = 0; i < EXTRA_FRAMES; i++) {
		left_ns -= parts[i];
		if (parts[i] >= l->least_ns) {
			add_leaf(l, i, node->depth + 1, start_ns, parts[i]);
			start_ns += parts[i];
		} else if (parts[i] > 0) {
			small_ns += parts[i];
			g->dropped++;
		}
	}
	if (small_ns > 0)
		add_leaf(l, EXTRA_OTHER, node->depth + 1, start_ns, small_ns);
	g->boxes[box].self_ns = left_ns;
	g->kind_ns[g->frames[node->frame].kind] += left_ns;
}

void flame_graph_init(struct flame_graph *g, const struct frame_table *frames,
		      const struct call_tree *tree, size_t max_boxes)
{
	struct layout l = {.graph = g, .tree = tree, .extra = frames->count};
	struct pending *stack = xmalloc(tree->count * sizeof(*stack));
	size_t height = 0;

	*g = (struct flame_graph){0};
	fill_frames(g, frames);
	l.least_ns = find_least(tree, max_boxes);
	g->dropped_below_ns = l.least_ns;
	stack[height++] = (struct pending){0, 0};
	while (height > 0) {
		struct pending at = stack[--height];

		place_node(&l, at, stack, &height);
	}
	free(stack);
}

void flame_graph_release(struct flame_graph *g)
{
	free(g->frames);
	free(g->boxes);
	*g = (struct flame_graph){0};
}
