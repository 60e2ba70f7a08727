/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent: what runs inside the target. It has no thread of its own and does nothing until
 * scprof-record signals one of the target's threads; then that thread captures its own stack.
 *
 *   start.c     finds the interpreter, makes the region, reports it; fork, exit
 *   inject.c    comes into a running program, and goes    slot.c  who is sampled
 *   patch.c     puts functions in the place of others     real.c  where those are
 *   capture.c   the signal handler          code_table.c  code objects seen so far
 *   stack.c     the calling thread's stack  interpose_*.c  the libc functions that need a word
 *   children.c  who is recorded at all    handover.c    what a new program is told
 *   environment.c  what the program finds of that
 *   ring_write.c  reserve and commit        countdown.c   distances between samples
 *   heap_*.c    allocations and mappings    copy_sample.c  which copies are recorded
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

/* Small copies become plain moves although -fno-builtin is set for the agent; the others go to
 * own_copy.c. */
#define memcpy(to, from, size) __builtin_memcpy(to, from, size)
#define memset(to, value, size) __builtin_memset(to, value, size)

struct code_table;
struct lane_area;
struct stack_thread;

/* What only some of the agent's libraries have; each member may be called at once when it is there.
 */
struct agent_part {
	void (*start)(void);      /* this process is going to be recorded */
	void (*fork_child)(void); /* a recorded process has forked: nobody else runs */
	void (*fork_left)(void);  /* the same, of one that is not going to be recorded */
	void (*end)(void);        /* the last words before the process ends */
	void (*thread_end)(void); /* the calling thread is about to end */
	uint64_t (*number)(void); /* for a RING_MARK: its place among the events of the lanes */
	void (*marked)(void);     /* it was written: what follows it is later */
	/* Everything is recorded, in lanes (record/lane.h) that live here. Returns 0 or -1. */
	int (*open_lanes)(struct lane_area *area);
	/* Python's allocators: hooks them; takes the hooks back, safe in a signal handler. */
	void (*hook)(void);
	void (*unhook)(void);
	void (*close)(void); /* nothing more is to be recorded; safe in a signal handler */
	/* A thread that was there before: it counts as a new one from now on. */
	void (*thread_start)(uint64_t pthread_id);
};

/* The one mutable state of the agent. Written at start and in the child of a fork, when no handler
 * can run; `live` is stored last. */
struct agent {
	_Atomic bool live; /* the handler may capture */
	bool dormant;      /* told to record, but no interpreter found so far */
	bool unfit;        /* refused or failed: never try again in this process */
	int signal;
	int32_t pid;
	uint32_t session;              /* grows with every region */
	uint64_t memory_rate;          /* mean bytes between sampled allocations; 1: all; 0: none */
	uint64_t copy_rate;            /* the same for copied bytes */
	bool starts_paused;            /* a region made now is paused */
	int32_t command_pid;           /* of what scprof-record started */
	int32_t parents[RING_PARENTS]; /* recorded processes above, nearest first; 0: none */
	bool is_command;               /* this is it, whatever program it has become */
	bool only_command;             /* nobody else is recorded */
	bool forks_too;                /* a fork of this process is recorded */

	struct py_layout layout;
	const uint8_t *opcode_classes;
	bool guarded; /* 3.11, 3.12: frames may be garbage for a few instructions */
	uint64_t runtime;
	uint64_t code_type;
	void *(*this_thread_state)(void);
	uint64_t main_stack_end;
	void *python; /* for dlsym, NULL: the global scope */

	struct ring_header *ring;
	struct ring_slot *slots;
	struct code_table *codes;
	struct stack_thread *threads[RING_SLOTS];
	const struct agent_part *heap; /* NULL in a library without it */
	_Atomic bool over;             /* RING_MARK for the end of user code has been written */

	/* As found in the environment, to be handed to every exec-ed program, unless preload is
	 * empty. */
	char socket[64];
	char agent_path[512];
	char told[192];        /* of that what comes before the parents */
	char children[256];    /* see record/child_pattern.h */
	char environment[512]; /* "SCPROF_AGENT=..." */
	char preload[544];     /* "LD_PRELOAD=agent_path" */
};

