/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory, copies, leaks and the timeline for programs: what CSV prints of them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"
#include "analyze/report_tables.h"

#include "formats/base/banned.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void cell_bytes(struct table *t, double bytes)
{
	table_printf(t, "%.0f", bytes);
}

static void cells_of_estimate(struct table *t, const struct report *r, const struct memory *m,
			      enum memory_figure figure)
{
	double low;
	double high;

	memory_interval(m, figure, &r->view->memory, &low, &high);
	cell_bytes(t, memory_value(m, figure));
	cell_bytes(t, low);
	cell_bytes(t, high);
}

static void cells_blank(struct table *t, int count)
{
	while (count-- > 0)
		table_text(t, "");
}

void table_memory_cells(struct table *t, const struct report *r, const struct memory *m)
{
	if (report_has_memory(r)) {
		table_uint(t, m->events);
		cells_of_estimate(t, r, m, MEMORY_VOLUME);
		cells_of_estimate(t, r, m, MEMORY_COUNT);
		cell_bytes(t, m->python_bytes);
		cell_bytes(t, m->free_bytes);
		cells_of_estimate(t, r, m, MEMORY_GROWTH);
		cells_of_estimate(t, r, m, MEMORY_PEAK);
		cells_of_estimate(t, r, m, MEMORY_OWN_PEAK);
		cell_bytes(t, m->average_bytes);
		cell_bytes(t, m->final_bytes);
		cell_bytes(t, m->temporary_bytes);
		cell_bytes(t, m->temporary_count);
	} else {
		cells_blank(t, 22);
	}
	if (report_has_copies(r)) {
		table_uint(t, m->copies);
		cells_of_estimate(t, r, m, MEMORY_COPIED);
		table_printf(t, "%.6g", report_mb_per_s(r, m->copy_bytes));
		cell_bytes(t, m->read_bytes);
		cell_bytes(t, m->write_bytes);
	} else {
		cells_blank(t, 7);
	}
}

/* All code, so that the rows sum to the total; the order is that of what is asked for. */
static void fill_lines(const struct report *r, struct table *t, enum model_weight weight)
{
	static const struct table_column columns[] = {
		{.title = "path"},    {.title = "function"}, {.title = "line"},
		TABLE_MEMORY_COLUMNS, {.title = "source"},
	};
	struct report all = report_about(r, weight);
	struct report_rows rows;

	all.all = true;
	rows = report_pick_lines(&all, REPORT_NO_LIMIT, 0);
	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct model_file *file = report_line_file(r, line);
		const struct memory *m = &line->self.memory;

		if (m->malloc_bytes == 0 && m->growth_bytes == 0 && m->peak_bytes == 0 &&
		    m->copies == 0)
			continue;
		table_row(t, REPORT_STYLE_NONE);
		table_text(t, file->path);
		table_text(t, r->view->functions[line->function].name);
		table_printf(t, "%" PRId32, line->line);
		table_memory_cells(t, r, m);
		table_source(t, file, line->line);
	}
	free(rows.ids);
}

void tables_raw_memory(const struct report *r, struct table *t)
{
	fill_lines(r, t, MODEL_PEAK);
}

void tables_raw_temporary(const struct report *r, struct table *t)
{
	fill_lines(r, t, MODEL_TEMPORARY);
}

void tables_raw_copies(const struct report *r, struct table *t)
{
	fill_lines(r, t, MODEL_COPIES);
}

static void cell_stack(struct table *t, const struct report *r, const struct model_leak *leak)
{
	const struct model_view *v = r->view;
	uint32_t *stack;
	size_t count = report_leak_stack(r, leak, &stack);
	struct buf text = {0};

	for (size_t i = 0; i < count; i++) {
		const struct model_node *node = &v->nodes[stack[i]];
		const struct model_function *f = &v->functions[node->function];

		buf_printf(&text, "%s%s (%s:%" PRId32 ")", i ? ";" : "", f->name,
			   v->files[f->file].path, node->line);
	}
	table_bytes(t, buf_text(&text), text.size);
	buf_release(&text);
	free(stack);
}

void tables_raw_leaks(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "path"},
		{.title = "function"},
		{.title = "line"},
		{.title = "verdict"},
		{.title = "likelihood"},
		{.title = "growth_bytes_per_s"},
		{.title = "growth_bytes_per_s_low"},
		{.title = "growth_bytes_per_s_high"},
		{.title = "live_bytes"},
		{.title = "live_bytes_low"},
		{.title = "live_bytes_high"},
		{.title = "final_bytes"},
		{.title = "allocated_bytes"},
		{.title = "freed_bytes"},
		{.title = "blocks_alive"},
		{.title = "first_growth_ns"},
		{.title = "last_growth_ns"},
		{.title = "youngest_ns"},
		{.title = "median_age_ns"},
		{.title = "oldest_ns"},
		{.title = "stack"},
	};
	const struct model_view *v = r->view;

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < v->leak_count; i++) {
		const struct model_leak *leak = &v->leaks[i];
		const struct model_line *line = &v->lines[leak->line];

		if (!report_shows_leak(r, leak))
			continue;
		table_row(t, REPORT_STYLE_NONE);
		table_text(t, report_line_file(r, line)->path);
		table_text(t, v->functions[line->function].name);
		table_printf(t, "%" PRId32, line->line);
		table_text(t, leak->verdict == MODEL_LEAK_GROWING ? "growing" : "once");
		table_printf(t, "%.6g", leak->likelihood);
		table_printf(t, "%.6g", leak->growth_bytes_per_s);
		table_printf(t, "%.6g", leak->growth_low);
		table_printf(t, "%.6g", leak->growth_high);
		cell_bytes(t, leak->live_bytes);
		cell_bytes(t, leak->live_low);
		cell_bytes(t, leak->live_high);
		cell_bytes(t, leak->final_bytes);
		cell_bytes(t, leak->allocated_bytes);
		cell_bytes(t, leak->freed_bytes);
		cell_bytes(t, leak->blocks_alive);
		table_uint(t, leak->first_growth_ns);
		table_uint(t, leak->last_growth_ns);
		table_uint(t, leak->youngest_ns);
		table_uint(t, leak->median_age_ns);
		table_uint(t, leak->oldest_ns);
		cell_stack(t, r, leak);
	}
}

void tables_raw_timeline(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "end_ns"},         {.title = "live_bytes"}, {.title = "peak_bytes"},
		{.title = "rss_bytes"},      {.title = "pss_bytes"},  {.title = "arena_bytes"},
		{.title = "reserved_bytes"}, {.title = "file_bytes"}, {.title = "malloc_bytes"},
		{.title = "copy_bytes"},     {.title = "cpu_ns"},
	};
	const struct model_memory *m = &r->view->memory;

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < m->point_count; i++) {
		const struct model_memory_point *p = &m->points[i];

		table_row(t, REPORT_STYLE_NONE);
		table_uint(t, r->view->start_ns + (i + 1) * m->point_step_ns);
		cell_bytes(t, p->live_bytes);
		cell_bytes(t, p->peak_bytes);
		cell_bytes(t, p->rss_bytes);
		cell_bytes(t, p->pss_bytes);
		cell_bytes(t, p->arena_bytes);
		cell_bytes(t, p->reserved_bytes);
		cell_bytes(t, p->file_bytes);
		cell_bytes(t, p->malloc_bytes);
		cell_bytes(t, p->copy_bytes);
		cell_bytes(t, p->cpu_ns);
	}
}
