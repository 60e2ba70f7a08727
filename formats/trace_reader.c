/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads traces, see trace_reader.h: frames (trace_frame.c) hold items (pack.h), items hold blocks,
 * whose definitions go to trace_defs.c and whose columns become events here.
 */
#include "formats/trace_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "formats/base/xalloc.h"
#include "formats/pack.h"
#include "formats/trace_columns.h"
#include "formats/trace_defs.h"
#include "formats/trace_frame.h"
#include "formats/trace_heap.h"

#include "formats/base/banned.h"

#define MAX_UNPACKED_BYTES ((size_t)512 * 1024 * 1024)
#define MAX_BLOCK_ROWS ((size_t)1 << 20)
#define MAX_SEQUENCE_GAP ((uint64_t)1 << 32)

struct trace_reader {
	struct frame_reader *frames;
	struct trace_frame frame;
	const uint8_t *at; /* the next item in the frame */
	struct arena unpacked;
	struct trace_header header;
	struct arena header_texts;
	struct trace_defs_store defs;
	struct trace_columns columns;
	struct trace_sample *samples;
	size_t sample_capacity;
	struct trace_wait *waits;
	size_t wait_capacity;
	struct trace_loss *losses;
	size_t loss_capacity;
	struct trace_heap *heap;
	size_t heap_capacity;
	struct trace_copy *copies;
	size_t copy_capacity;
	struct trace_footprint *footprints;
	size_t footprint_capacity;
	struct trace_mark *marks;
	size_t mark_capacity;
	struct trace_heap_numbers *numbers; /* by process */
	size_t number_count;
	size_t number_capacity;
	uint64_t next_sequence;
	struct trace_end end;
	bool ended;
	struct trace_damage damage;
};

/* The next item of the trace: 1, 0 at the end, -1 on a system error. Damaged ones are noted and
 * passed over. */
static int next_item(struct trace_reader *r, struct pack_item *item, struct err *err)
{
	for (;;) {
		const uint8_t *end = r->frame.data ? r->frame.data + r->frame.data_size : NULL;
		struct err problem = {0};
		uint64_t size;
		int ret;

		if (r->at == end) {
			ret = frame_reader_next(r->frames, &r->frame, &r->damage, err);
			if (ret != 1)
				return ret;
			r->at = r->frame.data;
			continue;
		}
		arena_reset(&r->unpacked);
		if (varint_read(&r->at, end, &size) < 0 || size > (uint64_t)(end - r->at)) {
			err_set(&problem, ERR_CORRUPT, "it is cut short");
			size = (uint64_t)(end - r->at);
		} else if (pack_unpack(r->at, size, &r->unpacked, item, &problem) == 0) {
			r->at += size;
			return 1;
		}
		r->at += size;
		trace_damage_note(&r->damage, "the block at byte %llu is damaged: %s",
				  (unsigned long long)r->frame.offset, problem.text);
	}
}

static int keep_header(struct trace_reader *r, const struct trace_header *from, struct err *err)
{
	struct trace_header *h = &r->header;
	struct trace_text *command;

	*h = *from;
	h->tool_version =
		arena_copy(&r->header_texts, from->tool_version, strlen(from->tool_version));
	h->host = arena_copy(&r->header_texts, from->host, strlen(from->host));
	h->system = arena_copy(&r->header_texts, from->system, strlen(from->system));
	h->directory.data =
		arena_copy(&r->header_texts, from->directory.data, from->directory.size);
	h->options.data = arena_copy(&r->header_texts, from->options.data, from->options.size);
	command = arena_alloc(&r->header_texts, from->command_count * sizeof(*command));
	if (!h->tool_version || !h->host || !h->system || !h->directory.data || !h->options.data ||
	    !command)
		return err_set(err, ERR_CORRUPT, "the header is too large");
	h->command = command;
	for (size_t i = 0; i < from->command_count; i++) {
		command[i].size = from->command[i].size;
		command[i].data =
			arena_copy(&r->header_texts, from->command[i].data, from->command[i].size);
		if (!command[i].data)
			return err_set(err, ERR_CORRUPT, "the header is too large");
	}
	return 0;
}

