/* SPDX-License-Identifier: Apache-2.0
 *
 * The Python stack of the calling thread: read where it stands, in the signal handler or in an
 * allocation, and written to the ring as a difference to this thread's last one. There is one chain
 * of differences a thread, so whoever uses it must not be interrupted by somebody else who does:
 * see agent_enter in agent.h.
 */
#ifndef SCPROF_STACK_H
#define SCPROF_STACK_H

#include "record/agent/agent.h"

struct stack_thread;

/* Zeroed by stack_open; the first part is for the callers. */
struct stack {
	uint32_t count;        /* frames read; 0 in a thread without Python */
	uint64_t thread_state; /* address, 0: a thread without Python */
	uint64_t leaf_instr;   /* address of the leaf's instruction */
	bool no_room;          /* a code object could not be defined: do not write this stack */
	bool truncated;
	bool unwalked; /* could not be read: count is 0 */

	struct stack_thread *thread;
	unsigned slot;
	uint32_t generation, common, fresh; /* of the record reserved last */
	uint64_t now_ns;
	uint64_t last_code; /* the code object of the frame taken last, and its entry */
	struct code_entry last_entry;
	/* guarded versions: memory that is known to be there */
	uint64_t thread_state_end;
	uint64_t stack_low, stack_high;
	uint64_t chunk, chunk_end;
};

/* Gets ready for the calling thread, which owns `slot`. Returns 0, or -1 without memory. */
int stack_open(struct stack *s, unsigned slot, uint64_t now_ns);

/* Reads it. `sp`: the stack pointer that the C stack is in use from. */
void stack_read(struct stack *s, uint64_t sp);

/* Space for a record of head_size bytes that begins like struct ring_frames, followed by the frames
 * that the reader does not know yet. NULL: no room; the chain is intact all the same. */
struct ring_record *stack_reserve(struct stack *s, size_t head_size);
/* Adds the stack to what stack_reserve returned and publishes it. */
void stack_commit(struct stack *s, struct ring_record *record, size_t head_size, unsigned type);

/* The reader is another one: it knows nothing yet. */
void stack_forget_all(void);
/* The same for the thread in a slot: what it told last may have been cut off. */
void stack_forget(unsigned slot);

/* The calling thread's state in the interpreter it runs in, or 0. */
uint64_t stack_thread_state(void);

/* One frame, as walk.h gives it, to what the reader knows it by. Returns 0; 1: it has not started
 * yet; -1: it cannot be; -2: no room to define its code object. */
int stack_place(uint64_t code, int64_t instr, int32_t tlbc, int check_started, unsigned slot,
		uint64_t now_ns, struct ring_frame *frame);

#endif
