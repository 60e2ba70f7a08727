/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON that others build on: its names are fixed, what was not recorded is absent. All code is in
 * it, each line with its own time, so the lines sum to the total.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "analyze/report_json.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define NS_PER_SECOND UINT64_C(1000000000)

static void write_interval(struct json *j, const struct report *r, const struct metrics *m,
			   const char *name, uint64_t ns)
{
	char key[64];
	double low;
	double high;

	metrics_part_interval(ns, m, &r->view->total, &low, &high);
	snprintf(key, sizeof(key), "%s_low", name);
	json_key_uint(j, key, (uint64_t)low);
	snprintf(key, sizeof(key), "%s_high", name);
	json_key_uint(j, key, (uint64_t)(high + 0.5));
}

static void write_sampled(struct json *j, const struct report *r, const struct metrics *m,
			  const char *name, uint64_t ns, bool interval)
{
	json_key_uint(j, name, ns);
	if (interval && ns > 0)
		write_interval(j, r, m, name, ns);
}

/* The members of METRICS. sampled: the CPU time itself is an estimate; that of a thread or of all
 * is read from clocks, and only its split is one. */
static void write_metrics(struct json *j, const struct report *r, const struct metrics *m,
			  bool sampled)
{
	json_key_uint(j, "samples", m->samples);
	write_sampled(j, r, m, "cpu_ns", m->cpu_ns, sampled);
	write_sampled(j, r, m, "python_ns", m->python_ns, sampled || r->options->intervals);
	write_sampled(j, r, m, "native_ns", m->native_ns, sampled || r->options->intervals);
	write_sampled(j, r, m, "system_ns", m->system_ns, sampled || r->options->intervals);
	if (r->view->header->wall) {
		json_key_uint(j, "wall_ns", m->wall_ns);
		json_key_uint(j, "wait_io_ns", m->wait_ns[TRACE_WAIT_IO]);
		json_key_uint(j, "wait_lock_ns", m->wait_ns[TRACE_WAIT_LOCK]);
		json_key_uint(j, "wait_sleep_ns", m->wait_ns[TRACE_WAIT_SLEEP]);
		json_key_uint(j, "wait_gil_ns", m->wait_ns[TRACE_WAIT_GIL]);
	}
	report_json_memory(j, r, &m->memory);
}

