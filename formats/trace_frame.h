/* SPDX-License-Identifier: Apache-2.0
 *
 * The zstd frames of a trace: making one, finding and decoding the next one in a file, pipe or
 * piece of memory. Damage is skipped and noted: reading goes on at the next frame that decodes.
 */
#ifndef SCPROF_TRACE_FRAME_H
#define SCPROF_TRACE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/buf.h"
#include "formats/base/err.h"

/* A frame is no larger than this, neither compressed nor decompressed. */
#define TRACE_MAX_FRAME_BYTES ((size_t)64 * 1024 * 1024)

/* What is known to be missing: the first sentence and how many more there were. */
struct trace_damage {
	unsigned int count;
	char first[256];
	char text[320];
};

void trace_damage_note(struct trace_damage *damage, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

struct trace_frame {
	uint64_t offset;     /* in the file */
	size_t size;         /* compressed */
	const uint8_t *data; /* decompressed content, borrowed until the next frame */
	size_t data_size;
};

struct frame_reader;

/* Reads from fd, which is taken; with fd < 0 from data, which is borrowed. */
struct frame_reader *frame_reader_new(int fd, const void *data, size_t size);
void frame_reader_free(struct frame_reader *r);
/* The file may be growing: an incomplete frame at its end is no damage but something that is not
 * there yet. */
void frame_reader_follow(struct frame_reader *r);
/* 1 and *frame, 0 at the end, -1 on a system error. Skippable frames are passed over. */
int frame_reader_next(struct frame_reader *r, struct trace_frame *frame,
		      struct trace_damage *damage, struct err *err);
/* The first up to size bytes of what is not read yet; -1 on a system error. */
int frame_reader_peek(struct frame_reader *r, size_t size, const uint8_t **data, size_t *got,
		      struct err *err);
uint64_t frame_reader_bytes(const struct frame_reader *r);

struct frame_writer;

/* level 0: a strong one for small frames, a fast one for large. */
struct frame_writer *frame_writer_new(int level);
void frame_writer_free(struct frame_writer *w);
/* Adds one frame with the content to out; boundaries are offsets at which the content changes its
 * nature, in rising order. Returns 0 or -1. */
int frame_writer_add(struct frame_writer *w, const struct buf *content, const size_t *boundaries,
		     size_t boundary_count, struct buf *out, struct err *err);

#endif
