/* SPDX-License-Identifier: Apache-2.0
 *
 * The slots: open addressing with linear probing, at most 5/8 full.
 */
#include "analyze/model_slots.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/map.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define FIRST_CAPACITY 256
#define CACHE_LINE 64

_Static_assert(CACHE_LINE % sizeof(struct model_slot) == 0, "a slot must not cross a cache line");

static struct model_slot *find(const struct model_slots *s, uint32_t line, uint32_t code)
{
	size_t mask = s->capacity - 1;
	size_t at = (size_t)map_hash((uint64_t)line << 32 | code) & mask;

	while (s->slots[at].cpu_ns && (s->slots[at].line != line || s->slots[at].code != code))
		at = (at + 1) & mask;
	return &s->slots[at];
}

static void grow(struct model_slots *s)
{
	struct model_slots old = *s;

	s->capacity = old.capacity ? old.capacity * 2 : FIRST_CAPACITY;
	s->slots = aligned_alloc(CACHE_LINE, s->capacity * sizeof(*s->slots));
	if (!s->slots)
		s->slots = xmalloc(s->capacity * sizeof(*s->slots));
	memset(s->slots, 0, s->capacity * sizeof(*s->slots));
	for (size_t i = 0; i < old.capacity; i++) {
		if (old.slots[i].cpu_ns)
			*find(s, old.slots[i].line, old.slots[i].code) = old.slots[i];
	}
	free(old.slots);
}

void model_slots_release(struct model_slots *s)
{
	free(s->slots);
	*s = (struct model_slots){0};
}

void model_slots_add(struct model_slots *s, const struct model_slot *add)
{
	struct model_slot *slot;

	if (s->count + 1 > s->capacity / 8 * 5)
		grow(s);
	slot = find(s, add->line, add->code);
	if (slot->cpu_ns == 0) {
		*slot = *add;
		s->count++;
		return;
	}
	slot->cpu_ns += add->cpu_ns;
	slot->samples += add->samples;
	slot->cpu_square += add->cpu_square;
}
