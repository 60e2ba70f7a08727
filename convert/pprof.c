/* SPDX-License-Identifier: Apache-2.0
 *
 * pprof's profile.proto, gzipped: every distinct stack with all that was recorded about it, a
 * sample type each; with labels for its thread where the model has split its tree. It is written
 * field by field: the message is a dozen fields, and its parts go out as they come instead of
 * standing in memory as a tree.
 *
 * Function.system_name stays empty: pprof takes a name that is there for a mangled C++ one and
 * would make "<module>" an empty name.
 */
#include "convert/exporter.h"

#include <stdlib.h>
#include <string.h>

#include "convert/clean_text.h"
#include "convert/cost.h"
#include "convert/gzip_write.h"
#include "formats/base/map.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define FLUSH_BYTES ((size_t)1 << 16)
#define NS_PER_S 1000000000ull

/* Numbers of the fields, by message. */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME_NS = 9,
	PROFILE_DURATION_NS = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_COMMENT = 13,
	PROFILE_DEFAULT_TYPE = 14,

	TYPE_NAME = 1,
	TYPE_UNIT = 2,

	SAMPLE_LOCATIONS = 1, /* the leaf first */
	SAMPLE_VALUES = 2,
	SAMPLE_LABEL = 3,

	LABEL_KEY = 1,
	LABEL_TEXT = 2,
	LABEL_NUMBER = 3,
	LABEL_UNIT = 4,

	MAPPING_ID = 1,
	MAPPING_FILE = 5,
	MAPPING_HAS_FUNCTIONS = 7, /* ... files, lines, inlined frames: nothing to look up */
	MAPPING_HAS_LAST = 10,

	LOCATION_ID = 1,
	LOCATION_MAPPING = 2,
	LOCATION_LINE = 4,
	LINE_FUNCTION = 1,
	LINE_NUMBER = 2,

	FUNCTION_ID = 1,
	FUNCTION_NAME = 2,
	FUNCTION_FILE = 4,
	FUNCTION_START = 5,
};

/* As other profilers call them. */
static const char *const type_names[COST_KINDS] = {
	[COST_CPU] = "cpu",
	[COST_PYTHON] = "python",
	[COST_NATIVE] = "native",
	[COST_SYSTEM] = "system",
	[COST_WALL] = "wall",
	[COST_SAMPLES] = "samples",
	[COST_MALLOC] = "alloc_space",
	[COST_BLOCKS] = "alloc_objects",
	[COST_PEAK] = "peak_space",
	[COST_LIVE] = "inuse_space",
	[COST_LEAKS] = "leak_space",
	[COST_TEMPORARY] = "temporary_space",
	[COST_COPIES] = "copy_space",
};

static const char *const unit_names[] = {
	[COST_NS] = "nanoseconds",
	[COST_BYTES] = "bytes",
	[COST_PIECES] = "count",
};

struct pprof {
	struct gzip *to;
	const struct model_view *view;
	struct intern strings; /* id 0 is "" */
	struct map locations;  /* function << 32 | line -> id - 1 */
	bool *used;            /* functions with a location; one more: no Python frame */
	struct buf out;        /* not written yet */
	struct buf message;    /* scratch: one field of the profile */
	struct buf part;       /* scratch: one field of that */
	struct buf text;
	enum cost_kind kinds[COST_KINDS];
	size_t kind_count;
	uint64_t mapping; /* id of the only one: pprof shows its name; or 0 */
};

static uint64_t string_of(struct pprof *p, const char *text)
{
	buf_clear(&p->text);
	clean_text(&p->text, text);
	return intern_add(&p->strings, buf_text(&p->text), p->text.size, NULL);
}

/* A number; 0 is what a missing one means. */
static void add_number(struct buf *b, uint32_t field, uint64_t value)
{
	if (value == 0)
		return;
	buf_add_varint(b, field << 3);
	buf_add_varint(b, value);
}

/* Bytes, or a message, which is left empty. */
static void add_bytes(struct buf *b, uint32_t field, const void *data, size_t size)
{
	buf_add_varint(b, field << 3 | 2);
	buf_add_varint(b, size);
	buf_add(b, data, size);
}

static void add_message(struct buf *b, uint32_t field, struct buf *message)
{
	add_bytes(b, field, message->data, message->size);
	buf_clear(message);
}

