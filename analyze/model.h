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

#include "analyze/estimate.h"
#include "formats/base/err.h"
#include "formats/trace_event.h"
#include "formats/trace_reader.h"

/* Memory of a line, a function, a thread, a stack or the run: bytes and blocks, estimated where the
 * recording was sampled and exact where it was not. Only the heap counts: malloc and its family,
 * Python's objects, anonymous mappings. Each spread belongs to the estimate above it. All but
 * own_peak_bytes add up. */
struct memory {
	uint64_t events; /* recorded allocations: what the estimates rest on */
	double malloc_bytes;
	struct spread malloc_spread;
	double malloc_count;
	struct spread count_spread;
	double python_bytes; /* of malloc_bytes: by Python's allocator */
	double free_bytes;   /* of blocks allocated here, whoever freed them */
	struct spread free_spread;
	double temporary_bytes; /* freed before the thread's next k allocations */
	double temporary_count;
	double brief_bytes;  /* freed within a millisecond */
	double growth_bytes; /* live at the end of user code (or of the window) minus at its start
			      */
	struct estimate gained, lost; /* its parts: of blocks that are new, of old ones */
	double final_bytes;           /* the same after the interpreter took itself down */
	double peak_bytes;            /* live when the process's heap was largest */
	struct spread peak_spread;
	double own_peak_bytes; /* the largest it ever was by itself: does not add up */
	struct spread own_peak_spread;
	double average_bytes; /* live, averaged over the time of the window */
	uint64_t copies;      /* recorded copies */
	double copy_bytes;    /* enum trace_copy_kind MEMORY and REALLOC */
	struct spread copy_spread;
	double read_bytes; /* by system calls */
	double write_bytes;
	double leak_bytes; /* growth_bytes of the stacks whose line is a MODEL_LEAK_GROWING */
};

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
	struct memory memory;
};

/* What percentages, sorting and exports are about. Times in ns, the rest in bytes. */
enum model_weight {
	MODEL_CPU,
	MODEL_WALL,
	MODEL_MALLOC,    /* malloc_bytes */
	MODEL_PEAK,      /* peak_bytes */
	MODEL_LIVE,      /* growth_bytes, where positive */
	MODEL_LEAKS,     /* leak_bytes */
	MODEL_TEMPORARY, /* temporary_bytes */
	MODEL_COPIES,    /* copy_bytes */
	MODEL_WEIGHTS,
};

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
	const char *const *phases; /* globs on labels: only time within such a phase */
	size_t phase_count;
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
	bool phases;              /* model_view.phases is wanted */
	uint32_t temporary;       /* k of "freed before the thread's next k allocations"; 0: 1 */
	const char *const *suppressions; /* LeakSanitizer's patterns: stacks that are no leaks */
	size_t suppression_count;
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
		charged;   /* self, plus library time below a user's line: what "your code" shows */
	const float *live; /* model_memory.point_count bytes over time, of `charged`; or NULL */
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
	bool forked;         /* not started by an exec: it began with its parent's memory */
	/* Of what the parent had allocated and inherited, live when it forked: an upper bound of
	 * what it has of that. It is not in this process's own figures. 0 when not known. */
	double inherited_bytes;
	double first_rss_bytes; /* when it was looked at first; 0 when not known */
	double max_rss_bytes;
	struct metrics total;
};

/* A program that was left unrecorded for what it is. */
struct model_refusal {
	int32_t pid;        /* 0: not known */
	int32_t parent_pid; /* 0: not known */
	bool python;        /* known to be one */
	const char *command;
	const char *why; /* a clause: "it is ..." */
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
	double cpu_seen_fraction; /* CPU in samples / the processes' own CPU time, of processes that
				     were never paused; 0 when not known */
	const char *damage;       /* a sentence, or NULL */
	bool complete;            /* the recording ended by itself */
};

/* Heap and footprint over time: the value at the end of each of point_count equal steps, and the
 * largest within it. Of all processes together. */
struct model_memory_point {
	double live_bytes;
	double peak_bytes;
	double rss_bytes;
	double pss_bytes;      /* 0 when not known */
	double reserved_bytes; /* address space without memory */
	double file_bytes;     /* mapped files */
	double arena_bytes;    /* what Python's allocator got for its small objects */
	double malloc_bytes;   /* allocated within the step */
	double copy_bytes;     /* copied within the step */
	double cpu_ns;         /* used within the step */
};

struct model_memory {
	bool recorded;        /* the trace has memory events */
	bool copies_recorded; /* ... copies */
	uint64_t rate;        /* mean bytes between samples; 1: every allocation is in the trace */
	uint64_t copy_rate;
	uint64_t point_step_ns;
	size_t point_count;
	const struct model_memory_point *points;
	uint64_t peak_ns;  /* when the largest process's heap was largest */
	uint64_t end_ns;   /* when user code ended: what growth and leaks refer to */
	double peak_bytes; /* sum over processes of each one's peak */
	double max_rss_bytes;
	/* What programs that were joined while they ran had in memory (RSS) then: of that nothing
	 * else is known. */
	double before_bytes;
	uint64_t minor_faults, major_faults;
	uint64_t lost;      /* memory events that found no room */
	uint64_t unmatched; /* frees of unknown blocks */
};

