/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader's definitions: takes over what each block defines, fills gaps that lost blocks left
 * with placeholders, and guarantees that every id in struct trace_defs points at something.
 */
#ifndef SCPROF_TRACE_DEFS_H
#define SCPROF_TRACE_DEFS_H

#include "formats/base/arena.h"
#include "formats/pack.h"
#include "formats/trace_reader.h"

/* Lost definitions in a whole trace, of all kinds; more means that an id is damaged. */
#define TRACE_MAX_PLACEHOLDERS ((size_t)1 << 20)
#define TRACE_MAX_DEFINITION_BYTES ((size_t)2 << 30)
/* String ids of the reader are the file's plus this: the first two are the placeholders. */
#define TRACE_OWN_STRINGS 2u

struct trace_defs_store {
	struct trace_defs defs; /* what trace_reader_defs hands out */
	struct trace_text *strings;
	size_t string_capacity;
	struct trace_code *codes;
	size_t code_capacity;
	struct trace_node *nodes;
	size_t node_capacity;
	struct trace_module *modules;
	size_t module_capacity;
	struct trace_pc *pcs;
	size_t pc_capacity;
	struct trace_process *processes;
	size_t process_capacity;
	struct trace_thread *threads;
	size_t thread_capacity;
	struct trace_process_end *process_ends;
	size_t process_end_capacity;
	struct trace_symbol *symbols;
	size_t symbol_capacity;
	struct trace_refusal *refusals;
	size_t refusal_capacity;
	struct trace_source *sources;
	size_t source_capacity;
	size_t placeholders;
	struct arena arena; /* texts and tables */
};

void trace_defs_init(struct trace_defs_store *s);
void trace_defs_release(struct trace_defs_store *s);
/* Takes over all definitions of a block. Returns 0, or -1 with ERR_CORRUPT when an id or a size
 * cannot be; what came before stays defined. */
int trace_defs_add(struct trace_defs_store *s, const struct pack_block *block, struct err *err);
/* Make sure that the id is defined, by a placeholder if need be. Return 0 or -1 as above. */
int trace_defs_need_node(struct trace_defs_store *s, uint32_t id, struct err *err);
int trace_defs_need_process(struct trace_defs_store *s, uint32_t id, struct err *err);
int trace_defs_need_thread(struct trace_defs_store *s, uint32_t id, uint32_t process,
			   struct err *err);
/* Copies text to memory that lives as long as the store. Returns 0 or -1 as above. */
int trace_defs_copy(struct trace_defs_store *s, struct trace_text *text, struct err *err);

#endif
