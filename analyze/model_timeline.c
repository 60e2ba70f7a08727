/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap and footprint over time: puts the courses of all processes on one grid of at most
 * SERIES_STEPS equal steps that begins where the model's time does.
 */
#include <math.h>
#include <stdlib.h>

#include "analyze/model_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* Values at the end of each step of the grid, and the largest within it. */
struct course {
	double last[SERIES_STEPS];
	double max[SERIES_STEPS];
};

static uint32_t own_step(const struct series_clock *clock, uint64_t time_ns)
{
	uint64_t since = time_ns > clock->origin_ns ? time_ns - clock->origin_ns : 0;
	uint64_t step = since >> clock->shift;

	return step < SERIES_STEPS ? (uint32_t)step : SERIES_STEPS - 1;
}

/* Adds the course of a series of the process. A process's own steps are never longer than those of
 * the grid, which is not younger. */
static void add_course(const struct model *m, const struct model_heap *heap,
		       const struct series *series, const struct series_clock *clock,
		       struct course *course)
{
	const struct model_memory *v = &m->view.memory;
	uint64_t grid_ns = m->view.start_ns;
	uint64_t end_ns = heap->end_ns + heap->shift_ns;
	struct series_clock own = *clock;
	struct series copy = *series;
	double last[SERIES_STEPS] = {0}, max[SERIES_STEPS] = {0};

	if (series->count == 0 && series->first == 0)
		return;
	own.origin_ns += heap->shift_ns;
	if (own.shift < SERIES_FIRST_SHIFT)
		own.shift = SERIES_FIRST_SHIFT;
	copy.points = xmemdup(series->points, series->count * sizeof(*series->points));
	if (copy.count)
		series_follow(&copy, &own);
	series_add_to(&copy, SERIES_STEPS, last, max);
	free(copy.points);
	for (size_t i = 0; i < v->point_count; i++) {
		uint64_t from = grid_ns + i * v->point_step_ns;
		uint64_t to = from + v->point_step_ns;
		uint32_t final = own_step(&own, to - 1);
		double largest = 0;

		if (to <= own.origin_ns || (from >= end_ns && i > 0))
			continue;
		for (uint32_t k = own_step(&own, from); k <= final; k++)
			largest = fmax(largest, max[k]);
		course->last[i] += last[final];
		course->max[i] += largest;
	}
}

static void add_heap_points(const struct model *m, const struct model_heap *heap,
			    struct model_memory_point *points)
{
	const struct ledger *l = heap->ledger;
	const struct series_clock *clock = ledger_clock(l);
	static const enum trace_heap_kind kinds[] = {TRACE_HEAP_FILE, TRACE_HEAP_RESERVED,
						     TRACE_HEAP_ARENA};
	struct course live = {0}, volume = {0}, rss = {0}, pss = {0}, apart[3] = {0};

	add_course(m, heap, &ledger_all(l)->series, clock, &live);
	add_course(m, heap, ledger_volume(l), clock, &volume);
	add_course(m, heap, &heap->rss, &heap->clock, &rss);
	add_course(m, heap, &heap->pss, &heap->clock, &pss);
	for (size_t i = 0; i < 3; i++)
		add_course(m, heap, &ledger_apart(l, kinds[i] - TRACE_HEAP_FILE)->series, clock,
			   &apart[i]);
	for (size_t i = 0; i < m->view.memory.point_count; i++) {
		double before = i > 0 ? volume.last[i - 1] : 0;

		points[i].live_bytes += live.last[i];
		points[i].peak_bytes += live.max[i];
		points[i].rss_bytes += rss.max[i];
		points[i].pss_bytes += pss.max[i];
		points[i].file_bytes += apart[0].last[i];
		points[i].reserved_bytes += apart[1].last[i];
		points[i].arena_bytes += apart[2].last[i];
		if (volume.last[i] > before)
			points[i].malloc_bytes += volume.last[i] - before;
	}
}

void model_add_live(const struct model *m, const struct model_heap *heap, uint32_t group,
		    float *live)
{
	struct course course = {0};

	add_course(m, heap, &ledger_group(heap->ledger, group)->series, ledger_clock(heap->ledger),
		   &course);
	for (size_t i = 0; i < m->view.memory.point_count; i++)
		live[i] += (float)course.last[i];
}

/* Live bytes over time of each line that is charged with any. */
static void make_lines(struct model *m)
{
	size_t count = m->view.memory.point_count;
	size_t *rows = xcalloc((size_t)m->line_table.count + 1, sizeof(*rows)); /* + 1 */
	size_t row_count = 0;

	for (size_t h = 0; h < m->heap_count; h++) {
		const struct model_heap *heap = m->heaps[h];

		for (uint32_t g = 0; g < heap->group_count; g++) {
			if (ledger_group(heap->ledger, g)->timed && !rows[heap->kinds[g].id])
				rows[heap->kinds[g].id] = ++row_count;
		}
	}
	m->live = xcalloc(row_count * count + 1, sizeof(*m->live));
	for (size_t h = 0; h < m->heap_count; h++) {
		const struct model_heap *heap = m->heaps[h];

		for (uint32_t g = 0; g < heap->group_count; g++) {
			float *live;

			if (!ledger_group(heap->ledger, g)->timed)
				continue;
			live = m->live + (rows[heap->kinds[g].id] - 1) * count;
			model_add_live(m, heap, g, live);
			m->lines[heap->kinds[g].id].live = live;
		}
	}
	free(rows);
}

static uint64_t end_of_spans(const struct model *m)
{
	uint64_t end_ns = m->view.start_ns;

	for (size_t i = 0; i < m->span_count; i++) {
		uint64_t since = m->spans[i].end_ns > m->header.start_realtime_ns
					 ? m->spans[i].end_ns - m->header.start_realtime_ns
					 : 0;

		if (since > end_ns)
			end_ns = since;
	}
	return end_ns;
}

void model_make_points(struct model *m)
{
	struct model_memory *v = &m->view.memory;
	struct series_clock clock = {.origin_ns = m->view.start_ns};
	uint64_t end_ns = end_of_spans(m);

	for (size_t i = 0; i < m->heap_count; i++) {
		if (m->heaps[i]->end_ns + m->heaps[i]->shift_ns > end_ns &&
		    m->options.filter.to_ns == UINT64_MAX)
			end_ns = m->heaps[i]->end_ns + m->heaps[i]->shift_ns;
	}
	if (m->cpu_bins.clock.shift > clock.shift)
		clock.shift = m->cpu_bins.clock.shift;
	v->point_count = series_clock_step(&clock, end_ns) + 1;
	v->point_step_ns = UINT64_C(1) << clock.shift;
	m->points = xcalloc(v->point_count, sizeof(*m->points));
	v->points = m->points;
	series_bins_follow(&m->cpu_bins, &clock);
	series_bins_follow(&m->copy_bins, &clock);
	for (size_t i = 0; i < v->point_count; i++) {
		m->points[i].cpu_ns = m->cpu_bins.sums[i];
		m->points[i].copy_bytes = m->copy_bins.sums[i];
	}
	for (size_t i = 0; i < m->heap_count; i++)
		add_heap_points(m, m->heaps[i], m->points);
	make_lines(m);
}