enum model_leak_verdict {
	MODEL_LEAK_GROWING, /* grows to the end of the window */
	MODEL_LEAK_ONCE,    /* grew for a while, then stayed: a cache, a table, an import */
};

/* A line of the user's code, with all that is allocated below it, whose live bytes grew and never
 * came back; see model_leaks.c. */
struct model_leak {
	uint32_t node; /* model node: of its stacks the one that grew most */
	uint32_t line; /* model line: what the stacks are charged to */
	enum model_leak_verdict verdict;
	double likelihood;         /* 0..1 that it will go on growing */
	double growth_bytes_per_s; /* slope of the live bytes, with its 95 % interval */
	double growth_low, growth_high;
	double live_bytes, live_low, live_high; /* at the end of user code */
	double final_bytes;                     /* after finalisation */
	double allocated_bytes, freed_bytes;    /* in the window, up to the end of user code */
	double blocks_alive;
	uint64_t first_growth_ns, last_growth_ns;       /* of the live bytes' maximum */
	uint64_t youngest_ns, median_age_ns, oldest_ns; /* ages of the live blocks at the end */
	const float *live; /* model_memory.point_count bytes over time */
};

struct model_mark {
	uint32_t process;
	enum trace_mark_kind kind;
	uint64_t time_ns;
	const char *label;
};

/* From a label's mark to the next one of its process, to a pause or to the end of user code. */
struct model_phase {
	uint32_t process;
	const char *label;
	uint64_t start_ns; /* of what is shown of it; in the time of its own trace */
	uint64_t end_ns;
	uint64_t cpu_ns;
	double growth_bytes; /* live at its end minus at its start */
};

struct model;
struct model_trace; /* a trace on its way into the model */

struct model *model_new(const struct model_options *options);
/* Reads all blocks of r and charges them; may be called for several traces. r stays the caller's.
 */
int model_add(struct model *m, struct trace_reader *r, struct err *err);
/* The same step by step, for a trace that still grows: model_take reads up to `most` blocks that
 * are there and returns as trace_reader_next does. model_end is needed before model_finish; r must
 * live until then. */
struct model_trace *model_begin(struct model *m, struct trace_reader *r);
int model_take(struct model_trace *t, size_t most, struct err *err);
void model_end(struct model_trace *t);
/* The same from a path ("-": stdin). A filter on thread names reads a file twice, so that a name
 * that became known late counts from the thread's start; phases take that, too. */
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
	const struct model_refusal *refusals;
	size_t refusal_count;
	const struct model_native *natives;
	size_t native_count;
	struct model_memory memory;
	const struct model_leak
		*leaks; /* worst first: growing ones by rate, then the others by size */
	size_t leak_count;
	const struct model_mark *marks; /* in order of time */
	size_t mark_count;
	const struct model_phase *phases; /* with model_options.phases; process by process */
	size_t phase_count;
	struct metrics total;
	uint64_t gil_ns; /* of total.cpu_ns: in samples that held the GIL */
	struct model_quality quality;
	uint64_t start_ns; /* of what is shown, after --from */
	uint64_t duration_ns;
	const struct trace_header *header; /* of the first trace */
	const char *command;               /* its command, joined like model_process.command */
	int exit_status;                   /* of the command; -1 when not known */
	enum model_weight weight;
};
const struct model_view *model_view(const struct model *m);

/* The weight that options.weight asks for, in ns or bytes. */
uint64_t metrics_weight(const struct metrics *m, enum model_weight weight);
void metrics_add(struct metrics *to, const struct metrics *from);
/* 95 % interval of m->cpu_ns seen as a share of the whole run: Wilson on the effective number of
 * samples. low and high in ns. */
void metrics_interval(const struct metrics *m, const struct metrics *whole, double *low_ns,
		      double *high_ns);
/* The same for a part of m's CPU time, such as m->native_ns. */
void metrics_part_interval(uint64_t part_ns, const struct metrics *m, const struct metrics *whole,
			   double *low_ns, double *high_ns);

/* The figures of memory that are estimates. */
enum memory_figure {
	MEMORY_VOLUME,
	MEMORY_COUNT,
	MEMORY_FREED,
	MEMORY_GROWTH,
	MEMORY_PEAK,
	MEMORY_OWN_PEAK,
	MEMORY_COPIED,
};

double memory_value(const struct memory *m, enum memory_figure figure);
/* Its 95 % interval, given how memory was sampled; see estimate.h. Returns false, and the value for
 * both, when there is none: all was recorded, or it is about a number of blocks and there are none.
 */
bool memory_interval(const struct memory *m, enum memory_figure figure,
		     const struct model_memory *how, double *low, double *high);

#endif
