/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a model, for the model_*.c files only. A trace's ids mean nothing beyond their
 * trace, so model_add translates each once, through the arrays of struct model_trace, into the
 * model's own; after that an event costs array look-ups and one or two probes of a hash table.
 */
#ifndef SCPROF_MODEL_STATE_H
#define SCPROF_MODEL_STATE_H

#include "analyze/ledger.h"
#include "analyze/model.h"
#include "analyze/model_slots.h"
#include "analyze/model_table.h"
#include "analyze/series.h"
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

#define MODEL_RECENT_SITES 1024 /* a power of two */

/* The memory of one process of one trace. */
struct model_heap {
	uint32_t process; /* of the model */
	uint64_t shift_ns;
	uint64_t end_ns; /* of the process, in the trace's time */
	double rate;
	struct ledger *ledger;
	struct map sites; /* model node to site of the ledger */
	struct model_site {
		uint32_t node; /* + 1 */
		uint32_t site;
	} recent[MODEL_RECENT_SITES]; /* of sites, by node */
	uint32_t *nodes;              /* and back */
	size_t node_capacity;
	struct map groups;         /* (kind, id of the line or function) to group */
	struct model_group *kinds; /* by group */
	size_t group_count;
	size_t group_capacity;
	uint32_t *threads; /* model threads by the ledger's */
	size_t thread_count;
	size_t thread_capacity;
	struct memory total;
	struct series_clock clock; /* of the footprint */
	struct series rss;
	struct series pss;
	struct model_fork {
		uint64_t time_ns;
		double live_bytes;
	} * forks; /* those before fork_at have been passed */
	size_t fork_at;
	size_t fork_count;
	size_t fork_capacity;
	double inherited_bytes;
	double first_rss_bytes;
	double max_rss_bytes;
	double before_bytes; /* as in struct model_memory; 0: not one of those, or not known yet */
	uint64_t minor_faults;
	uint64_t major_faults;
};

/* What a group of the ledger is about. A line's stacks that are no leaks by the user's word are in
 * a group of their own. */
enum model_group_kind {
	MODEL_GROUP_LINE,
	MODEL_GROUP_CHARGED,
	MODEL_GROUP_SUPPRESSED,
	MODEL_GROUP_FUNCTION,
};

struct model_group {
	enum model_group_kind kind;
	uint32_t id;
};

/* Which of a site's groups is which. */
enum { MODEL_SITE_LINE, MODEL_SITE_CHARGED, MODEL_SITE_FUNCTION };

/* A leak and the groups it is made of. */
struct model_leak_state {
	uint32_t line;
	struct model_leak leak;
	double slope_variance;
	struct estimate live;
	double most; /* growth of the stack that stands for it */
	struct model_leak_part {
		uint32_t heap;
		uint32_t group;
	} * parts;
	size_t part_count;
	size_t part_capacity;
};

/* Time that counts: from_ns itself is not part of it, unless it is 0. */
struct model_window {
	uint64_t from_ns;
	uint64_t to_ns;
};

/* What is known ahead of one process of the next trace; see model_path.c. */
struct model_ahead {
	struct model_ahead_phase {
		char *label;
		uint64_t from_ns;
		uint64_t to_ns;
	} * phases;
	size_t count;
	size_t capacity;
};

struct model {
	struct model_options options;
	struct model_window window; /* --from and --to */
	bool all_time;              /* no --from, no --to, no --phase */
	bool all_stacks;            /* no --file, no --function */
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

	struct model_refusal *refusals;
	size_t refusal_count;
	size_t refusal_capacity;
	struct model_native *natives;
	size_t native_count;
	size_t native_capacity;

	struct model_heap **heaps; /* in order of their processes */
	size_t heap_count;
	size_t heap_capacity;
	struct series_bins cpu_bins; /* of all processes, in the model's time */
	struct series_bins copy_bins;
	bool memory_seen;
	bool copies_seen;
	struct model_mark *marks;
	size_t mark_count;
	size_t mark_capacity;
	struct model_memory_point *points;
	struct model_leak_state *leaks;
	size_t leak_count;
	size_t leak_capacity;
	struct model_leak *leaks_view;
	float *leak_live;
	uint8_t *suppressed; /* by function, see model_suppress.c */
	size_t suppressed_count;
	size_t suppressed_capacity;
	float *live; /* point_count for each line that has any */

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
	size_t span_count;
	size_t span_capacity;
	struct model_phase *phases; /* those of a process in a row */
	size_t phase_count;
	size_t phase_capacity;
	struct model_ahead *ahead; /* by process of the next trace */
	size_t ahead_count;
	size_t ahead_capacity;
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
	uint32_t ledger_thread;  /* LEDGER_NONE until its first memory event */
	uint64_t memory_time_ns; /* of the last one */
};

