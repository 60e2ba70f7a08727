/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap events as an ordinary program makes them, for measuring: lists that are built and dropped,
 * objects that live for a moment, and a dictionary whose entries are replaced at random.
 */
#ifndef SCPROF_HEAP_MIX_H
#define SCPROF_HEAP_MIX_H

#include <stdlib.h>
#include <string.h>

#include "formats/trace_event.h"

enum {
	HEAP_MIX_LIST = 20000, /* items at most */
	HEAP_MIX_DICT = 50000, /* entries */
	HEAP_MIX_STEP = 8,     /* events at most */
};

enum heap_mix_phase { HEAP_MIX_TEMPORARY, HEAP_MIX_CHURN, HEAP_MIX_BUILD, HEAP_MIX_DROP };

struct heap_mix {
	uint64_t state;
	const uint32_t *nodes;
	uint32_t node_count;
	uint32_t thread_count;
	enum heap_mix_phase phase;
	uint32_t left;   /* steps of the phase */
	uint32_t steps;  /* that the phase has */
	uint32_t place;  /* the phase's nodes begin here */
	uint32_t thread; /* and it runs here */
	uint64_t next;   /* number of the next block */
	uint64_t now_ns;
	uint64_t array; /* of the list's items */
	uint64_t list[HEAP_MIX_LIST];
	uint64_t dict[HEAP_MIX_DICT]; /* block numbers + 1 */
	struct trace_heap step[HEAP_MIX_STEP];
	uint32_t step_count;
	uint32_t step_at;
};

static inline uint32_t heap_mix_dice(struct heap_mix *m, uint32_t sides)
{
	m->state ^= m->state << 13;
	m->state ^= m->state >> 7;
	m->state ^= m->state << 17;
	return (uint32_t)(m->state >> 33) % sides;
}

/* nodes is borrowed; threads 0 to thread_count - 1 take turns. */
static inline void heap_mix_init(struct heap_mix *m, const uint32_t *nodes, uint32_t node_count,
				 uint32_t thread_count)
{
	memset(m, 0, sizeof(*m));
	m->state = 88172645463325252u;
	m->nodes = nodes;
	m->node_count = node_count;
	m->thread_count = thread_count;
	m->phase = HEAP_MIX_DROP;
}

static inline struct trace_heap *heap_mix_add(struct heap_mix *m, enum trace_heap_op op)
{
	struct trace_heap *event = &m->step[m->step_count++];

	m->now_ns += 60 + heap_mix_dice(m, 80);
	*event = (struct trace_heap){.op = op, .thread = m->thread, .time_ns = m->now_ns};
	return event;
}

static inline uint64_t heap_mix_alloc(struct heap_mix *m, uint32_t place, uint64_t size)
{
	struct trace_heap *event = heap_mix_add(m, TRACE_HEAP_ALLOC);

	event->node = m->nodes[(m->place + place) % m->node_count];
	event->kind = size <= 512 ? TRACE_HEAP_PYTHON : TRACE_HEAP_NATIVE;
	event->size = size;
	event->block = m->next++;
	return event->block;
}

static inline void heap_mix_free(struct heap_mix *m, uint64_t block)
{
	heap_mix_add(m, TRACE_HEAP_FREE)->block = block;
}

static inline void heap_mix_begin(struct heap_mix *m)
{
	if (m->phase == HEAP_MIX_BUILD) { /* what was built is dropped later, but surely */
		m->phase = HEAP_MIX_DROP;
		m->left = m->steps;
		return;
	}
	m->phase = (enum heap_mix_phase)heap_mix_dice(m, HEAP_MIX_DROP);
	m->steps = 100 + heap_mix_dice(m, HEAP_MIX_LIST - 100);
	m->left = m->steps;
	m->place = heap_mix_dice(m, m->node_count);
	m->thread = heap_mix_dice(m, m->thread_count);
	if (m->phase == HEAP_MIX_BUILD)
		m->array = heap_mix_alloc(m, 0, 88);
}

/* An object or three that call each other, freed in reverse. */
static inline void heap_mix_temporary(struct heap_mix *m)
{
	uint32_t depth = m->left % 7 ? 1 : 1 + heap_mix_dice(m, 3);

	for (uint32_t i = 0; i < depth; i++)
		heap_mix_alloc(m, i, 24 + 8 * i);
	for (uint32_t i = 0; i < depth; i++)
		heap_mix_free(m, m->next - 1 - i);
}

static inline void heap_mix_one_step(struct heap_mix *m)
{
	uint32_t at = m->steps - m->left;
	uint64_t *entry = &m->dict[heap_mix_dice(m, HEAP_MIX_DICT)];

	m->left--;
	switch (m->phase) {
	case HEAP_MIX_TEMPORARY:
		heap_mix_temporary(m);
		break;
	case HEAP_MIX_CHURN:
		heap_mix_alloc(m, 0, 28); /* the key that finds it */
		if (*entry)
			heap_mix_free(m, *entry - 1);
		*entry = heap_mix_alloc(m, 1, 50 + heap_mix_dice(m, 40)) + 1;
		heap_mix_free(m, m->next - 2);
		break;
	case HEAP_MIX_BUILD:
		m->list[at] = heap_mix_alloc(m, 1, 56);
		if (at % 1000 == 999) {
			heap_mix_free(m, m->array);
			m->array = heap_mix_alloc(m, 2, 8 * (uint64_t)at + 8000);
		}
		break;
	case HEAP_MIX_DROP:
		heap_mix_free(m, m->list[at]);
		if (!m->left)
			heap_mix_free(m, m->array);
		break;
	}
}

/* The next event; blocks have the numbers that a writer gives them. */
static inline struct trace_heap heap_mix_next(struct heap_mix *m)
{
	if (m->step_at == m->step_count) {
		m->step_at = 0;
		m->step_count = 0;
		if (!m->left)
			heap_mix_begin(m);
		heap_mix_one_step(m);
	}
	return m->step[m->step_at++];
}

#endif
