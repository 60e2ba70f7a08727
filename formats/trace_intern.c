/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids for the writer, see trace_intern.h.
 */
#include "formats/trace_intern.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define MAX_TEXT_BYTES ((size_t)1024 * 1024)
#define FIRST_NODE_SLOTS ((size_t)1024)
#define PENDING_ITEM_BYTES 64 /* what a definition costs in a block besides its texts */

void trace_intern_init(struct trace_intern *in)
{
	memset(in, 0, sizeof(*in));
	in->codes = xgrow(NULL, &in->code_capacity, 1, sizeof(*in->codes));
	in->modules = xgrow(NULL, &in->module_capacity, 1, sizeof(*in->modules));
	in->nodes = xgrow(NULL, &in->node_capacity, 1, sizeof(*in->nodes));
	in->nodes[0] = (struct trace_node){.parent = TRACE_NONE, .code = TRACE_NONE, .offset = -1};
	in->node_count = in->nodes_written = 1;
	in->node_slot_count = FIRST_NODE_SLOTS;
	in->node_slots = xcalloc(FIRST_NODE_SLOTS, sizeof(*in->node_slots));
	in->pcs = xgrow(NULL, &in->pc_capacity, 1, sizeof(*in->pcs));
	in->pcs[0] = (struct trace_pc){TRACE_NONE, 0};
	in->pc_count = in->pcs_written = 1;
}

static void free_sources(struct trace_intern *in, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)in->sources[i].path.data);
}

void trace_intern_release(struct trace_intern *in)
{
	free_sources(in, in->source_count);
	intern_release(&in->strings);
	intern_release(&in->code_keys);
	intern_release(&in->module_keys);
	intern_release(&in->pc_keys);
	free(in->codes);
	free(in->nodes);
	free(in->node_slots);
	free(in->modules);
	free(in->pcs);
	free(in->processes);
	free(in->threads);
	free(in->process_ends);
	free(in->symbols);
	free(in->sources);
	free(in->refusals);
	buf_release(&in->key);
	arena_release(&in->texts);
	arena_release(&in->slices);
	memset(in, 0, sizeof(*in));
}

uint32_t trace_intern_string(struct trace_intern *in, const char *data, size_t size)
{
	return intern_add(&in->strings, data, size < MAX_TEXT_BYTES ? size : MAX_TEXT_BYTES, NULL);
}

uint32_t trace_intern_code(struct trace_intern *in, const struct trace_code *code)
{
	const uint32_t numbers[] = {
		code->filename, code->name,   code->qualname,  (uint32_t)code->first_line,
		code->flags,    code->python, code->code_bytes};
	struct trace_code *copy;
	uint32_t id;
	bool added;

	buf_clear(&in->key);
	buf_add(&in->key, numbers, sizeof(numbers));
	if (code->line_table_size <= MAX_TEXT_BYTES)
		buf_add(&in->key, code->line_table, code->line_table_size);
	id = intern_add(&in->code_keys, in->key.data, in->key.size, &added);
	if (!added)
		return id;
	in->codes = xgrow(in->codes, &in->code_capacity, in->code_count + 1, sizeof(*copy));
	copy = &in->codes[in->code_count++];
	*copy = *code;
	copy->line_table = (const uint8_t *)intern_get(&in->code_keys, id, NULL) + sizeof(numbers);
	copy->line_table_size = in->key.size - sizeof(numbers);
	return id;
}

static uint64_t node_hash(uint32_t parent, uint32_t code, int32_t offset)
{
	return map_hash(((uint64_t)parent << 32 | code) ^ (uint64_t)(uint32_t)offset << 17);
}

static void grow_node_slots(struct trace_intern *in)
{
	size_t mask;

	in->node_slot_count *= 2;
	mask = in->node_slot_count - 1;
	free(in->node_slots);
	in->node_slots = xcalloc(in->node_slot_count, sizeof(*in->node_slots));
	for (size_t id = 1; id < in->node_count; id++) {
		const struct trace_node *node = &in->nodes[id];
		size_t i = node_hash(node->parent, node->code, node->offset) & mask;

		while (in->node_slots[i])
			i = (i + 1) & mask;
		in->node_slots[i] = (uint32_t)id;
	}
}