struct model_process_state {
	uint32_t id;      /* model process, MODEL_NO_ID when the filter leaves it out */
	uint64_t seen_ns; /* CPU time in its events, whatever the filter */
	uint64_t own_ns;  /* CPU time by its own clocks, 0 when not known */
	const struct model_window *windows; /* in order; all in one when nothing is left out */
	struct model_window *own_windows;
	size_t window_count;
	size_t first_phase;
	size_t phase_count;
	size_t phase_at; /* whose border comes next */
	bool in_phase;
	bool paused;            /* for a time: then not all of own_ns could be seen */
	bool ended;             /* its end was seen, however it went */
	uint32_t *pool_threads; /* that ended with CPU time but no sample; see their carry_ns */
	size_t pool_thread_count;
	size_t pool_thread_capacity;
	struct model_heap *heap;   /* NULL until there is anything to say of its memory */
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
	struct trace_reader *reader;
	const struct trace_defs *defs;
	uint64_t shift_ns; /* from this trace's time to the first one's */
	uint64_t memory_rate;
	uint64_t copy_rate;
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
/* Not all of a process that was paused can be in the trace. */
void model_note_pauses(struct model_trace *t, const struct trace_block *b);
void model_note_ends(struct model_trace *t);
void model_note_threads(struct model_trace *t);
/* As a shell would take it, kept in the model. */
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

/* model_path.c: what is known of a trace before it is read. */
void model_forget_ahead(struct model *m);

/* model_phase.c: the time that counts. */
/* Sets the windows and the phases of a process that is new; false: nothing of it counts. */
bool model_open_windows(struct model_trace *t, uint32_t process);
/* The first window that ends at time_ns or later; window_count: none. */
size_t model_window_at(const struct model_process_state *state, uint64_t time_ns);
bool model_in_windows(const struct model_process_state *state, uint64_t time_ns);
/* Charges the phases of a process for their parts of [start_ns, end_ns]. */
void model_charge_phases(struct model_trace *t, const struct model_process_state *state,
			 uint64_t start_ns, uint64_t end_ns, uint64_t cpu_ns);
/* Before each event of memory: notes what is live where phases begin and end. */
void model_watch_phases(struct model_trace *t, struct model_process_state *state,
			const struct ledger *ledger, uint64_t time_ns);
/* All that counts, in order. Caller frees with free. */
struct model_window *model_shown_windows(struct model_trace *t, size_t *count);

/* model_memory.c: who holds how much. */
void model_take_memory(struct model_trace *t, const struct trace_block *b);
/* No more events of the trace: charges nodes, lines, functions, threads and processes. */
void model_settle_memory(struct model_trace *t);
/* Averages and totals over all traces, before model_sum and after it. */
void model_average_memory(struct model *m, uint64_t duration_ns);
void model_total_memory(struct model *m);
void model_free_memory(struct model *m);

/* model_suppress.c: stacks that are no leaks by the user's word. */
bool model_pattern_matches(const char *pattern, const char *text);
bool model_suppressed(struct model *m, uint32_t node);

/* model_leaks.c: what grows and never comes back: found before model_sum, listed at the end. */
void model_find_leaks(struct model *m);
void model_list_leaks(struct model *m);
void model_free_leaks(struct model *m);

/* model_timeline.c: heap and footprint over time. */
/* Adds the live bytes of a group at the model's points. */
void model_add_live(const struct model *m, const struct model_heap *heap, uint32_t group,
		    float *live);
void model_make_points(struct model *m);

/* model_sum.c: totals of nodes, lines, functions, files and processes. */
void model_sum(struct model *m);

/* model_source.c: reads what the traces do not hold from disk, when it cannot have changed. */
void model_load_sources(struct model *m);

/* The line that is charged with what a node has itself: the innermost of the user's code, else its
 * own. Before model_finish. */
uint32_t model_charged_line(struct model *m, uint32_t node);

#define MODEL_MAX(a, b) ((a) > (b) ? (a) : (b))

/* part * whole_part / whole without overflow; whole must not be 0. */
static inline uint64_t model_scale(uint64_t part, uint64_t by, uint64_t whole)
{
	return (uint64_t)((unsigned __int128)part * by / whole);
}

#endif
