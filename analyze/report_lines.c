/* SPDX-License-Identifier: Apache-2.0
 *
 * Annotated source: file by file, the lines that matter with a few around them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "analyze/report_columns.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define WAIT_SHARE 0.05   /* of the elapsed time: such a wait is shown in any case */
#define MEMORY_SHARE 0.05 /* of what is allocated, live at the peak or copied: the same */
#define CONTEXT_LINES 2
/* What source text gets at least; columns of figures give way on a narrow terminal. */
#define SOURCE_WIDTH 30

/* All annotations of one file, in order of lines. */
struct annotated_file {
	const struct model_file *file;
	uint64_t key;
	size_t first; /* in the array of annotations */
	size_t count;
	size_t hot_count;
};

struct line_report {
	struct report *r;
	uint64_t whole;
	struct line_columns columns;
	struct annotation *annotations;
	size_t annotation_count;
	struct annotated_file *files;
	size_t file_count;
	int number_width;
};

struct file_line {
	uint32_t file;
	uint32_t id;
	int32_t line;
};

static int compare_file_lines(const void *a, const void *b)
{
	const struct file_line *x = a;
	const struct file_line *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void add_live(const struct report *r, struct annotation *a, const struct model_line *line)
{
	float live[SPARK_WIDTH];

	/* The model follows what is charged to the user's lines. */
	if (r->all && line->charged.memory.malloc_bytes > line->self.memory.malloc_bytes)
		return;
	spark_shrink(live, SPARK_WIDTH, line->live, r->view->memory.point_count);
	for (int i = 0; i < SPARK_WIDTH; i++)
		a->live[i] += live[i];
}

static void annotate(struct line_report *l, const struct file_line *at, bool hot,
		     uint64_t *heaviest)
{
	const struct model_line *line = &l->r->view->lines[at->id];
	const struct metrics *shown = report_line_metrics(l->r, line);
	struct annotated_file *file = &l->files[l->file_count - 1];
	struct annotation *a = file->count ? &l->annotations[l->annotation_count - 1] : NULL;

	if (!a || a->line != at->line) {
		a = &l->annotations[l->annotation_count++];
		*a = (struct annotation){.line = at->line, .function = line->function};
		*heaviest = 0;
		file->count++;
	}
	metrics_add(&a->shown, shown);
	add_live(l->r, a, line);
	a->library_ns += report_library_ns(l->r, line);
	if (shown->wall_ns > *heaviest) {
		*heaviest = shown->wall_ns;
		a->function = line->function;
	}
	if (hot && !a->hot) {
		a->hot = true;
		file->hot_count++;
	}
	file->key += report_sort_key(l->r, shown, &line->cumulative);
}

static int compare_files(const void *a, const void *b)
{
	const struct annotated_file *x = a;
	const struct annotated_file *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return strcmp(x->file->path, y->file->path);
}

static int compare_file_names(const void *a, const void *b)
{
	const struct annotated_file *x = a;
	const struct annotated_file *y = b;

	return strcmp(x->file->path, y->file->path);
}

static bool takes_share(double part, double whole)
{
	return part > 0 && part >= whole * MEMORY_SHARE;
}

/* Where the program waits for a good part of its time, or much of its memory comes from, is worth a
 * look also when CPU is what counts, unless the user said what to show. */
static bool is_notable(const struct report *r, uint32_t line)
{
	const struct model_view *v = r->view;
	const struct metrics *m = report_line_metrics(r, &v->lines[line]);
	const struct memory *whole = &v->total.memory;

	if (r->options->top || r->options->min_percent >= 0)
		return false;
	return m->wall_ns >= (uint64_t)((double)v->duration_ns * WAIT_SHARE) ||
	       takes_share(m->memory.malloc_bytes, whole->malloc_bytes) ||
	       takes_share(m->memory.peak_bytes, whole->peak_bytes) ||
	       takes_share(m->memory.copy_bytes, whole->copy_bytes);
}

/* Gathers what there is to say about each line of each file. */
static void collect(struct line_report *l)
{
	const struct model_view *v = l->r->view;
	struct report_rows rows = report_pick_lines(l->r, REPORT_NO_LIMIT, REPORT_MIN_PERCENT);
	bool *hot = xcalloc(v->line_count + 1, sizeof(*hot));
	struct file_line *order = xcalloc(v->line_count + 1, sizeof(*order));
	uint64_t heaviest = 0;
	size_t count = 0;

	for (size_t i = 0; i < rows.count; i++)
		hot[rows.ids[i]] = true;
	for (uint32_t i = 0; i < v->line_count; i++) {
		const struct model_line *line = &v->lines[i];
		const struct model_file *file = report_line_file(l->r, line);

		if (file->origin != MODEL_NONE && report_shows_file(l->r, file) &&
		    metrics_any(report_line_metrics(l->r, line)))
			order[count++] = (struct file_line){
				.file = v->functions[line->function].file,
				.id = i,
				.line = line->line,
			};
	}
	if (count)
		qsort(order, count, sizeof(*order), compare_file_lines);
	l->annotations = xcalloc(count + 1, sizeof(*l->annotations));
	l->files = xcalloc(v->file_count + 1, sizeof(*l->files));
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || order[i].file != order[i - 1].file)
			l->files[l->file_count++] = (struct annotated_file){
				.file = &v->files[order[i].file],
				.first = l->annotation_count,
			};
		annotate(l, &order[i], hot[order[i].id] || is_notable(l->r, order[i].id),
			 &heaviest);
	}
	if (l->file_count)
		qsort(l->files, l->file_count, sizeof(*l->files),
		      l->r->options->sort == REPORT_SORT_NAME ? compare_file_names : compare_files);
	free(rows.ids);
	free(hot);
	free(order);
}

