/* SPDX-License-Identifier: Apache-2.0
 *
 * Markdown for a pull request's comment: a summary and the tables that were asked for.
 */
#include "analyze/report_tables.h"

#include "formats/base/banned.h"

static void print_section(struct report *r, const char *title,
			  size_t (*fill)(struct report *, struct table *))
{
	struct table t = {0};

	fill(r, &t);
	fprintf(r->to, "\n### %s\n\n", title);
	if (t.row_count)
		table_print_markdown(&t, r->to);
	else
		fputs("Nothing to show.\n", r->to);
	table_release(&t);
}

/* As code: a fence longer than any inside. */
static void print_tree(struct report *r)
{
	struct report_options plain = *r->options;
	struct report inner = *r;

	plain.color = false;
	plain.width = 0;
	inner.options = &plain;
	fputs("\n### Call tree\n\n````text\n", r->to);
	report_tree(&inner);
	fputs("````\n", r->to);
}

static void cell_share(struct table *t, const struct model_view *v, uint64_t ns)
{
	char text[FIGURE_SIZE];
	const char *figure = figure_percent(text, ns, v->total.cpu_ns);

	table_printf(t, "%s %%", *figure ? figure : "0");
}

static void print_summary(const struct report *r)
{
	const struct model_view *v = r->view;
	static const struct table_column columns[] = {
		{.title = "elapsed"}, {.title = "CPU"},    {.title = "cores"},
		{.title = "Python"},  {.title = "native"}, {.title = "system"},
		{.title = "samples"}, {.title = "lost"},
	};
	const struct model_quality *q = &v->quality;
	char text[FIGURE_SIZE];
	struct table t;

	table_init(&t, columns, sizeof(columns) / sizeof(*columns));
	table_row(&t, REPORT_STYLE_NONE);
	table_text(&t, figure_time(text, v->duration_ns));
	table_text(&t, v->total.cpu_ns ? figure_time(text, v->total.cpu_ns) : "0 s");
	table_printf(&t, "%.2f",
		     v->duration_ns ? (double)v->total.cpu_ns / (double)v->duration_ns : 0);
	cell_share(&t, v, v->total.python_ns);
	cell_share(&t, v, v->total.native_ns);
	cell_share(&t, v, v->total.system_ns);
	table_text(&t, figure_count(text, v->total.samples));
	table_text(&t, figure_count(text, q->missed + q->failed + q->lost_events));
	table_print_markdown(&t, r->to);
	table_release(&t);
}

void report_markdown(struct report *r)
{
	unsigned int sections =
		r->options->sections ? r->options->sections : REPORT_LINES | REPORT_FUNCTIONS;
	struct buf command = {0};

	report_clean(&command, report_command_of(r), strlen(report_command_of(r)));
	fprintf(r->to, "## Profile\n\n```text\n%s\n```\n\n", buf_text(&command));
	buf_release(&command);
	print_summary(r);
	if (sections & REPORT_LINES)
		print_section(r, "Hottest lines", tables_hot_lines);
	if (sections & REPORT_FUNCTIONS)
		print_section(r, "Functions", tables_functions);
	if (sections & REPORT_TREE)
		print_tree(r);
	if (sections & REPORT_NATIVE)
		print_section(r, "C functions by line", tables_natives);
	if (sections & REPORT_THREADS)
		print_section(r, "Threads", tables_threads);
	if (sections & REPORT_PROCESSES)
		print_section(r, "Processes", tables_processes);
	if (r->thin)
		fputs("\n`~` too few samples: the 95 % interval is wider than the figure\n", r->to);
}
