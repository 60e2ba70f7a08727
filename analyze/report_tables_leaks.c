/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaks as tables: one row each, without the evidence.
 */
#include <math.h>

#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"

#include "formats/base/banned.h"

bool report_saw_end(const struct report *r)
{
	for (size_t i = 0; i < r->view->mark_count; i++) {
		if (r->view->marks[i].kind == TRACE_MARK_FINALIZE)
			return true;
	}
	return false;
}

bool report_leak_was_held(const struct model_leak *leak)
{
	return leak->final_bytes < leak->live_bytes / 2;
}

/* The figures of one leak, up to the column of its line. */
typedef void leak_figures(const struct report *r, struct table *t, const struct model_leak *leak);

/* Rows for the leaks with this verdict. Returns how many were left out. */
static size_t add_leaks(struct report *r, struct table *t, enum model_leak_verdict verdict,
			leak_figures *add_figures)
{
	const struct model_view *v = r->view;
	size_t limit = r->options->top ? r->options->top : REPORT_TOP_LEAKS;
	size_t left_out = 0;

	for (size_t i = 0; i < v->leak_count; i++) {
		const struct model_leak *leak = &v->leaks[i];
		const struct model_line *line = &v->lines[leak->line];
		struct buf place = {0};

		if (leak->verdict != verdict || !report_shows_leak(r, leak))
			continue;
		if (t->row_count == limit) {
			left_out++;
			continue;
		}
		table_row(t, REPORT_STYLE_NONE);
		add_figures(r, t, leak);
		report_leak_place(&place, r, leak);
		table_bytes(t, buf_text(&place), place.size);
		table_source(t, report_line_file(r, line), line->line);
		buf_release(&place);
	}
	return left_out;
}

static void add_grown_once(const struct report *r, struct table *t, const struct model_leak *leak)
{
	char figure[FIGURE_SIZE];

	table_text(t, figure_bytes(figure, leak->live_bytes));
	table_text(t, r->options->intervals && leak->live_high > leak->live_low
			      ? figure_bytes_range(figure, leak->live_low, leak->live_high)
			      : "");
	table_text(t, figure_count(figure, (uint64_t)(leak->blocks_alive + 0.5)));
	table_text(t, leak->first_growth_ns ? figure_time(figure, leak->first_growth_ns) : "0 s");
	table_text(t, figure_time(figure, leak->last_growth_ns));
	if (!report_saw_end(r))
		table_text(t, "");
	else if (report_leak_was_held(leak))
		table_text(t, "freed");
	else
		table_text(t, figure_bytes(figure, leak->final_bytes));
}

size_t tables_grown_once(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "live"},
		{.title = "95 %", .drop = 3},
		{.title = "blocks", .drop = 5},
		{.title = "first", .drop = 4},
		{.title = "last growth", .drop = 2},
		{.title = "at exit", .drop = 4},
		{.title = "line", .left = true, .tail = true},
		{.title = "source", .left = true, .code = true, .drop = 1},
	};

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	return add_leaks(r, t, MODEL_LEAK_ONCE, add_grown_once);
}

static void add_growing(const struct report *r, struct table *t, const struct model_leak *leak)
{
	char figure[FIGURE_SIZE];

	(void)r;
	table_printf(t, "%s/s", figure_bytes(figure, leak->growth_bytes_per_s));
	table_printf(t, "%s/s", figure_bytes_range(figure, leak->growth_low, leak->growth_high));
	table_printf(t, "%.0f %%", floor(100 * leak->likelihood));
	table_text(t, figure_bytes(figure, leak->live_bytes));
	table_text(t, figure_count(figure, (uint64_t)(leak->blocks_alive + 0.5)));
}

size_t tables_leaks(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "grows by"},
		{.title = "95 %"},
		{.title = "likelihood"},
		{.title = "live"},
		{.title = "blocks", .drop = 3},
		{.title = "line", .left = true, .tail = true},
		{.title = "source", .left = true, .code = true, .drop = 1},
	};

	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	return add_leaks(r, t, MODEL_LEAK_GROWING, add_growing);
}
