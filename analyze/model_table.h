/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table that gives triples of numbers dense ids in order of arrival. It stands on the
 * model's hot path: one probe is one cache line most of the time. A zeroed struct is an empty
 * table.
 */
#ifndef SCPROF_MODEL_TABLE_H
#define SCPROF_MODEL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_TABLE_NONE UINT32_MAX

struct model_key {
	uint32_t a;
	uint32_t b;
	uint32_t c;
};

struct model_table_slot {
	struct model_key key;
	uint32_t id; /* MODEL_TABLE_NONE: free */
};

struct model_table {
	struct model_table_slot *slots;
	size_t capacity; /* power of two, or 0 */
	uint32_t count;
};

void model_table_release(struct model_table *t);

/* The id of the key; a new key gets id t->count. *added says which. */
uint32_t model_table_add(struct model_table *t, struct model_key key, bool *added);

/* Walks all keys in no order: start with *at = 0; false at the end. */
bool model_table_next(const struct model_table *t, size_t *at, struct model_key *key, uint32_t *id);

#endif
