/* SPDX-License-Identifier: Apache-2.0
 *
 * Open addressing with linear probing, see map.h. Tables are kept at most 2/3 full.
 */
#include "formats/base/map.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define MAP_FIRST_CAPACITY 64u
#define INTERN_CHUNK_BYTES (64u * 1024)

void map_release(struct map *m)
{
	free(m->slots);
	memset(m, 0, sizeof(*m));
}

void map_clear(struct map *m)
{
	for (size_t i = 0; m->count && i < m->capacity; i++)
		m->slots[i].value = MAP_NONE;
	m->count = 0;
}

/* The slot that holds key, or the free one where it belongs. */
static size_t map_slot(const struct map *m, uint64_t key)
{
	size_t i = map_hash(key) & (m->capacity - 1);

	while (m->slots[i].value != MAP_NONE && m->slots[i].key != key)
		i = (i + 1) & (m->capacity - 1);
	return i;
}

static void map_make_room(struct map *m)
{
	struct map old = *m;

	if (m->capacity && (m->count + 1) * 3 <= m->capacity * 2)
		return;
	m->capacity = old.capacity ? old.capacity * 2 : MAP_FIRST_CAPACITY;
	m->slots = xmalloc(m->capacity * sizeof(*m->slots));
	for (size_t i = 0; i < m->capacity; i++)
		m->slots[i] = (struct map_slot){0, MAP_NONE};
	for (size_t i = 0; i < old.capacity; i++) {
		if (old.slots[i].value != MAP_NONE)
			m->slots[map_slot(m, old.slots[i].key)] = old.slots[i];
	}
	free(old.slots);
}

uint32_t map_get(const struct map *m, uint64_t key)
{
	return m->capacity ? m->slots[map_slot(m, key)].value : MAP_NONE;
}

void map_set(struct map *m, uint64_t key, uint32_t value)
{
	size_t i;

	map_make_room(m);
	i = map_slot(m, key);
	if (m->slots[i].value == MAP_NONE)
		m->count++;
	m->slots[i] = (struct map_slot){key, value};
}

uint32_t map_get_or_set(struct map *m, uint64_t key, uint32_t value)
{
	size_t i;

	map_make_room(m);
	i = map_slot(m, key);
	if (m->slots[i].value != MAP_NONE)
		return m->slots[i].value;
	m->count++;
	m->slots[i] = (struct map_slot){key, value};
	return value;
}

uint32_t map_remove(struct map *m, uint64_t key)
{
	size_t mask = m->capacity - 1;
	uint32_t value;
	size_t hole;

	if (!m->capacity)
		return MAP_NONE;
	hole = map_slot(m, key);
	value = m->slots[hole].value;
	if (value == MAP_NONE)
		return MAP_NONE;
	m->count--;
	/* Close the gap: whoever was pushed past the hole by it moves back into it. */
	for (size_t i = (hole + 1) & mask; m->slots[i].value != MAP_NONE; i = (i + 1) & mask) {
		size_t home = map_hash(m->slots[i].key) & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole].value = MAP_NONE;
	return value;
}

bool map_next(const struct map *m, size_t *at, uint64_t *key, uint32_t *value)
{
	for (; *at < m->capacity; ++*at) {
		const struct map_slot *slot = &m->slots[*at];

		if (slot->value == MAP_NONE)
			continue;
		*key = slot->key;
		*value = slot->value;
		++*at;
		return true;
	}
	return false;
}

void intern_release(struct intern *in)
{
	for (size_t i = 0; i < in->chunk_count; i++)
		free(in->chunks[i]);
	free(in->chunks);
	free(in->items);
	free(in->slots);
	memset(in, 0, sizeof(*in));
}

static uint64_t hash_bytes(const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64_t hash = 0x9e3779b97f4a7c15u ^ size;

	for (; size >= 8; size -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, 8);
		hash = map_hash(hash ^ word);
	}
	if (size) {
		uint64_t word = 0;

		memcpy(&word, p, size);
		hash = map_hash(hash ^ word);
	}
	return hash;
}

static size_t intern_slot(const struct intern *in, const void *data, size_t size, uint64_t hash)
{
	size_t mask = in->slot_count - 1;
	size_t i = hash & mask;

	while (in->slots[i] != MAP_NONE) {
		const struct intern_item *item = &in->items[in->slots[i]];

		if (item->hash == hash && item->size == size &&
		    (!size || !memcmp(item->data, data, size)))
			break;
		i = (i + 1) & mask;
	}
	return i;
}

static void intern_make_room(struct intern *in)
{
	size_t slot_count = in->slot_count ? in->slot_count * 2 : MAP_FIRST_CAPACITY;

	if (in->slot_count && (in->count + 1) * 3 <= in->slot_count * 2)
		return;
	free(in->slots);
	in->slots = xmalloc(slot_count * sizeof(*in->slots));
	in->slot_count = slot_count;
	memset(in->slots, 0xff, slot_count * sizeof(*in->slots));
	for (size_t id = 0; id < in->count; id++) {
		size_t i = in->items[id].hash & (slot_count - 1);

		while (in->slots[i] != MAP_NONE)
			i = (i + 1) & (slot_count - 1);
		in->slots[i] = (uint32_t)id;
	}
}

static const char *intern_store(struct intern *in, const void *data, size_t size)
{
	char *to;

	if (!in->chunk_count || in->chunk_size - in->chunk_used < size + 1) {
		in->chunk_size = size + 1 > INTERN_CHUNK_BYTES ? size + 1 : INTERN_CHUNK_BYTES;
		in->chunk_used = 0;
		in->chunks = xgrow(in->chunks, &in->chunk_capacity, in->chunk_count + 1,
				   sizeof(*in->chunks));
		in->chunks[in->chunk_count++] = xmalloc(in->chunk_size);
	}
	to = in->chunks[in->chunk_count - 1] + in->chunk_used;
	if (size)
		memcpy(to, data, size);
	to[size] = '\0';
	in->chunk_used += size + 1;
	return to;
}

uint32_t intern_add(struct intern *in, const void *data, size_t size, bool *added)
{
	uint64_t hash = hash_bytes(data, size);
	size_t i;

	intern_make_room(in);
	i = intern_slot(in, data, size, hash);
	if (added)
		*added = in->slots[i] == MAP_NONE;
	if (in->slots[i] != MAP_NONE)
		return in->slots[i];
	in->items = xgrow(in->items, &in->capacity, in->count + 1, sizeof(*in->items));
	in->items[in->count] = (struct intern_item){intern_store(in, data, size), size, hash};
	in->slots[i] = (uint32_t)in->count++;
	return in->slots[i];
}

uint32_t intern_find(const struct intern *in, const void *data, size_t size)
{
	if (!in->slot_count)
		return MAP_NONE;
	return in->slots[intern_slot(in, data, size, hash_bytes(data, size))];
}

const char *intern_get(const struct intern *in, uint32_t id, size_t *size)
{
	if (size)
		*size = in->items[id].size;
	return in->items[id].data;
}
