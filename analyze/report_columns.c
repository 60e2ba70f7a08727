/* SPDX-License-Identifier: Apache-2.0
 *
 * Which columns stand beside annotated source, and what is in them.
 */
#include "analyze/report_columns.h"

#include "formats/base/banned.h"

#define BAR_WIDTH 3
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum column_kind {
	COLUMN_PERCENT, /* of the whole time */
	COLUMN_INTERVAL,
	COLUMN_TIME,
	COLUMN_ALLOCATED,
	COLUMN_PEAK,
	COLUMN_GROWTH,
	COLUMN_COPIED,
	COLUMN_TREND,
};

struct line_column {
	const char *title;
	int width;
	enum column_kind kind;
	int drop; /* on a narrow terminal the largest go first; 0: stays */
	uint64_t (*value)(const struct annotation *a);
};

static uint64_t value_cpu(const struct annotation *a)
{
	return a->shown.cpu_ns;
}

static uint64_t value_python(const struct annotation *a)
{
	return a->shown.python_ns;
}

static uint64_t value_native(const struct annotation *a)
{
	return a->shown.native_ns;
}

static uint64_t value_system(const struct annotation *a)
{
	return a->shown.system_ns;
}

static uint64_t value_library(const struct annotation *a)
{
	return a->library_ns;
}

static uint64_t value_wall(const struct annotation *a)
{
	return a->shown.wall_ns;
}

static uint64_t value_io(const struct annotation *a)
{
	return a->shown.wait_ns[TRACE_WAIT_IO];
}

static uint64_t value_lock(const struct annotation *a)
{
	return a->shown.wait_ns[TRACE_WAIT_LOCK];
}

static uint64_t value_sleep(const struct annotation *a)
{
	return a->shown.wait_ns[TRACE_WAIT_SLEEP];
}

static uint64_t value_gil(const struct annotation *a)
{
	return a->shown.wait_ns[TRACE_WAIT_GIL];
}

static uint64_t value_other(const struct annotation *a)
{
	return a->shown.wait_ns[TRACE_WAIT_RUNNABLE] + a->shown.wait_ns[TRACE_WAIT_OTHER];
}

static const struct line_column cpu_columns[] = {
	{.title = "CPU %", .width = 6, .value = value_cpu},
	{.title = "95 %", .width = 11, .kind = COLUMN_INTERVAL, .drop = 1},
	{.title = "Python", .width = 6, .drop = 2, .value = value_python},
	{.title = "native", .width = 6, .drop = 3, .value = value_native},
	{.title = "system", .width = 6, .drop = 8, .value = value_system},
	{.title = "library", .width = 7, .drop = 9, .value = value_library},
	{.title = "wall", .width = 8, .kind = COLUMN_TIME, .drop = 4, .value = value_wall},
};

static const struct line_column wall_columns[] = {
	{.title = "wall %", .width = 6, .value = value_wall},
	{.title = "CPU", .width = 6, .drop = 1, .value = value_cpu},
	{.title = "I/O", .width = 6, .drop = 2, .value = value_io},
	{.title = "lock", .width = 6, .drop = 3, .value = value_lock},
	{.title = "sleep", .width = 6, .drop = 3, .value = value_sleep},
	{.title = "GIL", .width = 6, .drop = 3, .value = value_gil},
	{.title = "other", .width = 6, .drop = 8, .value = value_other},
	{.title = "wall", .width = 8, .kind = COLUMN_TIME, .drop = 4, .value = value_wall},
};

static const struct line_column memory_columns[] = {
	{.title = "alloc", .width = 7, .kind = COLUMN_ALLOCATED, .drop = 6},
	{.title = "peak %", .width = 6, .kind = COLUMN_PEAK, .drop = 5},
	{.title = "growth", .width = 8, .kind = COLUMN_GROWTH, .drop = 7},
	{.title = "copy/s", .width = 7, .kind = COLUMN_COPIED, .drop = 11},
	{.title = "live", .width = SPARK_WIDTH, .kind = COLUMN_TREND, .drop = 10},
};

static bool has_live(const struct annotation *a)
{
	for (int i = 0; i < SPARK_WIDTH; i++) {
		if (a->live[i] > 0)
			return true;
	}
	return false;
}

static bool column_holds(const struct line_column *column, const struct annotation *a)
{
	const struct memory *memory = &a->shown.memory;

	switch (column->kind) {
	case COLUMN_ALLOCATED:
		return memory->malloc_bytes > 0;
	case COLUMN_PEAK:
		return memory->peak_bytes > 0;
	case COLUMN_GROWTH:
		return memory->growth_bytes != 0;
	case COLUMN_COPIED:
		return memory->copy_bytes > 0;
	case COLUMN_TREND:
		return has_live(a);
	case COLUMN_PERCENT:
	case COLUMN_INTERVAL:
	case COLUMN_TIME:
		break;
	}
	return column->value(a) > 0;
}

struct annotations {
	const struct annotation *lines;
	size_t count;
};

