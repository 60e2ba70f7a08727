/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes traces, see trace_writer.h. Definitions get their ids here (trace_intern.c); events are
 * turned into ticks when they arrive, in each thread's own order, and wait per process for the
 * next flush (trace_pending.c).
 */
#include "formats/trace_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/io.h"
#include "formats/base/xalloc.h"
#include "formats/trace_frame.h"
#include "formats/trace_index.h"
#include "formats/trace_intern.h"
#include "formats/trace_pending.h"

#include "formats/base/banned.h"

#define MAX_BLOCK_DEFINITIONS ((size_t)4 * 1024 * 1024)
#define MAX_SOURCE_BYTES ((size_t)16 * 1024 * 1024)
#define MAX_BOUNDARIES 64

struct trace_writer {
	int fd;
	bool seekable;
	off_t base; /* the file's position when the trace began */
	uint64_t bytes;
	uint64_t tick_ns;
	uint64_t samples; /* taken */
	uint64_t samples_written;
	uint64_t sequence;
	struct frame_writer *frames;
	struct trace_intern defs;
	struct trace_pending *pending; /* by process index */
	size_t pending_count;
	size_t pending_capacity;
	struct trace_clock *clocks; /* by thread index */
	size_t clock_count;
	size_t clock_capacity;
	struct trace_columns columns;
	struct trace_rows scratch;
	struct buf content;
	struct buf frame;
	struct pack_index_entry *index;
	size_t index_count;
	size_t index_capacity;
};

/* Writes what is in w->frame. What a failed write left of it is cut off again. */
static int write_frame(struct trace_writer *w, struct err *err)
{
	if (io_write_all(w->fd, w->frame.data, w->frame.size) == 0) {
		w->bytes += w->frame.size;
		return 0;
	}
	err_errno(err, "cannot write the trace");
	if (w->seekable && ftruncate(w->fd, w->base + (off_t)w->bytes) == 0)
		lseek(w->fd, w->base + (off_t)w->bytes, SEEK_SET);
	return -1;
}

/* Compresses w->content into w->frame. */
static int make_frame(struct trace_writer *w, struct err *err)
{
	size_t boundaries[MAX_BOUNDARIES];
	size_t count =
		pack_boundaries(w->content.data, w->content.size, boundaries, MAX_BOUNDARIES);

	buf_clear(&w->frame);
	return frame_writer_add(w->frames, &w->content, boundaries, count, &w->frame, err);
}

struct trace_writer *trace_writer_open(int fd, const struct trace_header *header, int level,
				       struct err *err)
{
	struct trace_header h = *header;
	struct trace_writer *w = NULL;
	struct stat status;

	h.version = TRACE_VERSION;
	if (!h.tick_ns)
		h.tick_ns = TRACE_DEFAULT_TICK_NS;
	if (h.tick_ns > TRACE_MAX_TICK_NS) {
		err_set(err, ERR_USAGE, "a tick of %llu ns is longer than a second",
			(unsigned long long)h.tick_ns);
		return NULL;
	}
	w = xcalloc(1, sizeof(*w));
	w->fd = -1;
	w->tick_ns = h.tick_ns;
	w->frames = frame_writer_new(level);
	trace_intern_init(&w->defs);
	pack_header(&h, &w->content);
	if (make_frame(w, err) < 0)
		goto fail;
	w->base = lseek(fd, 0, SEEK_CUR);
	w->seekable = w->base >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
		      !(fcntl(fd, F_GETFL) & O_APPEND);
	w->fd = fd;
	if (write_frame(w, err) < 0) {
		w->fd = -1; /* the caller's again */
		goto fail;
	}
	return w;
fail:
	trace_writer_free(w);
	return NULL;
}

void trace_writer_free(struct trace_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	for (size_t i = 0; i < w->pending_count; i++)
		trace_pending_release(&w->pending[i]);
	free(w->pending);
	free(w->clocks);
	free(w->scratch.rows);
	free(w->index);
	trace_intern_release(&w->defs);
	trace_columns_release(&w->columns);
	buf_release(&w->content);
	buf_release(&w->frame);
	frame_writer_free(w->frames);
	free(w);
}

/* --- definitions --- */

uint64_t trace_writer_tick_ns(const struct trace_writer *w)
{
	return w->tick_ns;
}

uint32_t trace_writer_string(struct trace_writer *w, const char *data, size_t size)
{
	return trace_intern_string(&w->defs, data, size);
}

uint32_t trace_writer_code(struct trace_writer *w, const struct trace_code *code)
{
	return trace_intern_code(&w->defs, code);
}

