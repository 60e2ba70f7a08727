/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace as plain structs: what the writer takes, the reader gives, and everybody between them
 * talks about. formats/pack.h turns them into the messages of trace.proto and back. Times are
 * nanoseconds since the start of the recording, sizes are bytes. Strings are byte strings with a
 * terminating 0 that is not counted.
 */
#ifndef SCPROF_TRACE_EVENT_H
#define SCPROF_TRACE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_VERSION 1u
#define TRACE_NONE UINT32_MAX /* "no such id" for every kind of id */

struct trace_text {
	const char *data; /* never NULL; data[size] == 0 */
	size_t size;
};

struct trace_header {
	uint32_t version;
	const char *tool_version;
	uint64_t start_monotonic_ns;
	uint64_t start_realtime_ns;
	const char *host;
	const char *system;
	uint32_t cpu_count;
	const struct trace_text *command;
	size_t command_count;
	struct trace_text directory;
	uint32_t rate_hz;
	bool wall;   /* waiting threads were recorded */
	bool source; /* source text was kept */
	uint64_t tick_ns;
	struct trace_text options;
	uint64_t memory_rate; /* mean bytes between sampled allocations; 1: all of them; 0: none */
	uint64_t copy_rate;   /* the same for copied bytes */
};

enum trace_process_origin {
	TRACE_ORIGIN_LAUNCH, /* the command itself */
	TRACE_ORIGIN_FORK,
	TRACE_ORIGIN_EXEC, /* a new program: in a child, or in place of the old one */
	TRACE_ORIGIN_ATTACH,
};

struct trace_process {
	uint32_t index;
	int32_t pid;
	int32_t parent_pid;
	uint32_t parent; /* index or TRACE_NONE */
	uint64_t start_ns;
	const struct trace_text *command;
	size_t command_count;
	struct trace_text executable;
	uint32_t python_hex; /* PY_VERSION_HEX */
	struct trace_text python_build;
	bool free_threaded;
	enum trace_process_origin origin;
	struct trace_text prefix; /* folder that holds lib/pythonX.Y, or "" */
};

struct trace_thread {
	uint32_t index; /* in the whole trace */
	uint32_t process;
	int32_t tid;
	uint64_t start_ns;
	bool main;
	struct trace_text name; /* "" when not known */
};

struct trace_code {
	uint32_t filename; /* string ids */
	uint32_t name;
	uint32_t qualname;
	int32_t first_line;
	uint32_t flags;  /* co_flags */
	uint32_t python; /* major << 8 | minor, e.g. 0x30b */
	const uint8_t *line_table;
	size_t line_table_size;
	uint32_t code_bytes;
};

/* Stack node: node 0 is the empty stack. Parents have smaller ids than their children. */
struct trace_node {
	uint32_t parent;
	uint32_t code;
	int32_t offset; /* bytes into the code; negative: not started yet */
};

enum trace_module_role {
	TRACE_MODULE_OTHER,       /* an extension or a library: its time is native */
	TRACE_MODULE_INTERPRETER, /* the executable or libpython */
	TRACE_MODULE_SYSTEM,      /* libc, libm, libpthread, the loader, the vDSO */
	TRACE_MODULE_ANONYMOUS,   /* code in memory without a file: a JIT */
	TRACE_MODULE_AGENT,       /* scprof's own agent */
};

struct trace_module {
	struct trace_text path;
	const uint8_t *build_id;
	size_t build_id_size;
	enum trace_module_role role;
};

/* Program counter: id 0 is "not known". */
struct trace_pc {
	uint32_t module;
	uint64_t offset; /* ELF virtual address inside the module */
};

enum trace_symbol_kind {
	TRACE_SYMBOL_FUNCTION,
	TRACE_SYMBOL_EVAL, /* the interpreter loop: a pc inside runs Python bytecode */
};

struct trace_symbol {
	uint32_t module;
	uint64_t start; /* ELF virtual address */
	uint64_t size;
	struct trace_text name; /* demangled where possible */
	enum trace_symbol_kind kind;
};