/* The first bytes and the first item decide whether this is a trace at all. */
static int read_header(struct trace_reader *r, struct err *err)
{
	static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
	struct pack_item item;
	const uint8_t *data;
	size_t size;
	int ret;

	if (frame_reader_peek(r->frames, sizeof(magic), &data, &size, err) < 0)
		return -1;
	if (!size)
		return err_set(err, ERR_CORRUPT, "the file is empty");
	if (memcmp(data, magic, size < sizeof(magic) ? size : sizeof(magic)) != 0)
		return err_set(err, ERR_CORRUPT, "not a scprof trace");
	ret = next_item(r, &item, err);
	if (ret < 0)
		return -1;
	if (!ret || r->damage.count)
		return err_set(err, ERR_CORRUPT, "its header is damaged: %s",
			       r->damage.count ? r->damage.text : "there is none");
	if (item.kind != PACK_HEADER || !item.header.version)
		return err_set(err, ERR_CORRUPT, "a zstd file, but not a scprof trace");
	if (item.header.version > TRACE_VERSION)
		return err_set(err, ERR_VERSION,
			       "made by a newer scprof (%.32s, format %u): this one reads formats "
			       "up to %u, use scprof %.32s or newer",
			       item.header.tool_version, item.header.version, TRACE_VERSION,
			       item.header.tool_version);
	if (!item.header.tick_ns || item.header.tick_ns > TRACE_MAX_TICK_NS)
		return err_set(err, ERR_CORRUPT, "its header is damaged: a tick of %llu ns",
			       (unsigned long long)item.header.tick_ns);
	return keep_header(r, &item.header, err);
}

static struct trace_reader *reader_alloc(struct frame_reader *frames)
{
	struct trace_reader *r = xcalloc(1, sizeof(*r));

	r->frames = frames;
	r->unpacked.cap = MAX_UNPACKED_BYTES;
	r->header_texts.cap = TRACE_MAX_FRAME_BYTES;
	trace_defs_init(&r->defs);
	return r;
}

static struct trace_reader *reader_new(int fd, const void *data, size_t size, struct err *err)
{
	struct trace_reader *r = reader_alloc(frame_reader_new(fd, data, size));

	if (read_header(r, err) < 0) {
		trace_reader_close(r);
		return NULL;
	}
	return r;
}

static int open_file(const char *path, struct err *err)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
		close(fd);
		return err_set(err, ERR_SYSTEM, "cannot read '%s': it is a directory", path);
	}
	return fd;
}

struct trace_reader *trace_reader_open(const char *path, struct err *err)
{
	bool standard_input = !strcmp(path, "-");
	const char *name = standard_input ? "standard input" : path;
	struct trace_reader *r;
	int fd;

	fd = standard_input ? dup(STDIN_FILENO) : open_file(path, err);
	if (fd < 0) {
		if (standard_input)
			err_errno(err, "cannot open '%s'", name);
		return NULL;
	}
	r = reader_new(fd, NULL, 0, err);
	if (!r)
		err_wrap(err, "%s", name);
	return r;
}

struct trace_reader *trace_reader_open_follow(const char *path, bool *early, struct err *err)
{
	struct trace_reader *r;
	const uint8_t *data;
	size_t size;
	int fd, ret;

