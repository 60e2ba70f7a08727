/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared memory between the agent (in the target) and scprof-record: one region per process, a
 * sealed memfd that the agent makes and hands over through a Unix socket.
 *
 *   header | thread slots | ring data
 *
 * The ring takes records from many threads and gives them to one reader. A writer reserves space by
 * moving `head` (ring_reserve in agent/ring_write.c), fills it, and publishes it by storing the
 * record's size word last (ring_commit); the reader (ring_next in drain_ring.c) stops at the first
 * size word that is 0, zeroes what it consumed and then moves `tail`. So committed records survive
 * the death of the target at any instant, and a writer never waits: no room means `lost` + 1. Space
 * that nobody fills is stepped over when the target is dead, or after a second (ring_drain).
 *
 * The recorder treats everything here as hostile: sizes, counts and ids are checked when read.
 */
#ifndef SCPROF_RING_H
#define SCPROF_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/trace_event.h"

#define RING_MAGIC 0x31676e6972666f72ull
#define RING_PROTOCOL 5u
#define RING_SLOTS 2048u
#define RING_DATA_SIZE (2u << 20) /* a power of two; touched as it is used */
#define RING_RECORD_MAX (64u << 10)
#define RING_PARENTS 4u
#define RING_ALIGN 8u

#define RING_NO_SLOT 0xffffu /* in a memory record: a thread without a slot */

/* The name of the environment variable that tells the agent where to report:
 * "SOCKET,SIGNAL,MEMORY,COPIES,PAUSED,COMMAND:PARENTS,CHILDREN" with SOCKET an abstract Unix
 * socket's name, SIGNAL a number, the mean bytes between two sampled allocations (0: none, 1: every
 * one) and copies (0: none), 1 when nothing is to be recorded until somebody says so, the pid of
 * the command, those of up to RING_PARENTS recorded processes above, nearest first, each after a
 * colon, and who is recorded besides the command as record/child_pattern.h puts it. */
#define RING_ENVIRONMENT "SCPROF_AGENT"

/* How the file names of the agent's libraries begin. */
#define RING_AGENT_NAME "libscprof-agent"

enum ring_state {
	RING_LIVE,
	RING_EXEC, /* the process is about to become another program */
	RING_ENDED,
	RING_DETACHED, /* the process lives on without a trace of the agent's work */
};

/* What "int scprof_inject(const char *setting)" returns, which the agent's libraries export for
 * programs that run already; `setting` is what the environment variable would hold. */
#define RING_INJECT_NAME "scprof_inject"
enum ring_inject {
	RING_INJECT_DONE,    /* it is recorded from now on; the region was handed over */
	RING_INJECT_BUSY,    /* another recording of this process is in progress */
	RING_INJECT_REFUSED, /* why was reported, if the setting said to whom */
};

/* What a thread is to the sampler. tid is written last by whoever claims the slot (0: free). */
struct ring_slot {
	_Atomic uint32_t tid;
	_Atomic uint32_t generation; /* grows each time the slot gets a new thread */
	_Atomic uint32_t asked;      /* sampler: requests sent */
	_Atomic uint32_t answered;   /* handler: the last request seen */
	uint64_t pthread_id;
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	uint32_t main;
	_Atomic uint32_t
		cost_ns; /* CPU time of the last capture: deep stacks are asked less often */
	_Atomic uint64_t asked_cpu_ns; /* what the scheduler had booked for the thread when asked */
	uint64_t start_cpu_ns; /* CPU time that is not to be recorded: used before start_ns */
	_Atomic uint64_t asked_ready_ns; /* the same of its time ready to run without a processor */
};
_Static_assert(sizeof(struct ring_slot) == 64, "ring_slot changed size");

