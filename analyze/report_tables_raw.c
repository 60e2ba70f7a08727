/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables for programs: every row, whole numbers, units in the titles. CSV prints them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "analyze/report_tables.h"

#include "formats/base/banned.h"

#define METRIC_COLUMNS                                                                             \
	{.title = "samples"}, {.title = "cpu_ns"}, {.title = "python_ns"}, {.title = "native_ns"}, \
		{.title = "system_ns"}, {.title = "wall_ns"}, {.title = "wait_io_ns"},             \
		{.title = "wait_lock_ns"}, {.title = "wait_sleep_ns"}, {.title = "wait_gil_ns"},   \
		{.title = "wait_runnable_ns"},                                                     \
	{                                                                                          \
		.title = "wait_other_ns"                                                           \
	}

#define INTERVAL_COLUMNS               \
	{.title = "cpu_ns_low"},       \
	{                              \
		.title = "cpu_ns_high" \
	}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Only what was sampled has one: the CPU time of a thread is read from its clock. */
static void cells_of_interval(struct table *t, const struct report *r, const struct metrics *m)
{
	double low = 0;
	double high = 0;

	metrics_interval(m, &r->view->total, &low, &high);
	table_printf(t, "%.0f", m->cpu_ns ? low : 0);
	table_printf(t, "%.0f", m->cpu_ns ? high : 0);
}

static void cells_of_metrics(struct table *t, const struct metrics *m)
{
	table_uint(t, m->samples);
	table_uint(t, m->cpu_ns);
	table_uint(t, m->python_ns);
	table_uint(t, m->native_ns);
	table_uint(t, m->system_ns);
	table_uint(t, m->wall_ns);
	table_uint(t, m->wait_ns[TRACE_WAIT_IO]);
	table_uint(t, m->wait_ns[TRACE_WAIT_LOCK]);
	table_uint(t, m->wait_ns[TRACE_WAIT_SLEEP]);
	table_uint(t, m->wait_ns[TRACE_WAIT_GIL]);
	table_uint(t, m->wait_ns[TRACE_WAIT_RUNNABLE]);
	table_uint(t, m->wait_ns[TRACE_WAIT_OTHER]);
}

static const char *origin_name(enum model_origin origin)
{
	switch (origin) {
	case MODEL_USER:
		return "user";
	case MODEL_LIBRARY:
		return "library";
	case MODEL_STANDARD:
		return "standard";
	case MODEL_NONE:
		break;
	}
	return "none";
}

static void cells_of_function(struct table *t, const struct report *r, uint32_t id)
{
	const struct model_function *f = &r->view->functions[id];
	const struct model_file *file = &r->view->files[f->file];

	table_text(t, file->path);
	table_text(t, f->name);
	table_text(t, origin_name(file->origin));
}

/* A report on all code, so that the rows sum to the total; what is charged to the user's lines has
 * a column of its own. */
static struct report with_all_code(const struct report *r)
{
	struct report all = *r;

	all.all = true;
	return all;
}

void tables_raw_lines(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "path"},
		{.title = "function"},
		{.title = "origin"},
		{.title = "line"},
		METRIC_COLUMNS,
		INTERVAL_COLUMNS,
		{.title = "charged_cpu_ns"},
		{.title = "charged_wall_ns"},
		{.title = "cumulative_cpu_ns"},
		{.title = "cumulative_wall_ns"},
		TABLE_MEMORY_COLUMNS,
		{.title = "source"},
	};
	struct report all = with_all_code(r);
	struct report_rows rows = report_pick_lines(&all, REPORT_NO_LIMIT, 0);
	const struct model_file *last_file = NULL;
	struct source_index source = {0};

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &r->view->lines[rows.ids[i]];
		const struct model_file *file = report_line_file(r, line);
		struct trace_text text;

		if (file != last_file) {
			source_index_release(&source);
			source_index_init(&source, file);
			last_file = file;
		}
		text = source_index_line(&source, line->line);
		table_row(t, REPORT_STYLE_NONE);
		cells_of_function(t, r, line->function);
		table_printf(t, "%" PRId32, line->line);
		cells_of_metrics(t, &line->self);
		cells_of_interval(t, r, &line->self);
		table_uint(t, line->charged.cpu_ns);
		table_uint(t, line->charged.wall_ns);
		table_uint(t, line->cumulative.cpu_ns);
		table_uint(t, line->cumulative.wall_ns);
		table_memory_cells(t, r, &line->self.memory);
		table_bytes(t, text.data, text.size);
	}
	source_index_release(&source);
	free(rows.ids);
}

