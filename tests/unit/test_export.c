/* SPDX-License-Identifier: Apache-2.0
 *
 * The exporters on a model made by hand: every total must be the model's, whatever the names are.
 * With a folder in SCPROF_EXPORTS the files stay there, for a look at them and tests/consumers.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/call_graph.h"
#include "convert/call_tree.h"
#include "convert/clean_text.h"
#include "convert/cost.h"
#include "convert/exporter.h"
#include "convert/flamegraph.h"
#include "convert/timeline.h"
#include "formats/base/xalloc.h"

#define MS 1000000ull

/* --- a model by hand ---------------------------------------------------------------------- */

struct fixture {
	struct model_view view;
	struct model_file files[8];
	struct model_function functions[32];
	struct model_node *nodes;
	size_t node_capacity;
	struct model_line lines[2];
	struct model_native natives[4];
	struct model_thread threads[2];
	struct model_process process;
	struct trace_header header;
	struct trace_text command[3];
};

enum { NO_FILE, APP, LIBRARY, STANDARD, FROZEN };

static uint32_t add_function(struct fixture *f, uint32_t file, const char *name, int32_t line)
{
	f->functions[f->view.function_count] =
		(struct model_function){.file = file, .name = name, .first_line = line};
	return (uint32_t)f->view.function_count++;
}

/* Fractions of bytes as estimates are. Some stacks allocate nothing, one gave back more than it
 * took. */
static void add_memory(struct memory *m, uint64_t seed)
{
	double bytes = (double)(seed % 1000003) * 1.37;

	if (seed % 3 == 0)
		return;
	m->events = 1 + seed % 7;
	m->malloc_bytes = bytes + 100.25;
	m->malloc_count = bytes / 64;
	m->temporary_bytes = bytes / 3;
	m->peak_bytes = seed % 2 ? bytes / 7 : 0;
	m->growth_bytes = bytes / 9 - 1000;
	m->leak_bytes = seed % 5 ? 0 : bytes / 11;
	m->copies = seed % 4;
	m->copy_bytes = seed % 4 ? bytes * 5 : 0;
}

static uint32_t add_node(struct fixture *f, uint32_t parent, uint32_t function, int32_t line,
			 uint64_t python_ns, uint64_t native_ns, uint64_t system_ns)
{
	struct model_node node = {
		.parent = parent,
		.function = function,
		.thread = UINT32_MAX,
		.line = line,
	};
	struct metrics *self = &node.self;

	self->python_ns = python_ns;
	self->native_ns = native_ns;
	self->system_ns = system_ns;
	self->cpu_ns = python_ns + native_ns + system_ns;
	self->samples = (self->cpu_ns + MS - 1) / MS;
	self->wall_ns = self->cpu_ns;
	add_memory(&self->memory, self->cpu_ns);
	f->nodes = xgrow(f->nodes, &f->node_capacity, f->view.node_count + 1, sizeof(*f->nodes));
	if (f->view.node_count > 0)
		node.depth = f->nodes[parent].depth + 1;
	f->nodes[f->view.node_count] = node;
	return (uint32_t)f->view.node_count++;
}

static void add_wait(struct fixture *f, uint32_t node, enum trace_wait_kind kind, uint64_t ns)
{
	f->nodes[node].self.wait_ns[kind] += ns;
	f->nodes[node].self.wall_ns += ns;
}

static void fixture_begin(struct fixture *f)
{
	*f = (struct fixture){0};
	f->files[NO_FILE] = (struct model_file){.path = "", .origin = MODEL_NONE};
	f->files[APP] = (struct model_file){.path = "/srv/app/main.py", .origin = MODEL_USER};
	f->files[LIBRARY] = (struct model_file){
		.path = "/usr/lib/python3/dist-packages/requests/api.py",
		.origin = MODEL_LIBRARY,
	};
	f->files[STANDARD] = (struct model_file){
		.path = "/usr/lib/python3.11/json/decoder.py",
		.origin = MODEL_STANDARD,
	};
	f->files[FROZEN] = (struct model_file){
		.path = "<frozen importlib._bootstrap>",
		.origin = MODEL_STANDARD,
	};
	f->view.file_count = 5;
	f->threads[0] = (struct model_thread){.tid = 4242, .name = "MainThread"};
	f->threads[1] = (struct model_thread){.tid = 4250, .name = "worker <1> & co"};
	f->process = (struct model_process){
		.pid = 4242,
		.parent = UINT32_MAX,
		.command = "python3 main.py",
		.python = "3.11.2",
	};
	f->command[0] = (struct trace_text){"python3", 7};
	f->command[1] = (struct trace_text){"main.py", 7};
	f->command[2] = (struct trace_text){"--name=<x>&\x1b", 12};
	f->header = (struct trace_header){
		.version = 1,
		.rate_hz = 1000,
		.command = f->command,
		.command_count = 3,
		.directory = {"/srv/app", 8},
	};
	add_node(f, 0, UINT32_MAX, 0, 0, 0, 0);
}

