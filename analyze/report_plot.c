/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts for gnuplot. Figures and names are data blocks in it, never parts of commands.
 */
#include "analyze/report_plot.h"

#include <inttypes.h>
#include <math.h>
#include <strings.h>

#include "analyze/gnuplot.h"
#include "analyze/report_memory.h"

#include "formats/base/banned.h"

#define TEXT_COLUMNS 100
#define TEXT_ROWS 30
#define HEADROOM 1.15 /* over the largest value: room for the legend */
#define MOST_MARKS 20
#define EARLY_NS UINT64_C(1000000000) /* that the recording starts at its start is no news */
#define MARK_WIDTH 32
#define TITLE_WIDTH 90

struct plot {
	const struct report *r;
	enum plot_kind kind;
	enum plot_format format;
	struct buf script;
	const char *time_unit;
	double time_scale; /* ns in one of it */
	const char *unit;  /* of the values */
	double scale;
	double top; /* of the axis, in unit */
};

int plot_format_of(const char *path, enum plot_format *format, struct err *err)
{
	static const struct {
		const char *end;
		enum plot_format format;
	} ends[] = {{".svg", PLOT_SVG}, {".png", PLOT_PNG}, {".txt", PLOT_TEXT}};
	size_t size = path ? strlen(path) : 0;

	*format = PLOT_TEXT;
	if (!path || strcmp(path, "-") == 0)
		return 0;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		size_t end = strlen(ends[i].end);

		if (size > end && strcasecmp(path + size - end, ends[i].end) == 0) {
			*format = ends[i].format;
			return 0;
		}
	}
	return err_set(err, ERR_USAGE, "%s: --plot writes files that end in .svg, .png or .txt",
		       path);
}

/* What the picture is mostly about. */
static double main_value(const struct plot *p, const struct model_memory_point *point)
{
	double step_s = (double)p->r->view->memory.point_step_ns / 1e9;

	switch (p->kind) {
	case PLOT_CPU:
		return step_s > 0 ? point->cpu_ns / 1e9 / step_s : 0;
	case PLOT_COPIES:
		return step_s > 0 ? point->copy_bytes / step_s : 0;
	case PLOT_MEMORY:
	case PLOT_NONE:
		break;
	}
	/* Of an attached process there is nothing but what the kernel says. */
	return report_has_memory(p->r) ? point->peak_bytes : point->rss_bytes;
}

static double rss_value(const struct plot *p, const struct model_memory_point *point)
{
	return p->kind == PLOT_MEMORY && report_has_memory(p->r) ? point->rss_bytes : 0;
}

static void choose_units(struct plot *p)
{
	const struct model_view *v = p->r->view;
	double end_s = (double)(v->start_ns + report_span_ns(v)) / 1e9;
	double max = 0;

	for (size_t i = 0; i < v->memory.point_count; i++) {
		const struct model_memory_point *point = &v->memory.points[i];

		max = fmax(max, fmax(main_value(p, point), rss_value(p, point)));
	}
	p->time_unit = end_s > 7200 ? "hours" : end_s > 300 ? "minutes" : "seconds";
	p->time_scale = 1e9 * (end_s > 7200 ? 3600 : end_s > 300 ? 60 : 1);
	p->unit = "processors in use";
	p->scale = 1;
	if (p->kind != PLOT_CPU) {
		bool large = max >= 10240 * BYTES_PER_MB;

		p->scale = large ? 1024 * BYTES_PER_MB : BYTES_PER_MB;
		p->unit = large ? "GB" : "MB";
	}
	p->top = max > 0 ? HEADROOM * max / p->scale : 1;
}