static void flush(struct pprof *p, size_t least)
{
	if (p->out.size < least)
		return;
	gzip_write(p->to, p->out.data, p->out.size);
	buf_clear(&p->out);
}

static void write_type(struct pprof *p, uint32_t field, const char *name, enum cost_unit unit)
{
	add_number(&p->message, TYPE_NAME, string_of(p, name));
	add_number(&p->message, TYPE_UNIT, string_of(p, unit_names[unit]));
	add_message(&p->out, field, &p->message);
}

static void write_head(struct pprof *p, const struct export *x)
{
	const struct trace_header *header = p->view->header;
	enum cost_kind kind = cost_of_weight(p->view->weight);
	uint64_t period = 0;
	struct buf title = {0};
	const char *period_name = costs[kind].unit == COST_NS ? "cpu" : "space";

	for (size_t i = 0; i < p->kind_count; i++)
		write_type(p, PROFILE_SAMPLE_TYPE, type_names[p->kinds[i]],
			   costs[p->kinds[i]].unit);
	if (header) {
		add_number(&p->out, PROFILE_TIME_NS, header->start_realtime_ns + p->view->start_ns);
		period = header->rate_hz > 0 ? NS_PER_S / header->rate_hz : 0;
	}
	if (cost_events(kind) == COST_ALLOCATIONS)
		period = p->view->memory.rate;
	else if (cost_events(kind) == COST_COPY_EVENTS)
		period = p->view->memory.copy_rate;
	add_number(&p->out, PROFILE_DURATION_NS, p->view->duration_ns);
	write_type(p, PROFILE_PERIOD_TYPE, period_name, costs[kind].unit);
	add_number(&p->out, PROFILE_PERIOD, period);
	if (header && header->command_count > 0) {
		add_number(&p->message, MAPPING_ID, 1);
		add_number(&p->message, MAPPING_FILE, string_of(p, header->command[0].data));
		for (uint32_t i = MAPPING_HAS_FUNCTIONS; i <= MAPPING_HAS_LAST; i++)
			add_number(&p->message, i, 1);
		add_message(&p->out, PROFILE_MAPPING, &p->message);
		p->mapping = 1;
	}
	export_title(x, &title);
	add_number(&p->out, PROFILE_COMMENT, string_of(p, buf_text(&title)));
	add_number(&p->out, PROFILE_DEFAULT_TYPE, string_of(p, type_names[kind]));
	buf_release(&title);
}

static void add_text_label(struct pprof *p, const char *key, const char *value)
{
	add_number(&p->part, LABEL_KEY, string_of(p, key));
	add_number(&p->part, LABEL_TEXT, string_of(p, value));
	add_message(&p->message, SAMPLE_LABEL, &p->part);
}

static void add_id_label(struct pprof *p, const char *key, int32_t value)
{
	add_number(&p->part, LABEL_KEY, string_of(p, key));
	add_number(&p->part, LABEL_NUMBER, (uint64_t)value);
	add_number(&p->part, LABEL_UNIT, string_of(p, "id"));
	add_message(&p->message, SAMPLE_LABEL, &p->part);
}

static uint32_t location_of(struct pprof *p, uint32_t function, int32_t line)
{
	uint64_t key = (uint64_t)function << 32 | (uint32_t)line;

	return map_get_or_set(&p->locations, key, (uint32_t)p->locations.count) + 1;
}

static void write_sample(struct pprof *p, uint32_t id, const uint64_t *values)
{
	const struct model_node *nodes = p->view->nodes;
	uint32_t thread = UINT32_MAX;
	uint32_t at = id;

	for (; at != 0; at = nodes[at].parent) {
		if (nodes[at].function != UINT32_MAX)
			buf_add_varint(&p->part,
				       location_of(p, nodes[at].function, nodes[at].line));
		else
			thread = nodes[at].thread;
	}
	if (p->part.size == 0)
		buf_add_varint(&p->part, location_of(p, (uint32_t)p->view->function_count, 0));
	add_message(&p->message, SAMPLE_LOCATIONS, &p->part);
	for (size_t i = 0; i < p->kind_count; i++)
		buf_add_varint(&p->part, values[i]);
	add_message(&p->message, SAMPLE_VALUES, &p->part);
	if (thread != UINT32_MAX) {
		const struct model_thread *t = &p->view->threads[thread];

		add_text_label(p, "thread", t->name);
		add_id_label(p, "thread_id", t->tid);
		add_id_label(p, "pid", p->view->processes[t->process].pid);
	}
	add_message(&p->out, PROFILE_SAMPLE, &p->message);
	flush(p, FLUSH_BYTES);
}

