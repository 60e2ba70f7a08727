/* SPDX-License-Identifier: Apache-2.0
 *
 * The live view's tables, see live_table.h.
 */
#include "analyze/live_table.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "analyze/report.h"
#include "analyze/report_memory.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static const struct live_layout layouts[LIVE_VIEWS] = {
	[LIVE_VIEW_LINES] =
		{
			.name = "lines",
			.list = LIVE_LINES,
			.place = "line",
			.column_count = 5,
			.columns =
				{
					{"now", LIVE_FIGURE_NOW, LIVE_OWN},
					{"overall", LIVE_FIGURE_OVERALL, LIVE_OWN},
					{"native", LIVE_FIGURE_OVERALL, LIVE_NATIVE},
					{"system", LIVE_FIGURE_OVERALL, LIVE_SYSTEM},
					{"wall", LIVE_FIGURE_TIME, LIVE_WALL},
				},
			.nothing = "no line has run yet",
		},
	[LIVE_VIEW_FUNCTIONS] =
		{
			.name = "functions",
			.list = LIVE_FUNCTIONS,
			.place = "function",
			.column_count = 5,
			.columns =
				{
					{"now", LIVE_FIGURE_NOW, LIVE_OWN},
					{"overall", LIVE_FIGURE_OVERALL, LIVE_OWN},
					{"+below", LIVE_FIGURE_NOW, LIVE_CUMULATIVE},
					{"+below", LIVE_FIGURE_OVERALL, LIVE_CUMULATIVE},
					{"wall", LIVE_FIGURE_TIME, LIVE_WALL},
				},
			.nothing = "no function has run yet",
		},
	[LIVE_VIEW_THREADS] =
		{
			.name = "threads",
			.list = LIVE_THREADS,
			.place = "thread",
			.column_count = 5,
			.columns =
				{
					{"now", LIVE_FIGURE_NOW, LIVE_OWN},
					{"overall", LIVE_FIGURE_OVERALL, LIVE_OWN},
					{"GIL", LIVE_FIGURE_NOW, LIVE_WAIT_GIL},
					{"I/O", LIVE_FIGURE_NOW, LIVE_WAIT_IO},
					{"lock", LIVE_FIGURE_NOW, LIVE_WAIT_LOCK},
				},
			.nothing = "no thread has run yet",
		},
	[LIVE_VIEW_PROCESSES] =
		{
			.name = "processes",
			.list = LIVE_PROCESSES,
			.place = "pid",
			.narrow = true,
			.column_count = 5,
			.columns =
				{
					{"now", LIVE_FIGURE_NOW, LIVE_OWN},
					{"overall", LIVE_FIGURE_OVERALL, LIVE_OWN},
					{"CPU", LIVE_FIGURE_TIME, LIVE_CPU},
					{"heap", LIVE_FIGURE_BYTES, LIVE_HELD},
					{"peak", LIVE_FIGURE_BYTES, LIVE_PEAK},
				},
			.nothing = "no Python has run yet",
		},
	[LIVE_VIEW_MEMORY] =
		{
			.name = "memory",
			.list = LIVE_LINES,
			.place = "line",
			.column_count = 5,
			.columns =
				{
					{"held", LIVE_FIGURE_BYTES, LIVE_HELD},
					{"held/s", LIVE_FIGURE_CHANGE, LIVE_HELD},
					{"new/s", LIVE_FIGURE_CHANGE, LIVE_ALLOCATED},
					{"all new", LIVE_FIGURE_BYTES, LIVE_ALLOCATED},
					{"copy/s", LIVE_FIGURE_CHANGE, LIVE_COPIED},
				},
			.nothing = "nothing was allocated, or memory is not being recorded",
		},
	[LIVE_VIEW_LEAKS] =
		{
			.name = "leaks",
			.list = LIVE_LEAKS,
			.place = "allocated at",
			.column_count = 4,
			.columns =
				{
					{"grows/s", LIVE_FIGURE_RATE, LIVE_GROWTH},
					{"sure", LIVE_FIGURE_SHARE, LIVE_LIKELIHOOD},
					{"held", LIVE_FIGURE_BYTES, LIVE_HELD},
					{"all new", LIVE_FIGURE_BYTES, LIVE_ALLOCATED},
				},
			.nothing = "nothing seems to leak",
		},
};

const struct live_layout *live_layout(enum live_view view)
{
	return &layouts[view];
}

