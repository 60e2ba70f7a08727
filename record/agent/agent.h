/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent: what runs inside the target. It has no thread of its own and does nothing until
 * scprof-record signals one of the target's threads; then that thread captures its own stack.
 *
 *   start.c     finds the interpreter, makes the region, reports it; fork, exit
 *   capture.c   the signal handler          code_table.c  code objects seen so far
 *   ring_write.c  reserve and commit        interpose_*.c  the libc functions that need a word
 *
 * The guest's oath: never exit, abort, print, block, sleep, take a lock the target can hold, change
 * errno or call malloc after start. On any doubt: count it and give up that sample.
 */
#ifndef SCPROF_AGENT_H
#define SCPROF_AGENT_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <string.h>

#include "record/agent/cpu.h"
#include "record/python/layout.h"
#include "record/ring.h"

/* Small copies become plain moves although -fno-builtin is set for the agent. */
#define memcpy(to, from, size) __builtin_memcpy(to, from, size)
#define memset(to, value, size) __builtin_memset(to, value, size)

struct capture_thread;
struct code_table;

/* The one mutable state of the agent. Written at start and in the child of a fork, when no handler
 * can run; `live` is stored last. */
struct agent {
	_Atomic bool live; /* the handler may capture */
	bool dormant;      /* told to record, but no interpreter found so far */
	bool unfit;        /* refused or failed: never try again in this process */
	int signal;
	int32_t pid;

	struct py_layout layout;
	const uint8_t *opcode_classes;
	bool guarded; /* 3.11, 3.12: frames may be garbage for a few instructions */
	uint64_t runtime;
	uint64_t code_type;
	void *(*this_thread_state)(void);
	uint64_t main_stack_end;

	struct ring_header *ring;
	struct ring_slot *slots;
	char *data;
	struct code_table *codes;
	struct capture_thread *threads[RING_SLOTS];

	/* As found in the environment, to be handed to every exec-ed program. */
	char socket[64];
	char agent_path[512];
	char environment[128]; /* "SCPROF_AGENT=..." */
	char preload[544];     /* "LD_PRELOAD=agent_path" */
};

extern struct agent agent;
extern _Thread_local uint32_t agent_tid; /* of a thread that claimed a slot, else 0 */

#define AGENT_SIGNAL_STACK (64u << 10)
#define AGENT_EXPORT __attribute__((visibility("default")))

/* True in the process the agent was started in: false in a vfork child and behind a raw clone,
 * where the agent's memory is the parent's. */
static inline bool agent_is_home(void)
{
	return (int32_t)cpu_syscall(SYS_getpid) == agent.pid;
}

/* Memory of the agent's own, zeroed; NULL on failure. Safe in a handler. */
void *agent_map(size_t size);
void agent_unmap(void *memory, size_t size);

uint64_t agent_now(void);        /* CLOCK_MONOTONIC */
uint64_t agent_thread_cpu(void); /* the calling thread's CPU clock */

/* Starts recording this process when `anchor` (an address in the interpreter, or NULL for the
 * global scope) leads to a CPython that can be recorded. */
void agent_start(const void *anchor);

/* Claims a slot for the calling thread. Returns its index or -1. Releasing records its clocks. */
int agent_claim_slot(bool main_thread);
void agent_release_slot(int slot);

/* Fills in the end of the process's life in the region; exec: it goes on as another program. */
void agent_end(bool exec, bool has_status, int status);

/* ring_write.c: space for a record of size bytes (header included), or NULL when there is no room,
 * which is counted. The record becomes visible with ring_commit. */
struct ring_record *ring_reserve(size_t size);
void ring_commit(struct ring_record *record, size_t size, unsigned type, unsigned slot);

/* capture.c */
void capture_handler(int signo, siginfo_t *info, void *context);
/* Copies without ever faulting: 0, or -1 when the memory is not there. */
int capture_peek(uint64_t address, void *to, size_t size);

/* code_table.c */
struct code_entry {
	uint64_t code;
	uint64_t print; /* fingerprint: changes when another code object takes the address */
	uint64_t checked_ns;
	uint64_t bytecode; /* address of the first instruction (3.9, 3.10: of the bytes object's
			      data) */
	uint32_t id;
	uint32_t code_bytes;
	int32_t first_traceable; /* byte offset of the first instruction that counts as started */
};

struct code_table *code_table_new(void);
void code_table_free(struct code_table *table);
/* Finds or defines the code object at `code`: a definition is written to the ring first. Fills
 * *entry. Returns 0; -1 when it is not a code object; -2 when the ring had no room. */
int code_table_find(uint64_t code, uint64_t now_ns, unsigned slot, struct code_entry *entry);

/* interpose_thread.c */
void interpose_start(void); /* looks the real functions up */

/* interpose_signal.c: the target's own action for our signal number, and installing ours. */
int signal_install(int signo);
void signal_forward(int signo, siginfo_t *info, void *context);

/* interpose_exec.c */
void interpose_exec_start(void);

/* interpose_io.c: set by the handler when it interrupted a system call of its thread. */
void interpose_io_start(void);
extern _Thread_local volatile sig_atomic_t agent_cut_in;

#endif