static void fixture_end(struct fixture *f, enum model_weight weight)
{
	struct model_view *v = &f->view;

	for (size_t i = 0; i < v->node_count; i++)
		f->nodes[i].total = f->nodes[i].self;
	for (size_t i = v->node_count; i-- > 1;)
		metrics_add(&f->nodes[f->nodes[i].parent].total, &f->nodes[i].total);
	v->files = f->files;
	v->functions = f->functions;
	v->nodes = f->nodes;
	v->threads = f->threads;
	v->thread_count = 2;
	v->processes = &f->process;
	v->process_count = 1;
	v->total = f->nodes[0].total;
	v->header = &f->header;
	v->duration_ns = 60000 * MS;
	v->weight = weight;
	v->memory.recorded = true;
	v->memory.copies_recorded = true;
}

static void fixture_release(struct fixture *f)
{
	free(f->nodes);
}

/* The C functions of two lines: decode's and get's. */
static void fixture_natives(struct fixture *f)
{
	static const char *const symbols[] = {"scanstring<int>", "[_json.so+0x1000]", "recv",
					      "send"};

	for (uint32_t i = 0; i < f->view.function_count; i++) {
		if (strcmp(f->functions[i].name, "JSONDecoder.decode") == 0)
			f->lines[0] = (struct model_line){.function = i, .line = 337};
		else if (strcmp(f->functions[i].name, "get") == 0)
			f->lines[1] = (struct model_line){.function = i, .line = 73};
	}
	for (uint32_t i = 0; i < 4; i++) {
		f->natives[i] = (struct model_native){
			.line = i / 2,
			.symbol = symbols[i],
			.module = i < 2 ? "_json.so" : "libc.so.6",
		};
		f->natives[i].self.native_ns = i < 2 ? (42 * MS * (i + 1)) / 3 : 0;
		f->natives[i].self.system_ns = i < 2 ? 0 : 4 * MS;
	}
	f->view.lines = f->lines;
	f->view.line_count = 2;
	f->view.natives = f->natives;
	f->view.native_count = 4;
}

/* A program with what makes exports go wrong: recursion, equal names, names with every special
 * character, frames that end in numbers, time without frames, times below a microsecond. */
static void fixture_program(struct fixture *f)
{
	uint32_t module, fib, first_lambda, second_lambda, get, decode, odd, surrogate, import,
		none;
	uint32_t root, node, deep;

	fixture_begin(f);
	module = add_function(f, APP, "<module>", 1);
	fib = add_function(f, APP, "fib", 10);
	first_lambda = add_function(f, APP, "main.<locals>.<lambda>", 20);
	second_lambda = add_function(f, APP, "main.<locals>.<lambda>", 21);
	get = add_function(f, LIBRARY, "get", 62);
	decode = add_function(f, STANDARD, "JSONDecoder.decode", 332);
	odd = add_function(f, APP, "odd;name\n\x1b[31m]]> <b a=\"1\"> & 12 30", 40);
	surrogate = add_function(f, APP, "\xed\xa0\x80 caf\xc3\xa9 \xef\xbf\xbf", 50);
	import = add_function(f, FROZEN, "_find_and_load", 1022);
	none = add_function(f, NO_FILE, "<not sampled>", 0);
	root = add_node(f, 0, module, 100, 3 * MS + 1, 2 * MS, 500 * 1000);
	add_node(f, 0, none, 0, 0, 4 * MS, 3 * MS);
	node = add_node(f, root, fib, 12, 7 * MS + 333, 0, 0);
	deep = node;
	for (int i = 0; i < 6; i++)
		deep = add_node(f, deep, fib, i % 2 ? 12 : 13, 5 * MS + 777, 0, 10 * 1000 + 1);
	add_node(f, deep, first_lambda, 20, 123, 0, 0);
	add_node(f, deep, second_lambda, 21, 456, 0, 0);
	node = add_node(f, root, get, 73, 11 * MS, 30 * MS + 9, 8 * MS);
	add_wait(f, node, TRACE_WAIT_IO, 250 * MS);
	node = add_node(f, node, decode, 337, 20 * MS, 42 * MS, 0);
	add_node(f, node, odd, 41, 6 * MS, 0, 0);
	add_node(f, root, get, 74, 2 * MS, 0, 0);
	add_node(f, root, surrogate, 51, 9 * MS, 1, 2);
	node = add_node(f, root, import, 1030, 12 * MS, 15 * MS, 5 * MS);
	add_wait(f, node, TRACE_WAIT_GIL, 30 * MS);
	add_node(f, node, module, 2, 3 * MS, 0, 0);
	fixture_natives(f);
}

