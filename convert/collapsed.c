/* SPDX-License-Identifier: Apache-2.0
 *
 * Collapsed stacks: a line per distinct stack, frames from the root on, then its weight in
 * microseconds or bytes. Readers find the weight behind the last space, so no frame may end in a
 * number, and some want to see a whole line within the first 4 KB, so the shortest one comes first.
 */
#include "convert/exporter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/call_tree.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define NS_PER_US 1000

struct collapsed {
	const struct frame_table *frames;
	const struct call_tree *tree;
	FILE *to;
	uint32_t *path;
	uint64_t step; /* what a weight of 1 stands for: 1000 ns, or a byte */
	uint64_t done; /* cost of the lines so far */
};

/* Of the running sum, so the file's sum is that of the whole rounded once. */
static uint64_t round_sum(const struct collapsed *c, uint64_t cost)
{
	return (cost + c->step / 2) / c->step;
}

static void write_label(FILE *to, const char *label)
{
	for (; *label; label++)
		putc(*label == ';' ? ':' : *label, to);
}

static void write_line(struct collapsed *c, uint32_t id)
{
	const struct call_tree *tree = c->tree;
	uint64_t self = tree->nodes[id].self;
	uint64_t weight = round_sum(c, c->done + self) - round_sum(c, c->done);
	size_t depth = 0;

	c->done += self;
	if (weight == 0)
		return;
	for (uint32_t at = id; at != 0; at = tree->nodes[at].parent)
		c->path[depth++] = at;
	while (depth-- > 0) {
		write_label(c->to, c->frames->frames[tree->nodes[c->path[depth]].frame].label);
		if (depth > 0)
			putc(';', c->to);
	}
	fprintf(c->to, " %" PRIu64 "\n", weight);
}

/* The node with cost of its own whose line has the fewest bytes; 0 when there is none. */
static uint32_t shortest_line(const struct collapsed *c)
{
	size_t *length = xcalloc(c->tree->count, sizeof(*length));
	uint32_t best = 0;

	for (size_t i = 1; i < c->tree->count; i++) {
		const struct call_node *node = &c->tree->nodes[i];

		length[i] = length[node->parent] + strlen(c->frames->frames[node->frame].label) + 1;
		if (node->self >= c->step && (best == 0 || length[i] < length[best]))
			best = (uint32_t)i;
	}
	free(length);
	return best;
}

/* Depth first, the heaviest child first. */
static void write_lines(struct collapsed *c)
{
	const struct call_tree *tree = c->tree;
	uint32_t *stack = xmalloc(tree->count * sizeof(*stack));
	uint32_t first = shortest_line(c);
	size_t height = 1;

	if (first != 0)
		write_line(c, first);
	stack[0] = 0;
	while (height > 0) {
		uint32_t id = stack[--height];
		const struct call_node *node = &tree->nodes[id];

		if (id != 0 && id != first)
			write_line(c, id);
		for (uint32_t i = node->child_count; i-- > 0;)
			stack[height++] = tree->children[node->first_child + i];
	}
	free(stack);
}

static int collapsed_write(struct export *x, struct err *err)
{
	struct frame_table frames;
	struct call_tree tree;
	struct collapsed c = {.frames = &frames, .tree = &tree, .to = x->to};

	(void)err;
	frame_table_init(&frames, x->view, x->options->lines);
	call_tree_init(&tree, x->view, &frames);
	c.step = costs[tree.cost].unit == COST_NS ? NS_PER_US : 1;
	c.path = xcalloc(tree.max_depth + 1, sizeof(*c.path));
	write_lines(&c);
	free(c.path);
	call_tree_release(&tree);
	frame_table_release(&frames);
	return 0;
}

static const char *const collapsed_patterns[] = {
	"*.collapsed", "*.folded", "*.collapsed.txt", "*.folded.txt", "*.txt", NULL,
};

const struct exporter collapsed_exporter = {
	.name = "collapsed",
	.description =
		"collapsed stacks with weights in microseconds or bytes, for flame graph tools",
	.patterns = collapsed_patterns,
	.flags = EXPORTER_MODEL,
	.write = collapsed_write,
};