uint32_t trace_intern_node(struct trace_intern *in, uint32_t parent, uint32_t code, int32_t offset)
{
	size_t mask = in->node_slot_count - 1;
	size_t i = node_hash(parent, code, offset) & mask;
	uint32_t id;

	while ((id = in->node_slots[i]) != 0) {
		const struct trace_node *node = &in->nodes[id];

		if (node->parent == parent && node->code == code && node->offset == offset)
			return id;
		i = (i + 1) & mask;
	}
	in->nodes = xgrow(in->nodes, &in->node_capacity, in->node_count + 1, sizeof(*in->nodes));
	id = (uint32_t)in->node_count++;
	in->nodes[id] = (struct trace_node){parent, code, offset};
	in->node_slots[i] = id;
	if (in->node_count * 2 > in->node_slot_count)
		grow_node_slots(in);
	return id;
}

uint32_t trace_intern_module(struct trace_intern *in, const struct trace_module *module)
{
	size_t path_size = module->path.size < MAX_TEXT_BYTES ? module->path.size : MAX_TEXT_BYTES;
	struct trace_module *copy;
	const char *key;
	uint32_t id;
	bool added;

	/* Path, 0, build id, role: the path's copy ends with a 0 of its own that way. */
	buf_clear(&in->key);
	buf_add(&in->key, module->path.data, path_size);
	buf_add_byte(&in->key, 0);
	buf_add(&in->key, module->build_id, module->build_id_size);
	buf_add_byte(&in->key, (uint8_t)module->role);
	id = intern_add(&in->module_keys, in->key.data, in->key.size, &added);
	if (!added)
		return id;
	in->modules = xgrow(in->modules, &in->module_capacity, in->module_count + 1, sizeof(*copy));
	copy = &in->modules[in->module_count++];
	key = intern_get(&in->module_keys, id, NULL);
	*copy = *module;
	copy->path = (struct trace_text){key, path_size};
	copy->build_id = (const uint8_t *)key + path_size + 1;
	return id;
}

uint32_t trace_intern_pc(struct trace_intern *in, uint32_t module, uint64_t offset)
{
	const uint64_t key[] = {module, offset};
	uint32_t id;
	bool added;

	if (module == TRACE_NONE)
		return 0;
	id = intern_add(&in->pc_keys, key, sizeof(key), &added) + 1;
	if (added) {
		in->pcs = xgrow(in->pcs, &in->pc_capacity, in->pc_count + 1, sizeof(*in->pcs));
		in->pcs[in->pc_count++] = (struct trace_pc){module, offset};
	}
	return id;
}

static void keep_text(struct trace_intern *in, struct trace_text *text)
{
	if (text->size > MAX_TEXT_BYTES)
		text->size = MAX_TEXT_BYTES;
	text->data = arena_copy(&in->texts, text->data, text->size);
	if (!text->data)
		xalloc_die(text->size);
}

void trace_intern_process(struct trace_intern *in, const struct trace_process *process)
{
	struct trace_process *copy;
	struct trace_text *command;

	in->processes = xgrow(in->processes, &in->process_capacity, in->process_count + 1,
			      sizeof(*in->processes));
	copy = &in->processes[in->process_count++];
	*copy = *process;
	command = arena_alloc(&in->texts, process->command_count * sizeof(*command));
	if (!command)
		xalloc_die(process->command_count * sizeof(*command));
	for (size_t i = 0; i < process->command_count; i++) {
		command[i] = process->command[i];
		keep_text(in, &command[i]);
	}
	copy->command = command;
	keep_text(in, &copy->executable);
	keep_text(in, &copy->python_build);
	keep_text(in, &copy->prefix);
}