static void add_terminal(struct plot *p)
{
	struct buf *s = &p->script;
	int width = p->r->options->width;

	buf_add_text(s, "set encoding utf8\n");
	switch (p->format) {
	case PLOT_SVG:
		buf_add_text(s, "set terminal svg noenhanced size 1000,520 dynamic font "
				"'sans-serif,14' background '#ffffff'\n");
		break;
	case PLOT_PNG:
		buf_add_text(s, "set terminal pngcairo noenhanced size 1400,730 font "
				"'sans,13' background '#ffffff'\n");
		break;
	case PLOT_TEXT:
		buf_printf(s, "set terminal dumb nofeed noenhanced mono size %d,%d\n",
			   width > 0 ? width : TEXT_COLUMNS, TEXT_ROWS);
		break;
	}
}

static void add_axes(struct plot *p)
{
	const struct model_view *v = p->r->view;
	struct buf *s = &p->script;
	const char *of = "";

	buf_add_text(s, "set title ARG1 noenhanced\n"
			"set key above left Left reverse horizontal samplen 2 noenhanced\n"
			"set border 3\n"
			"set tics nomirror out\n"
			"set rmargin 4\n");
	buf_printf(s, "set xlabel '%s since the start of the recording'\n", p->time_unit);
	if (p->kind == PLOT_COPIES)
		of = " copied a second";
	else if (p->kind == PLOT_MEMORY && !report_has_memory(p->r))
		of = " in memory (RSS)";
	buf_printf(s, "set ylabel '%s%s'\n", p->unit, of);
	buf_printf(s, "set xrange [%.9g:%.9g]\n", (double)v->start_ns / p->time_scale,
		   (double)(v->start_ns + report_span_ns(v)) / p->time_scale);
	buf_printf(s, "set yrange [0:%.9g]\n", p->top);
	if (p->format != PLOT_TEXT)
		buf_add_text(s, "set grid ytics lc rgb '#dddddd' lw 1 lt 1\n");
}

/* When step number i begins; the last one may be cut short. */
static double time_of(const struct plot *p, size_t i)
{
	const struct model_view *v = p->r->view;
	uint64_t ns = i * v->memory.point_step_ns;

	return (double)(v->start_ns + (ns < report_span_ns(v) ? ns : report_span_ns(v))) /
	       p->time_scale;
}

/* Time, main value, RSS; a value that is not known is "NaN". */
static void add_points(struct plot *p)
{
	const struct model_view *v = p->r->view;
	const struct model_memory *m = &v->memory;
	struct buf *s = &p->script;

	buf_add_text(s, "$points << END\n");
	/* A point tells of the step before it: the first one is there at both ends of its step. */
	for (size_t i = 0; i <= m->point_count; i++) {
		const struct model_memory_point *point = &m->points[i ? i - 1 : 0];
		double time = time_of(p, i);
		double rss = rss_value(p, point) / p->scale;

		buf_printf(s, "%.9g %.9g ", time, main_value(p, point) / p->scale);
		if (rss > 0)
			buf_printf(s, "%.9g\n", rss);
		else
			buf_add_text(s, "NaN\n");
	}
	buf_add_text(s, "END\n");
}

/* Text in quotes inside a data block. */
static void add_quoted(struct buf *to, const char *text, size_t width)
{
	struct buf clean = {0};
	size_t size;

	report_clean(&clean, text, strlen(text));
	size = report_fit(buf_text(&clean), clean.size, width);
	buf_add_byte(to, '"');
	for (size_t i = 0; i < size; i++) {
		char c = (char)clean.data[i];

		buf_add_byte(to, (uint8_t)(c == '"' ? '\'' : c == '\\' ? '/' : c));
	}
	buf_add_byte(to, '"');
	buf_release(&clean);
}

static const char *mark_text(const struct model_mark *mark)
{
	switch (mark->kind) {
	case TRACE_MARK_START:
		return "start";
	case TRACE_MARK_STOP:
		return "stop";
	case TRACE_MARK_FINALIZE:
		return "end of user code";
	case TRACE_MARK_LABEL:
	case TRACE_MARK_FORK:
	case TRACE_MARK_KINDS:
		break;
	}
	return mark->label;
}

