/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables on memory and copies for eyes: who allocates, who holds the peak, what was freed at once,
 * who copies. Each is a list of lines with the section's own weight.
 */
#include <math.h>
#include <stdlib.h>

#include "analyze/report_memory.h"
#include "analyze/report_tables.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define TOP_LINES 20

/* One of its figures reaches min_percent of the whole. */
static bool reaches_share(const struct report *r, const struct memory *m)
{
	const struct memory *whole = &r->view->total.memory;
	double share = report_min_percent(r) / 100;

	return m->malloc_bytes >= whole->malloc_bytes * share ||
	       m->peak_bytes >= whole->peak_bytes * share ||
	       (m->growth_bytes > 0 && m->growth_bytes >= whole->growth_bytes * share);
}

static void cell_bytes(struct table *t, double bytes)
{
	char text[FIGURE_SIZE];

	table_text(t, figure_bytes(text, bytes));
}

/* A figure that may be marked as thin; in a sampled recording always as wide as if it were. */
static void cell_estimate(struct table *t, struct report *r, const struct memory *m,
			  enum memory_figure what)
{
	bool sampled = what == MEMORY_COPIED ? report_copies_sampled(r) : report_memory_sampled(r);
	char text[FIGURE_SIZE];
	const char *figure = figure_bytes(text, memory_value(m, what));
	const char *mark = figure_bytes_is_thin(r, m, what) ? "~" : sampled ? " " : "";

	table_printf(t, "%s%s", figure, *figure ? mark : "");
}

static void cell_range(struct table *t, const struct report *r, const struct memory *m,
		       enum memory_figure what)
{
	char text[FIGURE_SIZE];
	double low;
	double high;

	if (!r->options->intervals || memory_value(m, what) == 0 ||
	    !memory_interval(m, what, &r->view->memory, &low, &high)) {
		table_text(t, "");
		return;
	}
	table_text(t, figure_bytes_range(text, low, high));
}

static void cell_share(struct table *t, double part, double whole)
{
	char text[FIGURE_SIZE];

	table_text(t, figure_share(text, part, whole));
}

static void cell_count(struct table *t, double count)
{
	char text[FIGURE_SIZE];

	table_text(t, count >= 0.5 ? figure_count(text, (uint64_t)(count + 0.5)) : "");
}

static void cell_live(struct table *t, const struct report *r, const struct model_line *line)
{
	float live[SPARK_WIDTH];
	struct buf text = {0};
	float max = 0;

	/* The model follows what is charged to the user's lines. */
	if (!r->all || line->charged.memory.malloc_bytes <= line->self.memory.malloc_bytes) {
		spark_shrink(live, SPARK_WIDTH, line->live, r->view->memory.point_count);
		for (int i = 0; i < SPARK_WIDTH; i++)
			max = fmaxf(max, live[i]);
		if (max > 0)
			spark_add(&text, r, live, SPARK_WIDTH, max);
	}
	table_bytes(t, buf_text(&text), text.size);
	buf_release(&text);
}

static void cells_of_line(struct table *t, const struct report *r, const struct model_line *line)
{
	const struct model_file *file = report_line_file(r, line);

	if (file->origin == MODEL_NONE)
		table_text(t, r->view->functions[line->function].name);
	else
		table_place(t, r, file, line->line);
	table_source(t, file, line->line);
}

size_t tables_memory(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "peak %"},
		{.title = "peak "},
		{.title = "95 %", .drop = 5},
		{.title = "own peak", .drop = 8},
		{.title = "average", .drop = 9},
		{.title = "growth ", .drop = 1},
		{.title = "95 %", .drop = 11},
		{.title = "alloc ", .drop = 2},
		{.title = "95 %", .drop = 11},
		{.title = "blocks", .drop = 10},
		{.title = "Python %", .drop = 7},
		{.title = "temp %", .drop = 6},
		{.title = "live", .left = true, .drop = 4},
		{.title = "line", .left = true, .tail = true},
		{.title = "source", .left = true, .code = true, .drop = 3},
	};
	struct report about = report_about(r, MODEL_PEAK);
	struct report_rows rows = report_pick_lines_if(&about, TOP_LINES, reaches_share);
	double whole = r->view->total.memory.peak_bytes;

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct memory *m = &report_line_metrics(r, line)->memory;

		table_row(t, report_heat_of(m->peak_bytes, whole));
		cell_share(t, m->peak_bytes, whole);
		cell_estimate(t, r, m, MEMORY_PEAK);
		cell_range(t, r, m, MEMORY_PEAK);
		cell_bytes(t, m->own_peak_bytes);
		cell_bytes(t, m->average_bytes);
		cell_estimate(t, r, m, MEMORY_GROWTH);
		cell_range(t, r, m, MEMORY_GROWTH);
		cell_estimate(t, r, m, MEMORY_VOLUME);
		cell_range(t, r, m, MEMORY_VOLUME);
		cell_count(t, m->malloc_count);
		cell_share(t, m->python_bytes, m->malloc_bytes);
		cell_share(t, m->temporary_bytes, m->malloc_bytes);
		cell_live(t, r, line);
		cells_of_line(t, r, line);
	}
	free(rows.ids);
	return rows.left_out;
}