struct ring_header {
	uint64_t magic;
	uint32_t protocol;
	uint32_t header_size;
	uint32_t slot_count;
	uint32_t data_size;
	int32_t pid; /* as the process itself sees it */
	int32_t parent_pid;
	uint32_t python_hex;
	uint32_t free_threaded;
	uint64_t runtime;   /* address of _PyRuntime */
	uint64_t code_type; /* address of PyCode_Type */
	uint64_t start_ns;
	uint64_t start_cpu_ns; /* the process's CPU time at start_ns */
	uint32_t forked;       /* made in the child of a fork */
	uint32_t lanes;        /* behind the ring there are lanes, see lane.h */
	char build[160];       /* Py_GetVersion() */
	/* How many bytes are at RING_COMMAND_OFFSET and RING_PROGRAM_OFFSET: for whoever is gone
	 * before its entry in /proc was read. */
	uint32_t command_size;
	uint32_t program_size;

	_Alignas(64) _Atomic uint32_t state; /* enum ring_state */
	/* exec gate: the agent sets `closing` and then waits, shortly, until `sending` is 0; the
	 * sampler sets `sending`, looks at `closing`, and only then signals. See exec_gate_close in
	 * agent/interpose_exec.c and signal_thread in sampler.c. */
	_Atomic uint32_t closing;
	_Atomic uint32_t sending;
	_Atomic uint32_t slots_used; /* slots at or above were never used */
	/* Nothing is recorded for the moment: no requests, no memory events but the frees of known
	 * blocks. Set by either side. */
	_Atomic uint32_t paused;
	/* Set by scprof-record, which then sends its signal to a thread, through the gate above:
	 * there everything is taken back that can be, and state becomes RING_DETACHED. */
	_Atomic uint32_t detach;
	uint32_t injected; /* the agent came into a running program: this one, or its parent */

	_Alignas(64) _Atomic uint64_t lost; /* records that found no room */
	_Atomic uint64_t unwalked;          /* samples without a readable stack */
	_Atomic uint64_t threads_without_slot;
	_Atomic uint64_t heap_lost;     /* memory records that found no room */
	_Atomic uint64_t heap_given_up; /* sampled blocks that could not be remembered */

	/* Written before state becomes RING_ENDED or RING_EXEC. */
	uint64_t end_ns;
	uint64_t end_cpu_ns;
	uint64_t end_user_ns;
	uint64_t end_system_ns;
	uint64_t end_peak_rss_bytes;
	int32_t end_status;
	uint32_t end_has_status;
	/* At start_ns; end_user_ns and end_system_ns hold these, too. */
	uint64_t start_user_ns;
	uint64_t start_system_ns;
	int32_t parents[RING_PARENTS]; /* who is recorded above it, nearest first; 0: none */
	/* RING_EXEC: the slot, plus 1, of the thread that goes on as another program, and its CPU
	 * time; 0: it has none. */
	uint32_t exec_slot;
	uint64_t exec_thread_cpu_ns;

	_Alignas(64) _Atomic uint64_t head; /* bytes reserved since the start */
	_Alignas(64) _Atomic uint64_t tail; /* bytes consumed since the start */
	_Alignas(64) char end[];
};
_Static_assert(offsetof(struct ring_header, build) == 80, "ring_header changed layout");
_Static_assert(offsetof(struct ring_header, state) == 256, "ring_header changed layout");
_Static_assert(offsetof(struct ring_header, head) == 512, "ring_header changed layout");

#define RING_HEADER_SIZE 4096u
#define RING_COMMAND_OFFSET 1024u /* words that end in 0 each, as much as there is room for */
#define RING_PROGRAM_OFFSET 3072u /* path of the program file, ends in 0 */
#define RING_SLOTS_OFFSET RING_HEADER_SIZE
#define RING_DATA_OFFSET (RING_SLOTS_OFFSET + RING_SLOTS * (uint32_t)sizeof(struct ring_slot))
#define RING_REGION_SIZE (RING_DATA_OFFSET + RING_DATA_SIZE)

