/* SPDX-License-Identifier: Apache-2.0
 *
 * The model: everything the reports and exporters know about one or more traces. It is built in one
 * pass over the blocks; its size grows with distinct functions, lines and stacks, never with
 * events. Filters are applied while it is built, so every report and export of one model agrees on
 * totals.
 *
 * trace_reader -> model_add -> (per sample) classify, filter, charge -> model_finish -> reports
 */
#ifndef SCPROF_MODEL_H
#define SCPROF_MODEL_H

#include "formats/base/err.h"
#include "formats/trace_event.h"
#include "formats/trace_reader.h"

/* What can be said about a line, a function, a thread, a stack node or the whole run.
 * python + native + system = cpu. wall = cpu + the waits. */
struct metrics {
	uint64_t samples; /* CPU samples */
	uint64_t cpu_ns;
	uint64_t python_ns;
	uint64_t native_ns;
	uint64_t system_ns;
	uint64_t wall_ns;
	uint64_t wait_ns[TRACE_WAIT_KINDS]; /* [TRACE_WAIT_END] stays 0 */
	uint64_t unsure_ns; /* in the interpreter's C helpers: shared out by model_finish, then 0 */
	double cpu_square;  /* sum of squared sample weights, for the interval of cpu_ns */
};

enum model_weight { MODEL_CPU, MODEL_WALL };

struct model_filter {
	uint64_t from_ns;         /* events outside [from_ns, to_ns] are cut to it */
	uint64_t to_ns;           /* UINT64_MAX: to the end */
	const char *const *files; /* globs on paths: stacks without a matching frame are left out */
	size_t file_count;
	const char *const *functions; /* globs on names, the same rule */
	size_t function_count;
	const char *const *threads; /* names (glob) or tids */
	size_t thread_count;
	const char *const *processes; /* pids, or globs on the command line */
	size_t process_count;
	bool gil_only; /* only samples that held the GIL; no waits */
};

struct model_event {
	uint32_t thread; /* model thread id */
	uint32_t node;   /* model node id: leaf of the stack, 0 when there is no Python frame */
	uint64_t start_ns;
	uint64_t end_ns;
	uint64_t cpu_ns;
	bool waiting;
	enum trace_wait_kind wait; /* when waiting */
};

struct model_options {
	struct model_filter filter;
	enum model_weight weight; /* what percentages, sorting and exports use */
	bool split_threads;       /* call tree: a root node per process and thread */
	/* For exporters that need time order: called once per event that passes the filter, per
	 * thread in order of time. node is a model_node id. The cpu_ns of all events sum to the
	 * model's total: so a sample's holds what was carried to it and may exceed its length, and
	 * CPU time that no later sample takes comes as an event of no length. A reported thread is
	 * already defined, but model_view is only to be had after model_finish. May be NULL. */
	void (*on_event)(void *arg, const struct model_event *event);
	void *on_event_arg;
};

enum model_origin {
	MODEL_USER,     /* the user's own code */
	MODEL_LIBRARY,  /* site-packages, dist-packages */
	MODEL_STANDARD, /* the standard library, frozen modules */
	MODEL_NONE,     /* the pseudo function of stacks without a Python frame */
};

struct model_file {
	const char *path; /* as in co_filename */
	enum model_origin origin;
	const char *source; /* text from the trace or, failing that, from disk when unchanged; or
			       NULL */
	size_t source_size;
	struct metrics self;
};

struct model_function {
	uint32_t file;
	const char *name; /* qualname; "<no Python frame>" for MODEL_NONE */
	int32_t first_line;
	struct metrics self;       /* innermost frame in this function */
	struct metrics cumulative; /* any frame, recursion counted once */
};

/* One source line of one function. */
struct model_line {
	uint32_t function;
	int32_t line;
	struct metrics self;
	struct metrics cumulative; /* any frame at this line, recursion counted once */
	struct metrics
		charged; /* self, plus library time below a user's line: what "your code" shows */
};

