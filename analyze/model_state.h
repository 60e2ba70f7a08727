/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a model, for the model_*.c files only. A trace's ids mean nothing beyond their
 * trace, so model_add translates each once, through the arrays of struct model_trace, into the
 * model's own; after that an event costs array look-ups and one or two probes of a hash table.
 */
#ifndef SCPROF_MODEL_STATE_H
#define SCPROF_MODEL_STATE_H

#include "analyze/model.h"
#include "analyze/model_slots.h"
#include "analyze/model_table.h"
#include "formats/base/map.h"

#define MODEL_NO_ID UINT32_MAX
#define MODEL_LEFT_OUT (UINT32_MAX - 1) /* a stack that --file or --function leaves out */

/* What a sample's program counter and flags say about where it ran. The helper classes wait for
 * model_finish: only the symbols at the end of a trace tell the interpreter's loop from its
 * helpers, and only the whole line tells what the helpers worked for. */
enum model_class {
	MODEL_CLASS_PYTHON,
	MODEL_CLASS_NATIVE,
	MODEL_CLASS_SYSTEM,
	MODEL_CLASS_IN_C_CALL,      /* in the interpreter or libc, the leaf instruction calls C */
	MODEL_CLASS_IN_PYTHON_CALL, /* the same, it calls Python */
	MODEL_CLASS_IN_INTERPRETER, /* the same, anything else */
};

/* 16 bytes of code: functions start on such borders as compilers lay them out, and a loop body is a
 * handful of them instead of dozens of program counters. MODEL_NO_ID is the unknown one. */
struct model_granule {
	uint32_t module; /* model module id */
	uint64_t offset; /* of the first program counter seen in it */
};

struct model_symbol {
	uint32_t module;
	const char *name; /* interned */
	uint64_t start;
	uint64_t size;
	enum trace_symbol_kind kind;
};

struct model_file_state {
	const char *path; /* interned */
	enum model_origin origin;
	char *source; /* owned; or NULL */
	size_t source_size;
};

/* Where a sample was charged: enough to charge more to the same place. */
struct model_place {
	uint32_t node; /* MODEL_NO_ID: filtered out */
	uint32_t granule;
	enum model_class class;
};

struct model {
	struct model_options options;
	bool all_time;   /* no --from, no --to */
	bool all_stacks; /* no --file, no --function */
	struct intern texts;

	struct model_table file_table; /* (path, origin, 0) */
	struct model_file_state *files;
	size_t file_capacity;
	struct model_table function_table; /* (file, name, first line) */
	struct model_function *functions;
	size_t function_capacity;
	bool *function_matches; /* by function: passes --file and --function */
	size_t function_match_capacity;
	struct model_table line_table; /* (function, line, 0) */
	struct model_line *lines;
	size_t line_capacity;
	struct model_table node_table; /* (parent, line, 0) or (0, MODEL_NO_ID, thread) */
	struct model_node *nodes;
	uint32_t *node_lines; /* MODEL_NO_ID for the root and the thread nodes */
	size_t node_capacity;
	size_t node_line_capacity;
	size_t node_count;      /* the root is in no table */
	uint32_t no_frame_line; /* MODEL_NO_ID until there is such a stack */

	struct model_thread *threads;
	size_t thread_count;
	size_t thread_capacity;
	struct model_process *processes;
	size_t process_count;
	size_t process_capacity;
	struct model_table module_table; /* (path, build id) */
	const char **modules;            /* names without folder */
	size_t module_capacity;
	struct model_table granule_table; /* (module, offset / 16) in 96 bits */
	struct model_granule *granules;
	size_t granule_capacity;
	struct model_symbol *symbols;
	size_t symbol_count;
	size_t symbol_capacity;
	struct model_slots slots;
	struct model_table share_table; /* (thread, line): time in helper classes */
	uint64_t *shares;
	size_t share_capacity;

	struct model_native *natives;
	size_t native_count;
	size_t native_capacity;

	struct model_file *files_view;
	struct model_view view;
	struct trace_header header;
	struct trace_text *command; /* of the header */
	bool has_header;
	uint64_t own_ns;  /* CPU time of the processes by their own clocks */
	uint64_t seen_ns; /* and what of it is in events */
	char *damage;
	const char *path; /* of the trace being read, when model_add_path reads it */
	size_t trace_count;
	struct model_span {
		uint64_t start_ns; /* CLOCK_REALTIME */
		uint64_t end_ns;
	} * spans; /* what each trace shows */
	size_t span_capacity;
	char **late_names; /* of the next trace's threads; see model_add_path */
	size_t late_name_count;
};

