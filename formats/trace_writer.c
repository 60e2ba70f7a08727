/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes traces, see trace_writer.h. Definitions get their ids here (trace_intern.c); events are
 * turned into ticks when they arrive, in each thread's own order, and wait per process for the
 * next flush.
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
#include "formats/trace_columns.h"
#include "formats/trace_frame.h"
#include "formats/trace_index.h"
#include "formats/trace_intern.h"

#include "formats/base/banned.h"

#define MAX_BLOCK_ROWS ((size_t)65536)
#define MAX_BLOCK_DEFINITIONS ((size_t)4 * 1024 * 1024)
#define MAX_SOURCE_BYTES ((size_t)16 * 1024 * 1024)
#define MAX_BOUNDARIES 32

/* The events of one process that are not written yet. */
struct pending {
	struct trace_row *samples;
	size_t sample_count;
	size_t sample_capacity;
	struct trace_row *waits;
	size_t wait_count;
	size_t wait_capacity;
	struct trace_loss *losses; /* one place is kept free for write_lost */
	size_t loss_count;
	size_t loss_capacity;
	uint64_t write_lost; /* events dropped by failed flushes */
	uint64_t last_time_ns;
};

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
	struct pending *pending; /* by process index */
	size_t pending_count;
	size_t pending_capacity;
	struct trace_clock *clocks; /* by thread index */
	size_t clock_count;
	size_t clock_capacity;
	struct trace_columns columns;
	struct trace_row *scratch;
	size_t scratch_capacity;
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
	for (size_t i = 0; i < w->pending_count; i++) {
		free(w->pending[i].samples);
		free(w->pending[i].waits);
		free(w->pending[i].losses);
	}
	free(w->pending);
	free(w->clocks);
	free(w->scratch);
	free(w->index);
	trace_intern_release(&w->defs);
	trace_columns_release(&w->columns);
	buf_release(&w->content);
	buf_release(&w->frame);
	frame_writer_free(w->frames);
	free(w);
}

/* --- definitions --- */

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

static struct pending *pending_of(struct trace_writer *w, uint32_t process)
{
	size_t need = (size_t)process + 1;

