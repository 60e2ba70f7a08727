/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables for eyes: the text report and Markdown print them.
 */
#include "analyze/report_tables.h"

#include <inttypes.h>
#include <stdlib.h>

#include "analyze/report_memory.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define TOP_LINES 10
#define TOP_FUNCTIONS 15
#define TOP_NATIVES 10  /* lines */
#define SYMBOL_WIDTH 64 /* templates of C++ go on for lines */
#define MOST_NATIVES 6  /* C functions of one line */
#define TOP_THREADS 10

static uint64_t whole(const struct report *r)
{
	return metrics_weight(&r->view->total, r->weight);
}

static void cell_percent(struct table *t, const struct report *r, uint64_t ns)
{
	char text[FIGURE_SIZE];

	table_text(t, figure_percent(text, ns, whole(r)));
}

static void cell_time(struct table *t, uint64_t ns)
{
	char text[FIGURE_SIZE];

	table_text(t, figure_time(text, ns));
}

/* A percentage that may be marked as thin, always as wide as if it were. */
static void cell_marked(struct table *t, struct report *r, const struct metrics *m, uint64_t ns)
{
	char text[FIGURE_SIZE];
	const char *figure = figure_percent(text, ns, whole(r));

	table_printf(t, "%s%s", figure, !*figure ? "" : figure_is_thin(r, m) ? "~" : " ");
}

static void cell_interval(struct table *t, const struct report *r, const struct metrics *m)
{
	char text[FIGURE_SIZE];

	table_text(t, r->options->intervals ? figure_interval(text, r, m) : "");
}

void table_place(struct table *t, const struct report *r, const struct model_file *file,
		 int32_t line)
{
	struct buf text = {0};

	if (file->origin != MODEL_NONE)
		report_add_place(&text, r, file, line);
	table_bytes(t, buf_text(&text), text.size);
	buf_release(&text);
}

void table_source(struct table *t, const struct model_file *file, int32_t line)
{
	struct source_index source;
	struct trace_text text;

	source_index_init(&source, file);
	text = source_index_line(&source, line);
	while (text.size && (*text.data == ' ' || *text.data == '\t')) {
		text.data++;
		text.size--;
	}
	table_bytes(t, text.data, text.size);
	source_index_release(&source);
}

size_t tables_hot_lines(struct report *r, struct table *t)
{
	static const struct table_column cpu[] = {
		{.title = "CPU %"},
		{.title = "95 %"},
		{.title = "Python"},
		{.title = "native"},
		{.title = "system"},
		{.title = "library"},
		{.title = "wall"},
		{.title = "line", .left = true},
		{.title = "source", .left = true, .code = true},
	};
	static const struct table_column wall[] = {
		{.title = "wall %"},
		{.title = "95 %"},
		{.title = "Python"},
		{.title = "native"},
		{.title = "system"},
		{.title = "library"},
		{.title = "wall"},
		{.title = "line", .left = true},
		{.title = "source", .left = true, .code = true},
	};
	struct report_rows rows = report_pick_lines(r, TOP_LINES, REPORT_MIN_PERCENT);

	table_init(t, r->weight == MODEL_WALL ? wall : cpu, sizeof(cpu) / sizeof(*cpu));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct model_file *file = report_line_file(r, line);
		const struct metrics *m = report_line_metrics(r, line);
		uint64_t weight = metrics_weight(m, r->weight);

		table_row(t, report_heat(weight, whole(r)));
		cell_marked(t, r, m, weight);
		cell_interval(t, r, m);
		cell_percent(t, r, m->python_ns);
		cell_percent(t, r, m->native_ns);
		cell_percent(t, r, m->system_ns);
		cell_percent(t, r, report_library_ns(r, line));
		cell_time(t, m->wall_ns);
		table_place(t, r, file, line->line);
		table_source(t, file, line->line);
	}
	free(rows.ids);
	return rows.left_out;
}

static void cells_of_memory(struct table *t, const struct report *r, const struct memory *m)
{
	char text[FIGURE_SIZE];

	table_text(t, figure_bytes(text, m->malloc_bytes));
	table_text(t, figure_share(text, m->peak_bytes, r->view->total.memory.peak_bytes));
}

