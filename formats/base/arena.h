/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is handed out piece by piece and freed all at once, with a cap on the whole: what
 * untrusted input makes us allocate ends there. A zeroed struct with cap set is an empty arena.
 */
#ifndef SCPROF_ARENA_H
#define SCPROF_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* the newest first */
	size_t total;               /* bytes held in chunks */
	size_t cap;                 /* no more than this; 0: no cap */
};

/* 16-byte aligned, not cleared. NULL when the cap would be passed. */
void *arena_alloc(struct arena *a, size_t size);
/* A copy with a 0 after it; NULL when the cap would be passed. */
char *arena_copy(struct arena *a, const void *data, size_t size);
/* Forgets all pieces but keeps one chunk for the next round. */
void arena_reset(struct arena *a);
void arena_release(struct arena *a);

#endif