/* --- running an exporter ------------------------------------------------------------------ */

struct result {
	char *data;
	size_t size;
};

static const struct export_options plain_options = {.traces = 1};

static struct result run_exporter(const char *name, const struct model_view *view,
				  const struct export_options *options, void *events)
{
	const struct exporter *exporter = exporter_find(name);
	struct result r = {0};
	struct err err = {0};
	struct export x = {.view = view, .options = options, .events = events};

	ck_assert_ptr_nonnull(exporter);
	x.to = open_memstream(&r.data, &r.size);
	ck_assert_int_eq(exporter->write(&x, &err), 0);
	ck_assert_int_eq(fclose(x.to), 0);
	buf_release(&x.note);
	return r;
}

/* Events that add up to the fixture's nodes: each node's CPU time in pieces of a millisecond. */
static void *play_events(struct fixture *f, const struct exporter *exporter,
			 enum model_weight weight)
{
	void *events = exporter->events_new(&plain_options, weight);
	uint64_t at_ns[2] = {0, 40 * MS};

	for (size_t i = 0; i < f->view.node_count; i++) {
		const struct metrics *self = &f->nodes[i].self;
		uint64_t left_ns = self->cpu_ns;
		uint32_t thread = i % 5 == 4;

		metrics_add(&f->threads[thread].total, self);
		while (left_ns > 0) {
			uint64_t piece_ns = left_ns < MS ? left_ns : MS;

			exporter->events_add(events, &(struct model_event){
							     .thread = thread,
							     .node = (uint32_t)i,
							     .start_ns = at_ns[thread],
							     .end_ns = at_ns[thread] + piece_ns,
							     .cpu_ns = piece_ns,
						     });
			at_ns[thread] += piece_ns;
			left_ns -= piece_ns;
		}
		for (uint32_t k = 0; k < TRACE_WAIT_KINDS; k++) {
			if (self->wait_ns[k] == 0)
				continue;
			exporter->events_add(events,
					     &(struct model_event){
						     .thread = thread,
						     .node = (uint32_t)i,
						     .start_ns = at_ns[thread],
						     .end_ns = at_ns[thread] + self->wait_ns[k],
						     .waiting = true,
						     .wait = (enum trace_wait_kind)k,
					     });
			at_ns[thread] += self->wait_ns[k];
		}
	}
	return events;
}

/* --- tests -------------------------------------------------------------------------------- */

static uint64_t collapsed_sum(const struct result *r)
{
	uint64_t sum = 0;

	for (char *line = r->data; line && *line;) {
		char *end = strchr(line, '\n');
		char *space;

		ck_assert_ptr_nonnull(end);
		*end = 0;
		space = strrchr(line, ' ');
		ck_assert_ptr_nonnull(space);
		ck_assert(space > line && (space[-1] < '0' || space[-1] > '9'));
		for (char *c = line; *c; c++)
			ck_assert(*c >= 0x20 || *c < 0);
		sum += strtoull(space + 1, NULL, 10);
		line = end + 1;
	}
	return sum;
}