extern struct agent agent;

/* What the agent knows of the calling thread. */
struct agent_thread {
	uint32_t session; /* in which the next two were true */
	uint32_t tid;     /* of a thread that has a slot, else 0 */
	uint32_t slot;    /* its index + 1, 0: none */
	volatile sig_atomic_t busy;
	volatile uintptr_t entered;            /* while busy: the frame that made it so */
	struct ring_record *volatile reserved; /* and what is not committed yet, or NULL */
	volatile sig_atomic_t asked;           /* the sampler's signal came while busy */
	uint64_t waits;                        /* voluntary context switches, when last asked for */
};
extern _Thread_local struct agent_thread agent_self;

#define AGENT_SIGNAL_STACK (64u << 10)
#define AGENT_EXPORT __attribute__((visibility("default")))

/* True in the process the agent was started in: false in a vfork child and behind a raw clone,
 * where the agent's memory is the parent's. */
static inline bool agent_is_home(void)
{
	return (int32_t)cpu_syscall(SYS_getpid) == agent.pid;
}

/* The recording rests, or is over: nothing new is recorded. Only after the agent has started. */
static inline bool agent_is_paused(void)
{
	return atomic_load_explicit(&agent.ring->paused, memory_order_relaxed) != 0;
}

/* Memory of the agent's own, zeroed; NULL on failure. Safe in a handler. */
void *agent_map(size_t size);
void agent_unmap(void *memory, size_t size);

uint64_t agent_now(void);        /* CLOCK_MONOTONIC */
uint64_t agent_thread_cpu(void); /* the calling thread's CPU clock */

/* Starts recording this process when `anchor` (an address in the interpreter, or NULL for the
 * global scope) leads to a CPython that can be recorded. */
void agent_start(const void *anchor);

/* What the interpreter exports under this name, or NULL. */
void *agent_symbol(const char *name);

/* Connects to scprof-record and hands over what is known, with the region's descriptor when there
 * is one, else -1. The socket's buffer takes it: nobody waits for an answer. Returns 0 or -1. */
int agent_report(const struct ring_hello *hello, int region);

/* Where the function of this name is that the program calls without us, or NULL. */
void *agent_real(const char *name);
/* One of the agent's libraries, by its path. */
bool agent_is_library(const char *path);
/* The agent was loaded into a running program. */
bool agent_is_late(void);

/* start.c, for inject.c: takes a setting as in the environment over. Returns 0 or -1. */
int agent_read_setting(const char *setting);
/* Finds the interpreter of a running program and makes and reports a region, with all threads.
 * Returns 0; -1: it was refused, and that was reported. */
int agent_start_late(void);
/* Leaves the process's clocks in the region. */
void agent_note_clocks(void);

/* inject.c: in the child of a fork, where nobody else runs; and when it is not to be recorded. */
void inject_fork_child(void);
void inject_leave_child(void);
/* Has everything taken back, here and now or by the thread that is at work on it. */
void inject_detach(void);

/* slot.c. Claims a slot for the calling thread. Returns its index or -1. Releasing records its
 * clocks. */
int agent_claim_slot(bool main_thread);
void agent_release_slot(void);
void agent_end_thread(void); /* records them only: it ends with the process */
/* Claims one for every thread that is there. */
void agent_claim_all(void);
/* Calls visit for every thread, the calling one first. pthread_id: 0 when not known. */
void agent_each_thread(void (*visit)(uint32_t tid, uint64_t pthread_id));
/* Writes to a thread's instance of a thread-local variable, given the address of our own. */
void agent_poke_thread(uint64_t pthread_id, void *own_variable, const void *value, size_t size);
uint32_t agent_find_slot(void); /* the calling thread's index + 1, by its tid; 0: none */

/* The calling thread's slot: its index + 1; 0: none. */
static inline uint32_t agent_slot(void)
{
	return __builtin_expect(agent_self.session == agent.session, 1) ? agent_self.slot
									: agent_find_slot();
}

