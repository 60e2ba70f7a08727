/* SPDX-License-Identifier: Apache-2.0
 *
 * What Python's pstats module loads: one marshalled dict from (file, line, name) to (calls, calls,
 * own seconds, total seconds, {caller: (calls, calls, own, total)}). Only marshal's oldest types
 * are used, so every Python reads it. "Calls" are the samples that had the function on their stack.
 *
 * There is one root, named like the run, which calls the outermost frames: viewers that draw a tree
 * need one. Its figures are seconds, and shown as such: memory has no place in it.
 */
#include "convert/exporter.h"

#include <stdlib.h>
#include <string.h>

#include "convert/call_graph.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define ROOT_NAME_CHARACTERS 60

struct pstats_key {
	const char *path;
	int32_t line;
	const char *name;
};

struct pstats {
	FILE *to;
	struct pstats_key *keys; /* by frame */
	struct frame_table frames;
	struct call_graph graph;
	struct intern texts;
};

static void write_u32(FILE *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		putc((int)(value >> (8 * i) & 0xff), to);
}

static void write_text(FILE *to, const char *text)
{
	size_t size = strlen(text);

	putc('u', to);
	write_u32(to, (uint32_t)size);
	fwrite(text, 1, size, to);
}

static void write_tuple(FILE *to, uint32_t count)
{
	putc('(', to);
	write_u32(to, count);
}

static void write_int(FILE *to, uint64_t value)
{
	uint64_t left = value;
	uint32_t digits = 0;

	if (value <= INT32_MAX) {
		putc('i', to);
		write_u32(to, (uint32_t)value);
		return;
	}
	/* A long: 15 bits in each 16-bit digit. */
	while (left > 0) {
		left >>= 15;
		digits++;
	}
	putc('l', to);
	write_u32(to, digits);
	for (; digits > 0; digits--) {
		putc((int)(value & 0xff), to);
		putc((int)(value >> 8 & 0x7f), to);
		value >>= 15;
	}
}

static void write_seconds(FILE *to, uint64_t ns)
{
	double seconds = (double)ns / 1e9;
	uint64_t bits;

	memcpy(&bits, &seconds, sizeof(bits));
	putc('g', to);
	write_u32(to, (uint32_t)bits);
	write_u32(to, (uint32_t)(bits >> 32));
}

static void write_key(struct pstats *p, uint32_t frame)
{
	const struct pstats_key *key = &p->keys[frame];

	write_tuple(p->to, 3);
	write_text(p->to, key->path);
	write_int(p->to, (uint64_t)key->line);
	write_text(p->to, key->name);
}

/* The costs in the graph. */
enum { TIME, SAMPLES, WIDTH };

/* Two equal numbers of calls: pstats wants all of them and those without recursion. */
static void write_calls(struct pstats *p, const uint64_t *costs_of)
{
	uint64_t calls = costs_of[SAMPLES] > 0 ? costs_of[SAMPLES] : 1;

	write_int(p->to, calls);
	write_int(p->to, calls);
}

/* Edges of the same callee stand together. */
static int compare_callees(const void *a, const void *b)
{
	const struct graph_edge *x = a;
	const struct graph_edge *y = b;

	if (x->callee != y->callee)
		return x->callee < y->callee ? -1 : 1;
	return (x->caller > y->caller) - (x->caller < y->caller);
}