struct model_thread_state {
	uint32_t process; /* of the trace */
	uint32_t id;      /* model thread; MODEL_NO_ID until its first event, or MODEL_LEFT_OUT */
	bool sampled;
	uint64_t carry_ns; /* CPU time that waits for the next sample */
	uint64_t last_weight_ns;
	uint64_t last_time_ns;
	struct model_place last;
	uint32_t share_line; /* the last probe of share_table */
	uint32_t share;
	uint32_t split_trace_node; /* the last probe of thread_nodes */
	uint32_t split_node;
};

struct model_process_state {
	uint32_t id;            /* model process, MODEL_NO_ID when the filter leaves it out */
	uint64_t seen_ns;       /* CPU time in its events, whatever the filter */
	uint64_t own_ns;        /* CPU time by its own clocks, 0 when not known */
	uint32_t *pool_threads; /* that ended with CPU time but no sample; see their carry_ns */
	size_t pool_thread_count;
	size_t pool_thread_capacity;
	struct model_table firsts; /* (node, granule, class) of first samples */
	uint64_t *first_counts;
	size_t first_capacity;
};

struct model_pc {
	uint32_t granule;
	enum trace_module_role role;
};

/* One trace on its way into the model. */
struct model_trace {
	struct model *m;
	const struct trace_defs *defs;
	uint64_t shift_ns; /* from this trace's time to the first one's */
	uint64_t end_ns;   /* latest time seen */
	uint32_t process;  /* of the current block */
	uint64_t unwalked; /* samples marked so */
	uint64_t unwalked_losses;

	uint32_t *functions; /* by code */
	size_t function_capacity;
	size_t function_count;
	uint32_t *lines; /* by node: model line */
	size_t line_capacity;
	size_t line_count;
	uint32_t *nodes; /* by node: model node, when the tree is not split */
	size_t node_capacity;
	size_t node_count;
	uint8_t *passes; /* by node: does the stack pass the filter? */
	size_t pass_capacity;
	size_t pass_count;
	struct model_pc *pcs;
	size_t pc_capacity;
	size_t pc_count;
	uint32_t *modules;
	size_t module_capacity;
	size_t module_count;
	struct model_table positions; /* (code, offset) */
	uint32_t *position_lines;
	size_t position_capacity;
	struct model_table thread_nodes; /* split_threads: (thread, node) */
	uint32_t *thread_node_ids;
	size_t thread_node_capacity;
	uint32_t *chain; /* scratch: trace nodes from a leaf outwards */
	size_t chain_capacity;

	struct model_thread_state *threads;
	size_t thread_count;
	size_t thread_capacity;
	struct model_process_state *processes;
	size_t process_count;
	size_t process_capacity;
};

/* model_names.c: functions, lines and stacks. */
const char *model_text(struct model *m, const char *data, size_t size);
/* Makes room for all the trace's nodes and codes so far. */
void model_grow_names(struct model_trace *t);
/* The model node of a trace's stack in a thread, or MODEL_LEFT_OUT. */
uint32_t model_resolve_node(struct model_trace *t, struct model_thread_state *thread,
			    uint32_t trace_node);
/* The line that the node's own time belongs to. */
uint32_t model_own_line(struct model *m, uint32_t node);
/* A node for time that no sample explains. */
uint32_t model_not_sampled_node(struct model *m, struct model_thread_state *thread);
void model_note_sources(struct model_trace *t);

/* model_process.c: processes and threads. */
void model_note_processes(struct model_trace *t);
void model_open_thread(struct model_trace *t, uint32_t thread);
void model_note_ends(struct model_trace *t);
void model_note_threads(struct model_trace *t);
/* As a shell would take it. Caller frees with free. */
char *model_join_command(const struct trace_text *words, size_t count);
/* The same, kept in the model. */
const char *model_command(struct model *m, const struct trace_text *words, size_t count);

/* model_classify.c: where the CPU time was spent. */
/* Makes room for all the trace's program counters so far. */
void model_grow_pcs(struct model_trace *t);
enum model_class model_classify(const struct model_trace *t, const struct trace_sample *s);
void model_note_symbols(struct model_trace *t);
/* Turns unsure_ns into Python or native time in all nodes and threads; lists the natives. */
void model_settle(struct model *m);

/* model_finish.c */
void model_note_header(struct model *m, const struct trace_header *header);

/* model_sum.c: totals of nodes, lines, functions, files and processes. */
void model_sum(struct model *m);

/* model_source.c: reads what the traces do not hold from disk, when it cannot have changed. */
void model_load_sources(struct model *m);

/* part * whole_part / whole without overflow; whole must not be 0. */
static inline uint64_t model_scale(uint64_t part, uint64_t by, uint64_t whole)
{
	return (uint64_t)((unsigned __int128)part * by / whole);
}

#endif