	*early = access(path, F_OK) < 0 && errno == ENOENT;
	if (*early) {
		err_errno(err, "cannot open '%s'", path);
		return NULL;
	}
	fd = open_file(path, err);
	if (fd < 0)
		return NULL;
	r = reader_alloc(frame_reader_new(fd, NULL, 0));
	frame_reader_follow(r->frames);
	ret = frame_reader_peek(r->frames, sizeof(uint32_t), &data, &size, err);
	if (ret == 0 && size < sizeof(uint32_t)) {
		*early = true;
		ret = err_set(err, ERR_CORRUPT, "%s: the file is empty", path);
	} else if (ret == 0) {
		ret = read_header(r, err);
		*early = ret < 0 && !r->damage.count && !r->frame.data;
		if (ret < 0)
			err_wrap(err, "%s", path);
	}
	if (ret == 0)
		return r;
	trace_reader_close(r);
	return NULL;
}

struct trace_reader *trace_reader_open_memory(const void *data, size_t size, struct err *err)
{
	return reader_new(-1, data, size, err);
}

void trace_reader_close(struct trace_reader *r)
{
	if (!r)
		return;
	frame_reader_free(r->frames);
	arena_release(&r->unpacked);
	arena_release(&r->header_texts);
	trace_defs_release(&r->defs);
	trace_columns_release(&r->columns);
	free(r->samples);
	free(r->waits);
	free(r->losses);
	free(r->heap);
	free(r->copies);
	free(r->footprints);
	free(r->marks);
	for (size_t i = 0; i < r->number_count; i++)
		trace_heap_numbers_release(&r->numbers[i]);
	free(r->numbers);
	free(r);
}

const struct trace_header *trace_reader_header(const struct trace_reader *r)
{
	return &r->header;
}

const struct trace_defs *trace_reader_defs(const struct trace_reader *r)
{
	return &r->defs.defs;
}

const struct trace_end *trace_reader_end(const struct trace_reader *r)
{
	return r->ended ? &r->end : NULL;
}

const char *trace_reader_damage(const struct trace_reader *r)
{
	return r->damage.count ? r->damage.text : NULL;
}

uint64_t trace_reader_bytes(const struct trace_reader *r)
{
	return frame_reader_bytes(r->frames);
}

/* Whether the block is the next one or one after a gap, which is noted. A block that was seen
 * already must not be counted twice. */
static bool in_sequence(struct trace_reader *r, uint64_t sequence)
{
	uint64_t gap = sequence - r->next_sequence;

	if (sequence < r->next_sequence || gap > MAX_SEQUENCE_GAP) {
		trace_damage_note(&r->damage, "block %llu is out of order",
				  (unsigned long long)sequence);
		return false;
	}
	if (gap)
		trace_damage_note(&r->damage, "%llu block%s missing before block %llu",
				  (unsigned long long)gap, gap == 1 ? " is" : "s are",
				  (unsigned long long)sequence);
	r->next_sequence = sequence + 1;
	return true;
}

static int read_samples(struct trace_reader *r, const struct pack_block *from, struct err *err)
{
	const struct pack_samples *columns = &from->samples;
	uint32_t node = 0;

	if (columns->count > MAX_BLOCK_ROWS)
		return err_set(err, ERR_CORRUPT, "it has too many samples");
	r->samples = xgrow(r->samples, &r->sample_capacity, columns->count, sizeof(*r->samples));
	if (trace_columns_to_samples(&r->columns, columns, from->first_time_ns, r->header.tick_ns,
				     r->samples) < 0)
		return err_set(err, ERR_CORRUPT, "a time of a sample is out of range");
	for (size_t i = 0; i < columns->count; i++) {
		struct trace_sample *sample = &r->samples[i];

		if (trace_defs_need_thread(&r->defs, sample->thread, from->process, err) < 0)
			return -1;
		if (sample->pc >= r->defs.defs.pc_count)
			sample->pc = 0;
		if (sample->node > node)
			node = sample->node;
	}
	return trace_defs_need_node(&r->defs, node, err);
}

