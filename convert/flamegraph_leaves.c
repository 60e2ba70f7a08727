/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/flamegraph_leaves.h"

#include <stdlib.h>
#include <string.h>

#include "convert/clean_text.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static const char *const wait_labels[TRACE_WAIT_KINDS] = {
	[TRACE_WAIT_RUNNABLE] = "[waiting for a processor]",
	[TRACE_WAIT_IO] = "[waiting for I/O]",
	[TRACE_WAIT_LOCK] = "[waiting for a lock]",
	[TRACE_WAIT_SLEEP] = "[sleeping]",
	[TRACE_WAIT_GIL] = "[waiting for the GIL]",
	[TRACE_WAIT_OTHER] = "[waiting]",
	[TRACE_WAIT_END] = "[ending]",
};

/* A C function of a line, its native and its system part apart. */
struct share {
	uint64_t line; /* function << 32 | line number */
	uint32_t frame;
	uint64_t ns;
};

/* All shares of one line in a row. */
struct shares {
	struct share *items;
	size_t count;
	size_t capacity;
	struct map first; /* line -> index of its first share */
};

struct builder {
	struct leaf_table *table;
	struct map leaves; /* node << 32 | frame -> leaf */
	struct shares native;
	struct shares system;
	uint32_t plain[2];                /* "[native]", "[system]" */
	uint32_t waits[TRACE_WAIT_KINDS]; /* UINT32_MAX until used */
};

static uint64_t line_key(uint32_t function, int32_t line)
{
	return (uint64_t)function << 32 | (uint32_t)line;
}

static uint32_t frame_of(struct leaf_table *t, enum leaf_kind kind, const char *name,
			 const char *module)
{
	struct buf text = {0};
	size_t name_length;
	bool added;
	uint32_t id;

	buf_add_byte(&text, (uint8_t)('0' + kind)); /* native and system time are told apart */
	clean_text(&text, name);
	name_length = text.size - 1;
	if (*module) {
		buf_add_text(&text, " (");
		clean_text(&text, module);
		buf_add_byte(&text, ')');
	}
	id = intern_add(&t->texts, text.data, text.size, &added);
	if (added) {
		t->frames =
			xgrow(t->frames, &t->frame_capacity, (size_t)id + 1, sizeof(*t->frames));
		t->frames[id] = (struct leaf_frame){
			.kind = kind,
			.label = intern_get(&t->texts, id, NULL) + 1,
			.name_length = name_length,
		};
		t->frame_count = (size_t)id + 1;
	}
	buf_release(&text);
	return id;
}

/* Code without a symbol is "[module+0x1000]" to the model; here its module is enough. */
static uint32_t native_frame(struct leaf_table *t, enum leaf_kind kind,
			     const struct model_native *native)
{
	struct buf name = {0};
	uint32_t frame;

	if (*native->symbol != '[' || !*native->module) {
		frame = frame_of(t, kind, native->symbol, native->module);
	} else {
		buf_printf(&name, "[%s]", native->module);
		frame = frame_of(t, kind, buf_text(&name), "");
	}
	buf_release(&name);
	return frame;
}

static void add_share(struct shares *s, uint64_t line, uint32_t frame, uint64_t ns)
{
	if (ns == 0)
		return;
	s->items = xgrow(s->items, &s->capacity, s->count + 1, sizeof(*s->items));
	s->items[s->count++] = (struct share){.line = line, .frame = frame, .ns = ns};
}

static int compare_shares(const void *a, const void *b)
{
	const struct share *x = a;
	const struct share *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->ns != y->ns)
		return x->ns > y->ns ? -1 : 1;
	return (x->frame > y->frame) - (x->frame < y->frame);
}

static void index_shares(struct shares *s)
{
	if (s->count > 0)
		qsort(s->items, s->count, sizeof(*s->items), compare_shares);
	for (size_t i = 0; i < s->count; i++)
		map_get_or_set(&s->first, s->items[i].line, (uint32_t)i);
}

static void collect_shares(struct builder *b, const struct model_view *view)
{
	for (size_t i = 0; i < view->native_count; i++) {
		const struct model_native *native = &view->natives[i];
		const struct model_line *line = &view->lines[native->line];
		uint64_t key = line_key(line->function, line->line);

		if (native->self.native_ns > 0)
			add_share(&b->native, key, native_frame(b->table, LEAF_NATIVE, native),
				  native->self.native_ns);
		if (native->self.system_ns > 0)
			add_share(&b->system, key, native_frame(b->table, LEAF_SYSTEM, native),
				  native->self.system_ns);
	}
	index_shares(&b->native);
	index_shares(&b->system);
}

