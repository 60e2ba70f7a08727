/* SPDX-License-Identifier: Apache-2.0
 *
 * Triples to dense ids: open addressing with linear probing, at most 5/8 full.
 */
#include "analyze/model_table.h"

#include <stdlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define FIRST_CAPACITY 64

static size_t hash_key(struct model_key key)
{
	uint64_t h = ((uint64_t)key.a << 32 | key.b) * 0x9e3779b97f4a7c15u;

	h ^= h >> 32;
	h = (h ^ key.c) * 0xd6e8feb86659fd93u;
	return (size_t)(h ^ h >> 32);
}

static void place(struct model_table *t, const struct model_table_slot *slot)
{
	size_t mask = t->capacity - 1;
	size_t at = hash_key(slot->key) & mask;

	while (t->slots[at].id != MODEL_TABLE_NONE)
		at = (at + 1) & mask;
	t->slots[at] = *slot;
}

static void grow(struct model_table *t)
{
	struct model_table_slot *old = t->slots;
	size_t old_capacity = t->capacity;

	t->capacity = old_capacity ? old_capacity * 2 : FIRST_CAPACITY;
	t->slots = xmalloc(t->capacity * sizeof(*t->slots));
	for (size_t i = 0; i < t->capacity; i++)
		t->slots[i].id = MODEL_TABLE_NONE;
	for (size_t i = 0; i < old_capacity; i++) {
		if (old[i].id != MODEL_TABLE_NONE)
			place(t, &old[i]);
	}
	free(old);
}

void model_table_release(struct model_table *t)
{
	free(t->slots);
	*t = (struct model_table){0};
}

uint32_t model_table_add(struct model_table *t, struct model_key key, bool *added)
{
	size_t mask;
	size_t at;

	if ((size_t)t->count + 1 > t->capacity / 8 * 5)
		grow(t);
	mask = t->capacity - 1;
	at = hash_key(key) & mask;
	for (;;) {
		struct model_table_slot *slot = &t->slots[at];

		if (slot->id == MODEL_TABLE_NONE) {
			slot->key = key;
			slot->id = t->count++;
			*added = true;
			return slot->id;
		}
		if (slot->key.a == key.a && slot->key.b == key.b && slot->key.c == key.c) {
			*added = false;
			return slot->id;
		}
		at = (at + 1) & mask;
	}
}

bool model_table_next(const struct model_table *t, size_t *at, struct model_key *key, uint32_t *id)
{
	for (; *at < t->capacity; (*at)++) {
		const struct model_table_slot *slot = &t->slots[*at];

		if (slot->id == MODEL_TABLE_NONE)
			continue;
		*key = slot->key;
		*id = slot->id;
		(*at)++;
		return true;
	}
	return false;
}
