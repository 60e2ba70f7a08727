/* SPDX-License-Identifier: Apache-2.0
 *
 * Which lines, functions, threads, processes and C functions a report shows, and in what order.
 */
#include <math.h>
#include <stdlib.h>

#include "analyze/filter_match.h"
#include "analyze/report.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

void report_init(struct report *r, const struct model_view *view,
		 const struct report_options *options, FILE *to)
{
	bool any = false;

	*r = (struct report){
		.view = view,
		.options = options,
		.to = to,
		.weight = view->weight,
		.all = options->all,
	};
	/* A run without any code of the user's shows what there is. */
	for (size_t i = 0; i < view->function_count && !any; i++) {
		const struct model_function *f = &view->functions[i];

		any = metrics_any(&f->cumulative) && view->files[f->file].origin == MODEL_USER &&
		      report_shows_file(r, &view->files[f->file]);
	}
	if (!any)
		r->all = true;
}

struct report report_about(const struct report *r, enum model_weight weight)
{
	struct report about = *r;

	about.weight = weight;
	about.no_frame = true;
	return about;
}

bool metrics_any(const struct metrics *m)
{
	const struct memory *memory = &m->memory;

	return m->cpu_ns > 0 || m->wall_ns > 0 || m->samples > 0 || memory->malloc_bytes > 0 ||
	       memory->growth_bytes != 0 || memory->peak_bytes > 0 || memory->copies > 0;
}

bool report_shows_file(const struct report *r, const struct model_file *file)
{
	if (!r->all && file->origin != MODEL_USER && !(r->no_frame && file->origin == MODEL_NONE))
		return false;
	return filter_match_path(r->options->files, r->options->file_count, file->path);
}

const struct model_file *report_line_file(const struct report *r, const struct model_line *line)
{
	return &r->view->files[r->view->functions[line->function].file];
}

const struct metrics *report_line_metrics(const struct report *r, const struct model_line *line)
{
	return r->all ? &line->self : &line->charged;
}

uint64_t report_library_ns(const struct report *r, const struct model_line *line)
{
	if (r->all || line->charged.cpu_ns < line->self.cpu_ns)
		return 0;
	return line->charged.cpu_ns - line->self.cpu_ns;
}

double report_min_percent(const struct report *r)
{
	return r->options->min_percent >= 0 ? r->options->min_percent : REPORT_MIN_PERCENT;
}

uint64_t report_sort_key(const struct report *r, const struct metrics *self,
			 const struct metrics *total)
{
	switch (r->options->sort) {
	case REPORT_SORT_CPU:
		return self->cpu_ns;
	case REPORT_SORT_TOTAL:
		return metrics_weight(total, r->weight);
	case REPORT_SORT_PYTHON:
		return self->python_ns;
	case REPORT_SORT_NATIVE:
		return self->native_ns;
	case REPORT_SORT_SYSTEM:
		return self->system_ns;
	case REPORT_SORT_WALL:
		return self->wall_ns;
	case REPORT_SORT_SAMPLES:
		return self->samples;
	case REPORT_SORT_VOLUME:
		return metrics_weight(self, MODEL_MALLOC);
	case REPORT_SORT_PEAK:
		return metrics_weight(self, MODEL_PEAK);
	case REPORT_SORT_GROWTH:
		return metrics_weight(self, MODEL_LIVE);
	case REPORT_SORT_AVERAGE:
		return (uint64_t)fmax(0, self->memory.average_bytes);
	case REPORT_SORT_TEMPORARY:
		return metrics_weight(self, MODEL_TEMPORARY);
	case REPORT_SORT_COPIES:
		return metrics_weight(self, MODEL_COPIES);
	case REPORT_SORT_LIVE:
		return (uint64_t)fmax(0, self->memory.final_bytes);
	case REPORT_SORT_WEIGHT:
	case REPORT_SORT_NAME:
		break;
	}
	return metrics_weight(self, r->weight);
}

struct candidate {
	uint64_t key;
	uint64_t volume;  /* in a section on memory: of what was as large, what allocates most */
	const char *name; /* sorted by this first, with --sort name */
	const char *path;
	int64_t number;
	uint32_t id;
};

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a;
	const struct candidate *y = b;
	int order = 0;

	if (x->name && y->name)
		order = strcmp(x->name, y->name);
	if (order)
		return order;
	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	if (x->volume != y->volume)
		return x->volume > y->volume ? -1 : 1;
	/* Equal figures: an order that does not depend on the trace's ids. */
	order = strcmp(x->path, y->path);
	if (order)
		return order;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

struct picker {
	const struct report *r;
	struct candidate *items;
	size_t count;
	size_t capacity;
	double min_ns;
};

static struct picker start_pick(const struct report *r, double min_percent)
{
	uint64_t whole = metrics_weight(&r->view->total, r->weight);

	if (r->options->min_percent >= 0)
		min_percent = r->options->min_percent;
	return (struct picker){.r = r, .min_ns = (double)whole * min_percent / 100};
}

