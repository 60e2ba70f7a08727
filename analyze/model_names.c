/* SPDX-License-Identifier: Apache-2.0
 *
 * From a trace's code objects and stack nodes to the model's files, functions, lines and call tree.
 * Each trace node is looked at once; a line table is decoded once per instruction.
 */
#include <stdlib.h>

#include "analyze/filter_match.h"
#include "analyze/model_origin.h"
#include "analyze/model_state.h"
#include "formats/base/xalloc.h"
#include "formats/line_table.h"

#include "formats/base/banned.h"

#define MAX_LINE (1 << 30)

/* What is known of a stack and --file, --function. */
enum pass { PASS_UNKNOWN, PASS_YES, PASS_NO };

const char *model_text(struct model *m, const char *data, size_t size)
{
	return intern_get(&m->texts, intern_add(&m->texts, data, size, NULL), NULL);
}

/* Gives *array room for need items and fills the new ones with MODEL_NO_ID. */
static uint32_t *grow_ids(uint32_t *array, size_t *count, size_t *capacity, size_t need)
{
	if (need <= *count)
		return array;
	array = xgrow(array, capacity, need, sizeof(*array));
	for (size_t i = *count; i < need; i++)
		array[i] = MODEL_NO_ID;
	*count = need;
	return array;
}

void model_grow_names(struct model_trace *t)
{
	const struct trace_defs *defs = t->defs;

	t->functions =
		grow_ids(t->functions, &t->function_count, &t->function_capacity, defs->code_count);
	t->lines = grow_ids(t->lines, &t->line_count, &t->line_capacity, defs->node_count);
	t->nodes = grow_ids(t->nodes, &t->node_count, &t->node_capacity, defs->node_count);
	t->nodes[0] = 0;
	if (!t->m->all_stacks && defs->node_count > t->pass_count) {
		t->passes = xgrow(t->passes, &t->pass_capacity, defs->node_count, 1);
		memset(t->passes + t->pass_count, PASS_UNKNOWN, defs->node_count - t->pass_count);
		t->passes[0] = PASS_NO;
		t->pass_count = defs->node_count;
	}
}

static uint32_t add_file(struct model *m, const char *path, size_t size, enum model_origin origin)
{
	uint32_t text = intern_add(&m->texts, path, size, NULL);
	bool added;
	uint32_t id = model_table_add(&m->file_table, (struct model_key){text, (uint32_t)origin, 0},
				      &added);

	if (added) {
		m->files = xgrow(m->files, &m->file_capacity, id + 1, sizeof(*m->files));
		m->files[id] = (struct model_file_state){
			.path = intern_get(&m->texts, text, NULL),
			.origin = origin,
		};
	}
	return id;
}

static uint32_t add_function(struct model *m, uint32_t file, const struct trace_text *name,
			     int32_t first_line)
{
	const struct model_filter *filter = &m->options.filter;
	uint32_t text = intern_add(&m->texts, name->data, name->size, NULL);
	bool added;
	uint32_t id = model_table_add(&m->function_table,
				      (struct model_key){file, text, (uint32_t)first_line}, &added);

	if (added) {
		struct model_function *f;

		m->functions =
			xgrow(m->functions, &m->function_capacity, id + 1, sizeof(*m->functions));
		f = &m->functions[id];
		*f = (struct model_function){
			.file = file,
			.name = intern_get(&m->texts, text, NULL),
			.first_line = first_line,
		};
		m->function_matches = xgrow(m->function_matches, &m->function_match_capacity,
					    id + 1, sizeof(*m->function_matches));
		m->function_matches[id] =
			filter_match_path(filter->files, filter->file_count, m->files[file].path) &&
			filter_match_function(filter->functions, filter->function_count, f->name);
	}
	return id;
}

static uint32_t add_line(struct model *m, uint32_t function, int32_t line)
{
	bool added;
	uint32_t id;

	/* A damaged table must not make reports count to where numbers end. */
	if (line < 0 || line > MAX_LINE)
		line = 0;
	id = model_table_add(&m->line_table, (struct model_key){function, (uint32_t)line, 0},
			     &added);

	if (added) {
		m->lines = xgrow(m->lines, &m->line_capacity, id + 1, sizeof(*m->lines));
		m->lines[id] = (struct model_line){.function = function, .line = line};
	}
	return id;
}