static void add_leaf(struct builder *b, uint32_t node, uint32_t frame, uint64_t ns)
{
	struct leaf_table *t = b->table;
	uint32_t leaf;

	if (ns == 0)
		return;
	leaf = map_get_or_set(&b->leaves, (uint64_t)node << 32 | frame, (uint32_t)t->count);
	if (leaf == t->count) {
		t->leaves = xgrow(t->leaves, &t->capacity, t->count + 1, sizeof(*t->leaves));
		t->leaves[t->count++] = (struct leaf){.node = node, .frame = frame};
	}
	t->leaves[leaf].ns += ns;
}

static uint64_t scale(uint64_t part, uint64_t by, uint64_t whole)
{
	return (uint64_t)((unsigned __int128)part * by / whole);
}

/* Splits ns like the line's shares; the running sum is rounded, so the parts add up to ns. */
static void split_by_line(struct builder *b, const struct shares *s, uint64_t line, uint32_t node,
			  uint32_t plain, uint64_t ns)
{
	uint32_t first = ns > 0 ? map_get(&s->first, line) : MAP_NONE;
	uint64_t whole_ns = 0;
	uint64_t so_far_ns = 0;

	if (first == MAP_NONE) {
		add_leaf(b, node, plain, ns);
		return;
	}
	for (size_t i = first; i < s->count && s->items[i].line == line; i++)
		whole_ns += s->items[i].ns;
	for (size_t i = first; i < s->count && s->items[i].line == line; i++) {
		uint64_t before_ns = scale(so_far_ns, ns, whole_ns);

		so_far_ns += s->items[i].ns;
		add_leaf(b, node, s->items[i].frame, scale(so_far_ns, ns, whole_ns) - before_ns);
	}
}

static void add_waits(struct builder *b, uint32_t node, const struct metrics *self)
{
	for (size_t i = 0; i < TRACE_WAIT_KINDS; i++) {
		if (self->wait_ns[i] == 0)
			continue;
		if (b->waits[i] == UINT32_MAX)
			b->waits[i] = frame_of(b->table, LEAF_WAIT, wait_labels[i], "");
		add_leaf(b, node, b->waits[i], self->wait_ns[i]);
	}
}

static int compare_leaves(const void *a, const void *b)
{
	const struct leaf *x = a;
	const struct leaf *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	if (x->ns != y->ns)
		return x->ns > y->ns ? -1 : 1;
	return (x->frame > y->frame) - (x->frame < y->frame);
}

void leaf_table_init(struct leaf_table *t, const struct model_view *view,
		     const struct call_tree *tree)
{
	struct builder b = {.table = t};

	*t = (struct leaf_table){0};
	b.plain[0] = frame_of(t, LEAF_NATIVE, "[native]", "");
	b.plain[1] = frame_of(t, LEAF_SYSTEM, "[system]", "");
	for (size_t i = 0; i < TRACE_WAIT_KINDS; i++)
		b.waits[i] = UINT32_MAX;
	if (!weight_is_time(view->weight))
		return; /* memory is where it is */
	collect_shares(&b, view);
	for (size_t i = 0; i < view->node_count; i++) {
		const struct model_node *node = &view->nodes[i];
		uint64_t line = line_key(node->function, node->line);
		uint32_t to = tree->of_self[i];

		split_by_line(&b, &b.native, line, to, b.plain[0], node->self.native_ns);
		split_by_line(&b, &b.system, line, to, b.plain[1], node->self.system_ns);
		if (view->weight == MODEL_WALL)
			add_waits(&b, to, &node->self);
	}
	if (t->count > 0)
		qsort(t->leaves, t->count, sizeof(*t->leaves), compare_leaves);
	map_release(&b.leaves);
	map_release(&b.native.first);
	map_release(&b.system.first);
	free(b.native.items);
	free(b.system.items);
}

void leaf_table_release(struct leaf_table *t)
{
	free(t->frames);
	free(t->leaves);
	intern_release(&t->texts);
	*t = (struct leaf_table){0};
}
