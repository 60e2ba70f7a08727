/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads the Python stack of a blocked thread from outside. The caller makes sure that the thread
 * did not run between begin and end of the read.
 */
#ifndef SCPROF_WAIT_STACK_H
#define SCPROF_WAIT_STACK_H

#include "record/python/object_read.h"
#include "record/sampler.h"

struct wait_stack; /* per target */

struct wait_stack *wait_stack_new(const struct target *t);
void wait_stack_free(struct wait_stack *w);

/* Where the thread's state lives, kept by the caller between calls; 0: look for it. */
struct wait_thread {
	uint64_t state;
	uint64_t pthread_id; /* 0 when not known */
	uint32_t inner_tid;
};

/* Appends the frames to queue->frames and new code objects to queue->codes. Returns the number of
 * frames, or -1 when the stack could not be read (nothing is appended then, but codes may be). */
int wait_stack_read(struct wait_stack *w, struct wait_thread *thread, struct look_queue *queue);

/* Is address inside the GIL's own structure: a thread that waits there waits for the GIL. */
bool wait_stack_is_gil(struct wait_stack *w, const struct wait_thread *thread, uint64_t address);

/* Reads all thread names into queue->names. */
void wait_stack_names(struct wait_stack *w, struct look_queue *queue);

#endif
