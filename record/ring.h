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
 * the death of the target at any instant, and a writer never waits: no room means `lost` + 1.
 *
 * The recorder treats everything here as hostile: sizes, counts and ids are checked when read.
 */
#ifndef SCPROF_RING_H
#define SCPROF_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC 0x31676e6972666f72ull
#define RING_PROTOCOL 1u
#define RING_SLOTS 2048u
#define RING_DATA_SIZE (512u << 10) /* a power of two */
#define RING_RECORD_MAX (64u << 10)
#define RING_ALIGN 8u

/* The name of the environment variable that tells the agent where to report:
 * "SOCKET,SIGNAL" with SOCKET an abstract Unix socket's name and SIGNAL a number. */
#define RING_ENVIRONMENT "SCPROF_AGENT"

enum ring_state {
	RING_LIVE,
	RING_EXEC, /* the process is about to become another program */
	RING_ENDED,
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
	_Atomic uint32_t cost_ns; /* what the last capture took: deep stacks are asked less often */
	_Atomic uint64_t asked_cpu_ns; /* what the scheduler had booked for the thread when asked */
	uint32_t reserved[4];
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
	uint32_t reserved0;
	char build[160]; /* Py_GetVersion() */

	_Alignas(64) _Atomic uint32_t state; /* enum ring_state */
	/* exec gate: the agent sets `closing` and then waits, shortly, until `sending` is 0; the
	 * sampler sets `sending`, looks at `closing`, and only then signals. See gate_close in
	 * agent/interpose_exec.c and target_signal in sampler.c. */
	_Atomic uint32_t closing;
	_Atomic uint32_t sending;
	_Atomic uint32_t slots_used; /* slots at or above were never used */

	_Alignas(64) _Atomic uint64_t lost; /* records that found no room */
	_Atomic uint64_t unwalked;          /* samples without a readable stack */
	_Atomic uint64_t threads_without_slot;

	/* Written before state becomes RING_ENDED or RING_EXEC. */
	uint64_t end_ns;
	uint64_t end_cpu_ns;
	uint64_t end_user_ns;
	uint64_t end_system_ns;
	uint64_t end_peak_rss_bytes;
	int32_t end_status;
	uint32_t end_has_status;

	_Alignas(64) _Atomic uint64_t head; /* bytes reserved since the start */
	_Alignas(64) _Atomic uint64_t tail; /* bytes consumed since the start */
	_Alignas(64) char end[];
};
_Static_assert(offsetof(struct ring_header, build) == 80, "ring_header changed layout");
_Static_assert(offsetof(struct ring_header, state) == 256, "ring_header changed layout");
_Static_assert(offsetof(struct ring_header, head) == 448, "ring_header changed layout");

#define RING_HEADER_SIZE 4096u
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
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint64_t cpu_ns;  /* the thread's CPU clock */
	uint64_t pc;
	uint32_t cost_ns; /* what the capture took */
	uint32_t request; /* the `asked` that it answers */
	struct ring_frame frames[];
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

/* What the agent sends over the socket, once per process, with the memfd attached unless refused.
 */
struct ring_hello {
	uint64_t magic;
	uint32_t protocol;
	int32_t pid;
	uint32_t python_hex;
	uint32_t refused; /* no region: `text` says why */
	char text[160];
};

#endif