static bool mark_is_shown(const struct model_view *v, const struct model_mark *mark)
{
	if (mark->time_ns < v->start_ns || mark->time_ns > v->start_ns + report_span_ns(v))
		return false;
	return mark->kind != TRACE_MARK_START || mark->time_ns >= v->start_ns + EARLY_NS;
}

/* Time, height and text of the marks in a part of the time; returns how many. */
static size_t add_marks(struct plot *p, const char *name, uint64_t from_ns, uint64_t to_ns)
{
	const struct model_view *v = p->r->view;
	struct buf *s = &p->script;
	size_t count = 0;

	buf_printf(s, "$%s << END\n", name);
	for (size_t i = 0; i < v->mark_count && count < MOST_MARKS; i++) {
		const struct model_mark *mark = &v->marks[i];

		if (!mark_is_shown(v, mark) || mark->time_ns < from_ns || mark->time_ns >= to_ns)
			continue;
		buf_printf(s, "%.9g %.9g ", (double)mark->time_ns / p->time_scale, p->top);
		add_quoted(s, mark_text(mark), MARK_WIDTH);
		buf_add_byte(s, '\n');
		count++;
	}
	buf_add_text(s, "END\n");
	return count;
}

static bool has_peak(const struct plot *p)
{
	return p->kind == PLOT_MEMORY && p->r->view->memory.peak_bytes > 0;
}

/* Returns where the text stands by its point, so that it stays inside. */
static const char *add_peak(struct plot *p)
{
	const struct model_view *v = p->r->view;
	const struct model_memory *m = &v->memory;
	char figure[FIGURE_SIZE];
	double peak = 0;
	size_t at = 0;

	/* Several processes peak at different times: the mark stands where their sum does. */
	for (size_t i = 0; i < m->point_count; i++)
		peak = fmax(peak, m->points[i].peak_bytes);
	while (at + 1 < m->point_count && m->points[at].peak_bytes < peak)
		at++;
	buf_printf(&p->script, "$peak << END\n%.9g %.9g \"peak %s\"\nEND\n", time_of(p, at + 1),
		   peak / p->scale, figure_bytes(figure, peak));
	if (at < m->point_count / 8)
		return "left";
	return at > m->point_count - m->point_count / 8 ? "right" : "center";
}

static bool has_rss(const struct plot *p)
{
	for (size_t i = 0; i < p->r->view->memory.point_count; i++) {
		if (rss_value(p, &p->r->view->memory.points[i]) > 0)
			return true;
	}
	return false;
}

/* Which marks there are: text stands on the side of its mark where there is more room. */
struct plot_marks {
	size_t all;
	size_t left;
	size_t right;
};

static struct plot_marks add_all_marks(struct plot *p)
{
	uint64_t middle_ns = p->r->view->start_ns + report_span_ns(p->r->view) / 2;

	return (struct plot_marks){
		.all = add_marks(p, "marks", 0, UINT64_MAX),
		.left = add_marks(p, "left", 0, middle_ns),
		.right = add_marks(p, "right", middle_ns, UINT64_MAX),
	};
}

/* Lines from bottom to top with their names beside them. */
static void add_mark_plot(struct plot *p, const struct plot_marks *marks)
{
	struct buf *s = &p->script;

	if (marks->all == 0)
		return;
	if (p->format != PLOT_TEXT) {
		buf_add_text(s,
			     ", $marks using 1:2 with impulses lc rgb '#777777' lw 1 dt 3 notitle, "
			     "$marks using 1:2:3 with labels right rotate by 90 offset -1.2,-0.3 "
			     "tc rgb '#666666' notitle");
		return;
	}
	buf_add_text(s, ", $marks using 1:2 with impulses notitle");
	if (marks->left)
		buf_add_text(s, ", $left using 1:2:3 with labels left offset 1,0 notitle");
	if (marks->right)
		buf_add_text(s, ", $right using 1:2:3 with labels right offset -1,0 notitle");
}

