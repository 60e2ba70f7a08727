/* SPDX-License-Identifier: Apache-2.0 */
#include "record/drain_ring.h"

#include <string.h>

#include "formats/base/banned.h"
#include "record/process_info.h"

#define RING_RESERVED 0x80000000u
/* By then its thread is long past the two instructions, on any machine where we run so often. */
#define GAP_NS 1000000000u
#define GAP_PASSES 10u

/* Bytes from `at` on that are 0, at most `most`, in steps of 8. */
static size_t zeros(const struct target *t, size_t at, size_t most)
{
	size_t size = 0;
	uint64_t word;

	while (size < most) {
		memcpy(&word, t->data + at + size, sizeof(word));
		if (word)
			break;
		size += sizeof(word);
	}
	return size;
}

/* What comes next: the number of bytes in the ring, 0 when there is nothing. *record is NULL when
 * they are to be stepped over. */
static size_t ring_next(struct target *t, uint64_t tail, uint64_t head, bool dead,
			const struct ring_record **record)
{
	size_t at = (size_t)(tail & (RING_DATA_SIZE - 1)), size;
	size_t most =
		head - tail < RING_DATA_SIZE - at ? (size_t)(head - tail) : RING_DATA_SIZE - at;
	struct ring_record *next = (struct ring_record *)(t->data + at);
	uint32_t word;

	*record = NULL;
	if (!most || at % RING_ALIGN)
		return 0;
	/* Paired with ring_commit in agent/ring_write.c. */
	word = atomic_load_explicit(&next->size, memory_order_acquire);
	if (!dead && (word == 0 || word & RING_RESERVED))
		return 0;
	/* Its thread had moved head and got no further. There was nothing in that space before, and
	 * whatever follows begins with its size. */
	if (word == 0)
		return zeros(t, at, most & ~(size_t)(RING_ALIGN - 1));
	size = word & ~RING_RESERVED;
	if (size < sizeof(*next) || size % RING_ALIGN || size > most)
		return 0; /* not something our agent wrote */
	if (!(word & RING_RESERVED) && next->type != RING_PAD)
		*record = next;
	return size;
}

/* Paired with ring_reserve in agent/ring_write.c: the space is zero before it is given back. */
static void ring_release(struct target *t, uint64_t tail, size_t size)
{
	memset(t->data + (tail & (RING_DATA_SIZE - 1)), 0, size);
	atomic_store_explicit(&t->ring->tail, tail + size, memory_order_release);
}

/* The size of the gap at the tail, 0: there is none. A gap ends where a record begins: of space at
 * the head nobody knows whose it is. */
static size_t find_gap(const struct target *t, uint64_t tail, uint64_t head)
{
	size_t at = (size_t)(tail & (RING_DATA_SIZE - 1)), to_end = RING_DATA_SIZE - at;
	size_t most = head - tail < to_end ? (size_t)(head - tail) : to_end, size, rest;

	if (at % RING_ALIGN || most % RING_ALIGN || head - tail > RING_DATA_SIZE)
		return 0;
	size = zeros(t, at, most);
	rest = (size_t)(head - tail) - size;
	/* It may go on at the start of the data; that is the next gap then. */
	if (size == to_end)
		return zeros(t, 0, rest & ~(size_t)(RING_ALIGN - 1)) < rest ? size : 0;
	return rest ? size : 0;
}

/* Whether the gap at the tail has been there for so long, just as it is, that nobody will fill it;
 * then its size, else 0. */
static size_t old_gap(struct target *t, uint64_t tail, uint64_t head, uint64_t now_ns)
{
	struct ring_gap *gap = &t->gap;
	size_t size = find_gap(t, tail, head);

	if (!size || gap->tail != tail || gap->size != size) {
		*gap = (struct ring_gap){.tail = tail, .size = size, .since_ns = now_ns};
		return 0;
	}
	if (++gap->passes < GAP_PASSES || now_ns - gap->since_ns < GAP_NS)
		return 0;
	if (process_is_stopped(t->pid)) {
		gap->passes = 0;
		gap->since_ns = now_ns;
		return 0;
	}
	return size;
}

void ring_drain(struct target *t, bool dead, uint64_t now_ns,
		void (*take)(void *arg, const struct ring_record *record, size_t size), void *arg)
{
	uint64_t tail = atomic_load_explicit(&t->ring->tail, memory_order_relaxed), before = tail;
	uint64_t head = atomic_load_explicit(&t->ring->head, memory_order_acquire);
	const struct ring_record *record;
	size_t size;

	for (;;) {
		while ((size = ring_next(t, tail, head, dead, &record)) > 0) {
			if (record)
				take(arg, record, size);
			ring_release(t, tail, size);
			tail += size;
		}
		size = dead ? 0 : old_gap(t, tail, head, now_ns);
		if (!size)
			break;
		atomic_fetch_add_explicit(&t->ring->lost, 1, memory_order_relaxed);
		ring_release(t, tail, size);
		tail += size;
	}
	t->stuck = tail == before && head != tail;
}

size_t ring_fill(const struct target *t)
{
	uint64_t fill = atomic_load_explicit(&t->ring->head, memory_order_relaxed) -
			atomic_load_explicit(&t->ring->tail, memory_order_relaxed);

	return fill > RING_DATA_SIZE ? RING_DATA_SIZE : (size_t)fill;
}
