/* SPDX-License-Identifier: Apache-2.0
 *
 * The format of valgrind's callgrind, for KCachegrind, QCachegrind and callgrind_annotate: own cost
 * of every line and cost of every call, of every kind that was recorded: time, memory, copies.
 * Names are given once with a number; a number is all that stands for them later.
 *
 * A sampling profiler sees no calls: the count of a call is the number of samples that had it on
 * their stack. A call of a function that is on the stack already is left out. So there are no
 * cycles, which viewers can make little of, and the calls of a function add up to its inclusive
 * cost. A root, named like the run, calls the outermost functions.
 */
#include "convert/exporter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/call_graph.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

struct callgrind {
	FILE *to;
	struct frame_table frames;
	struct call_graph graph;
	struct intern objects;
	struct intern files;
	bool *object_written;
	bool *file_written;
	bool *name_written;
	struct intern
		names; /* "path\nname": two functions that share it need a line to tell apart */
	uint32_t *name_uses; /* by id in names */
	const char *title;
	bool lines;
	enum cost_kind kinds[COST_KINDS]; /* the events */
	size_t event_count;               /* what counts calls comes behind */
};

static void write_costs(const struct callgrind *c, const uint64_t *values)
{
	for (size_t i = 0; i < c->event_count; i++)
		fprintf(c->to, " %" PRIu64, values[i]);
	putc('\n', c->to);
}

static const char *object_name(const struct frame *frame)
{
	if (frame->kind == FRAME_ROOT || frame->kind == FRAME_THREAD)
		return "run";
	switch (frame->origin) {
	case MODEL_USER:
		return "your code";
	case MODEL_LIBRARY:
		return "libraries";
	case MODEL_STANDARD:
		return "standard library";
	case MODEL_NONE:
		break;
	}
	return "???";
}

static const char *file_name(const struct frame *frame)
{
	return *frame->path ? frame->path : "???";
}

static void write_id(struct callgrind *c, const char *key, uint32_t id, const char *name,
		     bool *written)
{
	fprintf(c->to, "%s=(%u)", key, id + 1);
	if (!*written)
		fprintf(c->to, " %s", name);
	putc('\n', c->to);
	*written = true;
}

static uint32_t name_key(struct intern *names, const struct frame *frame)
{
	struct buf key = {0};
	uint32_t id;

	buf_printf(&key, "%s\n%s", frame->path, frame->name);
	id = intern_add(names, key.data, key.size, NULL);
	buf_release(&key);
	return id;
}

/* Object, file and function: the keys are ob, fl, fn, or cob, cfi, cfn for the target of a call. */
static void write_function(struct callgrind *c, uint32_t frame_id, const char *object_key,
			   const char *file_key, const char *function_key)
{
	const struct frame *frame = &c->frames.frames[frame_id];
	const char *object = object_name(frame);
	const char *file = file_name(frame);
	uint32_t object_id = intern_add(&c->objects, object, strlen(object), NULL);
	uint32_t file_id = intern_add(&c->files, file, strlen(file), NULL);
	struct buf name = {0};

	write_id(c, object_key, object_id, object, &c->object_written[object_id]);
	write_id(c, file_key, file_id, file, &c->file_written[file_id]);
	if (!c->name_written[frame_id]) {
		if (frame->kind == FRAME_ROOT)
			buf_add_text(&name, c->title);
		else
			buf_add_text(&name, frame->name);
		if (frame->line > 0 && (c->lines || c->name_uses[name_key(&c->names, frame)] > 1))
			buf_printf(&name, ":%d", frame->line);
	}
	write_id(c, function_key, frame_id, buf_text(&name), &c->name_written[frame_id]);
	buf_release(&name);
}

static int32_t position(int32_t line)
{
	return line > 0 ? line : 0;
}