START_TEST(collapsed_sums_to_the_total_rounded_once)
{
	struct export_options options = plain_options;
	struct fixture f;
	struct result r;

	fixture_program(&f);
	fixture_end(&f, MODEL_CPU);
	options.lines = _i;
	r = run_exporter("collapsed", &f.view, &options, NULL);
	ck_assert_ptr_nonnull(memchr(r.data, '\n', r.size < 4096 ? r.size : 4096));
	ck_assert_uint_eq(collapsed_sum(&r), (f.view.total.cpu_ns + 500) / 1000);
	free(r.data);
	fixture_release(&f);
}
END_TEST

START_TEST(labels_are_unique)
{
	struct frame_table frames;
	struct fixture f;

	fixture_program(&f);
	fixture_end(&f, MODEL_CPU);
	frame_table_init(&frames, &f.view, _i);
	for (size_t a = 0; a < frames.count; a++) {
		for (size_t b = a + 1; b < frames.count; b++)
			ck_assert_str_ne(frames.frames[a].label, frames.frames[b].label);
	}
	frame_table_release(&frames);
	fixture_release(&f);
}
END_TEST

START_TEST(short_paths_leave_out_what_is_the_same)
{
	struct frame_table frames;
	struct fixture f;
	bool library = false;
	bool standard = false;

	fixture_program(&f);
	fixture_end(&f, MODEL_CPU);
	frame_table_init(&frames, &f.view, false);
	for (size_t i = 0; i < frames.count; i++) {
		const struct frame *frame = &frames.frames[i];

		library = library || strcmp(frame->label, "get (requests/api.py)") == 0;
		standard = standard ||
			   strcmp(frame->label, "JSONDecoder.decode (json/decoder.py)") == 0;
	}
	ck_assert(library && standard);
	frame_table_release(&frames);
	fixture_release(&f);
}
END_TEST

static const enum cost_kind all_kinds[COST_KINDS] = {
	COST_CPU,     COST_PYTHON,    COST_NATIVE, COST_SYSTEM,      COST_WALL,
	COST_SAMPLES, COST_MALLOC,    COST_BLOCKS, COST_PEAK,        COST_LIVE,
	COST_LEAKS,   COST_TEMPORARY, COST_COPIES, COST_ALLOCATIONS, COST_COPY_EVENTS,
};

/* Every cost at once in the graph, one after the other in trees. */
START_TEST(tree_and_graph_agree_with_the_model)
{
	struct frame_table frames;
	struct call_graph graph;
	struct fixture f;
	uint64_t *called;

	fixture_program(&f);
	fixture_end(&f, MODEL_CPU);
	frame_table_init(&frames, &f.view, _i & 1);
	call_graph_init(&graph, &f.view, &frames, all_kinds, COST_KINDS, _i & 2);
	called = xcalloc(graph.node_count, sizeof(*called));
	for (size_t k = 0; k < COST_KINDS; k++) {
		uint64_t whole = cost_sum(&f.view, all_kinds[k]);
		uint64_t self = 0;
		uint64_t lines = 0;

		ck_assert_uint_gt(whole, 0);
		ck_assert_uint_eq(graph.node_total[FRAME_TABLE_ROOT * COST_KINDS + k], whole);
		for (size_t i = 0; i < graph.node_count; i++) {
			self += graph.node_self[i * COST_KINDS + k];
			ck_assert_uint_le(graph.node_self[i * COST_KINDS + k],
					  graph.node_total[i * COST_KINDS + k]);
			ck_assert_uint_le(graph.node_total[i * COST_KINDS + k], whole);
		}
		for (size_t i = 0; i < graph.line_count; i++)
			lines += graph.line_self[i * COST_KINDS + k];
		memset(called, 0, graph.node_count * sizeof(*called));
		for (size_t i = 0; i < graph.edge_count; i++) {
			const struct graph_edge *edge = &graph.edges[i];

			ck_assert_uint_le(graph_edge_costs(&graph, edge, EDGE_TOTAL)[k],
					  graph.node_total[edge->callee * COST_KINDS + k]);
			called[edge->callee] += graph_edge_costs(&graph, edge, EDGE_OUTER)[k];
		}
		for (size_t i = 1; i < graph.node_count; i++)
			ck_assert_uint_eq(called[i], graph.node_total[i * COST_KINDS + k]);
		ck_assert_uint_eq(self, whole);
		ck_assert_uint_eq(lines, whole);
	}
	free(called);
	call_graph_release(&graph);
	for (enum model_weight weight = 0; weight < MODEL_WEIGHTS; weight++) {
		struct call_tree tree;

		f.view.weight = weight;
		call_tree_init(&tree, &f.view, &frames);
		ck_assert_uint_eq(tree.nodes[0].total, cost_sum(&f.view, cost_of_weight(weight)));
		call_tree_release(&tree);
	}
	frame_table_release(&frames);
	fixture_release(&f);
}
END_TEST

