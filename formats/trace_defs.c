/* SPDX-License-Identifier: Apache-2.0
 *
 * Definitions read from a trace, see trace_defs.h. Ids are dense in the file, so each kind is an
 * array. An id that is defined twice keeps its first meaning; only processes and threads are
 * defined again on purpose.
 */
#include "formats/trace_defs.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define LOST_TEXT 0u
#define LOST_NAME 1u

void trace_defs_init(struct trace_defs_store *s)
{
	memset(s, 0, sizeof(*s));
	s->arena.cap = TRACE_MAX_DEFINITION_BYTES;
	s->strings = xgrow(NULL, &s->string_capacity, TRACE_OWN_STRINGS, sizeof(*s->strings));
	s->strings[LOST_TEXT] = (struct trace_text){"?", 1};
	s->strings[LOST_NAME] = (struct trace_text){"lost definition", strlen("lost definition")};
	s->nodes = xgrow(NULL, &s->node_capacity, 1, sizeof(*s->nodes));
	s->nodes[0] = (struct trace_node){.parent = TRACE_NONE, .code = TRACE_NONE, .offset = -1};
	s->pcs = xgrow(NULL, &s->pc_capacity, 1, sizeof(*s->pcs));
	s->pcs[0] = (struct trace_pc){TRACE_NONE, 0};
	s->defs.strings = s->strings;
	s->defs.string_count = TRACE_OWN_STRINGS;
	s->defs.nodes = s->nodes;
	s->defs.node_count = 1;
	s->defs.pcs = s->pcs;
	s->defs.pc_count = 1;
}

void trace_defs_release(struct trace_defs_store *s)
{
	free(s->strings);
	free(s->codes);
	free(s->nodes);
	free(s->modules);
	free(s->pcs);
	free(s->processes);
	free(s->threads);
	free(s->process_ends);
	free(s->symbols);
	free(s->sources);
	free(s->refusals);
	arena_release(&s->arena);
	memset(s, 0, sizeof(*s));
}

/* Checks that ids [count, first) may become placeholders, and counts them. */
static int gap(struct trace_defs_store *s, size_t count, size_t first, const char *what,
	       struct err *err)
{
	if (first <= count)
		return 0;
	if (first - count > TRACE_MAX_PLACEHOLDERS - s->placeholders)
		return err_set(err, ERR_CORRUPT, "%s id %zu is out of range", what, first);
	s->placeholders += first - count;
	return 0;
}

static int too_large(struct err *err)
{
	return err_set(err, ERR_CORRUPT, "there are more than %zu bytes of definitions",
		       TRACE_MAX_DEFINITION_BYTES);
}

int trace_defs_copy(struct trace_defs_store *s, struct trace_text *text, struct err *err)
{
	text->data = arena_copy(&s->arena, text->data, text->size);
	return text->data ? 0 : too_large(err);
}

static void reserve_strings(struct trace_defs_store *s, size_t need)
{
	s->strings = xgrow(s->strings, &s->string_capacity, need, sizeof(*s->strings));
	s->defs.strings = s->strings;
	while (s->defs.string_count < need)
		s->strings[s->defs.string_count++] = s->strings[LOST_TEXT];
}

static int add_strings(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	size_t first = (size_t)block->first_string + TRACE_OWN_STRINGS;

	if (!block->string_count)
		return 0;
	if (gap(s, s->defs.string_count, first, "string", err) < 0)
		return -1;
	for (size_t i = 0; i < block->string_count; i++) {
		struct trace_text text = block->strings[i];
		size_t id = first + i;

		if (id < s->defs.string_count)
			continue;
		if (trace_defs_copy(s, &text, err) < 0)
			return -1;
		reserve_strings(s, id + 1);
		s->strings[id] = text;
	}
	return 0;
}

static uint32_t known_string(const struct trace_defs_store *s, uint32_t id, uint32_t otherwise)
{
	return (size_t)id + TRACE_OWN_STRINGS < s->defs.string_count ? id + TRACE_OWN_STRINGS
								     : otherwise;
}

