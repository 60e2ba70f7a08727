/* SPDX-License-Identifier: Apache-2.0
 *
 * Two hash tables: a map from 64-bit numbers to 32-bit ones, and an intern table that gives byte
 * strings dense ids in order of arrival. Zeroed structs are empty tables.
 */
#ifndef SCPROF_MAP_H
#define SCPROF_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_NONE UINT32_MAX

struct map_slot {
	uint64_t key;
	uint32_t value; /* MAP_NONE: the slot is free */
};

struct map {
	struct map_slot *slots;
	size_t capacity; /* power of two, or 0 */
	size_t count;
};

void map_release(struct map *m);
/* Empties it but keeps the memory. */
void map_clear(struct map *m);
/* The value of key, or MAP_NONE. */
uint32_t map_get(const struct map *m, uint64_t key);
/* value must not be MAP_NONE. Replaces an older one. */
void map_set(struct map *m, uint64_t key, uint32_t value);
/* The value of key; when there is none, value is set and returned. */
uint32_t map_get_or_set(struct map *m, uint64_t key, uint32_t value);
/* Returns the removed value, or MAP_NONE. */
uint32_t map_remove(struct map *m, uint64_t key);
/* Walks all entries in no order: start with *at = 0, false at the end. */
bool map_next(const struct map *m, size_t *at, uint64_t *key, uint32_t *value);

/* Spreads the bits of a key; for tables with a layout of their own. */
static inline uint64_t map_hash(uint64_t key)
{
	key ^= key >> 32;
	key *= 0xd6e8feb86659fd93u;
	key ^= key >> 32;
	key *= 0xd6e8feb86659fd93u;
	key ^= key >> 32;
	return key;
}

struct intern_item {
	const char *data;
	size_t size;
	uint64_t hash;
};

struct intern {
	struct intern_item *items;
	size_t count;
	size_t capacity;
	uint32_t *slots; /* ids, MAP_NONE: free */
	size_t slot_count;
	char **chunks; /* the bytes, in pieces that never move */
	size_t chunk_count;
	size_t chunk_capacity;
	size_t chunk_used;
	size_t chunk_size;
};

void intern_release(struct intern *in);
/* The id of the bytes; *added (may be NULL) says whether they are new. */
uint32_t intern_add(struct intern *in, const void *data, size_t size, bool *added);
/* The id, or MAP_NONE when the bytes were never added. */
uint32_t intern_find(const struct intern *in, const void *data, size_t size);
/* The bytes of an id, with a 0 after them; borrowed until intern_release. size may be NULL. */
const char *intern_get(const struct intern *in, uint32_t id, size_t *size);

#endif