	if (need > w->pending_count) {
		w->pending = xgrow(w->pending, &w->pending_capacity, need, sizeof(*w->pending));
		memset(w->pending + w->pending_count, 0,
		       (need - w->pending_count) * sizeof(*w->pending));
		w->pending_count = need;
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
	struct pending *p = pending_of(w, process);
	struct trace_row *row;

	p->samples = xgrow(p->samples, &p->sample_capacity, p->sample_count + 1, sizeof(*row));
	row = &p->samples[p->sample_count++];
	*row = (struct trace_row){
		.thread = sample->thread,
		.node = sample->node,
		.pc = sample->pc,
		.what = sample->flags,
	};
	trace_clock_add(clock_of(w, sample->thread), w->tick_ns, sample->time_ns, sample->wall_ns,
			sample->cpu_ns, row);
	p->last_time_ns = sample->time_ns;
	w->samples++;
}

void trace_writer_wait(struct trace_writer *w, uint32_t process, const struct trace_wait *wait)
{
	struct pending *p = pending_of(w, process);
	struct trace_row *row;

	p->waits = xgrow(p->waits, &p->wait_capacity, p->wait_count + 1, sizeof(*row));
	row = &p->waits[p->wait_count++];
	*row = (struct trace_row){
		.thread = wait->thread,
		.node = wait->node,
		.what = wait->kind,
	};
	trace_clock_add(clock_of(w, wait->thread), w->tick_ns, wait->time_ns, wait->wall_ns,
			wait->cpu_ns, row);
	p->last_time_ns = wait->time_ns;
}

void trace_writer_loss(struct trace_writer *w, const struct trace_loss *loss)
{
	struct pending *p = pending_of(w, loss->process);

	p->losses = xgrow(p->losses, &p->loss_capacity, p->loss_count + 2, sizeof(*p->losses));
	p->losses[p->loss_count++] = *loss;
	p->last_time_ns = loss->time_ns;
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

/* Writes some of a process's rows: as many as a block may have, cut at the same time in both. */
static int write_rows(struct trace_writer *w, uint32_t process, size_t *sample_at, size_t *wait_at,
		      struct err *err)
{
	struct pending *p = &w->pending[process];
	const struct trace_row *samples = p->sample_count ? p->samples + *sample_at : NULL;
	const struct trace_row *waits = p->wait_count ? p->waits + *wait_at : NULL;
	size_t n_samples = p->sample_count - *sample_at;
	size_t n_waits = p->wait_count - *wait_at;
	struct pack_block block = {.process = process};
	uint64_t first = UINT64_MAX;
	uint64_t last = 0;

	if (n_samples > MAX_BLOCK_ROWS) {
		n_samples = MAX_BLOCK_ROWS;
		while (n_waits && waits[n_waits - 1].time > samples[n_samples - 1].time)
			n_waits--;
	}
	if (n_waits > MAX_BLOCK_ROWS) {
		n_waits = MAX_BLOCK_ROWS;
		while (n_samples && samples[n_samples - 1].time > waits[n_waits - 1].time)
			n_samples--;
	}
	if (n_samples) {
		first = samples[0].time;
		last = samples[n_samples - 1].time;
	}
	if (n_waits) {
		first = waits[0].time < first ? waits[0].time : first;
		last = waits[n_waits - 1].time > last ? waits[n_waits - 1].time : last;
	}
	if (!*sample_at && !*wait_at) { /* the losses go with the first block */
		block.losses = p->losses;
		block.loss_count = p->loss_count;
		if (p->write_lost)
			p->losses[block.loss_count++] = (struct trace_loss){
				.kind = TRACE_LOSS_WRITE,
				.process = process,
				.thread = TRACE_NONE,
				.time_ns = p->last_time_ns,
				.count = p->write_lost,
			};
	}
	if (first == UINT64_MAX)
		first = last = p->last_time_ns / w->tick_ns;
	block.first_time_ns = first * w->tick_ns;
	block.last_time_ns = last * w->tick_ns;
	trace_columns_reset(&w->columns);
	if (n_samples)
		trace_columns_samples(&w->columns, samples, n_samples, first, &block.samples);
	if (n_waits)
		trace_columns_waits(&w->columns, waits, n_waits, first, &block.waits);
	if (write_block(w, &block, err) < 0)
		return -1;
	if (block.loss_count)
		p->write_lost = 0;
	*sample_at += n_samples;
	*wait_at += n_waits;
	return 0;
}

static int flush_process(struct trace_writer *w, uint32_t process, struct err *err)
{
	struct pending *p = &w->pending[process];
	size_t most = p->sample_count > p->wait_count ? p->sample_count : p->wait_count;
	size_t sample_at = 0;
	size_t wait_at = 0;
	int ret = 0;

	if (!most && !p->loss_count && !p->write_lost)
		return 0;
	p->losses = xgrow(p->losses, &p->loss_capacity, p->loss_count + 1, sizeof(*p->losses));
	w->scratch = xgrow(w->scratch, &w->scratch_capacity, most, sizeof(*w->scratch));
	trace_rows_sort(p->samples, p->sample_count, w->scratch);
	trace_rows_sort(p->waits, p->wait_count, w->scratch);
	do {
		ret = write_rows(w, process, &sample_at, &wait_at, err);
		if (ret == 0)
			p->loss_count = 0;
	} while (ret == 0 && (sample_at < p->sample_count || wait_at < p->wait_count));
	p->write_lost += p->sample_count - sample_at + p->wait_count - wait_at;
	p->sample_count = 0;
	p->wait_count = 0;
	return ret;
}

int trace_writer_flush(struct trace_writer *w, struct err *err)
{
	struct pack_block no_events = {.process = TRACE_NONE};
	int ret = 0;

	for (size_t i = 0; i < w->pending_count; i++) {
		/* After a failure the others' events are dropped as well: time goes on. */
		if (flush_process(w, (uint32_t)i, ret ? NULL : err) < 0)
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
