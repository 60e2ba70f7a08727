/* SPDX-License-Identifier: Apache-2.0
 *
 * CPU time by (line, granule, class): all that model_finish needs to decide Python or native and to
 * say which C code it was. It is kept per line, not per stack node: the number of distinct entries
 * is then bounded by the code, and a line is split by what it does, whoever called it.
 *
 * Nearly every sample adds to an entry and the table can be large, so an entry holds key and sums
 * together in half a cache line. A zeroed struct is an empty table.
 */
#ifndef SCPROF_MODEL_SLOTS_H
#define SCPROF_MODEL_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#define MODEL_SLOT_CLASS_BITS 3
/* Granules from here on count as unknown. */
#define MODEL_SLOT_NO_GRANULE (UINT32_MAX >> MODEL_SLOT_CLASS_BITS)

struct model_slot {
	uint32_t line;
	uint32_t code;   /* granule << MODEL_SLOT_CLASS_BITS | class */
	uint64_t cpu_ns; /* 0: the slot is free */
	uint64_t samples;
	double cpu_square;
};

struct model_slots {
	struct model_slot *slots; /* aligned to cache lines */
	size_t capacity;          /* power of two, or 0 */
	size_t count;
};

void model_slots_release(struct model_slots *s);
/* add->cpu_ns must not be 0. */
void model_slots_add(struct model_slots *s, const struct model_slot *add);

#endif