/* The line of a pseudo function, which belongs to a file without a name. */
static uint32_t add_pseudo_line(struct model *m, const char *name)
{
	uint32_t file = add_file(m, "", 0, MODEL_NONE);
	struct trace_text text = {.data = name, .size = strlen(name)};

	return add_line(m, add_function(m, file, &text, 0), 0);
}

/* Nodes get ids from 1 in the table's order of arrival; 0 is the root. */
static uint32_t add_node(struct model *m, struct model_key key, uint32_t line, uint32_t thread)
{
	bool added;
	uint32_t id = model_table_add(&m->node_table, key, &added) + 1;

	if (added) {
		m->nodes = xgrow(m->nodes, &m->node_capacity, id + 1, sizeof(*m->nodes));
		m->node_lines = xgrow(m->node_lines, &m->node_line_capacity, id + 1,
				      sizeof(*m->node_lines));
		m->nodes[id] = (struct model_node){
			.parent = key.a,
			.function = line == MODEL_NO_ID ? MODEL_NO_ID : m->lines[line].function,
			.thread = thread,
			.line = line == MODEL_NO_ID ? 0 : m->lines[line].line,
			.depth = m->nodes[key.a].depth + 1,
		};
		m->node_lines[id] = line;
		m->node_count = id + 1;
	}
	return id;
}

/* Where the stacks of a thread begin: the root, or the thread's node. */
static uint32_t base_node(struct model *m, uint32_t thread)
{
	if (!m->options.split_threads)
		return 0;
	return add_node(m, (struct model_key){0, MODEL_NO_ID, thread}, MODEL_NO_ID, thread);
}

uint32_t model_own_line(struct model *m, uint32_t node)
{
	uint32_t line = m->node_lines[node];

	if (line != MODEL_NO_ID)
		return line;
	if (m->no_frame_line == MODEL_NO_ID)
		m->no_frame_line = add_pseudo_line(m, "<no Python frame>");
	return m->no_frame_line;
}

uint32_t model_charged_line(struct model *m, uint32_t node)
{
	for (uint32_t at = node; at; at = m->nodes[at].parent) {
		uint32_t function = m->nodes[at].function;

		if (function != MODEL_NO_ID &&
		    m->files[m->functions[function].file].origin == MODEL_USER)
			return m->node_lines[at];
	}
	return model_own_line(m, node);
}

uint32_t model_not_sampled_node(struct model *m, struct model_thread_state *thread)
{
	uint32_t line = add_pseudo_line(m, "<not sampled>");
	uint32_t base = base_node(m, thread->id);

	return add_node(m, (struct model_key){base, line, 0}, line, MODEL_NO_ID);
}

static uint32_t resolve_function(struct model_trace *t, uint32_t code_id)
{
	struct model *m = t->m;
	const struct trace_code *code = &t->defs->codes[code_id];
	const struct trace_text *path = &t->defs->strings[code->filename];
	const struct trace_text *name = &t->defs->strings[code->qualname];

	if (t->functions[code_id] == MODEL_NO_ID) {
		uint32_t file = add_file(m, path->data, path->size,
					 model_origin(t->defs, t->process, path->data));

		if (name->size == 0)
			name = &t->defs->strings[code->name];
		t->functions[code_id] = add_function(m, file, name, code->first_line);
	}
	return t->functions[code_id];
}

static uint32_t resolve_line(struct model_trace *t, uint32_t trace_node)
{
	const struct trace_node *node = &t->defs->nodes[trace_node];
	bool added;
	uint32_t position;

	if (t->lines[trace_node] != MODEL_NO_ID)
		return t->lines[trace_node];
	position = model_table_add(
		&t->positions, (struct model_key){node->code, (uint32_t)node->offset, 0}, &added);
	if (added) {
		const struct trace_code *code = &t->defs->codes[node->code];
		int32_t line = line_table_find(code, node->offset).line;
		uint32_t function = resolve_function(t, node->code);

		t->position_lines = xgrow(t->position_lines, &t->position_capacity, position + 1,
					  sizeof(*t->position_lines));
		t->position_lines[position] = add_line(t->m, function, line);
	}
	t->lines[trace_node] = t->position_lines[position];
	return t->lines[trace_node];
}

