/* SPDX-License-Identifier: Apache-2.0
 *
 * What grows and never comes back. Judged is a line of the user's code with all that is allocated
 * below it: a single stack has too few samples to say anything, and what leaks is often allocated
 * on many. Of its stacks the one that grew most stands for it. Each process is judged for itself;
 * processes that leak at the same line are one leak.
 */
#include <math.h>
#include <stdlib.h>

#include "analyze/growth.h"
#include "analyze/model_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* What grew once is told when it is so much of all that grew. */
#define LEAST_SHARE 0.01
/* Less is no leak, however steadily it grows: a dozen numbers in a list. */
#define LEAST_BYTES 1024

/* What is gathered of a group from its sites. */
struct gathered {
	double allocated;
	double freed;
	double final;
	double count;
	double most;   /* growth of the site that grew most */
	uint32_t node; /* and where that is */
};

static struct gathered *gather(const struct model_heap *heap)
{
	struct gathered *groups = xcalloc(heap->group_count + 1, sizeof(*groups));

	for (uint32_t i = 0; i < ledger_site_count(heap->ledger); i++) {
		const struct ledger_sum *sum = ledger_site(heap->ledger, i);
		struct gathered *g =
			&groups[ledger_site_group(heap->ledger, i, MODEL_SITE_CHARGED)];
		double growth = sum->end.value - sum->base.value;

		g->allocated += sum->end_allocated;
		g->freed += sum->end_freed;
		g->final += sum->live.value;
		g->count += sum->end_count;
		if (g->node == 0 || growth > g->most) {
			g->most = growth;
			g->node = heap->nodes[i];
		}
	}
	return groups;
}

static struct model_leak_state *leak_at(struct model *m, uint32_t line)
{
	struct model_leak_state *leak;

	for (size_t i = 0; i < m->leak_count; i++) {
		if (m->leaks[i].line == line)
			return &m->leaks[i];
	}
	m->leaks = xgrow(m->leaks, &m->leak_capacity, m->leak_count + 1, sizeof(*m->leaks));
	leak = &m->leaks[m->leak_count++];
	*leak = (struct model_leak_state){.line = line};
	return leak;
}

static void add_part(struct model_leak_state *leak, uint32_t heap, uint32_t group)
{
	leak->parts = xgrow(leak->parts, &leak->part_capacity, leak->part_count + 1,
			    sizeof(*leak->parts));
	leak->parts[leak->part_count++] = (struct model_leak_part){heap, group};
}

/* Adds what one process has of the leak. */
static void add_leak(struct model *m, uint32_t heap_id, uint32_t group_id,
		     const struct growth *growth, const struct gathered *of)
{
	const struct model_heap *heap = m->heaps[heap_id];
	const struct ledger_group *group = ledger_group(heap->ledger, group_id);
	struct model_leak_state *state = leak_at(m, heap->kinds[group_id].id);
	struct model_leak *leak = &state->leak;
	uint64_t end_ns = ledger_end_ns(heap->ledger);
	bool is_first = state->part_count == 0;

	add_part(state, heap_id, group_id);
	leak->line = state->line;
	if (is_first || of->most > state->most) {
		state->most = of->most;
		leak->node = of->node;
		leak->median_age_ns = end_ns - group->median_ns;
	}
	if (is_first)
		leak->verdict = MODEL_LEAK_ONCE;
	if (growth->verdict == GROWTH_GOES_ON) {
		leak->verdict = MODEL_LEAK_GROWING;
		leak->likelihood = fmax(leak->likelihood, growth->likelihood);
		leak->growth_bytes_per_s += growth->slope;
		state->slope_variance += growth->slope_variance;
	}
	leak->live_bytes += group->end.value;
	estimate_add(&state->live, &group->end);
	leak->final_bytes += of->final;
	leak->allocated_bytes += of->allocated;
	leak->freed_bytes += of->freed;
	leak->blocks_alive += of->count;
	if (is_first || growth->first_growth_ns + heap->shift_ns < leak->first_growth_ns)
		leak->first_growth_ns = growth->first_growth_ns + heap->shift_ns;
	leak->last_growth_ns =
		MODEL_MAX(leak->last_growth_ns, growth->last_growth_ns + heap->shift_ns);
	leak->oldest_ns = MODEL_MAX(leak->oldest_ns, end_ns - group->oldest_ns);
	if (is_first || end_ns - group->youngest_ns < leak->youngest_ns)
		leak->youngest_ns = end_ns - group->youngest_ns;
}

