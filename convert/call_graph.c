/* SPDX-License-Identifier: Apache-2.0
 *
 * One walk over the model's call tree, without recursion. On the way down each frame and each pair
 * of frames counts how often it is on the path; only the first time counts.
 */
#include "convert/call_graph.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

struct walk {
	struct call_graph *graph;
	const struct model_view *view;
	const struct frame_table *frames;
	struct cost_table costs; /* of the model's nodes */
	bool edge_lines;
	struct map pairs;       /* caller << 32 | callee -> pair */
	struct map edges;       /* pair << 32 | line -> edge */
	struct map lines;       /* frame << 32 | line -> line */
	uint32_t *pair_of_node; /* of the call that leads to the node */
	uint32_t *pair_on_path;
	size_t pair_capacity;
	size_t pair_count;
	uint32_t *frame_on_path;
};

static uint64_t *costs_of(const struct call_graph *g, uint64_t *array, size_t id)
{
	return array + id * g->width;
}

static void add_costs(const struct call_graph *g, uint64_t *to, const uint64_t *from)
{
	for (size_t k = 0; k < g->width; k++)
		to[k] += from[k];
}

bool graph_is_nothing(const struct call_graph *g, const uint64_t *of)
{
	for (size_t k = 0; k < g->width; k++) {
		if (of[k] > 0)
			return false;
	}
	return true;
}

static uint64_t *edge_costs(struct call_graph *g, uint32_t edge, enum edge_part part)
{
	return costs_of(g, g->edge_costs, (size_t)edge * EDGE_PARTS + part);
}

static uint32_t pair_of(struct walk *w, uint32_t caller, uint32_t callee)
{
	uint32_t pair =
		map_get_or_set(&w->pairs, (uint64_t)caller << 32 | callee, (uint32_t)w->pair_count);

	if (pair == w->pair_count) {
		w->pair_on_path = xgrow(w->pair_on_path, &w->pair_capacity, w->pair_count + 1,
					sizeof(*w->pair_on_path));
		w->pair_on_path[w->pair_count++] = 0;
	}
	return pair;
}

/* Its id. */
static uint32_t edge_of(struct walk *w, uint32_t pair, uint32_t caller, uint32_t callee,
			int32_t line)
{
	struct call_graph *g = w->graph;
	uint32_t edge;

	if (!w->edge_lines)
		line = 0;
	edge = map_get_or_set(&w->edges, (uint64_t)pair << 32 | (uint32_t)line,
			      (uint32_t)g->edge_count);
	if (edge < g->edge_count)
		return edge;
	g->edges = xgrow(g->edges, &g->edge_capacity, g->edge_count + 1, sizeof(*g->edges));
	g->edge_costs = xgrow(g->edge_costs, &g->edge_cost_capacity, g->edge_count + 1,
			      EDGE_PARTS * g->width * sizeof(*g->edge_costs));
	memset(edge_costs(g, edge, EDGE_SELF), 0, EDGE_PARTS * g->width * sizeof(*g->edge_costs));
	g->edges[g->edge_count++] = (struct graph_edge){
		.caller = caller,
		.callee = callee,
		.line = line,
		.id = edge,
	};
	return edge;
}

static void add_line(struct walk *w, uint32_t frame, int32_t line, const uint64_t *self)
{
	struct call_graph *g = w->graph;
	uint32_t id = map_get_or_set(&w->lines, (uint64_t)frame << 32 | (uint32_t)line,
				     (uint32_t)g->line_count);

	if (id == g->line_count) {
		g->lines = xgrow(g->lines, &g->line_capacity, g->line_count + 1, sizeof(*g->lines));
		g->line_self = xgrow(g->line_self, &g->line_self_capacity, g->line_count + 1,
				     g->width * sizeof(*g->line_self));
		memset(costs_of(g, g->line_self, id), 0, g->width * sizeof(*g->line_self));
		g->lines[g->line_count++] =
			(struct graph_line){.frame = frame, .line = line, .id = id};
	}
	add_costs(g, costs_of(g, g->line_self, id), self);
	add_costs(g, costs_of(g, g->node_self, frame), self);
}

/* What the root or a thread has itself goes to the unknown frame, as its callee. */
static void add_unknown(struct walk *w, uint32_t frame, const uint64_t *self)
{
	struct call_graph *g = w->graph;
	uint32_t pair = pair_of(w, frame, FRAME_TABLE_UNKNOWN);
	uint32_t edge = edge_of(w, pair, frame, FRAME_TABLE_UNKNOWN, 0);

	add_costs(g, edge_costs(g, edge, EDGE_SELF), self);
	add_costs(g, edge_costs(g, edge, EDGE_TOTAL), self);
	add_costs(g, edge_costs(g, edge, EDGE_OUTER), self);
	add_costs(g, costs_of(g, g->node_total, FRAME_TABLE_UNKNOWN), self);
	add_line(w, FRAME_TABLE_UNKNOWN, 0, self);
}