void tables_raw_functions(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "path"},
		{.title = "function"},
		{.title = "origin"},
		{.title = "first_line"},
		METRIC_COLUMNS,
		INTERVAL_COLUMNS,
		{.title = "cumulative_cpu_ns"},
		{.title = "cumulative_python_ns"},
		{.title = "cumulative_native_ns"},
		{.title = "cumulative_system_ns"},
		{.title = "cumulative_wall_ns"},
		TABLE_MEMORY_COLUMNS,
	};
	struct report all = with_all_code(r);
	struct report_rows rows = report_pick_functions(&all, REPORT_NO_LIMIT, 0);

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_function *f = &r->view->functions[rows.ids[i]];

		table_row(t, REPORT_STYLE_NONE);
		cells_of_function(t, r, rows.ids[i]);
		table_printf(t, "%" PRId32, f->first_line);
		cells_of_metrics(t, &f->self);
		cells_of_interval(t, r, &f->self);
		table_uint(t, f->cumulative.cpu_ns);
		table_uint(t, f->cumulative.python_ns);
		table_uint(t, f->cumulative.native_ns);
		table_uint(t, f->cumulative.system_ns);
		table_uint(t, f->cumulative.wall_ns);
		table_memory_cells(t, r, &f->self.memory);
	}
	free(rows.ids);
}

void tables_raw_natives(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "path"},    {.title = "function"},  {.title = "origin"},
		{.title = "line"},    {.title = "symbol"},    {.title = "module"},
		{.title = "samples"}, {.title = "cpu_ns"},    {.title = "native_ns"},
		{.title = "wall_ns"}, {.title = "system_ns"},
	};
	struct report_rows rows = report_pick_natives(r, REPORT_NO_LIMIT, 0);

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_native *n = &r->view->natives[rows.ids[i]];
		const struct model_line *line = &r->view->lines[n->line];

		table_row(t, REPORT_STYLE_NONE);
		cells_of_function(t, r, line->function);
		table_printf(t, "%" PRId32, line->line);
		table_text(t, n->symbol);
		table_text(t, n->module);
		table_uint(t, n->self.samples);
		table_uint(t, n->self.cpu_ns);
		table_uint(t, n->self.native_ns);
		table_uint(t, n->self.wall_ns);
		table_uint(t, n->self.system_ns);
	}
	free(rows.ids);
}

void tables_raw_threads(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "pid"},    {.title = "tid"}, {.title = "name"},    {.title = "start_ns"},
		{.title = "end_ns"}, METRIC_COLUMNS,   TABLE_MEMORY_COLUMNS,
	};
	struct report_rows rows = report_pick_threads(r, REPORT_NO_LIMIT);

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_thread *thread = &r->view->threads[rows.ids[i]];

		table_row(t, REPORT_STYLE_NONE);
		table_printf(t, "%" PRId32, r->view->processes[thread->process].pid);
		table_printf(t, "%" PRId32, thread->tid);
		table_text(t, thread->name);
		table_uint(t, thread->start_ns);
		table_uint(t, thread->end_ns);
		cells_of_metrics(t, &thread->total);
		table_memory_cells(t, r, &thread->total.memory);
	}
	free(rows.ids);
}

/* Its reason is in the last column. */
static void refusal_row(struct table *t, const struct model_refusal *refusal, size_t columns)
{
	table_row(t, REPORT_STYLE_NONE);
	table_pid(t, refusal->pid);
	table_pid(t, refusal->parent_pid);
	table_text(t, refusal->command);
	for (size_t i = 3; i + 1 < columns; i++)
		table_text(t, "");
	table_text(t, refusal->why);
}

void tables_raw_processes(const struct report *r, struct table *t)
{
	static const struct table_column columns[] = {
		{.title = "pid"},
		{.title = "parent_pid"},
		{.title = "command"},
		{.title = "python"},
		{.title = "start_ns"},
		{.title = "end_ns"},
		{.title = "own_cpu_ns"},
		METRIC_COLUMNS,
		TABLE_MEMORY_COLUMNS,
		{.title = "leak_bytes"},
		{.title = "inherited_bytes"},
		{.title = "first_rss_bytes"},
		{.title = "max_rss_bytes"},
		{.title = "ended_by"},
		{.title = "not_recorded"},
	};
	struct report_rows rows = report_process_tree(r, REPORT_NO_LIMIT, NULL);

	table_init(t, columns, COUNT(columns));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_process *p = &r->view->processes[rows.ids[i]];

		table_row(t, REPORT_STYLE_NONE);
		table_printf(t, "%" PRId32, p->pid);
		if (p->parent < r->view->process_count)
			table_printf(t, "%" PRId32, r->view->processes[p->parent].pid);
		else
			table_text(t, "");
		table_text(t, p->command);
		table_text(t, p->python);
		table_uint(t, p->start_ns);
		table_uint(t, p->end_ns);
		table_uint(t, p->own_cpu_ns);
		cells_of_metrics(t, &p->total);
		table_memory_cells(t, r, &p->total.memory);
		table_printf(t, "%.0f", p->total.memory.leak_bytes);
		table_printf(t, "%.0f", p->inherited_bytes);
		table_printf(t, "%.0f", p->first_rss_bytes);
		table_printf(t, "%.0f", p->max_rss_bytes);
		table_process_end(t, p);
		table_text(t, "");
	}
	free(rows.ids);
	for (size_t i = 0; i < r->view->refusal_count; i++)
		refusal_row(t, &r->view->refusals[i], COUNT(columns));
}
