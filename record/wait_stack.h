/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads the Python stack of a thread from outside. Unless said otherwise the caller makes sure that
 * the thread does not run between begin and end of the read.
 */
#ifndef SCPROF_WAIT_STACK_H
#define SCPROF_WAIT_STACK_H

#include "record/python/object_read.h"
#include "record/sampler.h"

struct wait_stack; /* per target */

struct wait_stack *wait_stack_new(const struct target *t);
void wait_stack_free(struct wait_stack *w);

#define WAIT_STACK_PAGES 32

/* Where the thread's state lives, kept by the caller between calls; 0: look for it. */
struct wait_thread {
	uint64_t state;
	uint64_t pthread_id;     /* 0 when not known */
	uint64_t thread_pointer; /* the same as its registers say, 0 when not known */
	uint32_t inner_tid;
	uint64_t pages[WAIT_STACK_PAGES]; /* that its last read needed: had at once the next time */
	unsigned page_count;
	uint64_t root;       /* outermost frame of the racing reads that were believed */
	uint64_t other_root; /* of the last one */
};

/* Appends the frames to queue->frames and new code objects to queue->codes. Returns the number of
 * frames, or -1 when the stack could not be read (nothing is appended then, but codes may be). */
int wait_stack_read(struct wait_stack *w, struct wait_thread *thread, struct look_queue *queue);

/* The same for a running thread that was made to stop. That shall not take long: its state is not
 * looked for, wait_stack_identify does that. *flags is what the interpreter says of it:
 * GIL, GC and what its leaf instruction is (enum trace_sample_flag). */
int wait_stack_read_running(struct wait_stack *w, struct wait_thread *thread,
			    struct look_queue *queue, uint32_t *flags);

/* The same for a thread that runs meanwhile: -1 also when what was read may not have been there all
 * at the same time. */
int wait_stack_read_racing(struct wait_stack *w, struct wait_thread *thread,
			   struct look_queue *queue, uint32_t *flags);

/* Finds the thread's state, and thread->pthread_id, in the interpreter's list of threads. False
 * when it is not there (yet). */
bool wait_stack_identify(struct wait_stack *w, struct wait_thread *thread);

/* Where the frames of the last read lie in the target: `at` counts like its frames. */
struct wait_stack_frame {
	uint64_t frame, code;
};
struct wait_stack_frame wait_stack_frame(const struct wait_stack *w, size_t at);
/* The target's memory as the last read saw it. */
struct py_memory wait_stack_memory(struct wait_stack *w);

/* Is address inside the GIL's own structure: a thread that waits there waits for the GIL. */
bool wait_stack_is_gil(struct wait_stack *w, const struct wait_thread *thread, uint64_t address);

/* Reads all thread names into queue->names. */
void wait_stack_names(struct wait_stack *w, struct look_queue *queue);

#endif
