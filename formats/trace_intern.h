/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer's definitions: gives equal values equal ids and knows which of them the file lacks.
 */
#ifndef SCPROF_TRACE_INTERN_H
#define SCPROF_TRACE_INTERN_H

#include "formats/base/arena.h"
#include "formats/base/buf.h"
#include "formats/base/map.h"
#include "formats/pack.h"

struct trace_intern {
	struct intern strings;
	struct intern code_keys;
	struct trace_code *codes; /* line tables lie in code_keys */
	size_t code_count;
	size_t code_capacity;
	struct trace_node *nodes; /* the empty stack included */
	size_t node_count;
	size_t node_capacity;
	uint32_t *node_slots; /* open addressing: ids, 0 is free */
	size_t node_slot_count;
	struct intern module_keys;
	struct trace_module *modules;
	size_t module_count;
	size_t module_capacity;
	struct intern pc_keys;
	struct trace_pc *pcs; /* the unknown one included */
	size_t pc_count;
	size_t pc_capacity;
	struct buf key;

	/* How many of each the file holds. */
	size_t strings_written;
	size_t codes_written;
	size_t nodes_written;
	size_t modules_written;
	size_t pcs_written;

	/* What has no id of its own waits here and goes when it is written. */
	struct trace_process *processes;
	size_t process_count;
	size_t process_capacity;
	struct trace_thread *threads;
	size_t thread_count;
	size_t thread_capacity;
	struct trace_process_end *process_ends;
	size_t process_end_count;
	size_t process_end_capacity;
	struct trace_symbol *symbols;
	size_t symbol_count;
	size_t symbol_capacity;
	struct trace_refusal *refusals;
	size_t refusal_count;
	size_t refusal_capacity;
	struct trace_source *sources; /* path and text in one piece of memory */
	size_t source_count;
	size_t source_capacity;
	struct arena texts;  /* of what waits; emptied when nothing does */
	struct arena slices; /* of trace_intern_take */
};

void trace_intern_init(struct trace_intern *in);
void trace_intern_release(struct trace_intern *in);

uint32_t trace_intern_string(struct trace_intern *in, const char *data, size_t size);
uint32_t trace_intern_code(struct trace_intern *in, const struct trace_code *code);
uint32_t trace_intern_node(struct trace_intern *in, uint32_t parent, uint32_t code, int32_t offset);
uint32_t trace_intern_module(struct trace_intern *in, const struct trace_module *module);
uint32_t trace_intern_pc(struct trace_intern *in, uint32_t module, uint64_t offset);
void trace_intern_process(struct trace_intern *in, const struct trace_process *process);
void trace_intern_thread(struct trace_intern *in, const struct trace_thread *thread);
void trace_intern_process_end(struct trace_intern *in, const struct trace_process_end *end);
void trace_intern_refusal(struct trace_intern *in, const struct trace_refusal *refusal);
void trace_intern_symbol(struct trace_intern *in, const struct trace_symbol *symbol);
void trace_intern_source(struct trace_intern *in, const struct trace_source *source);

bool trace_intern_pending(const struct trace_intern *in);
/* Puts up to about budget bytes of definitions that are not written yet into the block, in an order
 * that keeps "define before use". The slices live until the next call. Returns whether more wait.
 */
bool trace_intern_take(struct trace_intern *in, size_t budget, struct pack_block *block);
/* The block's definitions are in the file now. */
void trace_intern_written(struct trace_intern *in, const struct pack_block *block);

#endif