/* fib calls itself six times: a sample counts once, for it and for the call. */
START_TEST(recursion_counts_once)
{
	struct frame_table frames;
	struct call_graph graph;
	struct fixture f;
	uint32_t fib = UINT32_MAX;
	uint64_t fib_ns = 7 * MS + 333 + 6 * (5 * MS + 777 + 10001) + 123 + 456;

	fixture_program(&f);
	fixture_end(&f, MODEL_CPU);
	frame_table_init(&frames, &f.view, false);
	call_graph_init(&graph, &f.view, &frames, (enum cost_kind[]){COST_CPU}, 1, true);
	for (uint32_t i = 0; i < frames.count; i++) {
		if (strcmp(frames.frames[i].name, "fib") == 0)
			fib = i;
	}
	ck_assert_uint_ne(fib, UINT32_MAX);
	ck_assert_uint_eq(graph.node_total[fib], fib_ns);
	for (size_t i = 0; i < graph.edge_count; i++) {
		if (graph.edges[i].caller == fib && graph.edges[i].callee == fib)
			ck_assert_uint_lt(*graph_edge_costs(&graph, &graph.edges[i], EDGE_TOTAL),
					  fib_ns);
	}
	call_graph_release(&graph);
	frame_table_release(&frames);
	fixture_release(&f);
}
END_TEST

START_TEST(flame_boxes_cover_the_total)
{
	static const size_t limits[] = {1, 3, 10, 100000};
	enum model_weight weight = (enum model_weight)(_i % MODEL_WEIGHTS);
	struct frame_table frames;
	struct call_tree tree;
	struct leaf_table leaves;
	struct flame_graph graph;
	struct fixture f;
	uint64_t total;
	uint64_t self = 0;
	uint64_t of_kinds = 0;

	fixture_program(&f);
	fixture_end(&f, weight);
	total = cost_sum(&f.view, cost_of_weight(weight));
	frame_table_init(&frames, &f.view, false);
	call_tree_init(&tree, &f.view, &frames);
	leaf_table_init(&leaves, &f.view, &tree);
	flame_graph_init(&graph, &frames, &tree, &leaves, limits[_i / MODEL_WEIGHTS]);
	ck_assert_uint_eq(graph.boxes[0].total, total);
	for (size_t i = 0; i < graph.count; i++) {
		self += graph.boxes[i].self;
		ck_assert_uint_le(graph.boxes[i].start + graph.boxes[i].total, total);
	}
	for (size_t i = 0; i < FLAME_KINDS; i++)
		of_kinds += graph.kind_total[i];
	ck_assert_uint_eq(self, total);
	ck_assert_uint_eq(of_kinds, total);
	flame_graph_release(&graph);
	leaf_table_release(&leaves);
	call_tree_release(&tree);
	frame_table_release(&frames);
	fixture_release(&f);
}
END_TEST

static uint64_t timeline_sum(const struct timeline *t)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < t->thread_count; i++) {
		uint64_t end = 0;

		for (size_t k = 0; k < t->threads[i].count; k++) {
			const struct timeline_run *run = &t->threads[i].runs[k];

			end += run->weight;
			if (run->node != TIMELINE_GAP)
				sum += run->weight;
		}
		ck_assert_uint_eq(end, t->threads[i].end);
	}
	return sum;
}

