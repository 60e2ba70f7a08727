/* SPDX-License-Identifier: Apache-2.0
 *
 * The report for a terminal: what ran, then the sections.
 */
#include <inttypes.h>
#include <math.h>
#include <time.h>

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
	/* Of a thread that runs, only the clocks tell that it did not all the time. */
	if (m->wait_ns[TRACE_WAIT_OTHER] > all_waits(m) / 10)
		fputs(" (no processor free, or too short to tell)", r->to);
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
	print_notes(r);
	fputc('\n', r->to);
}

static void print_title(const struct report *r, const char *title)
{
	fprintf(r->to, "%s%s%s\n", report_style(r, REPORT_STYLE_BOLD), title,
		report_style(r, REPORT_STYLE_NONE));
}

static void print_table(struct report *r, const char *title,
			size_t (*fill)(struct report *, struct table *))
{
	struct table t = {0};
	size_t left_out = fill(r, &t);

	print_title(r, title);
	if (t.row_count)
		table_print_text(&t, r);
	else
		fputs("  nothing to show\n", r->to);
	if (left_out)
		fprintf(r->to, "  %s%zu more, see --top%s\n", report_style(r, REPORT_STYLE_DIM),
			left_out, report_style(r, REPORT_STYLE_NONE));
	fputc('\n', r->to);
	table_release(&t);
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
	if (r->view->total.wall_ns == 0) {
		fputs("  nothing was recorded in what is to be shown\n", r->to);
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
		print_table(r, "Processes", tables_processes);
	if (r->thin)
		fprintf(r->to,
			"  %s~ too few samples: the 95 %% interval is wider than the figure%s\n",
			report_style(r, REPORT_STYLE_DIM), report_style(r, REPORT_STYLE_NONE));
}