static void write_run(struct json *j, const struct report *r)
{
	const struct model_view *v = r->view;
	time_t seconds = (time_t)(v->header->start_realtime_ns / NS_PER_SECOND);
	const char *python = report_version_of(r);
	char text[64];
	struct tm tm;

	json_key(j, "run");
	json_begin_object(j);
	json_key(j, "command");
	json_begin_array(j);
	for (size_t i = 0; i < v->header->command_count; i++)
		json_bytes(j, v->header->command[i].data, v->header->command[i].size);
	json_end_array(j);
	json_key_text(j, "host", v->header->host);
	if (gmtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		json_key_text(j, "start", text);
	json_key_uint(j, "duration_ns", v->duration_ns);
	if (*python)
		json_key_text(j, "python", python);
	json_key_text(j, "options", v->header->options.data);
	if (v->memory.before_bytes > 0)
		json_key_uint(j, "before_bytes", (uint64_t)v->memory.before_bytes);
	if (v->exit_status >= 0)
		json_key_int(j, "exit_status", v->exit_status);
	json_end_object(j);
}

static void write_quality(struct json *j, const struct model_quality *q)
{
	json_key(j, "quality");
	json_begin_object(j);
	json_key_uint(j, "samples", q->samples);
	json_key_uint(j, "missed", q->missed);
	json_key_uint(j, "failed", q->failed);
	json_key_uint(j, "lost_events", q->lost_events);
	json_key_uint(j, "truncated", q->truncated);
	if (q->cpu_seen_fraction > 0)
		json_key_double(j, "cpu_seen_fraction", q->cpu_seen_fraction);
	json_end_object(j);
}

static void write_processes(struct json *j, const struct report *r)
{
	const struct model_view *v = r->view;

	json_key(j, "processes");
	json_begin_array(j);
	for (size_t i = 0; i < v->process_count; i++) {
		const struct model_process *p = &v->processes[i];

		json_begin_object(j);
		json_key_int(j, "pid", p->pid);
		if (p->parent < v->process_count)
			json_key_int(j, "parent", v->processes[p->parent].pid);
		json_key(j, "command");
		json_begin_array(j);
		for (size_t k = 0; k < p->word_count; k++)
			json_text(j, p->words[k]);
		json_end_array(j);
		write_metrics(j, r, &p->total, false);
		json_end_object(j);
	}
	json_end_array(j);
}

static void write_threads(struct json *j, const struct report *r)
{
	const struct model_view *v = r->view;

	json_key(j, "threads");
	json_begin_array(j);
	for (size_t i = 0; i < v->thread_count; i++) {
		const struct model_thread *t = &v->threads[i];

		json_begin_object(j);
		json_key_int(j, "pid", v->processes[t->process].pid);
		json_key_int(j, "tid", t->tid);
		json_key_text(j, "name", t->name);
		write_metrics(j, r, &t->total, false);
		json_end_object(j);
	}
	json_end_array(j);
}

/* Lines in order of path, number and name. */
struct ordered_line {
	const char *path;
	const char *function;
	int32_t line;
	uint32_t id;
};

static int compare_lines(const void *a, const void *b)
{
	const struct ordered_line *x = a;
	const struct ordered_line *y = b;
	int order = strcmp(x->path, y->path);

	if (order)
		return order;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	order = strcmp(x->function, y->function);
	return order ? order : x->id < y->id ? -1 : x->id > y->id;
}

static void write_lines(struct json *j, const struct report *r, const struct ordered_line *lines,
			size_t count, const struct source_index *source)
{
	json_key(j, "lines");
	json_begin_array(j);
	for (size_t i = 0; i < count; i++) {
		const struct model_line *line = &r->view->lines[lines[i].id];
		struct trace_text text = source_index_line(source, line->line);

		json_begin_object(j);
		json_key_int(j, "line", line->line);
		json_key_text(j, "function", lines[i].function);
		if (source->count && line->line >= 1 && (size_t)line->line <= source->count) {
			json_key(j, "source");
			json_bytes(j, text.data, text.size);
		}
		write_metrics(j, r, &line->self, true);
		json_end_object(j);
	}
	json_end_array(j);
}

static void write_file(struct json *j, const struct report *r, const struct ordered_line *lines,
		       size_t count)
{
	const struct model_file *file = report_line_file(r, &r->view->lines[lines[0].id]);
	struct source_index source;
	struct metrics sum = {0};

	for (size_t i = 0; i < count; i++)
		metrics_add(&sum, &r->view->lines[lines[i].id].self);
	/* The largest of a sum is not the sum of the largest. */
	sum.memory.own_peak_bytes = file->self.memory.own_peak_bytes;
	sum.memory.own_peak_spread = file->self.memory.own_peak_spread;
	source_index_init(&source, file);
	json_begin_object(j);
	json_key_text(j, "path", file->path);
	write_metrics(j, r, &sum, true);
	write_lines(j, r, lines, count, &source);
	json_end_object(j);
	source_index_release(&source);
}

static void write_files(struct json *j, const struct report *r)
{
	const struct model_view *v = r->view;
	struct report all = *r;
	struct report_rows rows;
	struct ordered_line *lines;

	all.all = true;
	rows = report_pick_lines(&all, REPORT_NO_LIMIT, 0);
	lines = xcalloc(rows.count + 1, sizeof(*lines));
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &v->lines[rows.ids[i]];

		lines[i] = (struct ordered_line){
			.path = report_line_file(r, line)->path,
			.function = v->functions[line->function].name,
			.line = line->line,
			.id = rows.ids[i],
		};
	}
	if (rows.count)
		qsort(lines, rows.count, sizeof(*lines), compare_lines);
	json_key(j, "files");
	json_begin_array(j);
	for (size_t i = 0; i < rows.count;) {
		size_t count = 1;

		while (i + count < rows.count && strcmp(lines[i].path, lines[i + count].path) == 0)
			count++;
		write_file(j, r, &lines[i], count);
		i += count;
	}
	json_end_array(j);
	free(lines);
	free(rows.ids);
}

static void write_functions(struct json *j, const struct report *r)
{
	const struct model_view *v = r->view;
	struct report all = *r;
	struct report_rows rows;

	all.all = true;
	rows = report_pick_functions(&all, REPORT_NO_LIMIT, 0);
	json_key(j, "functions");
	json_begin_array(j);
	for (size_t i = 0; i < rows.count; i++) {
		const struct model_function *f = &v->functions[rows.ids[i]];

		json_begin_object(j);
		json_key_text(j, "path", v->files[f->file].path);
		json_key_text(j, "function", f->name);
		json_key_int(j, "first_line", f->first_line);
		json_key(j, "self");
		json_begin_object(j);
		write_metrics(j, r, &f->self, true);
		json_end_object(j);
		json_key(j, "cumulative");
		json_begin_object(j);
		write_metrics(j, r, &f->cumulative, true);
		json_end_object(j);
		json_end_object(j);
	}
	json_end_array(j);
	free(rows.ids);
}

void report_json(struct report *r)
{
	struct json j;

	json_init(&j, r->to, JSON_INDENT);
	json_begin_object(&j);
	json_key(&j, "scprof");
	json_begin_object(&j);
	json_key_text(&j, "version", SCPROF_VERSION);
	json_key_uint(&j, "trace_version", r->view->header->version);
	json_end_object(&j);
	write_run(&j, r);
	write_quality(&j, &r->view->quality);
	json_key(&j, "totals");
	json_begin_object(&j);
	write_metrics(&j, r, &r->view->total, false);
	json_end_object(&j);
	write_processes(&j, r);
	write_threads(&j, r);
	write_files(&j, r);
	write_functions(&j, r);
	report_json_leaks(&j, r);
	json_end_object(&j);
	fputc('\n', r->to);
}