/* Below a twentieth of a percent there is nothing to read. */
static bool worth_a_row(const struct report *r, const struct model_function *f)
{
	uint64_t total = metrics_weight(&f->cumulative, r->weight);
	const struct memory *m = &f->self.memory;
	const struct memory *all = &r->view->total.memory;

	return (total > 0 && total >= whole(r) / 2000) ||
	       (m->malloc_bytes > 0 && m->malloc_bytes >= all->malloc_bytes / 2000) ||
	       (m->peak_bytes > 0 && m->peak_bytes >= all->peak_bytes / 2000);
}

size_t tables_functions(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "self %"},
		{.title = "95 %"},
		{.title = "total %"},
		{.title = "Python", .drop = 3},
		{.title = "native", .drop = 4},
		{.title = "system", .drop = 7},
		{.title = "self"},
		{.title = "total", .drop = 5},
		{.title = "alloc", .drop = 2},
		{.title = "peak %", .drop = 6},
		{.title = "function", .left = true, .code = true},
		{.title = "defined at", .left = true, .tail = true, .drop = 1},
	};
	struct report pick = *r;
	struct report_rows rows;
	size_t left_out;

	/* Native threads have their share in the memory. */
	pick.no_frame = report_has_memory(r);
	rows = report_pick_functions(&pick, TOP_FUNCTIONS, 0);
	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_function *f = &r->view->functions[rows.ids[i]];
		const struct model_file *file = &r->view->files[f->file];
		uint64_t self = metrics_weight(&f->self, r->weight);
		uint64_t total = metrics_weight(&f->cumulative, r->weight);

		if (!r->options->top && !worth_a_row(r, f))
			continue;
		table_row(t, report_heat(self, whole(r)));
		cell_marked(t, r, &f->self, self);
		cell_interval(t, r, &f->self);
		cell_percent(t, r, total);
		cell_percent(t, r, f->self.python_ns);
		cell_percent(t, r, f->self.native_ns);
		cell_percent(t, r, f->self.system_ns);
		cell_time(t, self);
		cell_time(t, total);
		cells_of_memory(t, r, &f->self.memory);
		table_text(t, f->name);
		table_place(t, r, file, f->first_line);
	}
	left_out = rows.left_out;
	free(rows.ids);
	return left_out;
}

/* The C functions of one line, heaviest first as they were picked. */
struct native_group {
	uint32_t line;
	struct metrics sum;
	size_t order; /* of its best row */
};

static int compare_groups(const void *a, const void *b)
{
	const struct native_group *x = a;
	const struct native_group *y = b;

	if (x->sum.cpu_ns != y->sum.cpu_ns)
		return x->sum.cpu_ns > y->sum.cpu_ns ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* Sums the rows of each line; returns the number of groups. */
static size_t group_natives(const struct report *r, const struct report_rows *rows,
			    struct native_group *groups)
{
	uint32_t *group_of = xcalloc(r->view->line_count + 1, sizeof(*group_of)); /* plus 1 */
	size_t count = 0;

	for (size_t i = 0; i < rows->count; i++) {
		const struct model_native *n = &r->view->natives[rows->ids[i]];

		if (group_of[n->line] == 0) {
			groups[count++] = (struct native_group){.line = n->line, .order = i};
			group_of[n->line] = (uint32_t)count;
		}
		metrics_add(&groups[group_of[n->line] - 1].sum, &n->self);
	}
	free(group_of);
	if (count && r->options->sort != REPORT_SORT_NAME)
		qsort(groups, count, sizeof(*groups), compare_groups);
	return count;
}

static void native_row(struct report *r, struct table *t, const struct metrics *m,
		       enum report_style style)
{
	table_row(t, style);
	cell_marked(t, r, m, m->cpu_ns);
	cell_percent(t, r, m->native_ns);
	cell_percent(t, r, m->system_ns);
	cell_time(t, m->cpu_ns);
}

static void native_group_rows(struct report *r, struct table *t, const struct report_rows *rows,
			      const struct native_group *group)
{
	const struct model_line *line = &r->view->lines[group->line];
	const struct model_file *file = report_line_file(r, line);
	int shown = 0;

	native_row(r, t, &group->sum, report_heat(group->sum.cpu_ns, whole(r)));
	if (file->origin == MODEL_NONE)
		table_text(t, r->view->functions[line->function].name);
	else
		table_place(t, r, file, line->line);
	table_source(t, file, line->line);
	for (size_t i = 0; i < rows->count; i++) {
		const struct model_native *n = &r->view->natives[rows->ids[i]];

		if (n->line != group->line)
			continue;
		/* The first few tell the story. */
		if (shown > 0 && (shown == MOST_NATIVES || n->self.cpu_ns < whole(r) / 1000))
			break;
		native_row(r, t, &n->self, REPORT_STYLE_DIM);
		table_printf(t, "  %.*s%s", SYMBOL_WIDTH, n->symbol,
			     strlen(n->symbol) > SYMBOL_WIDTH ? "..." : "");
		table_printf(t, "  %s", n->symbol[0] == '[' ? "" : n->module);
		shown++;
	}
}

size_t tables_natives(struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "CPU %"},
		{.title = "native"},
		{.title = "system"},
		{.title = "CPU"},
		{.title = "line, C functions", .left = true},
		{.title = "source, module", .left = true, .code = true},
	};
	struct report_options every = *r->options;
	struct report pick = *r;
	struct report_rows rows;
	struct native_group *groups;
	size_t limit = r->options->top ? r->options->top : TOP_NATIVES;
	double min_percent = report_min_percent(r);
	size_t count;
	size_t left_out = 0;

	/* --top and --min-percent are about lines. */
	every.top = 0;
	every.min_percent = 0;
	pick.options = &every;
	rows = report_pick_natives(&pick, REPORT_NO_LIMIT, 0);
	groups = xcalloc(rows.count + 1, sizeof(*groups));
	count = group_natives(r, &rows, groups);
	table_init(t, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < count; i++) {
		if ((double)groups[i].sum.cpu_ns < (double)whole(r) * min_percent / 100)
			continue;
		if (limit == 0) {
			left_out++;
			continue;
		}
		native_group_rows(r, t, &rows, &groups[i]);
		limit--;
	}
	free(groups);
	free(rows.ids);
	return left_out;
}