uint32_t trace_writer_node(struct trace_writer *w, uint32_t parent, uint32_t code, int32_t offset)
{
	return trace_intern_node(&w->defs, parent, code, offset);
}

uint32_t trace_writer_module(struct trace_writer *w, const struct trace_module *module)
{
	return trace_intern_module(&w->defs, module);
}

uint32_t trace_writer_pc(struct trace_writer *w, uint32_t module, uint64_t offset)
{
	return trace_intern_pc(&w->defs, module, offset);
}

void trace_writer_process(struct trace_writer *w, const struct trace_process *process)
{
	trace_intern_process(&w->defs, process);
}

void trace_writer_thread(struct trace_writer *w, const struct trace_thread *thread)
{
	trace_intern_thread(&w->defs, thread);
}

void trace_writer_refusal(struct trace_writer *w, const struct trace_refusal *refusal)
{
	trace_intern_refusal(&w->defs, refusal);
}

void trace_writer_process_end(struct trace_writer *w, const struct trace_process_end *end)
{
	trace_intern_process_end(&w->defs, end);
}

void trace_writer_symbol(struct trace_writer *w, const struct trace_symbol *symbol)
{
	trace_intern_symbol(&w->defs, symbol);
}

void trace_writer_source(struct trace_writer *w, const struct trace_source *source)
{
	if (source->path.size + source->text.size <= MAX_SOURCE_BYTES)
		trace_intern_source(&w->defs, source);
}

size_t trace_writer_pc_count(const struct trace_writer *w)
{
	return w->defs.pc_count;
}

struct trace_pc trace_writer_get_pc(const struct trace_writer *w, uint32_t id)
{
	return w->defs.pcs[id];
}

size_t trace_writer_module_count(const struct trace_writer *w)
{
	return w->defs.module_count;
}

struct trace_module trace_writer_get_module(const struct trace_writer *w, uint32_t id)
{
	return w->defs.modules[id];
}

size_t trace_writer_code_count(const struct trace_writer *w)
{
	return w->defs.code_count;
}

struct trace_text trace_writer_code_filename(const struct trace_writer *w, uint32_t code)
{
	struct trace_text text;

	text.data = intern_get(&w->defs.strings, w->defs.codes[code].filename, &text.size);
	return text;
}

uint64_t trace_writer_bytes(const struct trace_writer *w)
{
	return w->bytes;
}

uint64_t trace_writer_samples(const struct trace_writer *w)
{
	return w->samples;
}

/* --- events --- */

static struct trace_pending *pending_of(struct trace_writer *w, uint32_t process)
{
	size_t need = (size_t)process + 1;

	if (need > w->pending_count) {
		w->pending = xgrow(w->pending, &w->pending_capacity, need, sizeof(*w->pending));
		while (w->pending_count < need) {
			w->pending[w->pending_count] =
				(struct trace_pending){.process = (uint32_t)w->pending_count};
			w->pending_count++;
		}
	}
	return &w->pending[process];
}

static struct trace_clock *clock_of(struct trace_writer *w, uint32_t thread)
{
	size_t need = (size_t)thread + 1;

	if (need > w->clock_count) {
		w->clocks = xgrow(w->clocks, &w->clock_capacity, need, sizeof(*w->clocks));
		memset(w->clocks + w->clock_count, 0, (need - w->clock_count) * sizeof(*w->clocks));
		w->clock_count = need;
	}
	return &w->clocks[thread];
}

void trace_writer_sample(struct trace_writer *w, uint32_t process,
			 const struct trace_sample *sample)
{
	struct trace_row row = {
		.thread = sample->thread,
		.node = sample->node,
		.pc = sample->pc,
		.what = sample->flags,
	};

	trace_clock_add(clock_of(w, sample->thread), w->tick_ns, sample->time_ns, sample->wall_ns,
			sample->cpu_ns, sample->ready_ns, &row);
	trace_pending_row(pending_of(w, process), TRACE_PENDING_SAMPLES, &row, sample->time_ns);
	w->samples++;
}

void trace_writer_wait(struct trace_writer *w, uint32_t process, const struct trace_wait *wait)
{
	struct trace_row row = {
		.thread = wait->thread,
		.node = wait->node,
		.what = wait->kind,
	};

	trace_clock_add(clock_of(w, wait->thread), w->tick_ns, wait->time_ns, wait->wall_ns,
			wait->cpu_ns, wait->ready_ns, &row);
	trace_pending_row(pending_of(w, process), TRACE_PENDING_WAITS, &row, wait->time_ns);
}

