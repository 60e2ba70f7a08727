/* SPDX-License-Identifier: Apache-2.0
 *
 * Markdown for a pull request's comment: a summary and the tables that were asked for.
 */
#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"

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
static void print_as_code(struct report *r, const char *title, enum model_weight weight,
			  void (*print)(struct report *))
{
	struct report_options plain = *r->options;
	struct report inner = report_about(r, weight);

	plain.color = false;
	plain.width = 0;
	inner.options = &plain;
	inner.no_frame = r->no_frame;
	fprintf(r->to, "\n### %s\n\n````text\n", title);
	print(&inner);
	fputs("````\n", r->to);
	r->thin |= inner.thin;
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
		{.title = "samples"}, {.title = "lost"},   {.title = "heap at peak"},
		{.title = "RSS"},
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
	table_text(&t, figure_bytes(text, v->memory.peak_bytes));
	table_text(&t, figure_bytes(text, v->memory.max_rss_bytes));
	table_print_markdown(&t, r->to);
	table_release(&t);
}

/* The sections on memory, or why there is nothing to say. */
static void print_memory_sections(struct report *r, unsigned int sections)
{
	unsigned int memory = REPORT_MEMORY | REPORT_LEAKS | REPORT_PEAK | REPORT_TEMPORARY;

	if (sections & memory && !report_has_memory(r)) {
		fputs("\nNo memory was recorded: record with `--memory=sampled`, and `--pid` "
		      "with `--inject`.\n",
		      r->to);
		sections &= ~memory;
	}
	if (sections & REPORT_COPIES && !report_has_copies(r)) {
		fputs("\nNo copies were recorded: record with `--copies`, and `--pid` with "
		      "`--inject`.\n",
		      r->to);
		sections &= ~(unsigned int)REPORT_COPIES;
	}
	if (sections & REPORT_MEMORY)
		print_section(r, "Memory by line", tables_memory);
	if (sections & REPORT_PEAK) {
		print_section(r, "Live at the peak", tables_peak);
		print_as_code(r, "Live at the peak, by who called", MODEL_PEAK, report_tree);
	}
	if (sections & REPORT_LEAKS) {
		print_section(r, "Leaks", tables_leaks);
		print_section(r, "Grew once, then stayed", tables_grown_once);
	}
	if (sections & REPORT_TEMPORARY)
		print_section(r, "Freed soon after", tables_temporary);
	if (sections & REPORT_COPIES)
		print_section(r, "Copies by line", tables_copies);
	if (sections & REPORT_TIMELINE)
		print_as_code(r, "Over time", r->weight, report_timeline);
}

static void print_processes(struct report *r)
{
	print_section(r, "Processes", tables_processes);
	if (report_any_inherited(r))
		fputs("\ninherited: what was live in the parent at the fork; it counts there\n",
		      r->to);
	if (r->view->refusal_count)
		print_section(r, "Not recorded", tables_refusals);
}

void report_markdown(struct report *r)
{
	unsigned int sections = r->options->sections;
	struct buf command = {0};

	if (!sections) {
		size_t leaks;

		sections = REPORT_LINES | REPORT_FUNCTIONS;
		if (report_has_memory(r))
			sections |= REPORT_MEMORY;
		if (report_worst_leak(r, 0, &leaks))
			sections |= REPORT_LEAKS;
	}
	report_clean(&command, report_command_of(r), strlen(report_command_of(r)));
	fprintf(r->to, "## Profile\n\n```text\n%s\n```\n\n", buf_text(&command));
	buf_release(&command);
	print_summary(r);
	if (sections & REPORT_LINES)
		print_section(r, "Hottest lines", tables_hot_lines);
	if (sections & REPORT_FUNCTIONS)
		print_section(r, "Functions", tables_functions);
	if (sections & REPORT_TREE)
		print_as_code(r, "Call tree", r->weight, report_tree);
	if (sections & REPORT_NATIVE)
		print_section(r, "C functions by line", tables_natives);
	if (sections & REPORT_THREADS)
		print_section(r, "Threads", tables_threads);
	if (sections & REPORT_PROCESSES)
		print_processes(r);
	if (sections & REPORT_PHASES)
		print_section(r, "Phases", tables_phases);
	print_memory_sections(r, sections);
	if (r->thin)
		fputs("\n`~` too few samples: the 95 % interval is wider than the figure\n", r->to);
}