static void choose_number_width(struct line_report *l)
{
	int32_t largest = 0;

	for (size_t i = 0; i < l->annotation_count; i++) {
		if (l->annotations[i].line > largest)
			largest = l->annotations[i].line;
	}
	for (l->number_width = 4; largest >= 10000; largest /= 10)
		l->number_width++;
}

static const char *bar(const struct line_report *l)
{
	return l->r->options->unicode ? " \u2502 " : " | ";
}

static void print_cut(const struct line_report *l, const char *text, size_t size, size_t used)
{
	struct buf clean = {0};
	size_t fits;

	report_clean(&clean, text, size);
	fits = clean.size;
	while (fits > 0 && clean.data[fits - 1] == ' ')
		fits--;
	if (l->r->options->width > 0) {
		size_t width = (size_t)l->r->options->width;

		fits = report_fit(buf_text(&clean), fits, width > used ? width - used : 0);
	}
	fwrite(buf_text(&clean), 1, fits, l->r->to);
	buf_release(&clean);
}

static void print_file_heading(const struct line_report *l, const struct annotated_file *f)
{
	struct report *r = l->r;
	struct metrics sum = {0};
	const char *path = report_short_path(r, f->file);
	const char *none = report_style(r, REPORT_STYLE_NONE);
	char percent[FIGURE_SIZE];
	char figure[FIGURE_SIZE];
	struct buf share = {0};
	uint64_t weight;
	size_t rule = 24;

	for (size_t i = 0; i < f->count; i++)
		metrics_add(&sum, &l->annotations[f->first + i].shown);
	weight = metrics_weight(&sum, r->view->weight);
	if (*figure_percent(percent, weight, l->whole))
		buf_printf(&share, "  %s %% of %s, %s", percent,
			   r->view->weight == MODEL_WALL ? "wall time" : "CPU",
			   figure_time(figure, weight));
	if (*figure_share(percent, sum.memory.peak_bytes, r->view->total.memory.peak_bytes))
		buf_printf(&share, "%s%s %% of the peak, %s", share.size ? "; " : "  ", percent,
			   figure_bytes(figure, sum.memory.peak_bytes));
	fputs(report_style(r, REPORT_STYLE_DIM), r->to);
	line_columns_print_titles(&l->columns);
	fprintf(r->to, "%s%s%s", bar(l), none, report_style(r, REPORT_STYLE_BOLD));
	print_cut(l, path, strlen(path), line_columns_width(&l->columns));
	fputs(none, r->to);
	print_cut(l, buf_text(&share), share.size,
		  line_columns_width(&l->columns) + report_width(path, strlen(path)));
	fprintf(r->to, "\n%s", report_style(r, REPORT_STYLE_DIM));
	for (size_t i = 0; i < line_columns_width(&l->columns) - 2; i++)
		fputs(r->options->unicode ? "\u2500" : "-", r->to);
	fputs(r->options->unicode ? "\u253c" : "+", r->to);
	for (size_t i = 0; i < rule; i++)
		fputs(r->options->unicode ? "\u2500" : "-", r->to);
	fprintf(r->to, "%s\n", none);
	buf_release(&share);
}

