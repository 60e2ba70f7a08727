/* SPDX-License-Identifier: Apache-2.0 */
#include "record/drain_ring.h"

#include <string.h>

#include "formats/base/banned.h"

#define RING_RESERVED 0x80000000u

/* The next record, NULL when there is none. *size is its length in the ring. */
static const struct ring_record *ring_next(struct target *t, uint64_t tail, uint64_t head,
					   bool dead, size_t *size)
{
	size_t at = (size_t)(tail & (RING_DATA_SIZE - 1));
	struct ring_record *record = (struct ring_record *)(t->data + at);
	uint32_t word;

	if (tail == head)
		return NULL;
	/* Paired with ring_commit in agent/ring_write.c. */
	word = atomic_load_explicit(&record->size, memory_order_acquire);
	if (word == 0 || (word & RING_RESERVED && !dead))
		return NULL;
	*size = word & ~RING_RESERVED;
	if (*size < sizeof(*record) || *size % RING_ALIGN || *size > RING_DATA_SIZE - at ||
	    *size > head - tail)
		return NULL; /* not something our agent wrote */
	return record;
}

/* Paired with ring_reserve in agent/ring_write.c: the space is zero before it is given back. */
static void ring_release(struct target *t, uint64_t tail, size_t size)
{
	memset(t->data + (tail & (RING_DATA_SIZE - 1)), 0, size);
	atomic_store_explicit(&t->ring->tail, tail + size, memory_order_release);
}

void ring_drain(struct target *t, bool dead,
		void (*take)(void *arg, const struct ring_record *record, size_t size), void *arg)
{
	uint64_t tail = atomic_load_explicit(&t->ring->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&t->ring->head, memory_order_acquire);
	const struct ring_record *record;
	size_t size;

	while ((record = ring_next(t, tail, head, dead, &size))) {
		uint32_t word = atomic_load_explicit(
			&((struct ring_record *)(uintptr_t)record)->size, memory_order_relaxed);

		if (!(word & RING_RESERVED) && record->type != RING_PAD)
			take(arg, record, size);
		ring_release(t, tail, size);
		tail += size;
	}
}

size_t ring_fill(const struct target *t)
{
	uint64_t fill = atomic_load_explicit(&t->ring->head, memory_order_relaxed) -
			atomic_load_explicit(&t->ring->tail, memory_order_relaxed);

	return fill > RING_DATA_SIZE ? RING_DATA_SIZE : (size_t)fill;
}
