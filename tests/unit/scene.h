/* SPDX-License-Identifier: Apache-2.0
 *
 * A drain with one process whose shared memory is in the test's hands, and the trace that comes of
 * it, read back as one line of text. "+3:100p" is block 3 with 100 bytes of Python's, "-3" its end,
 * "~3:60" what is left of it.
 */
#ifndef SCPROF_SCENE_H
#define SCPROF_SCENE_H

#include "formats/base/buf.h"
#include "formats/trace_reader.h"
#include "formats/trace_writer.h"
#include "record/drain.h"
#include "record/lane.h"

#define SCENE_PAGE 4096u
#define SCENE_GENERATION 7u
#define SCENE_SECOND 1000000000ull
#define SCENE_TIMES 16
#define SCENE_LANES UINT64_MAX /* as a memory_rate: everything, with lanes */

/* One process that is recorded, its ring in our hands. */
struct scene {
	int fd;
	struct trace_writer *writer;
	struct drain *drain;
	struct drain_options options;
	struct target target;
	uint64_t now_ns;
	struct buf text; /* the heap events of the finished trace */
	struct buf data;
	struct trace_reader *reader;
	uint64_t losses[TRACE_LOSS_KINDS];
	uint64_t copies, marks, footprints;
	uint32_t last_thread, last_node;
	uint64_t last_time_ns;
	uint64_t mark_ns;               /* the last one's time */
	uint64_t times_ns[SCENE_TIMES]; /* of the first heap events */
	size_t events;
};

/* The process has four threads, in the first four slots. */
struct scene *scene_new(uint64_t memory_rate, bool forked);
void scene_free(struct scene *s);

/* Records for its ring, each a microsecond after the last one. */
void *scene_put(struct scene *s, uint16_t type, uint16_t slot, size_t size);
struct ring_heap *scene_heap(struct scene *s, uint16_t type, uint64_t address, uint64_t size,
			     uint32_t flags);
struct ring_release *scene_release(struct scene *s, uint16_t type, uint64_t address, uint64_t size);
void scene_remap(struct scene *s, uint64_t old, uint64_t old_size, uint64_t address, uint64_t size);

/* Ends the recording; returns the heap events. */
const char *scene_finish(struct scene *s);

#endif