/* A line between stretches of source: what was left out, and whose code follows. */
static void print_gap(const struct line_report *l, const char *function)
{
	struct report *r = l->r;

	fprintf(r->to, "%s%*s%s%*s", report_style(r, REPORT_STYLE_DIM),
		(int)line_columns_width(&l->columns) - 3, "", bar(l), l->number_width, "...");
	if (function) {
		fputs("  in ", r->to);
		print_cut(l, function, strlen(function),
			  line_columns_width(&l->columns) + (size_t)l->number_width + 5);
	}
	fprintf(r->to, "%s\n", report_style(r, REPORT_STYLE_NONE));
}

static void print_line(const struct line_report *l, const struct source_index *source, int32_t line,
		       const struct annotation *a)
{
	struct report *r = l->r;
	struct trace_text text = source_index_line(source, line);
	enum report_style style = REPORT_STYLE_NONE;

	if (a)
		style = report_heat(metrics_weight(&a->shown, r->view->weight), l->whole);
	if (style)
		fputs(report_style(r, style), r->to);
	line_columns_print(&l->columns, a);
	if (style)
		fputs(report_style(r, REPORT_STYLE_NONE), r->to);
	fprintf(r->to, "%s%s%*" PRId32 "%s", report_style(r, REPORT_STYLE_DIM), bar(l),
		l->number_width, line, report_style(r, REPORT_STYLE_NONE));
	if (text.size) {
		fputs(style ? report_style(r, style) : "", r->to);
		fputs("  ", r->to);
		print_cut(l, text.data, text.size,
			  line_columns_width(&l->columns) + (size_t)l->number_width + 2);
		fputs(style ? report_style(r, REPORT_STYLE_NONE) : "", r->to);
	}
	fputc('\n', r->to);
}

/* The annotation of a line, searched from *at on. */
static const struct annotation *find_annotation(const struct line_report *l,
						const struct annotated_file *f, size_t *at,
						int32_t line)
{
	while (*at < f->count && l->annotations[f->first + *at].line < line)
		(*at)++;
	if (*at < f->count && l->annotations[f->first + *at].line == line)
		return &l->annotations[f->first + *at];
	return NULL;
}

/* One stretch of source without gaps. */
struct stretch {
	int32_t first;
	int32_t last;
	size_t hot; /* annotation index of the first hot line in it */
};

/* The stretch that starts at the next hot line from annotation *at on; false when there is none. */
static bool next_stretch(const struct line_report *l, const struct annotated_file *f, size_t *at,
			 int32_t last_line, struct stretch *s)
{
	const struct annotation *all = &l->annotations[f->first];

	while (*at < f->count && !all[*at].hot)
		(*at)++;
	if (*at == f->count)
		return false;
	s->hot = *at;
	s->first = all[*at].line - CONTEXT_LINES;
	for (; *at < f->count; (*at)++) {
		if (!all[*at].hot)
			continue;
		if (*at > s->hot && all[*at].line - CONTEXT_LINES > s->last + 2)
			break;
		s->last = all[*at].line + CONTEXT_LINES;
		if (s->last > last_line)
			s->last = last_line > all[*at].line ? last_line : all[*at].line;
	}
	if (s->first < 1)
		s->first = 1;
	return true;
}