static void write_samples(struct pprof *p)
{
	struct cost_table table;

	cost_table_init(&table, p->view, p->kinds, p->kind_count);
	for (size_t i = 0; i < p->view->node_count; i++) {
		const uint64_t *values = table.self + i * table.width;
		bool nothing = true;

		for (size_t k = 0; k < table.width; k++)
			nothing = nothing && values[k] == 0;
		if (!nothing)
			write_sample(p, (uint32_t)i, values);
	}
	cost_table_release(&table);
}

/* Those that samples have asked for. A function's id is its index in the model plus 1; one for what
 * has no Python frame comes behind them. */
static void write_locations(struct pprof *p)
{
	uint64_t key;
	uint32_t id;
	size_t at = 0;

	while (map_next(&p->locations, &at, &key, &id)) {
		uint32_t function = (uint32_t)(key >> 32);
		int32_t line = (int32_t)key;

		p->used[function] = true;
		add_number(&p->part, LINE_FUNCTION, (uint64_t)function + 1);
		add_number(&p->part, LINE_NUMBER, line > 0 ? (uint64_t)line : 0);
		add_number(&p->message, LOCATION_ID, (uint64_t)id + 1);
		add_number(&p->message, LOCATION_MAPPING, p->mapping);
		add_message(&p->message, LOCATION_LINE, &p->part);
		add_message(&p->out, PROFILE_LOCATION, &p->message);
		flush(p, FLUSH_BYTES);
	}
}

static void write_function(struct pprof *p, uint64_t id, const char *name, const char *path,
			   int32_t first_line)
{
	add_number(&p->message, FUNCTION_ID, id);
	add_number(&p->message, FUNCTION_NAME, string_of(p, name));
	add_number(&p->message, FUNCTION_FILE, string_of(p, path));
	add_number(&p->message, FUNCTION_START, first_line > 0 ? (uint64_t)first_line : 0);
	add_message(&p->out, PROFILE_FUNCTION, &p->message);
	flush(p, FLUSH_BYTES);
}

static void write_functions(struct pprof *p)
{
	const struct model_view *view = p->view;

	for (size_t i = 0; i < view->function_count; i++) {
		const struct model_function *function = &view->functions[i];
		const struct model_file *file = &view->files[function->file];

		if (!p->used[i])
			continue;
		write_function(p, i + 1, function->name,
			       file->origin == MODEL_NONE ? "" : file->path, function->first_line);
	}
	if (p->used[view->function_count])
		write_function(p, view->function_count + 1, "<no Python frame>", "", 0);
}

static void write_strings(struct pprof *p)
{
	for (size_t i = 0; i < p->strings.count; i++) {
		size_t size;
		const char *text = intern_get(&p->strings, (uint32_t)i, &size);

		add_bytes(&p->out, PROFILE_STRING, text, size);
		flush(p, FLUSH_BYTES);
	}
}

static int pprof_write(struct export *x, struct err *err)
{
	struct pprof p = {.view = x->view};

	(void)err;
	p.to = gzip_new(x->to);
	p.kind_count = cost_list(x->view, p.kinds);
	p.used = xcalloc(x->view->function_count + 1, sizeof(*p.used));
	intern_add(&p.strings, "", 0, NULL);
	write_head(&p, x);
	write_samples(&p);
	write_locations(&p);
	write_functions(&p);
	write_strings(&p);
	flush(&p, 0);
	gzip_finish(p.to);
	intern_release(&p.strings);
	map_release(&p.locations);
	free(p.used);
	buf_release(&p.out);
	buf_release(&p.message);
	buf_release(&p.part);
	buf_release(&p.text);
	return 0;
}

static const char *const pprof_patterns[] = {"*.pb.gz", "*.pprof", NULL};

const struct exporter pprof_exporter = {
	.name = "pprof",
	.description = "stacks with all their costs, for pprof and what reads its files",
	.patterns = pprof_patterns,
	.flags = EXPORTER_MODEL,
	.write = pprof_write,
};
