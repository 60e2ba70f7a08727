/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap, RSS and CPU over time as text, and what the figures of the kernel and of the heap have to
 * do with each other.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "analyze/report_memory.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define ROWS 12
#define LABEL_WIDTH 10
#define MOST_COLUMNS 120
#define FILE_COLUMNS 72 /* of a file or a pipe */
#define MOST_MARKS 20
#define EARLY_NS UINT64_C(1000000000)

struct timeline {
	const struct report *r;
	size_t columns;
	float *heap; /* largest within each column */
	float *rss;
	float *cores;
	float top; /* of the axis */
};

static float *shrink(const struct timeline *t,
		     float (*value)(const struct model_memory_point *, double step_s))
{
	const struct model_memory *m = &t->r->view->memory;
	double step_s = (double)m->point_step_ns / 1e9;
	float *all = xcalloc(m->point_count + 1, sizeof(*all));
	float *to = xcalloc(t->columns + 1, sizeof(*to));

	for (size_t i = 0; i < m->point_count; i++)
		all[i] = value(&m->points[i], step_s);
	spark_shrink(to, t->columns, all, m->point_count);
	free(all);
	return to;
}

static float value_heap(const struct model_memory_point *p, double step_s)
{
	(void)step_s;
	return (float)p->peak_bytes;
}

static float value_rss(const struct model_memory_point *p, double step_s)
{
	(void)step_s;
	return (float)p->rss_bytes;
}

static float value_cores(const struct model_memory_point *p, double step_s)
{
	return step_s > 0 ? (float)(p->cpu_ns / 1e9 / step_s) : 0;
}

static float largest(const float *values, size_t count)
{
	float max = 0;

	for (size_t i = 0; i < count; i++)
		max = fmaxf(max, values[i]);
	return max;
}

static void init(struct timeline *t, const struct report *r)
{
	size_t width =
		r->options->width > 0 ? (size_t)r->options->width : FILE_COLUMNS + LABEL_WIDTH + 3;

	*t = (struct timeline){.r = r};
	t->columns = width > LABEL_WIDTH + 13 ? width - LABEL_WIDTH - 3 : 10;
	if (t->columns > MOST_COLUMNS)
		t->columns = MOST_COLUMNS;
	t->heap = shrink(t, value_heap);
	t->rss = shrink(t, value_rss);
	t->cores = shrink(t, value_cores);
	t->top = fmaxf(largest(t->heap, t->columns), largest(t->rss, t->columns));
}

static void release(struct timeline *t)
{
	free(t->heap);
	free(t->rss);
	free(t->cores);
}

/* One cell of the plot: the heap is filled, the RSS a line over it. */
static void add_cell(const struct timeline *t, struct buf *text, size_t column, int row)
{
	float low = t->top * (float)row / ROWS;
	float high = t->top * (float)(row + 1) / ROWS;
	float heap = t->heap[column];
	float rss = t->rss[column];
	float part = (heap - low) / (high - low);
	bool unicode = t->r->options->unicode;

	if (rss > 0 && rss > low && (rss <= high || row == ROWS - 1))
		buf_add_text(text, unicode ? "\u2500" : "-");
	else if (part <= 0)
		buf_add_byte(text, ' ');
	else
		spark_add(text, t->r, &part, 1, 1);
}

static void print_label(const struct timeline *t, const char *label, bool tick)
{
	const char *bar = t->r->options->unicode ? (tick ? "\u2524" : "\u2502") : "|";

	fprintf(t->r->to, "%*s %s", LABEL_WIDTH, label, bar);
}

static void print_rows(const struct timeline *t)
{
	struct buf text = {0};
	char figure[FIGURE_SIZE];

	for (int row = ROWS - 1; row >= 0; row--) {
		bool tick = (row + 1) % 4 == 0;

		buf_clear(&text);
		for (size_t i = 0; i < t->columns; i++)
			add_cell(t, &text, i, row);
		while (text.size > 0 && text.data[text.size - 1] == ' ')
			text.size--;
		print_label(t, tick ? figure_bytes(figure, t->top * (row + 1) / ROWS) : "", tick);
		fprintf(t->r->to, "%s\n", buf_text(&text));
	}
	buf_release(&text);
}

/* The processors in use, one character high. */
static void print_cores(const struct timeline *t)
{
	float max = largest(t->cores, t->columns);
	struct buf text = {0};
	char label[FIGURE_SIZE];

	if (max <= 0)
		return;
	snprintf(label, sizeof(label), "%.1f cores", (double)max);
	spark_add(&text, t->r, t->cores, t->columns, max);
	while (text.size > 0 && text.data[text.size - 1] == ' ')
		text.size--;
	print_label(t, label, false);
	fprintf(t->r->to, "%s\n", buf_text(&text));
	buf_release(&text);
}