static void reserve_codes(struct trace_defs_store *s, size_t need)
{
	s->codes = xgrow(s->codes, &s->code_capacity, need, sizeof(*s->codes));
	s->defs.codes = s->codes;
	while (s->defs.code_count < need)
		s->codes[s->defs.code_count++] = (struct trace_code){
			.filename = LOST_TEXT,
			.name = LOST_NAME,
			.qualname = LOST_NAME,
			.first_line = 1,
			.line_table = (const uint8_t *)"",
		};
}

static int add_codes(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	if (!block->code_count)
		return 0;
	if (gap(s, s->defs.code_count, block->first_code, "code", err) < 0)
		return -1;
	for (size_t i = 0; i < block->code_count; i++) {
		struct trace_code code = block->codes[i];
		size_t id = (size_t)block->first_code + i;

		if (id < s->defs.code_count)
			continue;
		code.filename = known_string(s, code.filename, LOST_TEXT);
		code.name = known_string(s, code.name, LOST_NAME);
		code.qualname = known_string(s, code.qualname, code.name);
		code.line_table = (const uint8_t *)arena_copy(&s->arena, code.line_table,
							      code.line_table_size);
		if (!code.line_table)
			return too_large(err);
		reserve_codes(s, id + 1);
		s->codes[id] = code;
	}
	return 0;
}

static void reserve_nodes(struct trace_defs_store *s, size_t need)
{
	s->nodes = xgrow(s->nodes, &s->node_capacity, need, sizeof(*s->nodes));
	s->defs.nodes = s->nodes;
	while (s->defs.node_count < need)
		s->nodes[s->defs.node_count++] = (struct trace_node){.offset = -1};
	/* Every node but the empty one has a code: there must be one to be lost. */
	if (need > 1 && !s->defs.code_count)
		reserve_codes(s, 1);
}

/* A code that nobody defined becomes a placeholder. */
static int need_code(struct trace_defs_store *s, uint32_t id, struct err *err)
{
	if (id < s->defs.code_count)
		return 0;
	if (gap(s, s->defs.code_count, (size_t)id + 1, "code", err) < 0)
		return -1;
	reserve_codes(s, (size_t)id + 1);
	return 0;
}

static int add_nodes(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	if (!block->node_count)
		return 0;
	if (gap(s, s->defs.node_count, block->first_node, "stack node", err) < 0)
		return -1;
	for (size_t i = 0; i < block->node_count; i++) {
		struct trace_node node = block->nodes[i];
		size_t id = (size_t)block->first_node + i;

		if (id < s->defs.node_count)
			continue;
		if (need_code(s, node.code, err) < 0)
			return -1;
		reserve_nodes(s, id + 1);
		if (node.parent >= id)
			node.parent = 0;
		s->nodes[id] = node;
	}
	return 0;
}

static void reserve_modules(struct trace_defs_store *s, size_t need)
{
	s->modules = xgrow(s->modules, &s->module_capacity, need, sizeof(*s->modules));
	s->defs.modules = s->modules;
	while (s->defs.module_count < need)
		s->modules[s->defs.module_count++] = (struct trace_module){
			.path = s->strings[LOST_TEXT],
			.build_id = (const uint8_t *)"",
		};
}

static int add_modules(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	if (!block->module_count)
		return 0;
	if (gap(s, s->defs.module_count, block->first_module, "module", err) < 0)
		return -1;
	for (size_t i = 0; i < block->module_count; i++) {
		struct trace_module module = block->modules[i];
		size_t id = (size_t)block->first_module + i;

		if (id < s->defs.module_count)
			continue;
		if (trace_defs_copy(s, &module.path, err) < 0)
			return -1;
		module.build_id = (const uint8_t *)arena_copy(&s->arena, module.build_id,
							      module.build_id_size);
		if (!module.build_id)
			return too_large(err);
		reserve_modules(s, id + 1);
		s->modules[id] = module;
	}
	return 0;
}

static int need_module(struct trace_defs_store *s, uint32_t id, struct err *err)
{
	if (id < s->defs.module_count)
		return 0;
	if (gap(s, s->defs.module_count, (size_t)id + 1, "module", err) < 0)
		return -1;
	reserve_modules(s, (size_t)id + 1);
	return 0;
}