/* The stacks of a leak that grows, for exports. */
static void mark_stacks(struct model *m, struct model_heap *heap, const bool *growing)
{
	for (uint32_t i = 0; i < ledger_site_count(heap->ledger); i++) {
		const struct ledger_sum *sum = ledger_site(heap->ledger, i);
		double growth = sum->end.value - sum->base.value;

		if (growth > 0 && growing[ledger_site_group(heap->ledger, i, MODEL_SITE_CHARGED)]) {
			m->nodes[heap->nodes[i]].self.memory.leak_bytes += growth;
			heap->total.leak_bytes += growth;
		}
	}
}

static void judge_heap(struct model *m, uint32_t heap_id)
{
	struct model_heap *heap = m->heaps[heap_id];
	struct gathered *gathered = gather(heap);
	bool *growing = xcalloc(heap->group_count + 1, sizeof(*growing));
	double all = fmax(heap->total.growth_bytes, 0);

	for (uint32_t i = 0; i < heap->group_count; i++) {
		const struct ledger_group *group = ledger_group(heap->ledger, i);
		double grown = group->end.value - (double)group->series.first;
		struct growth growth;

		if (heap->kinds[i].kind != MODEL_GROUP_CHARGED)
			continue;
		growth = growth_judge(heap->ledger, group);
		if (growth.verdict == GROWTH_GOES_ON && grown < LEAST_BYTES)
			growth.verdict = GROWTH_ONCE;
		growing[i] = growth.verdict == GROWTH_GOES_ON;
		if (growing[i] || (growth.verdict == GROWTH_ONCE && grown >= LEAST_SHARE * all))
			add_leak(m, heap_id, i, &growth, &gathered[i]);
	}
	mark_stacks(m, heap, growing);
	free(growing);
	free(gathered);
}

void model_find_leaks(struct model *m)
{
	for (uint32_t i = 0; i < m->heap_count; i++)
		judge_heap(m, i);
}

static int compare_leaks(const void *a, const void *b)
{
	const struct model_leak *x = &((const struct model_leak_state *)a)->leak;
	const struct model_leak *y = &((const struct model_leak_state *)b)->leak;
	double by = x->verdict == MODEL_LEAK_GROWING ? y->growth_bytes_per_s - x->growth_bytes_per_s
						     : y->live_bytes - x->live_bytes;

	if (x->verdict != y->verdict)
		return x->verdict == MODEL_LEAK_GROWING ? -1 : 1;
	if (by != 0)
		return by > 0 ? 1 : -1;
	return x->line < y->line ? -1 : x->line > y->line;
}

void model_list_leaks(struct model *m)
{
	size_t points = m->view.memory.point_count;

	if (m->leak_count)
		qsort(m->leaks, m->leak_count, sizeof(*m->leaks), compare_leaks);
	m->leaks_view = xcalloc(m->leak_count + 1, sizeof(*m->leaks_view));
	m->leak_live = xcalloc(m->leak_count * points + 1, sizeof(*m->leak_live));
	for (size_t i = 0; i < m->leak_count; i++) {
		struct model_leak_state *state = &m->leaks[i];
		struct model_leak *leak = &state->leak;
		double rate = (double)m->header.memory_rate;
		double slope = leak->growth_bytes_per_s;

		growth_interval(slope, state->slope_variance, &leak->growth_low,
				&leak->growth_high);
		estimate_interval(&state->live, rate, &leak->live_low, &leak->live_high);
		leak->live = m->leak_live + i * points;
		for (size_t k = 0; k < state->part_count; k++)
			model_add_live(m, m->heaps[state->parts[k].heap], state->parts[k].group,
				       m->leak_live + i * points);
		m->leaks_view[i] = *leak;
	}
	m->view.leaks = m->leaks_view;
	m->view.leak_count = m->leak_count;
}

void model_free_leaks(struct model *m)
{
	for (size_t i = 0; i < m->leak_count; i++)
		free(m->leaks[i].parts);
	free(m->leaks);
	free(m->leaks_view);
	free(m->leak_live);
}
