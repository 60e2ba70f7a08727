/* SPDX-License-Identifier: Apache-2.0
 *
 * The last step of a model and what is handed out of it.
 */
#include <stdlib.h>

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

	if (m->span_count)
		qsort(m->spans, m->span_count, sizeof(*m->spans), compare_spans);
	for (size_t i = 0; i < m->span_count; i++) {
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
	v->start_ns = m->options.filter.from_ns;
	v->duration_ns = sum_spans(m);
	model_average_memory(m, v->duration_ns);
	model_find_leaks(m);
	model_sum(m);
	model_total_memory(m);
	model_make_points(m);
	model_list_leaks(m);
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
	v->refusals = m->refusals;
	v->refusal_count = m->refusal_count;
	v->natives = m->natives;
	v->native_count = m->native_count;
	v->total = m->nodes[0].total;
	v->phases = m->phases;
	v->phase_count = m->phase_count;
	v->header = &m->header;
	if (m->own_ns)
		v->quality.cpu_seen_fraction = (double)m->seen_ns / (double)m->own_ns;
	v->quality.damage = m->damage;
}

const struct model_view *model_view(const struct model *m)
{
	return &m->view;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	model_forget_ahead(m);
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
	free(m->refusals);
	model_free_memory(m);
	free(m->command);
	free(m->damage);
	free(m->spans);
	free(m->phases);
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
