/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a trace. The writer hands out ids (strings, code objects, stack nodes, modules, pcs) and
 * remembers which of them the file does not hold yet: a flush writes one block per process that has
 * events, preceded by whatever those blocks are the first to use. The header is complete from the
 * first write on; after every flush the file is a valid trace without its index.
 *
 * Used by scprof-record and by every test that needs a trace.
 */
#ifndef SCPROF_TRACE_WRITER_H
#define SCPROF_TRACE_WRITER_H

#include "formats/base/err.h"
#include "formats/trace_event.h"

struct trace_writer;

/* Starts a trace on fd (a file, pipe or terminal-less stdout) and writes the header. Takes fd on
 * success only. level is zstd's compression level, 0 for the default; header->tick_ns 0 is the
 * default tick. */
struct trace_writer *trace_writer_open(int fd, const struct trace_header *header, int level,
				       struct err *err);

/* In which the times of events are written, rounded down. */
uint64_t trace_writer_tick_ns(const struct trace_writer *w);

/* Interning: each returns the id of the value in the whole trace. The values are copied. */
uint32_t trace_writer_string(struct trace_writer *w, const char *data, size_t size);
uint32_t trace_writer_code(struct trace_writer *w, const struct trace_code *code);
uint32_t trace_writer_node(struct trace_writer *w, uint32_t parent, uint32_t code, int32_t offset);
uint32_t trace_writer_module(struct trace_writer *w, const struct trace_module *module);
uint32_t trace_writer_pc(struct trace_writer *w, uint32_t module, uint64_t offset);

/* Definitions whose index the caller chooses, dense from 0. A thread may be defined again to give
 * it a name. */
void trace_writer_process(struct trace_writer *w, const struct trace_process *process);
void trace_writer_thread(struct trace_writer *w, const struct trace_thread *thread);

/* Events. Samples, waits and copies must come in order of time within each thread; the writer sorts
 * between threads. */
void trace_writer_sample(struct trace_writer *w, uint32_t process,
			 const struct trace_sample *sample);
void trace_writer_wait(struct trace_writer *w, uint32_t process, const struct trace_wait *wait);
/* Heap events must come in the order in which they happened in their process: an earlier time
 * counts as the one before. An ALLOC gets the next number of its process, which is returned;
 * event->block is only looked at otherwise, and the event dropped when there is no such block. */
uint64_t trace_writer_heap(struct trace_writer *w, uint32_t process,
			   const struct trace_heap *event);
void trace_writer_copy(struct trace_writer *w, uint32_t process, const struct trace_copy *copy);
/* Footprints must come in order of time, too. */
void trace_writer_footprint(struct trace_writer *w, uint32_t process,
			    const struct trace_footprint *footprint);
void trace_writer_mark(struct trace_writer *w, const struct trace_mark *mark);
void trace_writer_loss(struct trace_writer *w, const struct trace_loss *loss);
void trace_writer_refusal(struct trace_writer *w, const struct trace_refusal *refusal);
void trace_writer_process_end(struct trace_writer *w, const struct trace_process_end *end);
void trace_writer_symbol(struct trace_writer *w, const struct trace_symbol *symbol);
/* A file of more than 16 MiB is left out. */
void trace_writer_source(struct trace_writer *w, const struct trace_source *source);

/* Compresses and writes what is pending. On failure (a full disk) the pending events are dropped
 * and counted as TRACE_LOSS_WRITE in a later flush that succeeds; a half-written frame at the end
 * of a seekable file is cut off again. Returns 0 or -1. */
int trace_writer_flush(struct trace_writer *w, struct err *err);
/* Events that wait for a flush. A full recording takes some 50 bytes for each: flush at a million.
 */
size_t trace_writer_pending(const struct trace_writer *w);

/* Read access for the end of a recording: all pcs and strings and modules given out so far. */
size_t trace_writer_pc_count(const struct trace_writer *w);
struct trace_pc trace_writer_get_pc(const struct trace_writer *w, uint32_t id);
size_t trace_writer_module_count(const struct trace_writer *w);
struct trace_module trace_writer_get_module(const struct trace_writer *w, uint32_t id);
size_t trace_writer_code_count(const struct trace_writer *w);
struct trace_text trace_writer_code_filename(const struct trace_writer *w, uint32_t code);

uint64_t trace_writer_bytes(const struct trace_writer *w);   /* written so far */
uint64_t trace_writer_samples(const struct trace_writer *w); /* CPU samples taken so far */

/* Flushes, writes the End and the index; end->samples and blocks are the writer's own. The writer
 * stays allocated; free it with trace_writer_free, which closes the descriptor. Returns 0 or -1. */
int trace_writer_finish(struct trace_writer *w, const struct trace_end *end, struct err *err);
void trace_writer_free(struct trace_writer *w);

#endif