static int add_pcs(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	if (!block->pc_count)
		return 0;
	if (gap(s, s->defs.pc_count, block->first_pc, "pc", err) < 0)
		return -1;
	for (size_t i = 0; i < block->pc_count; i++) {
		size_t id = (size_t)block->first_pc + i;

		if (id < s->defs.pc_count)
			continue;
		if (need_module(s, block->pcs[i].module, err) < 0)
			return -1;
		s->pcs = xgrow(s->pcs, &s->pc_capacity, id + 1, sizeof(*s->pcs));
		s->defs.pcs = s->pcs;
		while (s->defs.pc_count <= id)
			s->pcs[s->defs.pc_count++] = s->pcs[0];
		s->pcs[id] = block->pcs[i];
	}
	return 0;
}

int trace_defs_need_process(struct trace_defs_store *s, uint32_t id, struct err *err)
{
	size_t need = (size_t)id + 1;

	if (gap(s, s->defs.process_count, need, "process", err) < 0)
		return -1;
	s->processes = xgrow(s->processes, &s->process_capacity, need, sizeof(*s->processes));
	s->defs.processes = s->processes;
	while (s->defs.process_count < need) {
		s->processes[s->defs.process_count] = (struct trace_process){
			.index = (uint32_t)s->defs.process_count,
			.parent = TRACE_NONE,
			.executable = s->strings[LOST_TEXT],
			.python_build = {"", 0},
			.prefix = {"", 0},
		};
		s->defs.process_count++;
	}
	return 0;
}

static int add_processes(struct trace_defs_store *s, const struct pack_block *block,
			 struct err *err)
{
	for (size_t i = 0; i < block->process_count; i++) {
		struct trace_process process = block->processes[i];
		struct trace_text *command;

		if (process.index == TRACE_NONE)
			return err_set(err, ERR_CORRUPT, "a process has no index");
		command = arena_alloc(&s->arena, process.command_count * sizeof(*command));
		if (!command)
			return too_large(err);
		for (size_t n = 0; n < process.command_count; n++) {
			command[n] = process.command[n];
			if (trace_defs_copy(s, &command[n], err) < 0)
				return -1;
		}
		process.command = command;
		if (trace_defs_copy(s, &process.executable, err) < 0 ||
		    trace_defs_copy(s, &process.python_build, err) < 0 ||
		    trace_defs_copy(s, &process.prefix, err) < 0 ||
		    trace_defs_need_process(s, process.index, err) < 0)
			return -1;
		/* Parents come first, so walks up the tree end. */
		if (process.parent >= process.index)
			process.parent = TRACE_NONE;
		s->processes[process.index] = process;
	}
	return 0;
}

int trace_defs_need_thread(struct trace_defs_store *s, uint32_t id, uint32_t process,
			   struct err *err)
{
	size_t need = (size_t)id + 1;

	if (id < s->defs.thread_count)
		return 0;
	if (gap(s, s->defs.thread_count, need, "thread", err) < 0)
		return -1;
	s->threads = xgrow(s->threads, &s->thread_capacity, need, sizeof(*s->threads));
	s->defs.threads = s->threads;
	while (s->defs.thread_count < need) {
		s->threads[s->defs.thread_count] = (struct trace_thread){
			.index = (uint32_t)s->defs.thread_count,
			.process = process,
			.name = {"", 0},
		};
		s->defs.thread_count++;
	}
	return 0;
}

static int add_threads(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	for (size_t i = 0; i < block->thread_count; i++) {
		struct trace_thread thread = block->threads[i];

		if (thread.index == TRACE_NONE)
			return err_set(err, ERR_CORRUPT, "a thread has no index");
		if (trace_defs_copy(s, &thread.name, err) < 0 ||
		    trace_defs_need_process(s, thread.process, err) < 0 ||
		    trace_defs_need_thread(s, thread.index, thread.process, err) < 0)
			return -1;
		s->threads[thread.index] = thread;
	}
	return 0;
}