enum trace_sample_flag {
	TRACE_SAMPLE_KERNEL = 1 << 0,    /* the thread was in a system call */
	TRACE_SAMPLE_GIL = 1 << 1,       /* it held the GIL (free-threaded: it was attached) */
	TRACE_SAMPLE_GC = 1 << 2,        /* the cycle collector was running */
	TRACE_SAMPLE_TRUNCATED = 1 << 3, /* the stack lacks its outer frames */
	TRACE_SAMPLE_UNWALKED = 1 << 4,  /* no stack could be read: node is 0 */
	TRACE_SAMPLE_FIRST = 1 << 5,     /* first sample of its thread */
	/* What the leaf instruction is: decides Python or native when pc is in the interpreter. */
	TRACE_SAMPLE_CALL_C = 1 << 6,      /* a call known to go to C */
	TRACE_SAMPLE_CALL_PYTHON = 1 << 7, /* a call known to go to Python */
	TRACE_SAMPLE_CALL = 1 << 8,        /* a call to something not known */
};

/* A running thread. The times are measured since the thread's last event of any kind; what wall_ns
 * has more than cpu_ns the thread spent ready to run, for ready_ns of it, or in waits too short to
 * be seen. */
struct trace_sample {
	uint32_t thread;
	uint32_t node;
	uint32_t pc;
	uint32_t flags;
	uint64_t time_ns;
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t ready_ns;
};

enum trace_wait_kind {
	TRACE_WAIT_RUNNABLE, /* ready, but no processor was free */
	TRACE_WAIT_IO,
	TRACE_WAIT_LOCK,
	TRACE_WAIT_SLEEP,
	TRACE_WAIT_GIL,
	TRACE_WAIT_OTHER, /* blocked, the cause could not be read */
	TRACE_WAIT_END,   /* the thread ended: what was left of its clocks */
	TRACE_WAIT_KINDS,
};

/* A stretch [time_ns - wall_ns, time_ns] in which the thread was blocked at node. cpu_ns is CPU
 * time that the thread used between its last event and that stretch: it belongs to running code
 * that no sample hit, see scprof-trace(5) on how to charge it. It is not part of wall_ns: whoever
 * is charged with it is charged with as much wall time. For ready_ns of wall_ns the thread was
 * ready to run: before it was blocked, or when it no longer was. */
struct trace_wait {
	uint32_t thread;
	uint32_t node;
	enum trace_wait_kind kind;
	uint64_t time_ns;
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t ready_ns;
};

enum trace_loss_kind {
	TRACE_LOSS_RING_FULL, /* samples dropped: the ring had no room */
	TRACE_LOSS_MISSED,    /* a running thread did not answer in time */
	TRACE_LOSS_UNWALKED,  /* samples whose stack could not be read */
	TRACE_LOSS_LATE_TICK, /* ticks the sampler itself skipped */
	TRACE_LOSS_PROCESS,   /* a Python process that could not be recorded */
	TRACE_LOSS_WRITE,     /* events dropped because the file could not be written */
	TRACE_LOSS_HEAP,      /* memory events dropped: the ring had no room */
	TRACE_LOSS_UNMATCHED, /* frees of blocks that nobody knows, in a full recording */
	TRACE_LOSS_KINDS,
};

struct trace_loss {
	enum trace_loss_kind kind;
	uint32_t process;
	uint32_t thread; /* or TRACE_NONE */
	uint64_t time_ns;
	uint64_t count;
};

/* What kind of memory a block is. The first three are the heap; the others are listed apart. */
enum trace_heap_kind {
	TRACE_HEAP_NATIVE,    /* malloc and its family, called by native code */
	TRACE_HEAP_PYTHON,    /* Python's object and "mem" domains, whatever serves them */
	TRACE_HEAP_ANONYMOUS, /* mmap: anonymous, accessible */
	TRACE_HEAP_FILE,      /* mmap: of a file, or shared */
	TRACE_HEAP_RESERVED,  /* mmap: PROT_NONE, address space only */
	TRACE_HEAP_ARENA,     /* mmap: what Python's allocator serves its small objects from */
	TRACE_HEAP_KINDS,
};
#define TRACE_HEAP_COUNTS(kind) ((kind) <= TRACE_HEAP_ANONYMOUS)

enum trace_heap_op {
	TRACE_HEAP_ALLOC,
	TRACE_HEAP_FREE,
	TRACE_HEAP_RESIZE, /* a mapping lost a part: size is what is left */
};

enum trace_heap_flag {
	TRACE_HEAP_EXACT = 1 << 0,    /* recorded because of what it is, not sampled: counts once */
	TRACE_HEAP_RESTORED = 1 << 1, /* taken back into the books after a realloc that failed:
					 live, but no new volume */
	TRACE_HEAP_UNWALKED = 1 << 2, /* the stack could not be read */
};