static int read_waits(struct trace_reader *r, const struct pack_block *from, struct err *err)
{
	const struct pack_waits *columns = &from->waits;
	uint32_t node = 0;

	if (columns->count > MAX_BLOCK_ROWS)
		return err_set(err, ERR_CORRUPT, "it has too many waits");
	r->waits = xgrow(r->waits, &r->wait_capacity, columns->count, sizeof(*r->waits));
	if (trace_columns_to_waits(&r->columns, columns, from->first_time_ns, r->header.tick_ns,
				   r->waits) < 0)
		return err_set(err, ERR_CORRUPT, "a time of a wait is out of range");
	for (size_t i = 0; i < columns->count; i++) {
		if (trace_defs_need_thread(&r->defs, r->waits[i].thread, from->process, err) < 0)
			return -1;
		if (r->waits[i].node > node)
			node = r->waits[i].node;
	}
	return trace_defs_need_node(&r->defs, node, err);
}

static int read_losses(struct trace_reader *r, const struct pack_block *from, struct err *err)
{
	r->losses = xgrow(r->losses, &r->loss_capacity, from->loss_count, sizeof(*r->losses));
	for (size_t i = 0; i < from->loss_count; i++) {
		r->losses[i] = from->losses[i];
		if (from->losses[i].thread != TRACE_NONE &&
		    trace_defs_need_thread(&r->defs, from->losses[i].thread, from->process, err) <
			    0)
			return -1;
	}
	return 0;
}

/* A thread by its id, or TRACE_NONE. */
static int need_thread(struct trace_reader *r, uint32_t thread, uint32_t process, struct err *err)
{
	if (thread == TRACE_NONE)
		return 0;
	return trace_defs_need_thread(&r->defs, thread, process, err);
}

static struct trace_heap_numbers *numbers_of(struct trace_reader *r, uint32_t process)
{
	size_t need = (size_t)process + 1;

	if (need > r->number_count) {
		r->numbers = xgrow(r->numbers, &r->number_capacity, need, sizeof(*r->numbers));
		memset(r->numbers + r->number_count, 0,
		       (need - r->number_count) * sizeof(*r->numbers));
		r->number_count = need;
	}
	return &r->numbers[process];
}

static int read_heap(struct trace_reader *r, const struct pack_block *from,
		     struct trace_block *block, struct err *err)
{
	const struct pack_heap *columns = &from->heap;
	uint32_t node = 0;