/* Does a frame of the stack pass --file and --function? */
static bool stack_passes(struct model_trace *t, uint32_t trace_node)
{
	enum pass pass = PASS_NO;
	uint32_t at = trace_node;
	size_t count = 0;

	for (; at; at = t->defs->nodes[at].parent) {
		if (t->passes[at] != PASS_UNKNOWN) {
			pass = t->passes[at];
			break;
		}
		t->chain = xgrow(t->chain, &t->chain_capacity, count + 1, sizeof(*t->chain));
		t->chain[count++] = at;
	}
	while (count) {
		uint32_t function;

		at = t->chain[--count];
		function = resolve_function(t, t->defs->nodes[at].code); /* may move the matches */
		if (t->m->function_matches[function])
			pass = PASS_YES;
		t->passes[at] = pass;
	}
	return pass == PASS_YES;
}

static uint32_t add_stack(struct model_trace *t, uint32_t trace_node)
{
	uint32_t at = trace_node;
	uint32_t id;
	size_t count = 0;

	for (; t->nodes[at] == MODEL_NO_ID; at = t->defs->nodes[at].parent) {
		t->chain = xgrow(t->chain, &t->chain_capacity, count + 1, sizeof(*t->chain));
		t->chain[count++] = at;
	}
	id = t->nodes[at];
	while (count) {
		uint32_t line;

		at = t->chain[--count];
		line = resolve_line(t, at);
		id = add_node(t->m, (struct model_key){id, line, 0}, line, MODEL_NO_ID);
		t->nodes[at] = id;
	}
	return id;
}

/* The same with a tree for each thread: t->nodes cannot hold the ids. */
static uint32_t add_split_stack(struct model_trace *t, uint32_t thread, uint32_t trace_node)
{
	uint32_t at = trace_node;
	uint32_t id = base_node(t->m, thread);
	size_t count = 0;

	for (; at; at = t->defs->nodes[at].parent) {
		bool added;
		uint32_t entry = model_table_add(&t->thread_nodes,
						 (struct model_key){thread, at, 0}, &added);

		if (!added) {
			id = t->thread_node_ids[entry];
			break;
		}
		t->thread_node_ids = xgrow(t->thread_node_ids, &t->thread_node_capacity, entry + 1,
					   sizeof(*t->thread_node_ids));
		t->chain = xgrow(t->chain, &t->chain_capacity, 2 * count + 2, sizeof(*t->chain));
		t->chain[2 * count] = at;
		t->chain[2 * count + 1] = entry;
		count++;
	}
	while (count) {
		uint32_t line = resolve_line(t, t->chain[2 * --count]);

		id = add_node(t->m, (struct model_key){id, line, 0}, line, MODEL_NO_ID);
		t->thread_node_ids[t->chain[2 * count + 1]] = id;
	}
	return id;
}

uint32_t model_resolve_node(struct model_trace *t, struct model_thread_state *thread,
			    uint32_t trace_node)
{
	struct model *m = t->m;

	if (!m->all_stacks && t->passes[trace_node] != PASS_YES &&
	    (t->passes[trace_node] == PASS_NO || !stack_passes(t, trace_node)))
		return MODEL_LEFT_OUT;
	if (!m->options.split_threads) {
		uint32_t id = t->nodes[trace_node];

		return id != MODEL_NO_ID ? id : add_stack(t, trace_node);
	}
	if (thread->split_trace_node != trace_node) {
		thread->split_trace_node = trace_node;
		thread->split_node = add_split_stack(t, thread->id, trace_node);
	}
	return thread->split_node;
}

void model_note_sources(struct model_trace *t)
{
	struct model *m = t->m;
	struct map texts = {
		0}; /* path to source: a path may be several files of different origin */

	for (size_t i = 0; i < t->defs->source_count; i++) {
		const struct trace_text *path = &t->defs->sources[i].path;
		uint32_t text = intern_find(&m->texts, path->data, path->size);

		if (text != MAP_NONE)
			map_set(&texts, (uintptr_t)intern_get(&m->texts, text, NULL), (uint32_t)i);
	}
	for (size_t i = 0; i < m->file_table.count; i++) {
		struct model_file_state *f = &m->files[i];
		uint32_t source = map_get(&texts, (uintptr_t)f->path);

		if (source == MAP_NONE || f->source)
			continue;
		f->source = xmemdup(t->defs->sources[source].text.data,
				    t->defs->sources[source].text.size);
		f->source_size = t->defs->sources[source].text.size;
	}
	map_release(&texts);
}
