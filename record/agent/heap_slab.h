/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the recorded ones of Python's small objects live. malloc's own heap would be the wrong
 * place: an object of 50 bytes that stays there keeps everything below it from going back to the
 * system, and a program would grow because it is watched. Slots of one size in a mapping of our
 * own, handed out and taken back without a lock.
 */
#ifndef SCPROF_HEAP_SLAB_H
#define SCPROF_HEAP_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One more than pymalloc serves itself, in whole units of malloc's alignment. */
#define HEAP_SLAB_ASKED 513u
#define HEAP_SLAB_SLOT 528u

/* Address and size of the mapping; NULL until there is one. */
extern char *heap_slab_memory;
#define HEAP_SLAB_SIZE ((size_t)HEAP_SLAB_SLOT << 15)

static inline bool heap_slab_has(const void *block)
{
	return heap_slab_memory && (uintptr_t)block - (uintptr_t)heap_slab_memory < HEAP_SLAB_SIZE;
}

void heap_slab_start(void);
/* A slot, or NULL. */
void *heap_slab_alloc(void);
void heap_slab_free(void *block);

#endif