/* Writes a mark when the interpreter is seen for the first time to take itself down. */
void agent_watch_end(void);

/* Fills in the end of the process's life in the region; exec: it goes on as another program. */
void agent_end(bool exec, bool has_status, int status);

/* A handler of the program's may leave the agent's code for good, with a longjmp: what runs as high
 * up the stack as that code did, or higher, proves it. Then tidies up and returns true: the thread
 * is not busy. frame: of who asks; stack: the signal stack as it was there, NULL: as it is now. */
bool agent_was_left(uintptr_t frame, const stack_t *stack);

/* Marks that the calling thread is in the agent's own code: what it allocates does not count, and
 * its stack chain is in use. False when it is there already: then do nothing. */
static inline bool agent_enter(void)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

	if (agent_self.busy && !agent_was_left(frame, NULL))
		return false;
	agent_self.entered = frame;
	agent_self.busy = 1;
	atomic_signal_fence(memory_order_seq_cst);
	return true;
}

/* Ends that, and answers the sampler if it has asked meanwhile; pc: where the agent was called. */
void agent_leave(const void *pc);

/* ring_write.c: space for a record of size bytes (header included), or NULL when there is no room:
 * the caller counts what is lost. The record becomes visible with ring_commit. */
struct ring_record *ring_reserve(size_t size);
void ring_commit(struct ring_record *record, size_t size, unsigned type, unsigned slot);
/* Whether there is room also for what can wait, such as what was lost before. */
bool ring_has_room(void);
/* What the calling thread has reserved and will never commit; the reader would wait for it. */
void ring_give_up(void);

/* capture.c */
void capture_handler(int signo, siginfo_t *info, void *context);

/* stack.c: copies without ever faulting: 0, or -1 when the memory is not there. */
int agent_peek(uint64_t address, void *to, size_t size);

/* code_table.c */
struct code_entry {
	uint64_t code;
	uint64_t places; /* where what it points to is */
	uint64_t print;  /* fingerprint: changes when another code object takes the address */
	uint64_t checked_ns;
	uint64_t bytecode; /* address of the first instruction (3.9, 3.10: of the bytes object's
			      data) */
	uint32_t id;
	uint32_t code_bytes;
	int32_t first_traceable; /* byte offset of the first instruction that counts as started */
};

struct code_table *code_table_new(void);
void code_table_free(struct code_table *table);
void code_table_clear(struct code_table *table); /* safe in a handler */
/* Finds or defines the code object at `code`: a definition is written to the ring first. Fills
 * *entry. Returns 0; -1 when it is not a code object; -2 when the ring had no room. */
int code_table_find(uint64_t code, uint64_t now_ns, unsigned slot, struct code_entry *entry);
/* The code object is being freed: what is there next is another one, even if it looks the same. */
void code_table_forget(uint64_t code);

/* children.c: fills in what agent.children means for this process. */
void children_look(void);
/* This process's command line, joined by blanks, as much as there is room for. */
void children_command(char *text, size_t size);
/* Writes down who this is. */
void children_describe(struct ring_header *ring);

/* interpose_thread.c */
void interpose_start(void); /* looks the real functions up */

/* interpose_signal.c: the target's own action for our signal number, and installing ours. */
int signal_install(int signo);
/* Puts back what the program wants; none of our signals is pending then. Safe in a handler. */
void signal_uninstall(void);
void signal_forward(int signo, siginfo_t *info, void *context);

/* interpose_exec.c */
void interpose_exec_start(void);
/* Closes the gate for good: the sampler sends no more signals, and the last one has come. */
void exec_gate_close(void);

/* environment.c: removes our two variables, but for programs that start others without libc. */
void environment_clean(void);

/* interpose_wait.c */
void interpose_wait_start(void);

/* interpose_io.c: set by the handler when it interrupted a system call of its thread. */
void interpose_io_start(void);
extern _Thread_local volatile sig_atomic_t agent_cut_in;

#endif
