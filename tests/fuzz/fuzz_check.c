/* SPDX-License-Identifier: Apache-2.0
 *
 * What a trace must keep to, however damaged it is: see trace_reader.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/line_table.h"
#include "formats/trace_reader.h"
#include "tests/fuzz/fuzz.h"

#define LINE_LOOKUPS 8
#define MAX_SIZE (UINT64_C(1) << 57)
#define MAX_BLOCK_NUMBER (UINT64_C(1) << 48)

void fuzz_fail(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

static void check_text(struct trace_text text)
{
	FUZZ_CHECK(text.data);
	FUZZ_CHECK(text.data[text.size] == '\0');
}

static void check_codes(const struct trace_defs *defs)
{
	for (size_t i = 0; i < defs->code_count; i++) {
		const struct trace_code *code = &defs->codes[i];

		FUZZ_CHECK(code->filename < defs->string_count);
		FUZZ_CHECK(code->name < defs->string_count);
		FUZZ_CHECK(code->qualname < defs->string_count);
		for (int32_t at = 0; at < LINE_LOOKUPS && i < 64; at++)
			FUZZ_CHECK(line_table_find(code, at * 14 - 2).line >= 1);
	}
}

static void check_defs(const struct trace_defs *defs)
{
	for (size_t i = 0; i < defs->string_count; i++)
		check_text(defs->strings[i]);
	check_codes(defs);
	for (size_t i = 1; i < defs->node_count; i++) {
		FUZZ_CHECK(defs->nodes[i].parent < i);
		FUZZ_CHECK(defs->nodes[i].code < defs->code_count);
	}
	for (size_t i = 0; i < defs->module_count; i++) {
		check_text(defs->modules[i].path);
		FUZZ_CHECK(defs->modules[i].build_id);
		FUZZ_CHECK(defs->modules[i].role <= TRACE_MODULE_AGENT);
	}
	for (size_t i = 1; i < defs->pc_count; i++)
		FUZZ_CHECK(defs->pcs[i].module < defs->module_count ||
			   defs->pcs[i].module == TRACE_NONE);
	for (size_t i = 0; i < defs->process_count; i++) {
		const struct trace_process *process = &defs->processes[i];

		FUZZ_CHECK(process->index == i);
		FUZZ_CHECK(process->parent < i || process->parent == TRACE_NONE);
		check_text(process->executable);
		check_text(process->python_build);
		check_text(process->prefix);
		for (size_t n = 0; n < process->command_count; n++)
			check_text(process->command[n]);
	}
	for (size_t i = 0; i < defs->thread_count; i++) {
		FUZZ_CHECK(defs->threads[i].index == i);
		FUZZ_CHECK(defs->threads[i].process < defs->process_count);
		check_text(defs->threads[i].name);
	}
	for (size_t i = 0; i < defs->process_end_count; i++)
		FUZZ_CHECK(defs->process_ends[i].process < defs->process_count);
	for (size_t i = 0; i < defs->symbol_count; i++) {
		FUZZ_CHECK(defs->symbols[i].module < defs->module_count);
		check_text(defs->symbols[i].name);
	}
	for (size_t i = 0; i < defs->source_count; i++) {
		check_text(defs->sources[i].path);
		check_text(defs->sources[i].text);
	}
}

static int64_t count_events(const struct trace_block *block)
{
	return (int64_t)(block->sample_count + block->wait_count + block->loss_count +
			 block->heap_count + block->copy_count + block->footprint_count +
			 block->mark_count);
}

static void check_heap(const struct trace_block *block, const struct trace_defs *defs)
{
	uint64_t now = 0;

	for (size_t i = 0; i < block->heap_count; i++) {
		const struct trace_heap *event = &block->heap[i];

		FUZZ_CHECK(event->op <= TRACE_HEAP_RESIZE);
		FUZZ_CHECK(event->thread < defs->thread_count || event->thread == TRACE_NONE);
		FUZZ_CHECK(event->node < defs->node_count);
		FUZZ_CHECK(event->kind < TRACE_HEAP_KINDS);
		FUZZ_CHECK(event->op == TRACE_HEAP_ALLOC ||
			   (!event->node && !event->kind && !event->flags));
		FUZZ_CHECK(event->op != TRACE_HEAP_FREE || !event->size);
		FUZZ_CHECK(event->time_ns >= now);
		FUZZ_CHECK(event->size <= MAX_SIZE && event->block <= MAX_BLOCK_NUMBER);
		now = event->time_ns;
	}
}

static void check_memory(const struct trace_block *block, const struct trace_defs *defs)
{
	uint64_t now = 0;

	check_heap(block, defs);
	for (size_t i = 0; i < block->copy_count; i++) {
		const struct trace_copy *copy = &block->copies[i];

		FUZZ_CHECK(copy->thread < defs->thread_count || copy->thread == TRACE_NONE);
		FUZZ_CHECK(copy->node < defs->node_count);
		FUZZ_CHECK(copy->kind < TRACE_COPY_KINDS);
		FUZZ_CHECK(copy->time_ns >= now && copy->size <= MAX_SIZE);
		now = copy->time_ns;
	}
	now = 0;
	for (size_t i = 0; i < block->footprint_count; i++) {
		const struct trace_footprint *row = &block->footprints[i];

		FUZZ_CHECK(row->time_ns >= now);
		FUZZ_CHECK(row->rss_bytes <= MAX_SIZE && row->file_bytes <= MAX_SIZE);
		FUZZ_CHECK(row->pss_bytes <= MAX_SIZE && row->swap_bytes <= MAX_SIZE);
		FUZZ_CHECK(row->minor_faults <= MAX_SIZE && row->major_faults <= MAX_SIZE);
		now = row->time_ns;
	}
	for (size_t i = 0; i < block->mark_count; i++) {
		FUZZ_CHECK(block->marks[i].kind < TRACE_MARK_KINDS);
		FUZZ_CHECK(block->marks[i].process == block->process);
		check_text(block->marks[i].label);
	}
}

static void check_block(const struct trace_block *block, const struct trace_defs *defs)
{
	uint64_t now = 0;

	FUZZ_CHECK(block->process < defs->process_count);
	FUZZ_CHECK(count_events(block) > 0);
	for (size_t i = 0; i < block->sample_count; i++) {
		const struct trace_sample *sample = &block->samples[i];

		FUZZ_CHECK(sample->thread < defs->thread_count);
		FUZZ_CHECK(sample->node < defs->node_count);
		FUZZ_CHECK(sample->pc < defs->pc_count);
		FUZZ_CHECK(sample->time_ns >= now);
		FUZZ_CHECK(sample->wall_ns < UINT64_MAX / 8 && sample->cpu_ns < UINT64_MAX / 8);
		now = sample->time_ns;
	}
	now = 0;
	for (size_t i = 0; i < block->wait_count; i++) {
		const struct trace_wait *wait = &block->waits[i];

		FUZZ_CHECK(wait->thread < defs->thread_count);
		FUZZ_CHECK(wait->node < defs->node_count);
		FUZZ_CHECK(wait->kind < TRACE_WAIT_KINDS);
		FUZZ_CHECK(wait->time_ns >= now);
		FUZZ_CHECK(wait->wall_ns < UINT64_MAX / 8 && wait->cpu_ns < UINT64_MAX / 8);
		now = wait->time_ns;
	}
	for (size_t i = 0; i < block->loss_count; i++) {
		FUZZ_CHECK(block->losses[i].kind < TRACE_LOSS_KINDS);
		FUZZ_CHECK(block->losses[i].process < defs->process_count);
		FUZZ_CHECK(block->losses[i].thread < defs->thread_count ||
			   block->losses[i].thread == TRACE_NONE);
	}
	check_memory(block, defs);
}

int64_t fuzz_read_trace(const uint8_t *data, size_t size)
{
	struct err err = {0};
	struct trace_reader *r = trace_reader_open_memory(data, size, &err);
	struct trace_block block;
	int64_t events = 0;
	int ret;

	if (!r) {
		FUZZ_CHECK(err.code == ERR_CORRUPT || err.code == ERR_VERSION);
		FUZZ_CHECK(err.text[0]);
		return -1;
	}
	while ((ret = trace_reader_next(r, &block, &err)) == 1) {
		check_block(&block, trace_reader_defs(r));
		events += count_events(&block);
	}
	FUZZ_CHECK(ret == 0);
	FUZZ_CHECK(trace_reader_header(r)->tick_ns > 0);
	check_defs(trace_reader_defs(r));
	trace_reader_close(r);
	return events;
}
