/* SPDX-License-Identifier: Apache-2.0
 *
 * The phases that a program gave names to, in the order in which they began.
 */
#include <stdlib.h>

#include "analyze/report_memory.h"
#include "analyze/report_tables.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static int compare_phases(const void *a, const void *b)
{
	const struct model_phase *x = *(const struct model_phase *const *)a;
	const struct model_phase *y = *(const struct model_phase *const *)b;

	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Caller frees with free. */
static const struct model_phase **sort_phases(const struct model_view *v)
{
	const struct model_phase **sorted =
		xcalloc(v->phase_count + 1, sizeof(struct model_phase *));

	for (size_t i = 0; i < v->phase_count; i++)
		sorted[i] = &v->phases[i];
	if (v->phase_count)
		qsort(sorted, v->phase_count, sizeof(struct model_phase *), compare_phases);
	return sorted;
}

static const char *time_or_0(char text[FIGURE_SIZE], uint64_t ns)
{
	return ns ? figure_time(text, ns) : "0 s";
}

size_t tables_phases(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "begins"},
		{.title = "lasts"},
		{.title = "CPU"},
		{.title = "cores", .drop = 2},
		{.title = "growth"},
		{.title = "process", .drop = 1},
		{.title = "phase", .left = true},
	};
	const struct model_view *v = r->view;
	const struct model_phase **sorted = sort_phases(v);
	size_t limit = r->options->top && r->options->top < v->phase_count ? r->options->top
									   : v->phase_count;
	char text[FIGURE_SIZE];

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < limit; i++) {
		const struct model_phase *p = sorted[i];
		uint64_t lasts = p->end_ns - p->start_ns;

		table_row(t, REPORT_STYLE_NONE);
		table_text(t, time_or_0(text, p->start_ns));
		table_text(t, time_or_0(text, lasts));
		table_text(t, time_or_0(text, p->cpu_ns));
		table_printf(t, "%.2f", lasts ? (double)p->cpu_ns / (double)lasts : 0);
		table_text(t, figure_bytes(text, p->growth_bytes));
		if (v->process_count > 1)
			table_printf(t, "%d", v->processes[p->process].pid);
		else
			table_text(t, "");
		table_text(t, p->label);
	}
	free(sorted);
	return v->phase_count - limit;
}

void tables_raw_phases(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "phase"},  {.title = "pid"},    {.title = "start_ns"},
		{.title = "end_ns"}, {.title = "cpu_ns"}, {.title = "growth_bytes"},
	};
	const struct model_view *v = r->view;
	const struct model_phase **sorted = sort_phases(v);

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < v->phase_count; i++) {
		const struct model_phase *p = sorted[i];

		table_row(t, REPORT_STYLE_NONE);
		table_text(t, p->label);
		table_printf(t, "%d", v->processes[p->process].pid);
		table_uint(t, p->start_ns);
		table_uint(t, p->end_ns);
		table_uint(t, p->cpu_ns);
		if (report_has_memory(r))
			table_printf(t, "%.0f", p->growth_bytes);
		else
			table_text(t, "");
	}
	free(sorted);
}
