/* SPDX-License-Identifier: Apache-2.0
 *
 * The writing side of the ring (record/ring.h): many threads, no lock, no waiting.
 */
#include "record/agent/agent.h"

#define RING_RESERVED 0x80000000u

struct ring_record *ring_reserve(size_t size)
{
	/* Of one region: an injected recording may end, and another begin, in between. */
	struct ring_header *ring = agent.ring;
	char *data = (char *)ring + RING_DATA_OFFSET;
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	size_t at, to_end, need;
	struct ring_record *record;

	size = (size + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
	if (size > RING_RECORD_MAX)
		return NULL;
	do {
		/* Paired with ring_release in drain_ring.c: what lies before tail is zero again. */
		uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

		at = head & (RING_DATA_SIZE - 1);
		to_end = RING_DATA_SIZE - at;
		need = size > to_end ? to_end + size : size;
		if (head + need - tail > RING_DATA_SIZE)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&ring->head, &head, head + need, memory_order_relaxed, memory_order_relaxed));

	if (need != size) {
		record = (struct ring_record *)(data + at);
		ring_commit(record, to_end, RING_PAD, 0);
		at = 0;
	}
	record = (struct ring_record *)(data + at);
	/* Lets the reader step over this record when the process dies before it is committed. */
	atomic_store_explicit(&record->size, (uint32_t)size | RING_RESERVED, memory_order_relaxed);
	agent_self.reserved = record;
	return record;
}

bool ring_has_room(void)
{
	const struct ring_header *ring = agent.ring;

	return atomic_load_explicit(&ring->head, memory_order_relaxed) -
		       atomic_load_explicit(&ring->tail, memory_order_relaxed) <
	       RING_DATA_SIZE / 4 * 3;
}

void ring_commit(struct ring_record *record, size_t size, unsigned type, unsigned slot)
{
	size = (size + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
	record->type = (uint16_t)type;
	record->slot = (uint16_t)slot;
	/* Paired with ring_next in drain_ring.c. */
	atomic_store_explicit(&record->size, (uint32_t)size, memory_order_release);
	agent_self.reserved = NULL;
}

void ring_give_up(void)
{
	struct ring_record *record = agent_self.reserved;

	if (record)
		ring_commit(record,
			    atomic_load_explicit(&record->size, memory_order_relaxed) &
				    ~RING_RESERVED,
			    RING_PAD, 0);
}