static void cells_of_times(struct table *t, const struct report *r, const struct metrics *m)
{
	cell_percent(t, r, metrics_weight(m, r->weight));
	cell_time(t, m->cpu_ns);
	cell_time(t, m->python_ns);
	cell_time(t, m->native_ns);
	cell_time(t, m->system_ns);
	cell_time(t, m->wait_ns[TRACE_WAIT_IO]);
	cell_time(t, m->wait_ns[TRACE_WAIT_LOCK]);
	cell_time(t, m->wait_ns[TRACE_WAIT_SLEEP]);
	cell_time(t, m->wait_ns[TRACE_WAIT_GIL]);
	cell_time(t, m->wait_ns[TRACE_WAIT_RUNNABLE]);
	cell_time(t, m->wait_ns[TRACE_WAIT_OTHER]);
	cells_of_memory(t, r, &m->memory);
}

#define TIME_COLUMNS(weight_title)                                                                \
	{.title = weight_title}, {.title = "CPU"}, {.title = "Python", .drop = 3},                \
		{.title = "native", .drop = 4}, {.title = "system", .drop = 5}, {.title = "I/O"}, \
		{.title = "lock"}, {.title = "sleep"}, {.title = "GIL"},                          \
		{.title = "no CPU", .drop = 7}, {.title = "other wait", .drop = 6},               \
		{.title = "alloc", .drop = 1},                                                    \
	{                                                                                         \
		.title = "peak %", .drop = 2                                                      \
	}

size_t tables_threads(struct report *r, struct table *t)
{
	static const struct table_column cpu[] = {
		TIME_COLUMNS("CPU %"),
		{.title = "pid"},
		{.title = "tid"},
		{.title = "thread", .left = true},
	};
	static const struct table_column wall[] = {
		TIME_COLUMNS("wall %"),
		{.title = "pid"},
		{.title = "tid"},
		{.title = "thread", .left = true},
	};
	const struct model_view *v = r->view;
	struct report_rows rows = report_pick_threads(r, TOP_THREADS);

	table_init(t, v->weight == MODEL_WALL ? wall : cpu, sizeof(cpu) / sizeof(*cpu));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_thread *thread = &v->threads[rows.ids[i]];

		table_row(t, REPORT_STYLE_NONE);
		cells_of_times(t, r, &thread->total);
		if (v->process_count > 1)
			table_printf(t, "%" PRId32, v->processes[thread->process].pid);
		else
			table_text(t, "");
		table_printf(t, "%" PRId32, thread->tid);
		table_text(t, thread->name);
	}
	free(rows.ids);
	return rows.left_out;
}
