/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain's code objects and stacks: ids of the agent and of the sampler become ids of the trace.
 * Also the text of the source files that somebody will want to see.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"
#include "record/drain_state.h"
#include "record/python/object_read.h"

#define CODES_MAX (1u << 24)

void drain_mark_leaf(struct drain *d, uint32_t code)
{
	size_t old = d->leaf_capacity;

	if (code >= d->leaf_capacity) {
		d->code_is_leaf = xgrow(d->code_is_leaf, &d->leaf_capacity, (size_t)code + 1,
					sizeof(*d->code_is_leaf));
		memset(d->code_is_leaf + old, 0, d->leaf_capacity - old);
	}
	d->code_is_leaf[code] = true;
}

static void keep_code(struct drain_target *dt, uint32_t id, uint32_t code)
{
	if (id >= CODES_MAX)
		return;
	dt->codes = xgrow(dt->codes, &dt->code_capacity, (size_t)id + 1, sizeof(*dt->codes));
	while (dt->code_count <= id)
		dt->codes[dt->code_count++] = TRACE_NONE;
	dt->codes[id] = code;
}

/* One of the three texts of a RING_CODE: interned, *at moved behind it. Returns 0 or -1. */
static int take_text(struct drain *d, const struct ring_text *text, const uint8_t **at,
		     const uint8_t *end, uint32_t *id)
{
	size_t bytes = (size_t)text->length * text->kind, used;
	char *utf8;

	if ((text->kind != 1 && text->kind != 2 && text->kind != 4) ||
	    text->length > RING_RECORD_MAX || bytes > (size_t)(end - *at))
		return -1;
	utf8 = xmalloc((size_t)text->length * 4 + 1);
	used = py_text_to_utf8(*at, text->length, text->kind, utf8);
	*id = trace_writer_string(d->writer, utf8, used);
	free(utf8);
	bytes = (bytes + 7) & ~(size_t)7;
	*at += bytes > (size_t)(end - *at) ? (size_t)(end - *at) : bytes;
	return 0;
}

void drain_take_code(struct drain *d, struct target *t, const struct ring_code *record, size_t size)
{
	struct drain_target *dt = t->drained;
	const uint8_t *at = (const uint8_t *)(record + 1), *end = (const uint8_t *)record + size;
	struct trace_code code;

	memset(&code, 0, sizeof(code));
	if (size < sizeof(*record) || take_text(d, &record->filename, &at, end, &code.filename) ||
	    take_text(d, &record->name, &at, end, &code.name) ||
	    take_text(d, &record->qualname, &at, end, &code.qualname) ||
	    record->line_table_here > (size_t)(end - at) ||
	    record->line_table_here > record->line_table_size ||
	    record->line_table_size > PY_MAX_LINE_TABLE)
		return;
	code.first_line = record->first_line;
	code.flags = record->flags;
	code.python = t->layout.version;
	code.code_bytes = record->code_bytes;
	code.line_table = at;
	code.line_table_size = record->line_table_here;
	if (record->line_table_here == record->line_table_size) {
		keep_code(dt, record->id, trace_writer_code(d->writer, &code));
		return;
	}
	dt->pending = xgrow(dt->pending, &dt->pending_capacity, dt->pending_count + 1,
			    sizeof(*dt->pending));
	dt->pending[dt->pending_count] = (struct pending_code){
		.id = record->id,
		.code = code,
		.line_table = xmalloc(record->line_table_size),
		.have = record->line_table_here,
	};
	memcpy(dt->pending[dt->pending_count].line_table, at, record->line_table_here);
	dt->pending[dt->pending_count++].code.line_table_size = record->line_table_size;
}

void drain_take_code_more(struct drain *d, struct target *t, const struct ring_code_more *record,
			  size_t size)
{
	struct drain_target *dt = t->drained;

	if (size < sizeof(*record) || record->count > size - sizeof(*record))
		return;
	for (size_t i = 0; i < dt->pending_count; i++) {
		struct pending_code *p = &dt->pending[i];

		if (p->id != record->id || p->have != record->offset ||
		    record->count > p->code.line_table_size - p->have)
			continue;
		memcpy(p->line_table + p->have, record->bytes, record->count);
		p->have += record->count;
		if (p->have == p->code.line_table_size) {
			p->code.line_table = p->line_table;
			keep_code(dt, p->id, trace_writer_code(d->writer, &p->code));
			free(p->line_table);
			*p = dt->pending[--dt->pending_count];
		}
		return;
	}
}

