/* SPDX-License-Identifier: Apache-2.0
 *
 * A bump allocator, see arena.h. Chunks double in size, so their number stays small.
 */
#include "formats/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"

#define ARENA_FIRST_CHUNK ((size_t)16 * 1024)
#define ARENA_LAST_CHUNK ((size_t)4 * 1024 * 1024)
#define ARENA_ALIGN ((size_t)16)

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	size_t used;
	size_t padding; /* keeps data aligned */
	unsigned char data[];
};

static struct arena_chunk *arena_new_chunk(struct arena *a, size_t need)
{
	size_t size = a->chunks ? a->chunks->size * 2 : ARENA_FIRST_CHUNK;
	struct arena_chunk *chunk;

	if (size > ARENA_LAST_CHUNK)
		size = ARENA_LAST_CHUNK;
	if (size < need)
		size = need;
	if (a->cap && size > a->cap - a->total)
		size = need;
	if (size > SIZE_MAX - sizeof(*chunk) || (a->cap && size > a->cap - a->total))
		return NULL;
	chunk = malloc(sizeof(*chunk) + size);
	if (!chunk)
		return NULL;
	*chunk = (struct arena_chunk){.next = a->chunks, .size = size};
	a->chunks = chunk;
	a->total += size;
	return chunk;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_chunk *chunk = a->chunks;
	void *piece;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = size ? (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1) : ARENA_ALIGN;
	if (!chunk || chunk->size - chunk->used < size)
		chunk = arena_new_chunk(a, size);
	if (!chunk)
		return NULL;
	piece = chunk->data + chunk->used;
	chunk->used += size;
	return piece;
}

char *arena_copy(struct arena *a, const void *data, size_t size)
{
	char *copy = size < SIZE_MAX ? arena_alloc(a, size + 1) : NULL;

	if (!copy)
		return NULL;
	if (size)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *kept = NULL;

	while (a->chunks) {
		struct arena_chunk *chunk = a->chunks;

		a->chunks = chunk->next;
		if (!kept && chunk->size <= ARENA_LAST_CHUNK)
			kept = chunk;
		else
			free(chunk);
	}
	a->total = 0;
	if (!kept)
		return;
	kept->next = NULL;
	kept->used = 0;
	a->chunks = kept;
	a->total = kept->size;
}

void arena_release(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *chunk = a->chunks;

		a->chunks = chunk->next;
		free(chunk);
	}
	a->total = 0;
}