/* Call tree at line granularity: node 0 is the root. Parents come before their children. */
struct model_node {
	uint32_t parent;
	uint32_t function; /* UINT32_MAX for the root and for thread nodes */
	uint32_t thread;   /* a thread node of split_threads, else UINT32_MAX */
	int32_t line;
	uint32_t depth;
	struct metrics self;
	struct metrics total; /* self and everything below; filled by model_finish */
};

struct model_thread {
	uint32_t process;
	int32_t tid;
	const char *name; /* never "": "MainThread" or "Thread-TID" when nothing better is known */
	uint64_t start_ns;
	uint64_t end_ns;
	struct metrics total;
};

struct model_process {
	int32_t pid;
	uint32_t parent;          /* index or UINT32_MAX */
	const char *command;      /* joined with spaces, shell-quoted where needed */
	const char *const *words; /* the same as argv */
	size_t word_count;
	const char *python; /* "3.12.1", "3.13.5t" */
	uint64_t start_ns;
	uint64_t end_ns;
	enum trace_end_how how;
	int32_t status;
	uint64_t own_cpu_ns; /* getrusage at its end; 0 when not known */
	struct metrics total;
};

/* Which C code a line spends its native and system time in. */
struct model_native {
	uint32_t line;      /* model line id (innermost Python frame) */
	const char *symbol; /* function name, or "[module+0xOFFSET]" */
	const char *module; /* file name without folder */
	struct metrics self;
};

struct model_quality {
	uint64_t samples;
	uint64_t missed;
	uint64_t failed;      /* stacks that could not be read */
	uint64_t lost_events; /* dropped because a buffer was full or the disk was */
	uint64_t truncated;
	uint64_t late_ticks;
	uint64_t processes_not_recorded;
	double cpu_seen_fraction; /* CPU in samples / the processes' own CPU time; 0 when not known
				   */
	const char *damage;       /* a sentence, or NULL */
	bool complete;            /* the recording ended by itself */
};

struct model;

struct model *model_new(const struct model_options *options);
/* Reads all blocks of r and charges them; may be called for several traces. r stays the caller's.
 */
int model_add(struct model *m, struct trace_reader *r, struct err *err);
/* The same from a path ("-": stdin). A filter on thread names reads a file twice, so that a name
 * that became known late counts from the thread's start. */
int model_add_path(struct model *m, const char *path, struct err *err);
/* Decides Python or native where it takes the whole picture, sums the trees, sorts out names. */
void model_finish(struct model *m);
void model_free(struct model *m);

/* After model_finish. Arrays are borrowed from the model. */
struct model_view {
	const struct model_file *files;
	size_t file_count;
	const struct model_function *functions;
	size_t function_count;
	const struct model_line *lines;
	size_t line_count;
	const struct model_node *nodes;
	size_t node_count;
	const struct model_thread *threads;
	size_t thread_count;
	const struct model_process *processes;
	size_t process_count;
	const struct model_native *natives;
	size_t native_count;
	struct metrics total;
	struct model_quality quality;
	uint64_t start_ns; /* of what is shown, after --from */
	uint64_t duration_ns;
	const struct trace_header *header; /* of the first trace */
	const char *command;               /* its command, joined like model_process.command */
	int exit_status;                   /* of the command; -1 when not known */
	enum model_weight weight;
};
const struct model_view *model_view(const struct model *m);

/* The weight that options.weight asks for: cpu_ns or wall_ns. */
uint64_t metrics_weight(const struct metrics *m, enum model_weight weight);
void metrics_add(struct metrics *to, const struct metrics *from);
/* 95 % interval of m->cpu_ns seen as a share of the whole run: Wilson on the effective number of
 * samples. low and high in ns. */
void metrics_interval(const struct metrics *m, const struct metrics *whole, double *low_ns,
		      double *high_ns);
/* The same for a part of m's CPU time, such as m->native_ns. */
void metrics_part_interval(uint64_t part_ns, const struct metrics *m, const struct metrics *whole,
			   double *low_ns, double *high_ns);

#endif