START_TEST(timeline_keeps_the_total_however_small)
{
	static const size_t limits[] = {1, 2, 5, 20, 300000};
	enum model_weight weight = _i & 1 ? MODEL_WALL : MODEL_CPU;
	struct frame_table frames;
	struct call_tree tree;
	struct timeline *t;
	struct fixture f;

	fixture_program(&f);
	fixture_end(&f, weight);
	t = play_events(&f, exporter_find("speedscope"), weight);
	frame_table_init(&frames, &f.view, false);
	call_tree_init(&tree, &f.view, &frames);
	timeline_finish(t, &f.view, &tree, limits[_i / 2]);
	ck_assert_uint_eq(timeline_sum(t), metrics_weight(&f.view.total, weight));
	if (limits[_i / 2] == 300000)
		ck_assert_uint_eq(t->window_ns, 0);
	call_tree_release(&tree);
	frame_table_release(&frames);
	exporter_find("speedscope")->events_free(t);
	fixture_release(&f);
}
END_TEST

START_TEST(memory_keeps_the_total_however_small)
{
	static const size_t limits[] = {1, 2, 5, 20, 300000};
	struct frame_table frames;
	struct call_tree tree;
	struct timeline t;
	struct fixture f;

	fixture_program(&f);
	fixture_end(&f, (enum model_weight)(MODEL_MALLOC + _i / 5));
	frame_table_init(&frames, &f.view, false);
	call_tree_init(&tree, &f.view, &frames);
	timeline_init(&t, f.view.weight);
	timeline_from_tree(&t, &tree, limits[_i % 5]);
	ck_assert_uint_eq(timeline_sum(&t), cost_sum(&f.view, cost_of_weight(f.view.weight)));
	ck_assert_uint_le(t.run_count, limits[_i % 5]);
	timeline_release(&t);
	call_tree_release(&tree);
	frame_table_release(&frames);
	fixture_release(&f);
}
END_TEST

START_TEST(late_thread_starts_behind_a_gap)
{
	struct frame_table frames;
	struct call_tree tree;
	struct timeline *t;
	struct fixture f;

	fixture_program(&f);
	f.view.start_ns = 15 * MS;
	fixture_end(&f, MODEL_CPU);
	t = play_events(&f, exporter_find("speedscope"), MODEL_CPU);
	frame_table_init(&frames, &f.view, false);
	call_tree_init(&tree, &f.view, &frames);
	timeline_finish(t, &f.view, &tree, 300000);
	ck_assert_uint_eq(t->threads[1].runs[0].node, TIMELINE_GAP);
	ck_assert_uint_eq(t->threads[1].runs[0].weight, 25 * MS);
	call_tree_release(&tree);
	frame_table_release(&frames);
	exporter_find("speedscope")->events_free(t);
	fixture_release(&f);
}
END_TEST

/* Nobody recurses: 20,000 frames are only long. */
START_TEST(deep_stacks_are_no_trouble)
{
	struct fixture f;
	uint32_t function, node = 0;

	f = (struct fixture){0};
	fixture_begin(&f);
	function = add_function(&f, APP, "down", 3);
	for (int i = 0; i < 20000; i++)
		node = add_node(&f, node, function, 4 + i % 3, i % 100 == 0 ? MS : 0, 0, 0);
	fixture_end(&f, MODEL_CPU);
	for (size_t i = 0; i < exporter_count; i++) {
		const struct exporter *exporter = exporter_table[i];
		void *events = exporter->flags & EXPORTER_EVENTS
				       ? play_events(&f, exporter, MODEL_CPU)
				       : NULL;
		struct result r = run_exporter(exporter->name, &f.view, &plain_options, events);

		ck_assert_uint_gt(r.size, 0);
		free(r.data);
		if (events)
			exporter->events_free(events);
	}
	fixture_release(&f);
}
END_TEST

START_TEST(clean_text_leaves_one_line_of_valid_utf8)
{
	static const struct {
		const char *from;
		const char *to;
	} cases[] = {
		{"plain", "plain"},
		{"a\tb\nc\r", "a b c "},
		{"\x1b[0m\x7f", "\xef\xbf\xbd[0m\xef\xbf\xbd"},
		{"\xed\xa0\x80x", "\xef\xbf\xbdx"},
		{"caf\xc3\xa9 \xf0\x9f\x90\x8d", "caf\xc3\xa9 \xf0\x9f\x90\x8d"},
		{"cut \xc3", "cut \xef\xbf\xbd"},
		{"\xef\xbf\xbe", "\xef\xbf\xbd"},
		{"\xe2\x80\xae", "\xef\xbf\xbd"},
	};
	struct buf b = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&b);
		clean_text(&b, cases[i].from);
		ck_assert_str_eq(buf_text(&b), cases[i].to);
	}
	buf_clear(&b);
	clean_text_xml(&b, "<a b=\"c\" d='e'>&]]>");
	ck_assert_str_eq(buf_text(&b), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;]]&gt;");
	ck_assert_uint_eq(clean_text_length("caf\xc3\xa9"), 4);
	buf_release(&b);
}
END_TEST