static void enter(struct walk *w, uint32_t id)
{
	struct call_graph *g = w->graph;
	const uint64_t *self = costs_of(g, w->costs.self, id);
	const uint64_t *total = costs_of(g, w->costs.total, id);
	const struct model_node *node = &w->view->nodes[id];
	uint32_t frame = w->frames->of_node[id];
	bool has_self = !graph_is_nothing(g, self);
	bool outermost = w->frame_on_path[frame]++ == 0;

	if (outermost)
		add_costs(g, costs_of(g, g->node_total, frame), total);
	if (id > 0) {
		const struct model_node *parent = &w->view->nodes[node->parent];
		uint32_t caller = w->frames->of_node[node->parent];
		uint32_t pair = pair_of(w, caller, frame);
		uint32_t edge = edge_of(w, pair, caller, frame, parent->line);

		w->pair_of_node[id] = pair;
		if (w->pair_on_path[pair]++ == 0)
			add_costs(g, edge_costs(g, edge, EDGE_TOTAL), total);
		if (outermost)
			add_costs(g, edge_costs(g, edge, EDGE_OUTER), total);
		if (has_self && w->frames->frames[frame].kind == FRAME_CODE)
			add_costs(g, edge_costs(g, edge, EDGE_SELF), self);
	}
	if (!has_self)
		return;
	if (w->frames->frames[frame].kind == FRAME_CODE)
		add_line(w, frame, node->line, self);
	else
		add_unknown(w, frame, self);
}

static void leave(struct walk *w, uint32_t id)
{
	w->frame_on_path[w->frames->of_node[id]]--;
	if (id > 0)
		w->pair_on_path[w->pair_of_node[id]]--;
}

static void walk_tree(struct walk *w)
{
	size_t count = w->view->node_count;
	uint32_t *first = xmalloc(count * sizeof(*first));
	uint32_t *next = xmalloc(count * sizeof(*next));
	uint32_t at = 0;
	bool up = false;

	for (size_t i = 0; i < count; i++)
		first[i] = next[i] = UINT32_MAX;
	for (size_t i = count; i-- > 1;) {
		uint32_t parent = w->view->nodes[i].parent;

		next[i] = first[parent];
		first[parent] = (uint32_t)i;
	}
	for (;;) {
		if (!up)
			enter(w, at);
		if (!up && first[at] != UINT32_MAX) {
			at = first[at];
			continue;
		}
		leave(w, at);
		if (at == 0)
			break;
		up = next[at] == UINT32_MAX;
		at = up ? w->view->nodes[at].parent : next[at];
	}
	free(first);
	free(next);
}

static int compare_lines(const void *a, const void *b)
{
	const struct graph_line *x = a;
	const struct graph_line *y = b;

	if (x->frame != y->frame)
		return x->frame < y->frame ? -1 : 1;
	return (x->line > y->line) - (x->line < y->line);
}

static int compare_edges(const void *a, const void *b)
{
	const struct graph_edge *x = a;
	const struct graph_edge *y = b;

	if (x->caller != y->caller)
		return x->caller < y->caller ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return (x->callee > y->callee) - (x->callee < y->callee);
}

void call_graph_init(struct call_graph *g, const struct model_view *view,
		     const struct frame_table *frames, const enum cost_kind *kinds, size_t width,
		     bool edge_lines)
{
	struct walk w = {.graph = g, .view = view, .frames = frames, .edge_lines = edge_lines};

	*g = (struct call_graph){.node_count = frames->count, .width = width};
	g->node_self = xcalloc(frames->count * width, sizeof(*g->node_self));
	g->node_total = xcalloc(frames->count * width, sizeof(*g->node_total));
	cost_table_init(&w.costs, view, kinds, width);
	w.frame_on_path = xcalloc(frames->count, sizeof(*w.frame_on_path));
	w.pair_of_node = xcalloc(view->node_count, sizeof(*w.pair_of_node));
	if (view->node_count > 0)
		walk_tree(&w);
	if (g->line_count > 0)
		qsort(g->lines, g->line_count, sizeof(*g->lines), compare_lines);
	if (g->edge_count > 0)
		qsort(g->edges, g->edge_count, sizeof(*g->edges), compare_edges);
	cost_table_release(&w.costs);
	map_release(&w.pairs);
	map_release(&w.edges);
	map_release(&w.lines);
	free(w.pair_of_node);
	free(w.pair_on_path);
	free(w.frame_on_path);
}

void call_graph_release(struct call_graph *g)
{
	free(g->node_self);
	free(g->node_total);
	free(g->lines);
	free(g->line_self);
	free(g->edges);
	free(g->edge_costs);
	*g = (struct call_graph){0};
}