static size_t column_of(const struct timeline *t, uint64_t time_ns)
{
	const struct model_view *v = t->r->view;
	double share = 0;

	if (time_ns > v->start_ns && report_span_ns(v))
		share = (double)(time_ns - v->start_ns) / (double)report_span_ns(v);
	return (size_t)fmin(share * (double)t->columns, (double)(t->columns - 1));
}

/* That the recording starts at its start is no news. */
static bool is_shown(const struct model_view *v, const struct model_mark *mark)
{
	if (mark->time_ns < v->start_ns || mark->time_ns > v->start_ns + report_span_ns(v))
		return false;
	return mark->kind != TRACE_MARK_START || mark->time_ns > v->start_ns + EARLY_NS;
}

static const char *mark_name(const struct model_mark *mark)
{
	switch (mark->kind) {
	case TRACE_MARK_START:
		return "recording goes on";
	case TRACE_MARK_STOP:
		return "recording pauses";
	case TRACE_MARK_FINALIZE:
		return "end of user code";
	case TRACE_MARK_LABEL:
	case TRACE_MARK_FORK:
	case TRACE_MARK_KINDS:
		break;
	}
	return mark->label;
}

/* The axis of time, with the peak and the marks on it. */
static void print_axis(const struct timeline *t)
{
	const struct model_view *v = t->r->view;
	bool unicode = t->r->options->unicode;
	char *cells = xmalloc(t->columns);
	char start[FIGURE_SIZE];
	char end[FIGURE_SIZE];
	const char *first = v->start_ns ? figure_time(start, v->start_ns) : "0 s";
	const char *last = figure_time(end, v->start_ns + report_span_ns(v));
	int gap;

	memset(cells, '-', t->columns);
	for (size_t i = 0; i < v->mark_count; i++) {
		if (is_shown(v, &v->marks[i]))
			cells[column_of(t, v->marks[i].time_ns)] = '|';
	}
	if (v->memory.peak_bytes > 0)
		cells[column_of(t, v->memory.peak_ns)] = '^';
	fprintf(t->r->to, "%*s %s", LABEL_WIDTH, "", unicode ? "\u2514" : "+");
	for (size_t i = 0; i < t->columns; i++) {
		if (!unicode)
			fputc(cells[i], t->r->to);
		else
			fputs(cells[i] == '^'   ? "\u25b2"
			      : cells[i] == '|' ? "\u253c"
						: "\u2500",
			      t->r->to);
	}
	gap = (int)t->columns - (int)strlen(first) - (int)strlen(last);
	fprintf(t->r->to, "\n%*s  %s%*s%s\n", LABEL_WIDTH, "", first, gap > 1 ? gap : 1, "", last);
	free(cells);
}

static void print_legend(const struct timeline *t)
{
	bool unicode = t->r->options->unicode;

	fprintf(t->r->to, "%*s ", LABEL_WIDTH, "");
	if (report_has_memory(t->r))
		fprintf(t->r->to, " %s heap  ", unicode ? "\u2588" : "#");
	fprintf(t->r->to, " %s RSS", unicode ? "\u2500" : "-");
	if (t->r->view->memory.peak_bytes > 0)
		fprintf(t->r->to, "   %s peak of the heap", unicode ? "\u25b2" : "^");
	if (t->r->view->mark_count)
		fprintf(t->r->to, "   %s mark", unicode ? "\u253c" : "|");
	fputs("\n\n", t->r->to);
}

static void print_figure(const struct report *r, const char *name, double bytes, const char *format,
			 ...) __attribute__((format(printf, 4, 5)));

static void print_figure(const struct report *r, const char *name, double bytes, const char *format,
			 ...)
{
	struct buf text = {0};
	char figure[FIGURE_SIZE];
	va_list args;
	size_t size;

	buf_printf(&text, "  %-16s %9s   ", name, figure_bytes(figure, bytes));
	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	size = text.size;
	if (r->options->width > 0)
		size = report_fit(buf_text(&text), size, (size_t)r->options->width);
	fwrite(buf_text(&text), 1, size, r->to);
	fputc('\n', r->to);
	buf_release(&text);
}

/* The point with the largest RSS, or NULL. */
static const struct model_memory_point *largest_rss(const struct model_memory *m, uint64_t *time_ns,
						    uint64_t start_ns)
{
	const struct model_memory_point *found = NULL;

	for (size_t i = 0; i < m->point_count; i++) {
		const struct model_memory_point *p = &m->points[i];

		if (p->rss_bytes > 0 && (!found || p->rss_bytes > found->rss_bytes)) {
			found = p;
			*time_ns = start_ns + (i + 1) * m->point_step_ns;
		}
	}
	return found;
}

