/* SPDX-License-Identifier: Apache-2.0
 *
 * The last step of a model and what is handed out of it; reading a trace by its path.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "analyze/model_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static struct trace_text copy_text(struct model *m, const struct trace_text *text)
{
	return (struct trace_text){
		.data = model_text(m, text->data, text->size),
		.size = text->size,
	};
}

/* The model outlives the reader: the header is copied. */
void model_note_header(struct model *m, const struct trace_header *header)
{
	if (m->has_header)
		return;
	m->has_header = true;
	m->header = *header;
	m->header.tool_version = model_text(m, header->tool_version, strlen(header->tool_version));
	m->header.host = model_text(m, header->host, strlen(header->host));
	m->header.system = model_text(m, header->system, strlen(header->system));
	m->header.directory = copy_text(m, &header->directory);
	m->header.options = copy_text(m, &header->options);
	m->command = xcalloc(header->command_count + 1, sizeof(*m->command));
	for (size_t i = 0; i < header->command_count; i++)
		m->command[i] = copy_text(m, &header->command[i]);
	m->header.command = m->command;
	m->view.command = model_command(m, m->command, header->command_count);
}

static int compare_spans(const void *a, const void *b)
{
	const struct model_span *x = a;
	const struct model_span *y = b;

	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	return x->end_ns < y->end_ns ? -1 : x->end_ns > y->end_ns;
}

/* Runs one after the other add up; runs side by side on one machine count once. */
static uint64_t sum_spans(struct model *m)
{
	uint64_t duration = 0;
	uint64_t covered = 0;

	if (m->trace_count)
		qsort(m->spans, m->trace_count, sizeof(*m->spans), compare_spans);
	for (size_t i = 0; i < m->trace_count; i++) {
		uint64_t start = m->spans[i].start_ns > covered ? m->spans[i].start_ns : covered;

		if (m->spans[i].end_ns <= start)
			continue;
		duration += m->spans[i].end_ns - start;
		covered = m->spans[i].end_ns;
	}
	return duration;
}

static void view_files(struct model *m)
{
	m->files_view = xcalloc((size_t)m->file_table.count + 1, sizeof(*m->files_view));
	for (size_t i = 0; i < m->file_table.count; i++) {
		m->files_view[i] = (struct model_file){
			.path = m->files[i].path,
			.origin = m->files[i].origin,
			.source = m->files[i].source,
			.source_size = m->files[i].source_size,
		};
	}
}

void model_finish(struct model *m)
{
	struct model_view *v = &m->view;

	model_settle(m);
	model_load_sources(m);
	view_files(m);
	model_sum(m);
	v->files = m->files_view;
	v->file_count = m->file_table.count;
	v->functions = m->functions;
	v->function_count = m->function_table.count;
	v->lines = m->lines;
	v->line_count = m->line_table.count;
	v->nodes = m->nodes;
	v->node_count = m->node_count;
	v->threads = m->threads;
	v->thread_count = m->thread_count;
	v->processes = m->processes;
	v->process_count = m->process_count;
	v->natives = m->natives;
	v->native_count = m->native_count;
	v->total = m->nodes[0].total;
	v->start_ns = m->options.filter.from_ns;
	v->duration_ns = sum_spans(m);
	v->header = &m->header;
	if (m->own_ns)
		v->quality.cpu_seen_fraction = (double)m->seen_ns / (double)m->own_ns;
	v->quality.damage = m->damage;
}

const struct model_view *model_view(const struct model *m)
{
	return &m->view;
}

static void forget_late_names(struct model *m)
{
	for (size_t i = 0; i < m->late_name_count; i++)
		free(m->late_names[i]);
	free(m->late_names);
	m->late_names = NULL;
	m->late_name_count = 0;
}

/* Reads a trace to its end for the names its threads have there. Trouble is left for the reading
 * that counts. */
static void learn_late_names(struct model *m, const char *path)
{
	struct trace_reader *r = trace_reader_open(path, NULL);
	const struct trace_defs *defs;
	struct trace_block block;

	if (!r)
		return;
	while (trace_reader_next(r, &block, NULL) == 1)
		;
	defs = trace_reader_defs(r);
	m->late_names = xcalloc(defs->thread_count + 1, sizeof(*m->late_names));
	m->late_name_count = defs->thread_count;
	for (size_t i = 0; i < defs->thread_count; i++) {
		if (defs->threads[i].name.size > 0)
			m->late_names[i] = xstrdup(defs->threads[i].name.data);
	}
	trace_reader_close(r);
}

int model_add_path(struct model *m, const char *path, struct err *err)
{
	struct trace_reader *r;
	struct stat st;
	int ret;

	forget_late_names(m);
	if (m->options.filter.thread_count && strcmp(path, "-") != 0 && stat(path, &st) == 0 &&
	    S_ISREG(st.st_mode))
		learn_late_names(m, path);
	r = trace_reader_open(path, err);
	if (!r)
		return -1;
	m->path = path;
	ret = model_add(m, r, err);
	m->path = NULL;
	trace_reader_close(r);
	return ret;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	forget_late_names(m);
	for (size_t i = 0; i < m->file_table.count; i++)
		free(m->files[i].source);
	free(m->files);
	free(m->files_view);
	free(m->functions);
	free(m->function_matches);
	free(m->lines);
	free(m->nodes);
	free(m->node_lines);
	free(m->threads);
	for (size_t i = 0; i < m->process_count; i++)
		free((void *)m->processes[i].words);
	free(m->processes);
	free(m->modules);
	free(m->granules);
	free(m->symbols);
	model_slots_release(&m->slots);
	free(m->shares);
	free(m->natives);
	free(m->command);
	free(m->damage);
	free(m->spans);
	model_table_release(&m->file_table);
	model_table_release(&m->function_table);
	model_table_release(&m->line_table);
	model_table_release(&m->node_table);
	model_table_release(&m->module_table);
	model_table_release(&m->granule_table);
	model_table_release(&m->share_table);
	intern_release(&m->texts);
	free(m);
}
