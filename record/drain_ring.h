/* SPDX-License-Identifier: Apache-2.0
 *
 * The reading side of a ring. What comes out is checked for size only; its content is the target's
 * and may be anything.
 */
#ifndef SCPROF_DRAIN_RING_H
#define SCPROF_DRAIN_RING_H

#include "record/target.h"

/* Calls take(arg, record, size) for each committed record, in order, and frees their space. dead:
 * the target will not commit any more, so records that it left unfinished are stepped over. While
 * it lives, so is space that was taken but has stayed empty for a second: a handler of the
 * program's has left the agent for good, with a longjmp, between two instructions. */
void ring_drain(struct target *t, bool dead, uint64_t now_ns,
		void (*take)(void *arg, const struct ring_record *record, size_t size), void *arg);

/* Bytes that are waiting. */
size_t ring_fill(const struct target *t);

#endif