static void consider(struct picker *p, const struct metrics *self, const struct metrics *total,
		     struct candidate item)
{
	const struct report *r = p->r;
	const struct metrics *shown = r->options->sort == REPORT_SORT_TOTAL ? total : self;

	if (!metrics_any(total) && !metrics_any(self))
		return;
	if ((double)metrics_weight(shown, r->weight) < p->min_ns)
		return;
	item.key = report_sort_key(r, self, total);
	item.volume = r->weight == MODEL_PEAK ? metrics_weight(self, MODEL_MALLOC) : 0;
	if (r->options->sort != REPORT_SORT_NAME)
		item.name = NULL;
	p->items = xgrow(p->items, &p->capacity, p->count + 1, sizeof(*p->items));
	p->items[p->count++] = item;
}

static struct report_rows end_pick(struct picker *p, size_t limit)
{
	struct report_rows rows = {0};

	if (p->r->options->top)
		limit = p->r->options->top;
	if (p->count)
		qsort(p->items, p->count, sizeof(*p->items), compare_candidates);
	rows.count = p->count < limit ? p->count : limit;
	rows.left_out = p->count - rows.count;
	rows.ids = xcalloc(rows.count + 1, sizeof(*rows.ids));
	for (size_t i = 0; i < rows.count; i++)
		rows.ids[i] = p->items[i].id;
	free(p->items);
	return rows;
}

struct report_rows report_pick_lines(const struct report *r, size_t limit, double min_percent)
{
	const struct model_view *v = r->view;
	struct picker p = start_pick(r, min_percent);

	for (uint32_t i = 0; i < v->line_count; i++) {
		const struct model_line *line = &v->lines[i];
		const struct model_file *file = report_line_file(r, line);

		if (report_shows_file(r, file))
			consider(&p, report_line_metrics(r, line), &line->cumulative,
				 (struct candidate){
					 .name = file->path,
					 .path = file->path,
					 .number = line->line,
					 .id = i,
				 });
	}
	return end_pick(&p, limit);
}

struct report_rows report_pick_lines_if(const struct report *r, size_t limit,
					bool (*wanted)(const struct report *r,
						       const struct memory *m))
{
	const struct model_view *v = r->view;
	struct picker p = {.r = r};

	for (uint32_t i = 0; i < v->line_count; i++) {
		const struct model_line *line = &v->lines[i];
		const struct model_file *file = report_line_file(r, line);
		const struct metrics *m = report_line_metrics(r, line);

		if (report_shows_file(r, file) && wanted(r, &m->memory))
			consider(&p, m, &line->cumulative,
				 (struct candidate){
					 .name = file->path,
					 .path = file->path,
					 .number = line->line,
					 .id = i,
				 });
	}
	return end_pick(&p, limit);
}

struct report_rows report_pick_functions(const struct report *r, size_t limit, double min_percent)
{
	const struct model_view *v = r->view;
	struct picker p = start_pick(r, min_percent);

	for (uint32_t i = 0; i < v->function_count; i++) {
		const struct model_function *f = &v->functions[i];

		if (report_shows_file(r, &v->files[f->file]))
			consider(&p, &f->self, &f->cumulative,
				 (struct candidate){
					 .name = f->name,
					 .path = v->files[f->file].path,
					 .number = f->first_line,
					 .id = i,
				 });
	}
	return end_pick(&p, limit);
}

struct report_rows report_pick_threads(const struct report *r, size_t limit)
{
	const struct model_view *v = r->view;
	struct picker p = start_pick(r, 0);

	for (uint32_t i = 0; i < v->thread_count; i++) {
		const struct model_thread *t = &v->threads[i];

		consider(&p, &t->total, &t->total,
			 (struct candidate){
				 .name = t->name,
				 .path = t->name,
				 .number = t->tid,
				 .id = i,
			 });
	}
	return end_pick(&p, limit);
}

struct report_rows report_pick_processes(const struct report *r, size_t limit)
{
	const struct model_view *v = r->view;
	struct picker p = start_pick(r, 0);

	for (uint32_t i = 0; i < v->process_count; i++) {
		const struct model_process *process = &v->processes[i];

		consider(&p, &process->total, &process->total,
			 (struct candidate){
				 .name = process->command,
				 .path = process->command,
				 .number = process->pid,
				 .id = i,
			 });
	}
	return end_pick(&p, limit);
}

struct report_rows report_pick_natives(const struct report *r, size_t limit, double min_percent)
{
	const struct model_view *v = r->view;
	struct picker p = start_pick(r, min_percent);

	for (uint32_t i = 0; i < v->native_count; i++) {
		const struct model_native *n = &v->natives[i];
		const struct model_file *file = report_line_file(r, &v->lines[n->line]);

		if (filter_match_path(r->options->files, r->options->file_count, file->path))
			consider(&p, &n->self, &n->self,
				 (struct candidate){
					 .name = n->symbol,
					 .path = file->path,
					 .number = v->lines[n->line].line,
					 .id = i,
				 });
	}
	return end_pick(&p, limit);
}