void trace_writer_copy(struct trace_writer *w, uint32_t process, const struct trace_copy *copy)
{
	const struct trace_row row = {
		.time = copy->time_ns / w->tick_ns,
		.size = copy->size,
		.thread = copy->thread,
		.node = copy->node,
		.kind = copy->kind,
		.what = copy->flags,
	};

	trace_pending_row(pending_of(w, process), TRACE_PENDING_COPIES, &row, copy->time_ns);
}

uint64_t trace_writer_heap(struct trace_writer *w, uint32_t process, const struct trace_heap *event)
{
	return trace_pending_heap(pending_of(w, process), event);
}

void trace_writer_footprint(struct trace_writer *w, uint32_t process,
			    const struct trace_footprint *footprint)
{
	trace_pending_footprint(pending_of(w, process), footprint);
}

void trace_writer_mark(struct trace_writer *w, const struct trace_mark *mark)
{
	trace_pending_mark(pending_of(w, mark->process), mark);
}

void trace_writer_loss(struct trace_writer *w, const struct trace_loss *loss)
{
	trace_pending_loss(pending_of(w, loss->process), loss);
}

size_t trace_writer_pending(const struct trace_writer *w)
{
	size_t count = 0;

	for (size_t i = 0; i < w->pending_count; i++)
		count += trace_pending_count(&w->pending[i]);
	return count;
}

/* --- blocks --- */

static void add_index_entry(struct trace_writer *w, const struct pack_block *block)
{
	w->index = xgrow(w->index, &w->index_capacity, w->index_count + 1, sizeof(*w->index));
	w->index[w->index_count++] = (struct pack_index_entry){
		.offset = w->bytes - w->frame.size,
		.size = w->frame.size,
		.first_time_ns = block->first_time_ns,
		.last_time_ns = block->last_time_ns,
		.process = block->process,
		.kinds = trace_index_kinds(block),
	};
}

/* Writes one block together with the definitions that the file lacks. When these are many, blocks
 * with definitions alone go first. */
static int write_block(struct trace_writer *w, struct pack_block *events, struct err *err)
{
	bool more = true;

	while (more) {
		struct pack_block block = {.process = TRACE_NONE};

		more = trace_intern_take(&w->defs, MAX_BLOCK_DEFINITIONS, &block);
		if (!more) {
			block.process = events->process;
			block.first_time_ns = events->first_time_ns;
			block.last_time_ns = events->last_time_ns;
			block.samples = events->samples;
			block.waits = events->waits;
			block.losses = events->losses;
			block.loss_count = events->loss_count;
			block.heap = events->heap;
			block.copies = events->copies;
			block.footprints = events->footprints;
			block.marks = events->marks;
			block.mark_count = events->mark_count;
		}
		block.sequence = w->sequence;
		buf_clear(&w->content);
		pack_block(&block, &w->content);
		if (make_frame(w, err) < 0 || write_frame(w, err) < 0)
			return -1;
		trace_intern_written(&w->defs, &block);
		add_index_entry(w, &block);
		w->samples_written += block.samples.count;
		w->sequence++;
	}
	return 0;
}

static int flush_process(struct trace_writer *w, struct trace_pending *p, struct err *err)
{
	struct pack_block block;
	int ret = 0;

	trace_pending_sort(p, &w->scratch);
	while (ret == 0 && trace_pending_take(p, &w->columns, w->tick_ns, &block)) {
		ret = write_block(w, &block, err);
		if (ret == 0)
			trace_pending_written(p);
	}
	trace_pending_end(p);
	return ret;
}

int trace_writer_flush(struct trace_writer *w, struct err *err)
{
	struct pack_block no_events = {.process = TRACE_NONE};
	int ret = 0;

	for (size_t i = 0; i < w->pending_count; i++) {
		/* After a failure the others' events are dropped as well: time goes on. */
		if (flush_process(w, &w->pending[i], ret ? NULL : err) < 0)
			ret = -1;
	}
	if (ret == 0 && trace_intern_pending(&w->defs))
		ret = write_block(w, &no_events, err);
	return ret;
}

int trace_writer_finish(struct trace_writer *w, const struct trace_end *end, struct err *err)
{
	struct trace_end last = *end;
	int ret = trace_writer_flush(w, err);

	last.samples = w->samples_written;
	last.blocks = w->sequence;
	buf_clear(&w->content);
	pack_end(&last, &w->content);
	if (make_frame(w, ret ? NULL : err) < 0)
		return -1;
	trace_index_write(w->index, w->index_count, &w->frame);
	if (write_frame(w, ret ? NULL : err) < 0)
		return -1;
	return ret;
}