/* The line's text without what is blank on the left. */
static struct trace_text stripped(const struct source_index *source, int32_t line)
{
	struct trace_text text = source_index_line(source, line);

	while (text.size && (*text.data == ' ' || *text.data == '\t')) {
		text.data++;
		text.size--;
	}
	return text;
}

static bool starts_definition(const struct source_index *source, int32_t line)
{
	static const char *const words[] = {"def ", "class ", "async def ", "@"};
	struct trace_text text = stripped(source, line);

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (text.size > strlen(words[i]) &&
		    memcmp(text.data, words[i], strlen(words[i])) == 0)
			return true;
	}
	return false;
}

/* Neither blank lines nor the code of another function are context. next is the annotation after
 * the stretch. */
static void trim_stretch(const struct line_report *l, const struct annotated_file *f,
			 const struct source_index *source, struct stretch *s, size_t next)
{
	const struct annotation *all = &l->annotations[f->first];
	int32_t first_hot = all[s->hot].line;
	int32_t last_hot;

	while (next > s->hot + 1 && !all[next - 1].hot)
		next--;
	last_hot = all[next - 1].line;
	for (int32_t line = first_hot - 1; line >= s->first; line--) {
		if (starts_definition(source, line) && stripped(source, line).data[0] != '@')
			s->first = line;
	}
	for (int32_t line = last_hot + 1; line <= s->last; line++) {
		if (starts_definition(source, line))
			s->last = line - 1;
	}
	while (s->first < first_hot && stripped(source, s->first).size == 0)
		s->first++;
	while (s->last > last_hot && stripped(source, s->last).size == 0)
		s->last--;
}

static void print_file(const struct line_report *l, const struct annotated_file *f)
{
	const struct model_view *v = l->r->view;
	struct source_index source;
	struct stretch s = {0};
	size_t at = 0;
	size_t look = 0;
	int32_t shown_to = 0;

	source_index_init(&source, f->file);
	print_file_heading(l, f);
	while (next_stretch(l, f, &at, (int32_t)source.count, &s)) {
		const struct model_function *function =
			&v->functions[l->annotations[f->first + s.hot].function];
		bool heading = function->first_line < s.first && function->name[0] != '<';

		trim_stretch(l, f, &source, &s, at);
		/* Without the text there is nothing to see around a hot line. */
		if (!source.count && s.first <= shown_to)
			s.first = shown_to + 1;
		if (s.first > shown_to + 1 || heading)
			print_gap(l, heading ? function->name : NULL);
		for (int32_t line = s.first; line <= s.last; line++) {
			const struct annotation *a = find_annotation(l, f, &look, line);

			if (source.count || a)
				print_line(l, &source, line, a);
		}
		shown_to = s.last;
	}
	source_index_release(&source);
	fputc('\n', l->r->to);
}

void report_lines(struct report *r)
{
	struct line_report l = {
		.r = r,
		.whole = metrics_weight(&r->view->total, r->view->weight),
	};
	size_t printed = 0;

	collect(&l);
	line_columns_init(&l.columns, r, l.annotations, l.annotation_count, SOURCE_WIDTH);
	choose_number_width(&l);
	for (size_t i = 0; i < l.file_count; i++) {
		if (l.files[i].hot_count == 0)
			continue;
		print_file(&l, &l.files[i]);
		printed++;
	}
	if (printed == 0)
		fprintf(r->to, "  no line has %.3g %% of the time; --min-percent 0 shows all\n\n",
			report_min_percent(r));
	free(l.annotations);
	free(l.files);
}