START_TEST(formats_are_found_by_name_and_file)
{
	ck_assert_ptr_eq(exporter_for_file("x/callgrind.out.12"), exporter_find("callgrind"));
	ck_assert_ptr_eq(exporter_for_file("a.speedscope.json"), exporter_find("speedscope"));
	ck_assert_ptr_eq(exporter_for_file("a.SVG"), exporter_find("flamegraph"));
	ck_assert_ptr_eq(exporter_for_file("a.trace.json"), exporter_find("chrome"));
	ck_assert_ptr_eq(exporter_for_file("massif.out.7"), exporter_find("massif"));
	ck_assert_ptr_eq(exporter_for_file("a.pb.gz"), exporter_find("pprof"));
	ck_assert_ptr_eq(exporter_for_file("a.prof"), exporter_find("pstats"));
	ck_assert_ptr_eq(exporter_for_file("a.folded"), exporter_find("collapsed"));
	ck_assert_ptr_null(exporter_for_file("x.svg/a.json"));
	ck_assert_ptr_null(exporter_find("svg"));
	for (size_t i = 1; i < exporter_count; i++)
		ck_assert_int_lt(strcmp(exporter_table[i - 1]->name, exporter_table[i]->name), 0);
}
END_TEST

START_TEST(files_can_be_kept)
{
	const char *folder = getenv("SCPROF_EXPORTS");
	static const char *const names[] = {"fixture.callgrind", "fixture.trace.json",
					    "fixture.folded",    "fixture.svg",
					    "fixture.massif",    "fixture.pb.gz",
					    "fixture.pstats",    "fixture.speedscope.json"};

	for (size_t i = 0; folder && i < exporter_count; i++) {
		const struct exporter *exporter = exporter_table[i];
		void *events = NULL;
		struct buf path = {0};
		struct result r;
		struct fixture f;
		FILE *to;

		fixture_program(&f);
		fixture_end(&f, MODEL_WALL);
		if (exporter->flags & EXPORTER_EVENTS)
			events = play_events(&f, exporter, MODEL_WALL);
		r = run_exporter(exporter->name, &f.view, &plain_options, events);
		if (events)
			exporter->events_free(events);
		buf_printf(&path, "%s/%s", folder, names[i]);
		to = fopen(buf_text(&path), "w");
		ck_assert_ptr_nonnull(to);
		ck_assert_uint_eq(fwrite(r.data, 1, r.size, to), r.size);
		ck_assert_int_eq(fclose(to), 0);
		free(r.data);
		buf_release(&path);
		fixture_release(&f);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("export");
	TCase *tests = tcase_create("export");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, collapsed_sums_to_the_total_rounded_once, 0, 2);
	tcase_add_loop_test(tests, labels_are_unique, 0, 2);
	tcase_add_test(tests, short_paths_leave_out_what_is_the_same);
	tcase_add_loop_test(tests, tree_and_graph_agree_with_the_model, 0, 4);
	tcase_add_test(tests, recursion_counts_once);
	tcase_add_loop_test(tests, flame_boxes_cover_the_total, 0, 4 * MODEL_WEIGHTS);
	tcase_add_loop_test(tests, timeline_keeps_the_total_however_small, 0, 10);
	tcase_add_loop_test(tests, memory_keeps_the_total_however_small, 0,
			    5 * (MODEL_WEIGHTS - MODEL_MALLOC));
	tcase_add_test(tests, late_thread_starts_behind_a_gap);
	tcase_add_test(tests, deep_stacks_are_no_trouble);
	tcase_add_test(tests, clean_text_leaves_one_line_of_valid_utf8);
	tcase_add_test(tests, formats_are_found_by_name_and_file);
	tcase_add_test(tests, files_can_be_kept);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
