/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/call_tree.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static uint32_t add_node(struct call_tree *t, uint32_t parent, uint32_t frame)
{
	struct call_node *node;

	t->nodes = xgrow(t->nodes, &t->capacity, t->count + 1, sizeof(*t->nodes));
	node = &t->nodes[t->count];
	*node = (struct call_node){.parent = parent, .frame = frame};
	if (t->count > 0)
		node->depth = t->nodes[parent].depth + 1;
	if (node->depth > t->max_depth)
		t->max_depth = node->depth;
	return (uint32_t)t->count++;
}

static uint32_t child_of(struct call_tree *t, struct map *index, uint32_t parent, uint32_t frame)
{
	uint64_t key = (uint64_t)parent << 32 | frame;
	uint32_t node = map_get(index, key);

	if (node == MAP_NONE) {
		node = add_node(t, parent, frame);
		map_set(index, key, node);
	}
	return node;
}

struct order {
	const struct call_tree *tree;
	const struct frame_table *frames;
};

static int compare_children(const void *a, const void *b, void *arg)
{
	const struct order *order = arg;
	const struct call_node *x = &order->tree->nodes[*(const uint32_t *)a];
	const struct call_node *y = &order->tree->nodes[*(const uint32_t *)b];

	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	return strcmp(order->frames->frames[x->frame].label, order->frames->frames[y->frame].label);
}

/* Also when its cost is 0: a timeline may still come by. */
static bool has_own(const struct metrics *m, uint64_t cost)
{
	return cost > 0 || m->samples > 0 || m->cpu_ns > 0 || m->wall_ns > 0;
}

static void link_children(struct call_tree *t, const struct frame_table *frames)
{
	struct order order = {.tree = t, .frames = frames};
	size_t at = 0;

	t->children = xcalloc(t->count, sizeof(*t->children));
	for (size_t i = 1; i < t->count; i++)
		t->nodes[t->nodes[i].parent].child_count++;
	for (size_t i = 0; i < t->count; i++) {
		t->nodes[i].first_child = at;
		at += t->nodes[i].child_count;
		t->nodes[i].child_count = 0;
	}
	for (size_t i = 1; i < t->count; i++) {
		struct call_node *parent = &t->nodes[t->nodes[i].parent];

		t->children[parent->first_child + parent->child_count++] = (uint32_t)i;
	}
	for (size_t i = 0; i < t->count; i++)
		qsort_r(t->children + t->nodes[i].first_child, t->nodes[i].child_count,
			sizeof(*t->children), compare_children, &order);
}

void call_tree_init(struct call_tree *t, const struct model_view *view,
		    const struct frame_table *frames)
{
	uint32_t *of_node = xcalloc(view->node_count, sizeof(*of_node));
	struct cost_table own;
	struct map index = {0};

	*t = (struct call_tree){.cost = cost_of_weight(view->weight)};
	cost_table_init(&own, view, &t->cost, 1);
	t->of_self = xcalloc(view->node_count, sizeof(*t->of_self));
	add_node(t, 0, FRAME_TABLE_ROOT);
	for (size_t i = 0; i < view->node_count; i++) {
		const struct model_node *node = &view->nodes[i];
		uint32_t frame = frames->of_node[i];
		uint32_t to = 0;

		if (i > 0)
			to = child_of(t, &index, of_node[node->parent], frame);
		of_node[i] = to;
		if (frames->frames[frame].kind != FRAME_CODE && has_own(&node->self, own.self[i]))
			to = child_of(t, &index, to, FRAME_TABLE_UNKNOWN);
		t->of_self[i] = to;
		t->nodes[to].self += own.self[i];
	}
	for (size_t i = t->count; i-- > 0;) {
		t->nodes[i].total += t->nodes[i].self;
		if (i > 0)
			t->nodes[t->nodes[i].parent].total += t->nodes[i].total;
	}
	link_children(t, frames);
	cost_table_release(&own);
	map_release(&index);
	free(of_node);
}

void call_tree_release(struct call_tree *t)
{
	free(t->nodes);
	free(t->children);
	free(t->of_self);
	*t = (struct call_tree){0};
}