static void add_plot(struct plot *p, const struct plot_marks *marks, const char *peak)
{
	static const char *const names[] = {
		[PLOT_NONE] = "",
		[PLOT_MEMORY] = "heap: what the program asked for",
		[PLOT_CPU] = "CPU",
		[PLOT_COPIES] = "copied in memory",
	};
	struct buf *s = &p->script;
	bool text = p->format == PLOT_TEXT;

	/* One thing by itself is what the axis says. */
	if (!has_rss(p))
		buf_add_text(s, "unset key\n");
	buf_printf(s, "plot $points using 1:2 with %s title ' %s'",
		   text ? "lines" : "filledcurves y=0 fc rgb '#9ec5e8'", names[p->kind]);
	if (!text)
		buf_add_text(s, ", $points using 1:2 with lines lc rgb '#2b6ca3' lw 1.5 notitle");
	if (has_rss(p))
		buf_printf(s, ", $points using 1:3 with lines %stitle ' RSS: what is in memory'",
			   text ? "" : "lc rgb '#d9652b' lw 1.5 ");
	add_mark_plot(p, marks);
	if (peak && text)
		buf_printf(s, ", $peak using 1:2:3 with labels %s point pt '^' offset %s,0 notitle",
			   strcmp(peak, "right") == 0 ? "right" : "left",
			   strcmp(peak, "right") == 0 ? "-2" : "2");
	else if (peak)
		buf_printf(s,
			   ", $peak using 1:2:3 with labels %s point pt 7 ps 0.7 lc rgb '#2b6ca3' "
			   "offset 0,0.8 notitle",
			   peak);
	buf_add_byte(s, '\n');
}

static int check(const struct report *r, enum plot_kind kind, struct err *err)
{
	if (kind == PLOT_MEMORY && !report_has_memory(r) && !(r->view->memory.max_rss_bytes > 0))
		return err_set(err, ERR_FAILED,
			       "no memory was recorded: record with --memory=sampled, and --pid "
			       "with --inject");
	if (kind == PLOT_COPIES && !report_has_copies(r))
		return err_set(err, ERR_FAILED, "no copies were recorded: record with --copies");
	if (r->view->memory.point_count == 0 || report_span_ns(r->view) == 0)
		return err_set(err, ERR_FAILED, "nothing was recorded over time: no plot");
	return 0;
}

static void add_title(struct buf *to, const struct report *r, enum plot_kind kind)
{
	static const char *const names[] = {
		[PLOT_NONE] = "",
		[PLOT_MEMORY] = "Memory",
		[PLOT_CPU] = "CPU",
		[PLOT_COPIES] = "Copies",
	};
	const char *command = report_command_of(r);
	struct buf clean = {0};

	report_clean(&clean, command, strlen(command));
	buf_printf(to, "%s: %.*s", names[kind],
		   (int)report_fit(buf_text(&clean), clean.size, TITLE_WIDTH), buf_text(&clean));
	if (r->view->process_count > 1)
		buf_printf(to, " (%zu processes together)", r->view->process_count);
	buf_release(&clean);
}

FILE *report_plot(const struct report *r, enum plot_kind kind, enum plot_format format,
		  struct err *err)
{
	struct plot p = {.r = r, .kind = kind, .format = format};
	struct buf title = {0};
	const char *peak = NULL;
	struct plot_marks marks;
	FILE *picture;

	if (check(r, kind, err) != 0)
		return NULL;
	choose_units(&p);
	add_terminal(&p);
	add_axes(&p);
	add_points(&p);
	if (has_peak(&p))
		peak = add_peak(&p);
	marks = add_all_marks(&p);
	add_plot(&p, &marks, peak);
	add_title(&title, r, kind);
	picture = gnuplot_run(&p.script, buf_text(&title), err);
	buf_release(&p.script);
	buf_release(&title);
	return picture;
}