static bool column_is_shown(const struct line_columns *c, const struct line_column *column,
			    const struct annotations *all)
{
	if (column->kind == COLUMN_INTERVAL)
		return c->r->options->intervals;
	for (size_t i = 0; i < all->count; i++) {
		/* Lines that are there as context alone give memory no column. */
		if (!column->value && !all->lines[i].hot)
			continue;
		if (column_holds(column, &all->lines[i]))
			return true;
	}
	return false;
}

/* A mark stands behind the first column, and behind the volume. */
static bool has_mark(const struct line_columns *c, size_t column)
{
	return column == 0 || c->shown[column]->kind == COLUMN_ALLOCATED;
}

size_t line_columns_width(const struct line_columns *c)
{
	size_t width = BAR_WIDTH;

	for (size_t i = 0; i < c->count; i++)
		width += (size_t)c->shown[i]->width + 1 + has_mark(c, i);
	return width;
}

static void add_columns(struct line_columns *c, const struct line_column *columns, size_t count,
			const struct annotations *all)
{
	for (size_t i = 0; i < count; i++) {
		if (column_is_shown(c, &columns[i], all))
			c->shown[c->count++] = &columns[i];
	}
}

/* Leaves out the column that can best be done without; false when the others have to stay. */
static bool drop_column(struct line_columns *c)
{
	size_t found = 0;

	for (size_t i = 1; i < c->count; i++) {
		if (c->shown[i]->drop > c->shown[found]->drop)
			found = i;
	}
	if (c->count == 0 || c->shown[found]->drop == 0)
		return false;
	for (size_t i = found + 1; i < c->count; i++)
		c->shown[i - 1] = c->shown[i];
	c->count--;
	return true;
}

void line_columns_init(struct line_columns *c, struct report *r, const struct annotation *lines,
		       size_t line_count, size_t source_width)
{
	const struct annotations all = {.lines = lines, .count = line_count};
	size_t width = r->options->width > 0 ? (size_t)r->options->width : SIZE_MAX;

	*c = (struct line_columns){
		.r = r,
		.whole = metrics_weight(&r->view->total, r->view->weight),
	};
	if (r->view->weight == MODEL_WALL)
		add_columns(c, wall_columns, COUNT(wall_columns), &all);
	else
		add_columns(c, cpu_columns, COUNT(cpu_columns), &all);
	add_columns(c, memory_columns, COUNT(memory_columns), &all);
	while (line_columns_width(c) + source_width > width && drop_column(c)) {
	}
}

void line_columns_print_titles(const struct line_columns *c)
{
	for (size_t i = 0; i < c->count; i++)
		fprintf(c->r->to, " %*s%s", c->shown[i]->width, c->shown[i]->title,
			has_mark(c, i) ? " " : "");
}

static void print_trend(const struct report *r, const struct annotation *a)
{
	struct buf text = {0};
	float max = 0;

	for (int i = 0; i < SPARK_WIDTH; i++)
		max = a->live[i] > max ? a->live[i] : max;
	spark_add(&text, r, a->live, SPARK_WIDTH, max);
	fprintf(r->to, " %s", buf_text(&text));
	buf_release(&text);
}

static const char *figure_of(const struct line_columns *c, const struct line_column *column,
			     const struct annotation *a, char text[FIGURE_SIZE])
{
	struct report *r = c->r;
	const struct memory *m = &a->shown.memory;

	switch (column->kind) {
	case COLUMN_INTERVAL:
		return figure_interval(text, r, &a->shown);
	case COLUMN_TIME:
		return figure_time(text, column->value(a));
	case COLUMN_ALLOCATED:
		return figure_bytes(text, m->malloc_bytes);
	case COLUMN_PEAK:
		return figure_share(text, m->peak_bytes, r->view->total.memory.peak_bytes);
	case COLUMN_GROWTH:
		return figure_bytes(text, m->growth_bytes);
	case COLUMN_COPIED:
		return figure_bytes(text, report_mb_per_s(r, m->copy_bytes) * BYTES_PER_MB);
	case COLUMN_TREND:
	case COLUMN_PERCENT:
		break;
	}
	return figure_percent(text, column->value(a), c->whole);
}

static bool is_thin(const struct line_columns *c, const struct line_column *column,
		    const struct annotation *a)
{
	const struct memory *m = &a->shown.memory;

	if (column->kind == COLUMN_ALLOCATED)
		return figure_bytes_is_thin(c->r, m, MEMORY_VOLUME);
	return figure_is_thin(c->r, &a->shown);
}

void line_columns_print(const struct line_columns *c, const struct annotation *a)
{
	FILE *to = c->r->to;
	char text[FIGURE_SIZE];

	for (size_t i = 0; i < c->count; i++) {
		const struct line_column *column = c->shown[i];
		const char *figure = "";

		if (a && column->kind == COLUMN_TREND) {
			print_trend(c->r, a);
			continue;
		}
		if (a)
			figure = figure_of(c, column, a, text);
		fprintf(to, " %*s", column->width, figure);
		if (has_mark(c, i))
			fputc(*figure && is_thin(c, column, a) ? '~' : ' ', to);
	}
}
