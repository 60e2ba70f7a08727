/* SPDX-License-Identifier: Apache-2.0
 *
 * The report for a terminal: what ran, then the sections.
 */
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "analyze/report_leaks.h"
#include "analyze/report_memory.h"
#include "analyze/report_tables.h"

#include "formats/base/banned.h"

#define NS_PER_SECOND UINT64_C(1000000000)
/* Below this share of the CPU time in the trace the header says so in colour. */
#define LATE_MUCH 0.1 /* share of the looks that came too late */
#define SEEN_WELL 0.95

static void print_clean(const struct report *r, const char *text)
{
	struct buf clean = {0};
	size_t size;

	report_clean(&clean, text, strlen(text));
	size = clean.size;
	if (r->options->width > 0)
		size = report_fit(buf_text(&clean), size, (size_t)r->options->width);
	fwrite(buf_text(&clean), 1, size, r->to);
	buf_release(&clean);
}

static void print_date(const struct report *r)
{
	time_t seconds = (time_t)(r->view->header->start_realtime_ns / NS_PER_SECOND);
	struct tm tm;
	char text[64];

	if (localtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
		fprintf(r->to, ", %s", text);
}

/* "name value" with the right comma before it. */
static void print_part(const struct report *r, bool *comma, const char *name, const char *value)
{
	fprintf(r->to, "%s%s %s", *comma ? ", " : "", name, value);
	*comma = true;
}

static void print_share(const struct report *r, bool *comma, const char *name, uint64_t ns)
{
	char figure[FIGURE_SIZE];
	char text[FIGURE_SIZE + 4];

	/* Blank when it rounds to nothing. */
	if (!*figure_percent(figure, ns, r->view->total.cpu_ns))
		return;
	snprintf(text, sizeof(text), "%s %%", figure);
	print_part(r, comma, name, text);
}

static void print_wait(const struct report *r, bool *comma, const char *name, uint64_t ns)
{
	char text[FIGURE_SIZE];

	if (ns > 0)
		print_part(r, comma, name, figure_time(text, ns));
}

static uint64_t all_waits(const struct metrics *m)
{
	uint64_t sum = 0;

	for (int i = 0; i < TRACE_WAIT_KINDS; i++)
		sum += m->wait_ns[i];
	return sum;
}

static void print_count(const struct report *r, uint64_t count, const char *what)
{
	char text[FIGURE_SIZE];

	if (count > 0)
		fprintf(r->to, ", %s %s", figure_count(text, count), what);
}

static void print_times(const struct report *r)
{
	const struct model_view *v = r->view;
	const struct metrics *m = &v->total;
	char text[FIGURE_SIZE];
	bool comma = false;

	fprintf(r->to, "  elapsed  %9s\n",
		v->duration_ns ? figure_time(text, v->duration_ns) : "0 s");
	fprintf(r->to, "  CPU      %9s   ", m->cpu_ns ? figure_time(text, m->cpu_ns) : "0 s");
	if (v->duration_ns)
		fprintf(r->to, "%.2f cores%s", (double)m->cpu_ns / (double)v->duration_ns,
			m->cpu_ns ? "; " : "");
	print_share(r, &comma, "Python", m->python_ns);
	print_share(r, &comma, "native", m->native_ns);
	print_share(r, &comma, "system", m->system_ns);
	fputc('\n', r->to);
	if (all_waits(m) == 0)
		return;
	comma = false;
	fprintf(r->to, "  waiting  %9s   ", figure_time(text, all_waits(m)));
	print_wait(r, &comma, "I/O", m->wait_ns[TRACE_WAIT_IO]);
	print_wait(r, &comma, "lock", m->wait_ns[TRACE_WAIT_LOCK]);
	print_wait(r, &comma, "sleep", m->wait_ns[TRACE_WAIT_SLEEP]);
	print_wait(r, &comma, "GIL", m->wait_ns[TRACE_WAIT_GIL]);
	print_wait(r, &comma, "for a processor", m->wait_ns[TRACE_WAIT_RUNNABLE]);
	print_wait(r, &comma, "other", m->wait_ns[TRACE_WAIT_OTHER]);
	/* A thread that was seen running before and after: only its clocks tell that it waited. */
	if (m->wait_ns[TRACE_WAIT_OTHER] > all_waits(m) / 10)
		fputs(" (too short to be seen)", r->to);
	fputc('\n', r->to);
}

/* How far to trust it. */
static void print_quality(const struct report *r)
{
	const struct model_view *v = r->view;
	const struct model_quality *q = &v->quality;
	char text[FIGURE_SIZE];
	double looks;

	fprintf(r->to, "  samples  %9s   ", figure_count(text, v->total.samples));
	fprintf(r->to, "%" PRIu32 " Hz", v->header->rate_hz);
	/* A busy machine lets the sampler wait, too. */
	looks = (double)v->duration_ns / 1e9 * v->header->rate_hz;
	if ((double)q->late_ticks > looks * LATE_MUCH)
		fprintf(r->to, " asked, %.0f on a busy machine",
			v->header->rate_hz * (1 - fmin(1, (double)q->late_ticks / looks)));
	if (q->cpu_seen_fraction > 0) {
		bool poor = q->cpu_seen_fraction < SEEN_WELL;
		double seen = q->cpu_seen_fraction > 1 ? 1 : q->cpu_seen_fraction;

		fprintf(r->to, ", %s%.1f %% of the CPU time seen%s",
			poor ? report_style(r, REPORT_STYLE_WARM) : "", 100 * seen,
			poor ? report_style(r, REPORT_STYLE_NONE) : "");
	}
	print_count(r, q->missed, "missed");
	print_count(r, q->failed, "without a stack");
	print_count(r, q->truncated, "with a cut stack");
	print_count(r, q->lost_events, "lost");
	print_count(r, q->processes_not_recorded, "processes not recorded");
	if (!q->complete)
		fputs(", the recording did not end by itself", r->to);
	fputc('\n', r->to);
}

static void print_worst_leak(const struct report *r)
{
	struct buf place = {0};
	char text[FIGURE_SIZE];
	size_t count;
	const struct model_leak *worst = report_worst_leak(r, 0, &count);

	if (!worst)
		return;
	report_leak_place(&place, r, worst);
	fprintf(r->to, "  %sleaks    %9zu   the worst by %s/s at ",
		report_style(r, REPORT_STYLE_WARM), count,
		figure_bytes(text, worst->growth_bytes_per_s));
	print_clean(r, buf_text(&place));
	fprintf(r->to, " (--leaks)%s\n", report_style(r, REPORT_STYLE_NONE));
	buf_release(&place);
}

/* A fork has its parent's memory, which is in nobody's figures twice. */
static void print_inherited(const struct report *r)
{
	double most = 0;
	char text[FIGURE_SIZE];
	size_t count = 0;

	for (size_t i = 0; i < r->view->process_count; i++) {
		count += r->view->processes[i].inherited_bytes > 0;
		most = fmax(most, r->view->processes[i].inherited_bytes);
	}
	if (count)
		fprintf(r->to, "\n  forks    %9zu   inherited up to %s, which count in the parent",
			count, figure_bytes(text, most));
}

/* How large the heap was, and what its figures rest on. */
static void print_memory(const struct report *r)
{
	const struct model_memory *m = &r->view->memory;
	const struct memory *total = &r->view->total.memory;
	char text[FIGURE_SIZE];

	if (!report_has_memory(r))
		return;
	fprintf(r->to, "  heap     %9s   at its peak",
		m->peak_bytes > 0 ? figure_bytes(text, m->peak_bytes) : "0 B");
	if (m->peak_bytes > 0)
		fprintf(r->to, ", after %s", m->peak_ns ? figure_time(text, m->peak_ns) : "0 s");
	if (m->max_rss_bytes > 0)
		fprintf(r->to, "; RSS %s at most", figure_bytes(text, m->max_rss_bytes));
	if (m->before_bytes > 0)
		fprintf(r->to,
			"\n  before   %9s   in memory when the recording began; whose is not known",
			figure_bytes(text, m->before_bytes));
	print_inherited(r);
	fprintf(r->to, "\n  alloc    %9s   in all",
		total->malloc_bytes > 0 ? figure_bytes(text, total->malloc_bytes) : "0 B");
	if (total->growth_bytes > 0)
		fprintf(r->to, "; %s more live at the end than at the start",
			figure_bytes(text, total->growth_bytes));
	fprintf(r->to, "\n  %-8s %9s   ", m->rate > 1 ? "sampled" : "recorded",
		figure_count(text, total->events));
	if (m->rate > 1)
		fprintf(r->to, "allocations, one in %s", figure_bytes(text, (double)m->rate));
	else
		fputs("allocations, every one", r->to);
	print_count(r, m->lost, "lost");
	print_count(r, m->unmatched, "frees of unknown blocks");
	fputc('\n', r->to);
	print_worst_leak(r);
}

/* What the percentages are of, and how library code shows. */
static void print_notes(const struct report *r)
{
	const struct model_view *v = r->view;
	uint64_t library_ns = 0;
	uint64_t outside_ns = 0;
	char text[FIGURE_SIZE];
	const char *figure;

	if (v->total.wall_ns == 0)
		return;
	if (r->all && !r->options->all) {
		fputs("  none of your own code ran in what is shown: library code is listed "
		      "instead\n",
		      r->to);
		return;
	}
	if (r->all)
		return;
	for (size_t i = 0; i < v->line_count; i++) {
		const struct model_line *line = &v->lines[i];

		if (report_line_file(r, line)->origin != MODEL_USER)
			outside_ns += line->charged.cpu_ns;
		else
			library_ns += report_library_ns(r, line);
	}
	if (v->total.cpu_ns == 0 || library_ns + outside_ns < v->total.cpu_ns / 1000)
		return;
	figure = figure_percent(text, library_ns, v->total.cpu_ns);
	fprintf(r->to, "  library  %7s %%   charged to the lines of yours that call it",
		*figure ? figure : "0.0");
	if (outside_ns >= v->total.cpu_ns / 1000)
		fprintf(r->to, "; %s %% more that none of yours called",
			figure_percent(text, outside_ns, v->total.cpu_ns));
	fputs(" (--all lists it)\n", r->to);
}

static void print_header(const struct report *r)
{
	const struct model_view *v = r->view;
	const char *version = report_version_of(r);

	fputs(report_style(r, REPORT_STYLE_BOLD), r->to);
	print_clean(r, report_command_of(r));
	fprintf(r->to, "%s\n", report_style(r, REPORT_STYLE_NONE));
	fprintf(r->to, "%s%s on ", *version ? "Python " : "Python", version);
	print_clean(r, v->header->host);
	print_date(r);
	if (v->process_count > 1)
		fprintf(r->to, ", %zu processes", v->process_count);
	if (v->thread_count > 1)
		fprintf(r->to, ", %zu threads", v->thread_count);
	fputs("\n\n", r->to);
	print_times(r);
	print_quality(r);
	print_memory(r);
	print_notes(r);
	fputc('\n', r->to);
}

static void print_title(const struct report *r, const char *title)
{
	fprintf(r->to, "%s%s%s\n", report_style(r, REPORT_STYLE_BOLD), title,
		report_style(r, REPORT_STYLE_NONE));
}

static void print_table_or(struct report *r, const char *title,
			   size_t (*fill)(struct report *, struct table *), const char *nothing)
{
	struct table t = {0};
	size_t left_out = fill(r, &t);

	print_title(r, title);
	if (t.row_count)
		table_print_text(&t, r);
	else
		fprintf(r->to, "  %s\n", nothing);
	if (left_out)
		fprintf(r->to, "  %s%zu more, see --top%s\n", report_style(r, REPORT_STYLE_DIM),
			left_out, report_style(r, REPORT_STYLE_NONE));
	fputc('\n', r->to);
	table_release(&t);
}

static void print_table(struct report *r, const char *title,
			size_t (*fill)(struct report *, struct table *))
{
	print_table_or(r, title, fill, "nothing to show");
}

/* What the lines above leave out because none of the user's called it. */
static void print_elsewhere(const struct report *r)
{
	const struct report about = report_about(r, MODEL_PEAK);
	const struct memory *whole = &r->view->total.memory;
	double alloc = 0;
	double peak = 0;
	char text[FIGURE_SIZE];
	char more[FIGURE_SIZE];

	if (r->all)
		return;
	for (size_t i = 0; i < r->view->line_count; i++) {
		const struct model_line *line = &r->view->lines[i];

		if (report_shows_file(&about, report_line_file(r, line)))
			continue;
		alloc += line->charged.memory.malloc_bytes;
		peak += line->charged.memory.peak_bytes;
	}
	if (alloc < whole->malloc_bytes / 1000 && peak < whole->peak_bytes / 1000)
		return;
	fprintf(r->to,
		"  %selsewhere: %s of the peak, %s allocated (--all lists library code)%s\n\n",
		report_style(r, REPORT_STYLE_DIM), peak > 0 ? figure_bytes(text, peak) : "0 B",
		alloc > 0 ? figure_bytes(more, alloc) : "0 B", report_style(r, REPORT_STYLE_NONE));
}

static void print_peak(struct report *r)
{
	struct report about = report_about(r, MODEL_PEAK);

	print_table_or(r, "Live at the peak", tables_peak, "nothing was live");
	if (!(r->view->total.memory.peak_bytes > 0))
		return;
	print_title(r, "Live at the peak, by who called");
	report_tree(&about);
	r->thin |= about.thin;
}

static void print_temporary(struct report *r)
{
	uint64_t k = r->options->temporary ? r->options->temporary : 1;
	bool sampled = report_memory_sampled(r);
	char figure[FIGURE_SIZE];
	char title[128];

	snprintf(title, sizeof(title),
		 "Freed after at most %" PRIu64 " more %sallocation%s of its thread", k,
		 sampled ? "sampled " : "", k == 1 ? "" : "s");
	if (sampled)
		snprintf(title + strlen(title), sizeof(title) - strlen(title), ", about %s",
			 figure_bytes(figure, (double)k * (double)r->view->memory.rate));
	print_table_or(r, title, tables_temporary, "nothing was");
}

/* The sections on memory, or why there is nothing to say. */
static void print_memory_sections(struct report *r, unsigned int sections)
{
	bool any = sections & (REPORT_MEMORY | REPORT_LEAKS | REPORT_PEAK | REPORT_TEMPORARY);

	if (any && !report_has_memory(r)) {
		fputs("  no memory was recorded: record with --memory=sampled, and --pid with "
		      "--inject\n\n",
		      r->to);
		sections &= ~(unsigned int)(REPORT_MEMORY | REPORT_LEAKS | REPORT_PEAK |
					    REPORT_TEMPORARY);
	}
	if (sections & REPORT_MEMORY) {
		print_table_or(r, "Memory by line", tables_memory, "no allocation to show");
		print_elsewhere(r);
	}
	if (sections & REPORT_PEAK)
		print_peak(r);
	if (sections & REPORT_LEAKS) {
		print_title(r, "Leaks");
		report_leaks(r);
	}
	if (sections & REPORT_TEMPORARY)
		print_temporary(r);
	if (sections & REPORT_COPIES && !report_has_copies(r))
		fputs("  no copies were recorded: record with --copies, and --pid with "
		      "--inject\n\n",
		      r->to);
	else if (sections & REPORT_COPIES)
		print_table_or(r, "Copies by line", tables_copies, "no copies to show");
	if (sections & REPORT_TIMELINE) {
		print_title(r, "Over time");
		report_timeline(r);
	}
}

static void print_refusals(struct report *r)
{
	if (r->view->refusal_count)
		print_table(r, "Not recorded", tables_refusals);
}

static void print_processes(struct report *r)
{
	print_table(r, "Processes", tables_processes);
	if (report_any_inherited(r))
		fprintf(r->to,
			"  %sinherited: what was live in the parent at the fork; it counts "
			"there%s\n\n",
			report_style(r, REPORT_STYLE_DIM), report_style(r, REPORT_STYLE_NONE));
	print_refusals(r);
}

static unsigned int default_sections(const struct report *r)
{
	unsigned int sections = REPORT_LINES | REPORT_FUNCTIONS;

	if (r->view->thread_count > 1)
		sections |= REPORT_THREADS;
	if (r->view->process_count > 1)
		sections |= REPORT_PROCESSES;
	return sections;
}

void report_text(struct report *r)
{
	unsigned int sections = r->options->sections ? r->options->sections : default_sections(r);

	print_header(r);
	if (!metrics_any(&r->view->total)) {
		fputs("  nothing was recorded in what is to be shown\n\n", r->to);
		print_refusals(r);
		return;
	}
	if (sections & REPORT_LINES)
		report_lines(r);
	if (sections & REPORT_FUNCTIONS)
		print_table(r, "Functions", tables_functions);
	if (sections & REPORT_TREE) {
		print_title(r, "Call tree");
		report_tree(r);
	}
	if (sections & REPORT_NATIVE)
		print_table(r, "C functions by line", tables_natives);
	if (sections & REPORT_THREADS)
		print_table(r, "Threads", tables_threads);
	if (sections & REPORT_PROCESSES)
		print_processes(r);
	if (sections & REPORT_PHASES)
		print_table_or(r, "Phases", tables_phases, "the program named none");
	print_memory_sections(r, sections);
	if (r->thin)
		fprintf(r->to,
			"  %s~ too few samples: the 95 %% interval is wider than the figure%s\n",
			report_style(r, REPORT_STYLE_DIM), report_style(r, REPORT_STYLE_NONE));
}