/* Every record starts with this; size covers the whole record and is a multiple of RING_ALIGN. */
struct ring_record {
	_Atomic uint32_t size; /* 0 until committed */
	uint16_t type;         /* enum ring_record_type */
	uint16_t slot;
};
_Static_assert(sizeof(struct ring_record) == 8, "ring_record changed size");

enum ring_record_type {
	RING_PAD = 1, /* up to the end of the data */
	RING_SAMPLE,
	RING_FRAMES, /* part of a stack that does not fit one record */
	RING_CODE,
	RING_CODE_MORE, /* further bytes of a long line table */
	RING_THREAD_END,
	/* Memory. An allocation is written after it succeeded, a release before it happens. */
	RING_ALLOC,  /* struct ring_heap: a block */
	RING_FREE,   /* struct ring_release: a block that RING_ALLOC announced */
	RING_UNFREE, /* struct ring_release: that last FREE did not happen (a realloc failed);
		      * with a size: the thread's last UNMAP */
	RING_MAP,    /* struct ring_heap: a mapping, over whatever was there */
	RING_REMAP,  /* struct ring_heap: mremap from old_address, old_size: the thread's last UNMAP
		      */
	RING_PROTECT, /* struct ring_heap: a range became accessible or not (RING_HEAP_RESERVED) */
	RING_UNMAP,   /* struct ring_release: a range, whoever mapped it */
	RING_COPY,    /* struct ring_heap: a copy of size bytes; kind is an enum trace_copy_kind */
	RING_MARK,    /* struct ring_mark */
	RING_REAPED,  /* struct ring_reaped */
};

enum ring_sample_flag {
	RING_SAMPLE_KERNEL = 1 << 0,
	RING_SAMPLE_GIL = 1 << 1,
	RING_SAMPLE_GC = 1 << 2,
	RING_SAMPLE_UNWALKED = 1 << 3,
	RING_SAMPLE_TRUNCATED = 1 << 4,
	RING_SAMPLE_BLOCKED = 1 << 5, /* it did not run: it waited, or was about to go on */
	RING_SAMPLE_CLASS_SHIFT = 8,  /* two bits: enum opcode_class of the leaf instruction */
};

struct ring_frame {
	uint32_t code;  /* id from a RING_CODE of this process */
	int32_t offset; /* bytes into the code */
};

/* The stack is given relative to this thread's last one: keep `common` frames from the root, then
 * add `count` frames, which follow leaf first. */
struct ring_frames {
	struct ring_record record;
	uint32_t generation;
	uint32_t common;
	uint32_t count;
	uint32_t reserved;
	struct ring_frame frames[];
};

struct ring_sample {
	struct ring_record record;
	uint32_t generation;
	uint32_t common;
	uint32_t count;
	uint32_t flags;
	uint64_t time_ns;  /* CLOCK_MONOTONIC */
	uint64_t cpu_ns;   /* the thread's CPU clock */
	uint64_t ready_ns; /* as asked_ready_ns of its slot says */
	uint64_t pc;
	uint32_t cost_ns; /* what the capture took */
	uint32_t request; /* the `asked` that it answers */
	struct ring_frame frames[];
};

enum ring_heap_flag {
	RING_HEAP_PYTHON = 1 << 0,   /* RING_ALLOC: asked for by Python's object or mem domain */
	RING_HEAP_FILE = 1 << 1,     /* RING_MAP: of a file, or shared */
	RING_HEAP_RESERVED = 1 << 2, /* RING_MAP, RING_PROTECT: not accessible */
	RING_HEAP_ARENA = 1 << 3,    /* RING_MAP: by Python's allocator */
	RING_HEAP_UNWALKED = 1 << 4, /* count is 0: the stack could not be read */
	RING_HEAP_KIND_SHIFT = 8,    /* RING_COPY: enum trace_copy_kind */
};

/* The stack is relative to the thread's last one, as in struct ring_sample: samples and memory
 * records of a thread share one chain. */