static double figure_of(const struct live_column *column, const struct live_row *row,
			const struct live_row *old, double elapsed_ns, double between_ns)
{
	double value = row->values[column->value];
	double change = value - (old ? old->values[column->value] : 0);

	switch (column->figure) {
	case LIVE_FIGURE_NOW:
		/* Time that waits for its sample is charged anew each time. */
		return between_ns > 0 ? fmax(0, change) / between_ns : NAN;
	case LIVE_FIGURE_OVERALL:
		return elapsed_ns > 0 ? value / elapsed_ns : NAN;
	case LIVE_FIGURE_CHANGE:
		return between_ns > 0 ? change * 1e9 / between_ns : NAN;
	case LIVE_FIGURE_TIME:
	case LIVE_FIGURE_BYTES:
	case LIVE_FIGURE_RATE:
	case LIVE_FIGURE_SHARE:
		break;
	}
	return value;
}

static bool contains(const char *text, const char *part)
{
	size_t size = strlen(part);

	for (; *text || !size; text++) {
		if (strncasecmp(text, part, size) == 0)
			return true;
	}
	return false;
}

struct order {
	const struct live_table *table;
	size_t sort;
};

static int compare_figures(double x, double y)
{
	x = isnan(x) ? 0 : x;
	y = isnan(y) ? 0 : y;
	return x > y ? -1 : x < y;
}

static int compare_items(const void *a, const void *b, void *arg)
{
	const struct live_item *x = a;
	const struct live_item *y = b;
	const struct order *order = arg;
	const struct live_table *t = order->table;
	int ret = compare_figures(x->figures[order->sort], y->figures[order->sort]);

	for (size_t i = 0; !ret && i < t->layout->column_count; i++)
		ret = compare_figures(x->figures[i], y->figures[i]);
	if (!ret)
		ret = strcmp(t->snapshot->texts + x->row->place,
			     t->snapshot->texts + y->row->place);
	return ret;
}

void live_table_fill(struct live_table *t, enum live_view view, size_t sort, const char *filter,
		     const struct live_snapshot *snapshot, const struct live_snapshot *before)
{
	const struct live_layout *layout = &layouts[view];
	double elapsed_ns = (double)snapshot->totals.time_ns;
	double between_ns = before ? elapsed_ns - (double)before->totals.time_ns : 0;
	struct order order = {t, sort};

	t->layout = layout;
	t->snapshot = snapshot;
	t->count = 0;
	for (size_t i = 0; i < snapshot->counts[layout->list]; i++) {
		const struct live_row *row = &snapshot->rows[layout->list][i];
		const struct live_row *old =
			before ? live_snapshot_find(before, layout->list, row->key) : NULL;
		struct live_item item = {.row = row};
		bool any = false;

		if (!contains(snapshot->texts + row->place, filter) &&
		    !contains(snapshot->texts + row->text, filter))
			continue;
		for (size_t k = 0; k < layout->column_count; k++) {
			item.figures[k] =
				figure_of(&layout->columns[k], row, old, elapsed_ns, between_ns);
			any |= fabs(item.figures[k]) > 0;
		}
		if (!any)
			continue;
		t->items = xgrow(t->items, &t->capacity, t->count + 1, sizeof(*t->items));
		t->items[t->count++] = item;
	}
	if (t->count)
		qsort_r(t->items, t->count, sizeof(*t->items), compare_items, &order);
}

void live_table_release(struct live_table *t)
{
	free(t->items);
	*t = (struct live_table){0};
}

/* In seven columns. */
static const char *time_text(char text[LIVE_TEXT_SIZE], double ns)
{
	double s = ns / 1e9;

	if (s < 100)
		return figure_time(text, (uint64_t)fmax(0, ns));
	if (s < 3600)
		snprintf(text, LIVE_TEXT_SIZE, "%.0fm%02.0fs", floor(s / 60), floor(fmod(s, 60)));
	else
		snprintf(text, LIVE_TEXT_SIZE, "%.0fh%02.0fm", floor(s / 3600),
			 floor(fmod(s, 3600) / 60));
	return text;
}

const char *live_figure_text(char text[LIVE_TEXT_SIZE], enum live_figure figure, double value)
{
	if (isnan(value))
		return "-";
	switch (figure) {
	case LIVE_FIGURE_NOW:
	case LIVE_FIGURE_OVERALL:
	case LIVE_FIGURE_SHARE:
		if (value < 0.0005)
			return "";
		snprintf(text, LIVE_TEXT_SIZE, "%.1f%%", 100 * value);
		return text;
	case LIVE_FIGURE_TIME:
		return time_text(text, value);
	case LIVE_FIGURE_BYTES:
	case LIVE_FIGURE_CHANGE:
	case LIVE_FIGURE_RATE:
		break;
	}
	return figure_bytes(text, value);
}