int drain_take_frames(struct drain *d, struct target *t, struct drained_thread *thread,
		      uint32_t common, uint32_t count, const struct ring_frame *frames)
{
	struct drain_target *dt = t->drained;
	uint32_t node;

	if (common > thread->depth) {
		thread->depth = 0;
		return -1;
	}
	thread->depth = common;
	thread->stack = xgrow(thread->stack, &thread->stack_capacity, (size_t)common + count + 1,
			      sizeof(*thread->stack));
	node = common ? thread->stack[common - 1].node : 0;
	for (uint32_t i = count; i > 0; i--) {
		const struct ring_frame *frame = &frames[i - 1];
		uint32_t code;

		if (frame->code >= dt->code_count || dt->codes[frame->code] == TRACE_NONE) {
			thread->depth = 0;
			return -1;
		}
		code = dt->codes[frame->code];
		node = trace_writer_node(d->writer, node, code, frame->offset);
		thread->stack[thread->depth++] = (struct drained_frame){node, code};
	}
	if (thread->depth)
		drain_mark_leaf(d, thread->stack[thread->depth - 1].code);
	return 0;
}

void drain_take_look_codes(struct drain *d, struct target *t, const struct look_queue *queue)
{
	struct drain_target *dt = t->drained;

	for (size_t i = 0; i < queue->code_count; i++) {
		const struct look_code *look = &queue->codes[i];
		const struct py_code_text *text = look->text;
		struct trace_code code = {
			.filename =
				trace_writer_string(d->writer, text->filename, text->filename_size),
			.name = trace_writer_string(d->writer, text->name, text->name_size),
			.qualname =
				trace_writer_string(d->writer, text->qualname, text->qualname_size),
			.first_line = text->first_line,
			.flags = text->flags,
			.python = t->layout.version,
			.line_table = text->line_table,
			.line_table_size = text->line_table_size,
			.code_bytes = text->code_bytes,
		};

		dt->look_codes = xgrow(dt->look_codes, &dt->look_code_capacity,
				       (size_t)look->id + 1, sizeof(*dt->look_codes));
		while (dt->look_code_count <= look->id)
			dt->look_codes[dt->look_code_count++] = TRACE_NONE;
		dt->look_codes[look->id] = trace_writer_code(d->writer, &code);
	}
}

/* Sources of the files that somebody will want to see: those with a leaf, and the user's own. */
#define SOURCE_MAX (4u << 20)

static int read_source(const struct drain *d, const char *path, struct buf *text)
{
	char inside[4200];
	struct err err;

	if (d->root_fd >= 0) {
		snprintf(inside, sizeof(inside), "/proc/self/fd/%d%s", d->root_fd, path);
		if (path[0] == '/' && io_read_file(inside, SOURCE_MAX, text, &err) == 0)
			return 0;
		buf_clear(text);
	}
	return io_read_file(path, SOURCE_MAX, text, &err);
}

void drain_sources(struct drain *d, uint64_t most)
{
	size_t codes = trace_writer_code_count(d->writer);
	struct map done = {0};

	for (size_t i = 0; i < codes; i++) {
		struct trace_text path = trace_writer_code_filename(d->writer, (uint32_t)i);
		bool leaf = i < d->leaf_capacity && d->code_is_leaf[i];
		struct trace_source source = {.path = path};
		struct buf text = {0};
		uint32_t id;

		if (path.size == 0 || path.data[0] == '<' ||
		    (!leaf &&
		     (strstr(path.data, "-packages/") || strstr(path.data, "/lib/python"))))
			continue;
		id = trace_writer_string(d->writer, path.data, path.size);
		if (map_get(&done, id) != MAP_NONE)
			continue;
		map_set(&done, id, 1);
		if (read_source(d, path.data, &text) == 0 && text.size <= most) {
			most -= text.size;
			source.text = (struct trace_text){buf_text(&text), text.size};
			trace_writer_source(d->writer, &source);
		}
		buf_release(&text);
	}
	map_release(&done);
}
