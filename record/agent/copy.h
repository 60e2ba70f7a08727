/* SPDX-License-Identifier: Apache-2.0
 *
 * The volume of copied bytes, sampled: interpose_copy.c counts memory, heap_malloc.c what realloc
 * moves, interpose_io.c and interpose_copy_io.c what system calls carry.
 */
#ifndef SCPROF_COPY_H
#define SCPROF_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/ring.h"

/* What this thread may still copy before it has to look closer. Below zero in a new thread, which
 * makes it look before anything is set up. */
extern _Thread_local int64_t copy_left;

/* The calling thread's next copy looks closer: recording has begun. */
void copy_start(void);
void copy_start_thread(uint64_t pthread_id); /* another thread's */

/* Counts a copy. True: copy_used_up is to be called. */
static inline bool copy_count(size_t size)
{
	copy_left -= (int64_t)size;
	return __builtin_expect(copy_left < 0, 0);
}

/* Draws again, and records this copy if it was hit. pc: where the program called us. */
void copy_used_up(size_t size, enum trace_copy_kind kind, const void *pc);

/* Counts a copy that has been made, or is about to be. Leaves errno alone. */
static inline __attribute__((always_inline)) void copy_note(size_t size, enum trace_copy_kind kind)
{
	if (copy_count(size))
		copy_used_up(size, kind, __builtin_return_address(0));
}

#endif