static int add_process_ends(struct trace_defs_store *s, const struct pack_block *block,
			    struct err *err)
{
	for (size_t i = 0; i < block->process_end_count; i++) {
		size_t n = s->defs.process_end_count;

		if (trace_defs_need_process(s, block->process_ends[i].process, err) < 0)
			return -1;
		s->process_ends = xgrow(s->process_ends, &s->process_end_capacity, n + 1,
					sizeof(*s->process_ends));
		s->defs.process_ends = s->process_ends;
		s->process_ends[n] = block->process_ends[i];
		s->defs.process_end_count++;
	}
	return 0;
}

static int add_symbols(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	for (size_t i = 0; i < block->symbol_count; i++) {
		struct trace_symbol symbol = block->symbols[i];
		size_t n = s->defs.symbol_count;

		if (need_module(s, symbol.module, err) < 0 ||
		    trace_defs_copy(s, &symbol.name, err) < 0)
			return -1;
		s->symbols = xgrow(s->symbols, &s->symbol_capacity, n + 1, sizeof(*s->symbols));
		s->defs.symbols = s->symbols;
		s->symbols[n] = symbol;
		s->defs.symbol_count++;
	}
	return 0;
}

static int add_sources(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	for (size_t i = 0; i < block->source_count; i++) {
		struct trace_source source = block->sources[i];
		size_t n = s->defs.source_count;

		if (trace_defs_copy(s, &source.path, err) < 0 ||
		    trace_defs_copy(s, &source.text, err) < 0)
			return -1;
		s->sources = xgrow(s->sources, &s->source_capacity, n + 1, sizeof(*s->sources));
		s->defs.sources = s->sources;
		s->sources[n] = source;
		s->defs.source_count++;
	}
	return 0;
}

static int add_refusals(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	for (size_t i = 0; i < block->refusal_count; i++) {
		struct trace_refusal refusal = block->refusals[i];
		size_t n = s->defs.refusal_count;

		if (trace_defs_copy(s, &refusal.command, err) < 0 ||
		    trace_defs_copy(s, &refusal.why, err) < 0)
			return -1;
		s->refusals = xgrow(s->refusals, &s->refusal_capacity, n + 1, sizeof(*s->refusals));
		s->defs.refusals = s->refusals;
		s->refusals[n] = refusal;
		s->defs.refusal_count++;
	}
	return 0;
}

int trace_defs_need_node(struct trace_defs_store *s, uint32_t id, struct err *err)
{
	if (id < s->defs.node_count)
		return 0;
	if (gap(s, s->defs.node_count, (size_t)id + 1, "stack node", err) < 0)
		return -1;
	reserve_nodes(s, (size_t)id + 1);
	return 0;
}

/* The structs of definitions count like their texts: the arena may hold that much less. */
static int charge(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	size_t bytes =
		block->string_count * sizeof(*s->strings) + block->code_count * sizeof(*s->codes) +
		block->node_count * sizeof(*s->nodes) + block->module_count * sizeof(*s->modules) +
		block->pc_count * sizeof(*s->pcs) + block->process_count * sizeof(*s->processes) +
		block->thread_count * sizeof(*s->threads) +
		block->process_end_count * sizeof(*s->process_ends) +
		block->symbol_count * sizeof(*s->symbols) +
		block->source_count * sizeof(*s->sources) +
		block->refusal_count * sizeof(*s->refusals);

	if (bytes >= s->arena.cap - s->arena.total)
		return too_large(err);
	s->arena.cap -= bytes;
	return 0;
}

int trace_defs_add(struct trace_defs_store *s, const struct pack_block *block, struct err *err)
{
	if (charge(s, block, err) < 0)
		return -1;
	if (add_strings(s, block, err) < 0 || add_codes(s, block, err) < 0 ||
	    add_nodes(s, block, err) < 0 || add_modules(s, block, err) < 0 ||
	    add_pcs(s, block, err) < 0 || add_processes(s, block, err) < 0 ||
	    add_threads(s, block, err) < 0 || add_process_ends(s, block, err) < 0 ||
	    add_symbols(s, block, err) < 0 || add_sources(s, block, err) < 0 ||
	    add_refusals(s, block, err) < 0)
		return -1;
	return 0;
}