static void write_body(struct callgrind *c)
{
	const struct call_graph *g = &c->graph;
	size_t line = 0;
	size_t edge = 0;

	for (uint32_t i = 0; i < g->node_count; i++) {
		for (; edge < g->edge_count && g->edges[edge].caller < i; edge++)
			;
		if (graph_is_nothing(g, g->node_total + i * g->width))
			continue;
		putc('\n', c->to);
		write_function(c, i, "ob", "fl", "fn");
		for (; line < g->line_count && g->lines[line].frame == i; line++) {
			fprintf(c->to, "%d", position(g->lines[line].line));
			write_costs(c, g->line_self + g->lines[line].id * g->width);
		}
		for (; edge < g->edge_count && g->edges[edge].caller == i; edge++) {
			const struct graph_edge *e = &g->edges[edge];
			const uint64_t *outer = graph_edge_costs(g, e, EDGE_OUTER);
			uint64_t count = outer[c->event_count];

			if (graph_is_nothing(g, outer))
				continue;
			write_function(c, e->callee, "cob", "cfi", "cfn");
			fprintf(c->to, "calls=%" PRIu64 " %d\n", count > 0 ? count : 1,
				position(c->frames.frames[e->callee].line));
			fprintf(c->to, "%d", position(e->line));
			write_costs(c, outer);
		}
	}
}

static void write_header(struct callgrind *c, const struct export *x)
{
	const struct model_view *view = x->view;

	fprintf(c->to, "# callgrind format\nversion: 1\ncreator: scprof %s\n", SCPROF_VERSION);
	if (view->process_count > 0)
		fprintf(c->to, "pid: %d\n", view->processes[0].pid);
	fprintf(c->to, "cmd: %s\npart: 1\n", c->title);
	fprintf(c->to, "desc: Calls: %s with the call on their stack, without recursive calls\n",
		costs[c->kinds[c->event_count]].title);
	fprintf(c->to,
		"desc: Recorded: %zu processes, %zu threads, %" PRIu64 " samples in %.3f s\n\n",
		view->process_count, view->thread_count, view->total.samples,
		(double)view->duration_ns / 1e9);
	fputs("positions: line\n", c->to);
	for (size_t i = 0; i < c->event_count; i++)
		fprintf(c->to, "event: %s : %s\n", costs[c->kinds[i]].name,
			costs[c->kinds[i]].description);
	fputs("events:", c->to);
	for (size_t i = 0; i < c->event_count; i++)
		fprintf(c->to, " %s", costs[c->kinds[i]].name);
	fputs("\nsummary:", c->to);
	write_costs(c, c->graph.node_total + FRAME_TABLE_ROOT * c->graph.width);
}

static int callgrind_write(struct export *x, struct err *err)
{
	struct callgrind c = {
		.to = x->to,
		.lines = x->options->lines,
	};
	struct buf title = {0};
	size_t count;

	(void)err;
	c.title = export_title(x, &title);
	frame_table_init(&c.frames, x->view, c.lines);
	c.event_count = cost_list(x->view, c.kinds);
	c.kinds[c.event_count] = cost_events(c.kinds[0]);
	call_graph_init(&c.graph, x->view, &c.frames, c.kinds, c.event_count + 1, true);
	count = c.frames.count;
	c.object_written = xcalloc(count, sizeof(bool));
	c.file_written = xcalloc(count, sizeof(bool));
	c.name_written = xcalloc(count, sizeof(bool));
	c.name_uses = xcalloc(count, sizeof(*c.name_uses));
	for (size_t i = 0; i < count; i++)
		c.name_uses[name_key(&c.names, &c.frames.frames[i])]++;

	write_header(&c, x);
	write_body(&c);
	fputs("\ntotals:", c.to);
	write_costs(&c, c.graph.node_total + FRAME_TABLE_ROOT * c.graph.width);

	buf_release(&title);
	free(c.object_written);
	free(c.file_written);
	free(c.name_written);
	free(c.name_uses);
	intern_release(&c.objects);
	intern_release(&c.files);
	intern_release(&c.names);
	call_graph_release(&c.graph);
	frame_table_release(&c.frames);
	return 0;
}

static const char *const callgrind_patterns[] = {
	"callgrind.out*",
	"*.callgrind",
	NULL,
};

const struct exporter callgrind_exporter = {
	.name = "callgrind",
	.description = "costs of lines and calls, for KCachegrind and callgrind_annotate",
	.patterns = callgrind_patterns,
	.flags = EXPORTER_MODEL,
	.write = callgrind_write,
};
