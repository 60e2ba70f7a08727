/* SPDX-License-Identifier: Apache-2.0
 *
 * The sums over a finished call tree. Nothing here recurses: stacks may be as deep as they like.
 */
#include <stdlib.h>

#include "analyze/model_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* Children have larger ids than their parents. */
static void sum_nodes(struct model *m)
{
	for (size_t i = 0; i < m->node_count; i++) {
		m->nodes[i].total = m->nodes[i].self;
		m->nodes[i].total.memory.own_peak_bytes = 0;
		m->nodes[i].total.memory.own_peak_spread = (struct spread){0};
	}
	for (size_t i = m->node_count; i-- > 1;)
		metrics_add(&m->nodes[m->nodes[i].parent].total, &m->nodes[i].total);
}

static enum model_origin node_origin(const struct model *m, uint32_t node)
{
	uint32_t function = m->nodes[node].function;

	return function == MODEL_NO_ID ? MODEL_NONE
				       : m->files_view[m->functions[function].file].origin;
}

static bool is_nothing(const struct metrics *self)
{
	const struct memory *m = &self->memory;

	return self->wall_ns == 0 && self->samples == 0 && m->events == 0 && m->copies == 0 &&
	       m->peak_bytes == 0 && m->free_bytes == 0 && m->read_bytes == 0 &&
	       m->write_bytes == 0;
}

/* A node's own time belongs to its line, its function and its file, and is charged to the line of
 * the innermost frame of the user's code, or to its own when there is none. */
static void sum_own(struct model *m)
{
	uint32_t *charged = xcalloc(m->node_count, sizeof(*charged));

	for (uint32_t i = 0; i < m->node_count; i++) {
		const struct metrics *self = &m->nodes[i].self;
		uint32_t line = m->node_lines[i];

		if (i > 0)
			charged[i] = charged[m->nodes[i].parent];
		if (node_origin(m, i) == MODEL_USER)
			charged[i] = i;
		if (is_nothing(self))
			continue;
		if (line == MODEL_NO_ID)
			line = m->no_frame_line;
		metrics_add(&m->lines[line].self, self);
		metrics_add(&m->lines[charged[i] ? m->node_lines[charged[i]] : line].charged, self);
	}
	free(charged);
	for (size_t i = 0; i < m->line_table.count; i++)
		metrics_add(&m->functions[m->lines[i].function].self, &m->lines[i].self);
	for (size_t i = 0; i < m->function_table.count; i++)
		metrics_add(&m->files_view[m->functions[i].file].self, &m->functions[i].self);
}

/* The tree in an order in which a stack can be followed down and up again. */
struct tree {
	uint32_t *child; /* the first; 0: none */
	uint32_t *next;  /* sibling */
};

static void link_tree(const struct model *m, struct tree *tree)
{
	tree->child = xcalloc(m->node_count, sizeof(*tree->child));
	tree->next = xcalloc(m->node_count, sizeof(*tree->next));
	for (uint32_t i = (uint32_t)m->node_count; i-- > 1;) {
		uint32_t parent = m->nodes[i].parent;

		tree->next[i] = tree->child[parent];
		tree->child[parent] = i;
	}
}

/* Walks down and up, counting how often each function and line is on the stack: a node adds its
 * total to theirs only where they are entered for the first time. */
static void sum_cumulative(struct model *m)
{
	uint32_t *on_stack = xcalloc((size_t)m->function_table.count + 1, sizeof(*on_stack));
	uint32_t *lines_on_stack =
		xcalloc((size_t)m->line_table.count + 1, sizeof(*lines_on_stack));
	struct tree tree;
	uint32_t at = 0;

	link_tree(m, &tree);
	for (;;) {
		uint32_t line = m->node_lines[at];

		if (line != MODEL_NO_ID) {
			uint32_t function = m->nodes[at].function;

			if (lines_on_stack[line]++ == 0)
				metrics_add(&m->lines[line].cumulative, &m->nodes[at].total);
			if (on_stack[function]++ == 0)
				metrics_add(&m->functions[function].cumulative,
					    &m->nodes[at].total);
		}
		if (tree.child[at]) {
			at = tree.child[at];
			continue;
		}
		for (;;) {
			line = m->node_lines[at];
			if (line != MODEL_NO_ID) {
				lines_on_stack[line]--;
				on_stack[m->nodes[at].function]--;
			}
			if (at == 0 || tree.next[at])
				break;
			at = m->nodes[at].parent;
		}
		if (at == 0)
			break;
		at = tree.next[at];
	}
	free(tree.child);
	free(tree.next);
	free(on_stack);
	free(lines_on_stack);
}

/* Stacks without a frame are in no node of their own. */
static void sum_no_frame(struct model *m)
{
	struct model_line *line;

	if (m->no_frame_line == MODEL_NO_ID)
		return;
	line = &m->lines[m->no_frame_line];
	line->cumulative = line->self;
	m->functions[line->function].cumulative = m->functions[line->function].self;
}

void model_sum(struct model *m)
{
	sum_nodes(m);
	sum_own(m);
	sum_cumulative(m);
	sum_no_frame(m);
	for (size_t i = 0; i < m->thread_count; i++)
		metrics_add(&m->processes[m->threads[i].process].total, &m->threads[i].total);
}