static void write_stats(struct pstats *p)
{
	const struct call_graph *g = &p->graph;
	size_t edge = 0;

	putc('{', p->to);
	for (size_t i = 0; i < g->node_count; i++) {
		const uint64_t *total = g->node_total + i * WIDTH;

		for (; edge < g->edge_count && g->edges[edge].callee < i; edge++)
			;
		if (total[TIME] == 0)
			continue;
		write_key(p, (uint32_t)i);
		write_tuple(p->to, 5);
		write_calls(p, total);
		write_seconds(p->to, g->node_self[i * WIDTH + TIME]);
		write_seconds(p->to, total[TIME]);
		putc('{', p->to);
		for (; edge < g->edge_count && g->edges[edge].callee == i; edge++) {
			const struct graph_edge *e = &g->edges[edge];
			const uint64_t *below = graph_edge_costs(g, e, EDGE_TOTAL);

			if (below[TIME] == 0)
				continue;
			write_key(p, e->caller);
			write_tuple(p->to, 4);
			write_calls(p, below);
			write_seconds(p->to, graph_edge_costs(g, e, EDGE_SELF)[TIME]);
			write_seconds(p->to, below[TIME]);
		}
		putc('0', p->to);
	}
	putc('0', p->to);
}

static void cut_text(struct buf *b, size_t characters)
{
	const char *text = buf_text(b);
	size_t at = 0;

	for (size_t n = 0; text[at]; at++) {
		if ((text[at] & 0xc0) != 0x80 && n++ == characters)
			break;
	}
	if (at < b->size) {
		b->size = at;
		buf_add_text(b, "...");
	}
}

/* Frames without a file look like Python's built-ins: ("~", 0, "<name>"), shown as {name}. No two
 * frames may have the same key: one would be lost. */
static void make_keys(struct pstats *p, const struct export *x)
{
	struct buf name = {0};
	struct buf key = {0};

	p->keys = xcalloc(p->frames.count, sizeof(*p->keys));
	for (size_t i = 0; i < p->frames.count; i++) {
		const struct frame *frame = &p->frames.frames[i];
		struct pstats_key *to = &p->keys[i];
		bool added = false;

		buf_clear(&name);
		if (i == FRAME_TABLE_ROOT) {
			export_title(x, &name);
			cut_text(&name, ROOT_NAME_CHARACTERS);
		} else {
			buf_add_text(&name, frame->name);
		}
		to->path = *frame->path ? frame->path : "~";
		to->line = *frame->path && frame->line > 0 ? frame->line : 0;
		if (!*frame->path && *buf_text(&name) != '<') {
			size_t size = name.size;

			buf_add_text(&name, "<>");
			memmove(name.data + 1, name.data, size);
			name.data[0] = '<';
			name.data[size + 1] = '>';
		}
		while (!added) {
			buf_clear(&key);
			buf_printf(&key, "%s\n%d\n%s", to->path, to->line, buf_text(&name));
			intern_add(&p->texts, key.data, key.size, &added);
			if (!added)
				buf_add_byte(&name, '\'');
		}
		to->name = intern_get(&p->texts, intern_add(&p->texts, name.data, name.size, NULL),
				      NULL);
	}
	buf_release(&name);
	buf_release(&key);
}

static int pstats_write(struct export *x, struct err *err)
{
	const enum cost_kind kinds[WIDTH] = {
		[TIME] = cost_of_weight(x->view->weight),
		[SAMPLES] = COST_SAMPLES,
	};
	struct pstats p = {.to = x->to};

	(void)err;
	frame_table_init(&p.frames, x->view, x->options->lines);
	call_graph_init(&p.graph, x->view, &p.frames, kinds, WIDTH, false);
	if (p.graph.edge_count > 0)
		qsort(p.graph.edges, p.graph.edge_count, sizeof(*p.graph.edges), compare_callees);
	make_keys(&p, x);
	write_stats(&p);
	free(p.keys);
	intern_release(&p.texts);
	call_graph_release(&p.graph);
	frame_table_release(&p.frames);
	return 0;
}

static const char *const pstats_patterns[] = {"*.pstats", "*.prof", NULL};

const struct exporter pstats_exporter = {
	.name = "pstats",
	.description = "statistics for Python's pstats module, snakeviz, gprof2dot",
	.patterns = pstats_patterns,
	.flags = EXPORTER_MODEL | EXPORTER_TIME,
	.write = pstats_write,
};