size_t tables_peak(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "peak %"},
		{.title = "peak "},
		{.title = "95 %", .drop = 3},
		{.title = "own peak", .drop = 2},
		{.title = "line", .left = true, .tail = true},
		{.title = "source", .left = true, .code = true, .drop = 1},
	};
	struct report about = report_about(r, MODEL_PEAK);
	struct report_rows rows = report_pick_lines(&about, TOP_LINES, REPORT_MIN_PERCENT);
	double whole = r->view->total.memory.peak_bytes;

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct memory *m = &report_line_metrics(r, line)->memory;

		if (!(m->peak_bytes > 0))
			continue;
		table_row(t, report_heat_of(m->peak_bytes, whole));
		cell_share(t, m->peak_bytes, whole);
		cell_estimate(t, r, m, MEMORY_PEAK);
		cell_range(t, r, m, MEMORY_PEAK);
		cell_bytes(t, m->own_peak_bytes);
		cells_of_line(t, r, line);
	}
	free(rows.ids);
	return rows.left_out;
}

size_t tables_temporary(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "temp"},
		{.title = "% of line"},
		{.title = "blocks", .drop = 3},
		{.title = "alloc ", .drop = 2},
		{.title = "line", .left = true, .tail = true},
		{.title = "source", .left = true, .code = true, .drop = 1},
	};
	struct report about = report_about(r, MODEL_TEMPORARY);
	struct report_rows rows = report_pick_lines(&about, TOP_LINES, REPORT_MIN_PERCENT);
	double whole = r->view->total.memory.temporary_bytes;

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct memory *m = &report_line_metrics(r, line)->memory;

		if (!(m->temporary_bytes > 0))
			continue;
		table_row(t, report_heat_of(m->temporary_bytes, whole));
		cell_bytes(t, m->temporary_bytes);
		cell_share(t, m->temporary_bytes, m->malloc_bytes);
		cell_count(t, m->temporary_count);
		cell_estimate(t, r, m, MEMORY_VOLUME);
		cells_of_line(t, r, line);
	}
	free(rows.ids);
	return rows.left_out;
}

static bool copies_share(const struct report *r, const struct memory *m)
{
	const struct memory *whole = &r->view->total.memory;
	double share = report_min_percent(r) / 100;
	double sum = m->copy_bytes + m->read_bytes + m->write_bytes;

	return sum > 0 && (m->copy_bytes >= whole->copy_bytes * share ||
			   m->read_bytes >= whole->read_bytes * share ||
			   m->write_bytes >= whole->write_bytes * share);
}

size_t tables_copies(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "copied "},
		{.title = "MB/s"},
		{.title = "95 %", .drop = 3},
		{.title = "read", .drop = 2},
		{.title = "written", .drop = 2},
		{.title = "line", .left = true, .tail = true},
		{.title = "source", .left = true, .code = true, .drop = 1},
	};
	struct report about = report_about(r, MODEL_COPIES);
	struct report_rows rows = report_pick_lines_if(&about, TOP_LINES, copies_share);
	const struct memory *whole = &r->view->total.memory;

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct memory *m = &report_line_metrics(r, line)->memory;
		double rate = report_mb_per_s(r, m->copy_bytes);

		table_row(t, report_heat_of(m->copy_bytes, whole->copy_bytes));
		cell_estimate(t, r, m, MEMORY_COPIED);
		if (rate >= 0.005)
			table_printf(t, "%.*f", rate < 9.95 ? 2 : rate < 99.5 ? 1 : 0, rate);
		else
			table_text(t, "");
		cell_range(t, r, m, MEMORY_COPIED);
		cell_bytes(t, m->read_bytes);
		cell_bytes(t, m->write_bytes);
		cells_of_line(t, r, line);
	}
	free(rows.ids);
	return rows.left_out;
}