void trace_intern_thread(struct trace_intern *in, const struct trace_thread *thread)
{
	in->threads = xgrow(in->threads, &in->thread_capacity, in->thread_count + 1,
			    sizeof(*in->threads));
	in->threads[in->thread_count] = *thread;
	keep_text(in, &in->threads[in->thread_count++].name);
}

void trace_intern_process_end(struct trace_intern *in, const struct trace_process_end *end)
{
	in->process_ends = xgrow(in->process_ends, &in->process_end_capacity,
				 in->process_end_count + 1, sizeof(*in->process_ends));
	in->process_ends[in->process_end_count++] = *end;
}

void trace_intern_symbol(struct trace_intern *in, const struct trace_symbol *symbol)
{
	in->symbols = xgrow(in->symbols, &in->symbol_capacity, in->symbol_count + 1,
			    sizeof(*in->symbols));
	in->symbols[in->symbol_count] = *symbol;
	keep_text(in, &in->symbols[in->symbol_count++].name);
}

void trace_intern_refusal(struct trace_intern *in, const struct trace_refusal *refusal)
{
	struct trace_refusal *copy;

	in->refusals = xgrow(in->refusals, &in->refusal_capacity, in->refusal_count + 1,
			     sizeof(*in->refusals));
	copy = &in->refusals[in->refusal_count++];
	*copy = *refusal;
	keep_text(in, &copy->command);
	keep_text(in, &copy->why);
}

void trace_intern_source(struct trace_intern *in, const struct trace_source *source)
{
	size_t path_size = source->path.size;
	struct trace_source *copy;
	char *memory = xmalloc(path_size + source->text.size + 2);

	in->sources = xgrow(in->sources, &in->source_capacity, in->source_count + 1,
			    sizeof(*in->sources));
	copy = &in->sources[in->source_count++];
	memcpy(memory, source->path.data, path_size);
	memory[path_size] = '\0';
	copy->path = (struct trace_text){memory, path_size};
	memory += path_size + 1;
	memcpy(memory, source->text.data, source->text.size);
	memory[source->text.size] = '\0';
	copy->text = (struct trace_text){memory, source->text.size};
}

bool trace_intern_pending(const struct trace_intern *in)
{
	return in->strings_written < in->strings.count || in->codes_written < in->code_count ||
	       in->nodes_written < in->node_count || in->modules_written < in->module_count ||
	       in->pcs_written < in->pc_count || in->process_count || in->thread_count ||
	       in->process_end_count || in->symbol_count || in->source_count || in->refusal_count;
}

/* How many of count items go into a block; size tells what item i takes. */
static size_t fitting(const void *items, size_t count, size_t (*size)(const void *items, size_t i),
		      size_t *budget)
{
	size_t n = 0;

	while (n < count && *budget) {
		size_t bytes = PENDING_ITEM_BYTES + (size ? size(items, n) : 0);

		*budget -= bytes < *budget ? bytes : *budget;
		n++;
	}
	return n;
}

static size_t text_size(const void *items, size_t i)
{
	return ((const struct trace_text *)items)[i].size;
}

static size_t code_size(const void *items, size_t i)
{
	return ((const struct trace_code *)items)[i].line_table_size;
}

static size_t process_size(const void *items, size_t i)
{
	const struct trace_process *process = (const struct trace_process *)items + i;
	size_t size = process->executable.size + process->python_build.size + process->prefix.size;

	for (size_t n = 0; n < process->command_count; n++)
		size += process->command[n].size + PENDING_ITEM_BYTES;
	return size;
}

static size_t symbol_size(const void *items, size_t i)
{
	return ((const struct trace_symbol *)items)[i].name.size;
}

static size_t source_size(const void *items, size_t i)
{
	return ((const struct trace_source *)items)[i].text.size;
}

static size_t refusal_size(const void *items, size_t i)
{
	const struct trace_refusal *refusal = (const struct trace_refusal *)items + i;

	return refusal->command.size + refusal->why.size;
}