/* Where the resident memory comes from at its largest, as far as anybody can tell. */
static void print_rss(const struct report *r)
{
	const struct model_memory *m = &r->view->memory;
	uint64_t time_ns = 0;
	const struct model_memory_point *p = largest_rss(m, &time_ns, r->view->start_ns);
	char figure[FIGURE_SIZE];
	double pss = 0;
	double rest;

	if (!p)
		return;
	/* The kernel is asked between two changes of the heap: what was there before the last one
	 * is what it counted. */
	rest = p->rss_bytes - p->peak_bytes;
	print_figure(r, "most RSS", p->rss_bytes, "after %s", figure_time(figure, time_ns));
	if (!report_has_memory(r))
		return;
	print_figure(r, "  heap then", p->peak_bytes,
		     "malloc, Python's objects, anonymous mappings");
	if (rest >= 0)
		print_figure(r, "  the rest", rest,
			     "the interpreter, libraries, stacks, free pages");
	else
		print_figure(r, "  not touched", -rest,
			     "asked for, never used: it takes no memory yet");
	if (r->view->process_count == 1 && m->max_rss_bytes > p->rss_bytes * 1.01)
		print_figure(r, "  in between", m->max_rss_bytes,
			     "at most, too short to be on the plot");
	for (size_t i = 0; i < m->point_count; i++)
		pss = fmax(pss, m->points[i].pss_bytes);
	if (pss > 0 && r->view->process_count > 1)
		print_figure(r, "  PSS at most", pss, "shared pages divided among their users");
}

static void print_key_figures(const struct report *r)
{
	const struct model_memory *m = &r->view->memory;
	double arenas = 0;
	double reserved = 0;
	double files = 0;
	char figure[FIGURE_SIZE];
	char more[FIGURE_SIZE];

	for (size_t i = 0; i < m->point_count; i++) {
		arenas = fmax(arenas, m->points[i].arena_bytes);
		reserved = fmax(reserved, m->points[i].reserved_bytes);
		files = fmax(files, m->points[i].file_bytes);
	}
	if (m->peak_bytes > 0)
		print_figure(r, "peak of the heap", m->peak_bytes, "after %s%s",
			     m->peak_ns ? figure_time(figure, m->peak_ns) : "0 s",
			     r->view->process_count > 1 ? ", each process at its own" : "");
	print_rss(r);
	if (arenas > 0)
		print_figure(r, "Python's arenas", arenas, "at most: they hold its small objects");
	if (files > 0)
		print_figure(r, "mapped files", files, "at most, resident or not");
	if (reserved > 0)
		print_figure(r, "reserved", reserved, "address space at most, without memory");
	if (m->minor_faults || m->major_faults)
		fprintf(r->to, "  %-16s %9s   minor, %s major\n", "page faults",
			figure_count(figure, m->minor_faults), figure_count(more, m->major_faults));
}

static void print_marks(const struct report *r)
{
	const struct model_view *v = r->view;
	struct buf text = {0};

	for (size_t i = 0; i < v->mark_count && i < MOST_MARKS; i++) {
		const struct model_mark *mark = &v->marks[i];
		char figure[FIGURE_SIZE];
		size_t size;

		if (!is_shown(v, mark))
			continue;
		buf_clear(&text);
		report_clean(&text, mark_name(mark), strlen(mark_name(mark)));
		size = text.size;
		if (r->options->width > 32)
			size = report_fit(buf_text(&text), size, (size_t)r->options->width - 32);
		fprintf(r->to, "  %-16s %9s   ", "mark",
			mark->time_ns ? figure_time(figure, mark->time_ns) : "0 s");
		fwrite(buf_text(&text), 1, size, r->to);
		fputc('\n', r->to);
	}
	if (v->mark_count > MOST_MARKS)
		fprintf(r->to, "  %-16s %9zu   more\n", "marks", v->mark_count - MOST_MARKS);
	buf_release(&text);
}

void report_timeline(struct report *r)
{
	struct timeline t;

	if (r->view->memory.point_count == 0) {
		fputs("  nothing was recorded over time\n\n", r->to);
		return;
	}
	init(&t, r);
	if (t.top > 0)
		print_rows(&t);
	print_cores(&t);
	print_axis(&t);
	if (t.top > 0)
		print_legend(&t);
	print_key_figures(r);
	print_marks(r);
	fputc('\n', r->to);
	release(&t);
}