/* One event in the life of a block. The heap events of a process are one sequence in the order in
 * which they happened, also where times are equal. Blocks are numbered from 0 within their process
 * in the order of their ALLOCs. In a sampled recording a block of size bytes is in the trace with
 * probability 1 - exp(-size / memory_rate), unless it is TRACE_HEAP_EXACT. A realloc is a FREE and
 * an ALLOC of the whole new size. */
struct trace_heap {
	enum trace_heap_op op;
	uint32_t thread;           /* of the event; TRACE_NONE when it had no slot */
	uint32_t node;             /* ALLOC only, else 0 */
	enum trace_heap_kind kind; /* ALLOC only, else 0 */
	uint32_t flags;            /* enum trace_heap_flag; ALLOC only, else 0 */
	uint64_t time_ns;
	uint64_t block;
	uint64_t size; /* bytes asked for; FREE: 0 */
};

enum trace_copy_kind {
	TRACE_COPY_MEMORY,  /* memcpy, memmove, strcpy and their families */
	TRACE_COPY_REALLOC, /* what realloc had to move */
	TRACE_COPY_READ,    /* bytes that system calls brought in */
	TRACE_COPY_WRITE,   /* bytes that system calls took out */
	TRACE_COPY_KINDS,
};

/* A sampled copy of size bytes: in the trace with probability 1 - exp(-size / copy_rate). */
struct trace_copy {
	uint32_t thread; /* or TRACE_NONE */
	uint32_t node;
	enum trace_copy_kind kind;
	uint32_t flags; /* TRACE_HEAP_UNWALKED */
	uint64_t time_ns;
	uint64_t size;
};

/* What the kernel says about a process's memory. */
struct trace_footprint {
	uint64_t time_ns;
	uint64_t rss_bytes;
	uint64_t file_bytes;   /* of these: backed by files or shared */
	uint64_t pss_bytes;    /* 0 when not asked for this time */
	uint64_t swap_bytes;   /* 0 when not asked for this time */
	uint64_t minor_faults; /* since the process started */
	uint64_t major_faults;
};

enum trace_mark_kind {
	TRACE_MARK_LABEL,    /* set by the program or from outside */
	TRACE_MARK_START,    /* recording went on (again) */
	TRACE_MARK_STOP,     /* recording paused */
	TRACE_MARK_FINALIZE, /* user code is over: the interpreter takes itself down */
	TRACE_MARK_FORK, /* the process is about to fork: what is live now, its child inherits */
	TRACE_MARK_KINDS,
};

/* A moment with a name, in one process. */
struct trace_mark {
	uint32_t process;
	enum trace_mark_kind kind;
	uint64_t time_ns;
	struct trace_text label; /* "" except for TRACE_MARK_LABEL */
};

enum trace_end_how {
	TRACE_END_UNKNOWN,
	TRACE_END_EXIT,   /* status is the exit status */
	TRACE_END_SIGNAL, /* status is the signal */
	TRACE_END_EXEC,   /* became another program */
};

struct trace_process_end {
	uint32_t process;
	uint64_t time_ns;
	enum trace_end_how how;
	int32_t status;
	uint64_t cpu_ns; /* all threads, whole life; 0 when not known */
	uint64_t user_ns;
	uint64_t system_ns;
	uint64_t peak_rss_bytes;
	uint64_t exit_cpu_ns; /* the part of cpu_ns after its last instruction, no more than that */
};

/* A program that was left unrecorded for what it is. */
struct trace_refusal {
	int32_t pid;        /* 0: not known */
	int32_t parent_pid; /* of who started it or became it, 0: not known */
	bool python;        /* known to be one */
	uint64_t time_ns;
	struct trace_text command; /* words joined by blanks, or no more than the program */
	struct trace_text why;     /* a clause: "it is ..." */
};

struct trace_source {
	struct trace_text path; /* as in co_filename */
	struct trace_text text;
};

enum trace_end_reason {
	TRACE_REASON_FINISHED, /* the command and its processes ended */
	TRACE_REASON_DURATION,
	TRACE_REASON_MAX_SIZE,
	TRACE_REASON_INTERRUPTED,
	TRACE_REASON_WRITE_ERROR,
};

struct trace_end {
	uint64_t time_ns;
	enum trace_end_reason reason;
	uint64_t samples;
	uint64_t blocks;
	int32_t command_status;
};

#endif