	if (!columns->count)
		return 0;
	if (columns->count > MAX_BLOCK_ROWS || columns->site_count > MAX_BLOCK_ROWS)
		return err_set(err, ERR_CORRUPT, "it has too many heap events");
	for (size_t i = 0; i < columns->thread_runs; i++) {
		if (need_thread(r, columns->thread[i] - 1, from->process, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < columns->site_count; i++) {
		if (columns->site_node[i] > node)
			node = columns->site_node[i];
	}
	if (trace_defs_need_node(&r->defs, node, err) < 0)
		return -1;
	r->heap = xgrow(r->heap, &r->heap_capacity, columns->count, sizeof(*r->heap));
	block->heap = r->heap;
	return trace_heap_from_columns(columns, from->first_time_ns, r->header.tick_ns,
				       numbers_of(r, from->process), &r->unpacked, r->heap,
				       &block->heap_count, err);
}

static int read_copies(struct trace_reader *r, const struct pack_block *from, struct err *err)
{
	const struct pack_copies *columns = &from->copies;
	uint32_t node = 0;

	if (columns->count > MAX_BLOCK_ROWS)
		return err_set(err, ERR_CORRUPT, "it has too many copies");
	r->copies = xgrow(r->copies, &r->copy_capacity, columns->count, sizeof(*r->copies));
	if (trace_columns_to_copies(columns, from->first_time_ns, r->header.tick_ns, r->copies) < 0)
		return err_set(err, ERR_CORRUPT, "a time of a copy is out of range");
	for (size_t i = 0; i < columns->count; i++) {
		if (need_thread(r, r->copies[i].thread, from->process, err) < 0)
			return -1;
		if (r->copies[i].node > node)
			node = r->copies[i].node;
	}
	return trace_defs_need_node(&r->defs, node, err);
}

static int read_footprints(struct trace_reader *r, const struct pack_block *from, struct err *err)
{
	const struct pack_footprints *columns = &from->footprints;

	if (columns->count > MAX_BLOCK_ROWS)
		return err_set(err, ERR_CORRUPT, "it has too many footprints");
	r->footprints = xgrow(r->footprints, &r->footprint_capacity, columns->count,
			      sizeof(*r->footprints));
	if (trace_columns_to_footprints(columns, from->first_time_ns, r->header.tick_ns,
					r->footprints) < 0)
		return err_set(err, ERR_CORRUPT, "a footprint is out of range");
	return 0;
}

static int read_marks(struct trace_reader *r, const struct pack_block *from, struct err *err)
{
	if (from->mark_count > MAX_BLOCK_ROWS)
		return err_set(err, ERR_CORRUPT, "it has too many marks");
	r->marks = xgrow(r->marks, &r->mark_capacity, from->mark_count, sizeof(*r->marks));
	for (size_t i = 0; i < from->mark_count; i++) {
		struct trace_mark *mark = &r->marks[i];

		*mark = from->marks[i];
		mark->label.data = arena_copy(&r->unpacked, mark->label.data, mark->label.size);
		if (!mark->label.data)
			return err_set(err, ERR_CORRUPT, "it does not fit into memory");
	}
	return 0;
}

static int read_block(struct trace_reader *r, const struct pack_block *from,
		      struct trace_block *block, struct err *err)
{
	bool events = from->process != TRACE_NONE;

	*block = (struct trace_block){.sequence = from->sequence, .process = from->process};
	if (trace_defs_add(&r->defs, from, err) < 0)
		return -1;
	if (!events)
		return 0;
	if (trace_defs_need_process(&r->defs, from->process, err) < 0 ||
	    read_samples(r, from, err) < 0 || read_waits(r, from, err) < 0 ||
	    read_losses(r, from, err) < 0 || read_copies(r, from, err) < 0 ||
	    read_footprints(r, from, err) < 0 || read_marks(r, from, err) < 0 ||
	    read_heap(r, from, block, err) < 0)
		return -1;
	block->first_time_ns = from->first_time_ns;
	block->last_time_ns = from->last_time_ns;
	block->samples = r->samples;
	block->sample_count = from->samples.count;
	block->waits = r->waits;
	block->wait_count = from->waits.count;
	block->losses = r->losses;
	block->loss_count = from->loss_count;
	block->copies = r->copies;
	block->copy_count = from->copies.count;
	block->footprints = r->footprints;
	block->footprint_count = from->footprints.count;
	block->marks = r->marks;
	block->mark_count = from->mark_count;
	return 0;
}

static bool has_events(const struct trace_block *block)
{
	return block->sample_count || block->wait_count || block->loss_count || block->heap_count ||
	       block->copy_count || block->footprint_count || block->mark_count;
}

int trace_reader_next(struct trace_reader *r, struct trace_block *block, struct err *err)
{
	struct pack_item item;
	struct err problem;
	int ret;

	while ((ret = next_item(r, &item, err)) == 1) {
		switch (item.kind) {
		case PACK_UNKNOWN:
			break;
		case PACK_HEADER:
			trace_damage_note(&r->damage,
					  "another trace follows at byte %llu: it is "
					  "not read",
					  (unsigned long long)r->frame.offset);
			r->at = NULL;
			r->frame = (struct trace_frame){0};
			return 0;
		case PACK_END:
			r->end = item.end;
			r->ended = true;
			break;
		case PACK_BLOCK:
			if (!in_sequence(r, item.block.sequence))
				break;
			if (read_block(r, &item.block, block, &problem) < 0) {
				trace_damage_note(&r->damage, "block %llu is damaged: %s",
						  (unsigned long long)item.block.sequence,
						  problem.text);
				break;
			}
			if (has_events(block))
				return 1;
			break;
		}
	}
	return ret;
}