bool trace_intern_take(struct trace_intern *in, size_t budget, struct pack_block *block)
{
	size_t count = in->strings.count - in->strings_written;
	struct trace_text *strings;

	arena_reset(&in->slices);
	strings = arena_alloc(&in->slices, count * sizeof(*strings));
	if (!strings)
		xalloc_die(count * sizeof(*strings));
	for (size_t i = 0; i < count; i++)
		strings[i].data = intern_get(&in->strings, (uint32_t)(in->strings_written + i),
					     &strings[i].size);
	/* Once the budget is used up the later kinds, which refer to the earlier, get nothing. */
	block->first_string = (uint32_t)in->strings_written;
	block->strings = strings;
	block->string_count = fitting(strings, count, text_size, &budget);
	block->first_code = (uint32_t)in->codes_written;
	block->codes = in->codes + in->codes_written;
	block->code_count =
		fitting(block->codes, in->code_count - in->codes_written, code_size, &budget);
	block->first_node = (uint32_t)in->nodes_written;
	block->nodes = in->nodes + in->nodes_written;
	block->node_count = fitting(NULL, in->node_count - in->nodes_written, NULL, &budget);
	block->first_module = (uint32_t)in->modules_written;
	block->modules = in->modules + in->modules_written;
	block->module_count = fitting(NULL, in->module_count - in->modules_written, NULL, &budget);
	block->first_pc = (uint32_t)in->pcs_written;
	block->pcs = in->pcs + in->pcs_written;
	block->pc_count = fitting(NULL, in->pc_count - in->pcs_written, NULL, &budget);
	block->processes = in->processes;
	block->process_count = fitting(in->processes, in->process_count, process_size, &budget);
	block->threads = in->threads;
	block->thread_count = fitting(NULL, in->thread_count, NULL, &budget);
	block->process_ends = in->process_ends;
	block->process_end_count = fitting(NULL, in->process_end_count, NULL, &budget);
	block->symbols = in->symbols;
	block->symbol_count = fitting(in->symbols, in->symbol_count, symbol_size, &budget);
	block->sources = in->sources;
	block->source_count = fitting(in->sources, in->source_count, source_size, &budget);
	block->refusals = in->refusals;
	block->refusal_count = fitting(in->refusals, in->refusal_count, refusal_size, &budget);
	return !budget &&
	       (block->string_count < count ||
		in->codes_written + block->code_count < in->code_count ||
		in->nodes_written + block->node_count < in->node_count ||
		in->modules_written + block->module_count < in->module_count ||
		in->pcs_written + block->pc_count < in->pc_count ||
		block->process_count < in->process_count ||
		block->thread_count < in->thread_count ||
		block->process_end_count < in->process_end_count ||
		block->symbol_count < in->symbol_count || block->source_count < in->source_count ||
		block->refusal_count < in->refusal_count);
}

/* Takes the first n of *count items away. */
static void drop_first(void *items, size_t *count, size_t n, size_t item_size)
{
	if (!n)
		return;
	*count -= n;
	memmove(items, (char *)items + n * item_size, *count * item_size);
}

void trace_intern_written(struct trace_intern *in, const struct pack_block *block)
{
	in->strings_written += block->string_count;
	in->codes_written += block->code_count;
	in->nodes_written += block->node_count;
	in->modules_written += block->module_count;
	in->pcs_written += block->pc_count;
	drop_first(in->processes, &in->process_count, block->process_count, sizeof(*in->processes));
	drop_first(in->threads, &in->thread_count, block->thread_count, sizeof(*in->threads));
	drop_first(in->process_ends, &in->process_end_count, block->process_end_count,
		   sizeof(*in->process_ends));
	drop_first(in->symbols, &in->symbol_count, block->symbol_count, sizeof(*in->symbols));
	free_sources(in, block->source_count);
	drop_first(in->sources, &in->source_count, block->source_count, sizeof(*in->sources));
	drop_first(in->refusals, &in->refusal_count, block->refusal_count, sizeof(*in->refusals));
	if (!in->process_count && !in->thread_count && !in->symbol_count && !in->refusal_count)
		arena_reset(&in->texts);
}