struct ring_heap {
	struct ring_record record;
	uint32_t generation;
	uint32_t common;
	uint32_t count;
	uint32_t flags;
	uint64_t time_ns;
	uint64_t address;
	uint64_t size;
	uint64_t old_address; /* RING_REMAP */
	uint64_t old_size;
	uint64_t number; /* where it stands among the events of the lanes; 0: there are none */
	struct ring_frame frames[];
};

struct ring_release {
	struct ring_record record;
	uint32_t generation;
	uint32_t reserved;
	uint64_t time_ns;
	uint64_t address;
	uint64_t size;   /* RING_UNMAP, and the UNFREE of one */
	uint64_t number; /* as above */
};

/* As enum trace_mark_kind, which the agent does not see; the drain checks that they are equal. */
enum ring_mark_kind {
	RING_MARK_LABEL,
	RING_MARK_START,
	RING_MARK_STOP,
	RING_MARK_FINALIZE,
	RING_MARK_FORK,
};

struct ring_mark {
	struct ring_record record;
	uint32_t kind; /* enum ring_mark_kind */
	uint32_t length;
	uint64_t time_ns;
	uint64_t number; /* in the order of the lanes' events; 0: there are none */
	char label[];
};

/* A child of the process has ended and was waited for: nobody else can know how a process ended
 * that was killed. */
struct ring_reaped {
	struct ring_record record;
	int32_t pid;    /* as the parent sees it */
	int32_t status; /* as of waitpid */
	uint64_t time_ns;
	uint64_t user_ns; /* of the child and of what it has waited for itself */
	uint64_t system_ns;
};

struct ring_text {
	uint32_t length; /* characters */
	uint32_t kind;   /* bytes per character: 1 (Latin-1), 2 or 4 */
};

/* Followed by the characters of filename, name, qualname (each padded to 8 bytes) and the first
 * line_table_here bytes of the line table. */
struct ring_code {
	struct ring_record record;
	uint32_t id;
	int32_t first_line;
	uint32_t flags;
	uint32_t code_bytes;
	struct ring_text filename;
	struct ring_text name;
	struct ring_text qualname;
	uint32_t line_table_size;
	uint32_t line_table_here;
};

struct ring_code_more {
	struct ring_record record;
	uint32_t id;
	uint32_t offset;
	uint32_t count;
	uint32_t reserved;
	uint8_t bytes[];
};

struct ring_thread_end {
	struct ring_record record;
	uint32_t generation;
	uint32_t tid;
	uint64_t start_ns; /* as in its slot, which may have a new owner by the time this is read */
	uint64_t pthread_id;
	uint64_t time_ns;
	uint64_t cpu_ns;
};

#define RING_REQUEST_MAGIC 0x31747365757165ull

enum ring_verb {
	RING_VERB_START,
	RING_VERB_STOP,
	RING_VERB_MARK,
	RING_VERBS,
};

/* What "scprof-record --control" sends over the socket instead, and what it gets back. */
struct ring_request {
	uint64_t magic;
	uint32_t protocol;
	int32_t pid; /* a process of the recording that is meant */
	uint32_t verb;
	char label[128];
};

struct ring_answer {
	uint32_t known; /* that process is being recorded here */
	char text[160]; /* what was done */
};

enum ring_refused {
	RING_REFUSED_NOT,
	RING_REFUSED_PROCESS, /* it is a Python, but none that can be recorded */
	/* `program`, which the process becomes or starts, will not load the agent; who knows what
	 * it is. */
	RING_REFUSED_PROGRAM,
};

/* What the agent sends over the socket, once per process, with the memfd attached unless refused.
 */
struct ring_hello {
	uint64_t magic;
	uint32_t protocol;
	int32_t pid;
	uint32_t python_hex;
	uint32_t refused; /* enum ring_refused: no region, `text` says why */
	char text[160];
	/* RING_REFUSED_PROCESS: its command line, as much as there is room for. */
	char program[256];
	int32_t parent_pid; /* as the process itself sees it */
	uint32_t starts;    /* it is a child that becomes `program`, not the process itself */
};

#endif
