/* SPDX-License-Identifier: Apache-2.0
 *
 * zstd frames, see trace_frame.h. The extent of a frame is found by walking its block headers (RFC
 * 8878), so that a frame with damaged content can be stepped over; content is decoded only when the
 * whole frame is in memory, within the caps.
 */
#include "formats/trace_frame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define READ_STEP ((size_t)256 * 1024)
#define MAX_WINDOW_LOG 26
#define SKIPPABLE_MAGIC 0x184d2a50u /* the low four bits are free */
#define ZSTD_BLOCK_MAX (128u * 1024)
/* After damage every byte can look like a frame: so much is spent on looking. */
#define MAX_SEARCH_BYTES ((uint64_t)1 << 30)
#define BLOCK_HEADER_COST 16 /* reading one is worth so many bytes of decoding */
#define SMALL_CONTENT ((size_t)256 * 1024)
#define SMALL_LEVEL 12
#define LARGE_LEVEL 3

struct frame_reader {
	int fd;          /* -1: memory */
	struct buf held; /* what was read from fd; the frame at hand starts at start */
	const uint8_t *memory;
	size_t memory_size;
	size_t start;
	uint64_t offset; /* of start in the file */
	bool at_end;     /* nothing more to read */
	bool follow;     /* ... but perhaps later */
	uint64_t searched;
	ZSTD_DCtx *context;
	struct buf content;
};

void trace_damage_note(struct trace_damage *damage, const char *format, ...)
{
	va_list args;

	if (!damage->count) {
		va_start(args, format);
		vsnprintf(damage->first, sizeof(damage->first), format, args);
		va_end(args);
	}
	damage->count++;
	if (damage->count == 1)
		snprintf(damage->text, sizeof(damage->text), "%s", damage->first);
	else
		snprintf(damage->text, sizeof(damage->text), "%s (and %u more damaged places)",
			 damage->first, damage->count - 1);
}

struct frame_reader *frame_reader_new(int fd, const void *data, size_t size)
{
	struct frame_reader *r = xcalloc(1, sizeof(*r));

	r->fd = fd;
	r->memory = data;
	r->memory_size = size;
	r->at_end = fd < 0;
	r->context = ZSTD_createDCtx();
	if (!r->context)
		xalloc_die(0);
	ZSTD_DCtx_setParameter(r->context, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
	return r;
}

void frame_reader_free(struct frame_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	ZSTD_freeDCtx(r->context);
	buf_release(&r->held);
	buf_release(&r->content);
	free(r);
}

void frame_reader_follow(struct frame_reader *r)
{
	r->follow = true;
}

uint64_t frame_reader_bytes(const struct frame_reader *r)
{
	return r->offset;
}

static const uint8_t *frame_bytes(const struct frame_reader *r)
{
	return (r->fd < 0 ? r->memory : r->held.data) + r->start;
}

static size_t frame_available(const struct frame_reader *r)
{
	return (r->fd < 0 ? r->memory_size : r->held.size) - r->start;
}

/* Gets at least need bytes into memory, fewer only at the end of the file. */
static int fill(struct frame_reader *r, size_t need, struct err *err)
{
	while (!r->at_end && frame_available(r) < need) {
		size_t room;
		ssize_t got;

		if (r->start > READ_STEP && r->start >= r->held.size / 2) {
			memmove(r->held.data, r->held.data + r->start, r->held.size - r->start);
			r->held.size -= r->start;
			r->start = 0;
		}
		buf_reserve(&r->held, READ_STEP);
		room = r->held.capacity - r->held.size;
		got = read(r->fd, r->held.data + r->held.size, room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, "cannot read on after %llu bytes",
					 (unsigned long long)r->offset);
		r->held.size += (size_t)got;
		r->at_end = got == 0;
	}
	return 0;
}

static void consume(struct frame_reader *r, size_t size)
{
	r->start += size;
	r->offset += size;
}

int frame_reader_peek(struct frame_reader *r, size_t size, const uint8_t **data, size_t *got,
		      struct err *err)
{
	if (fill(r, size, err) < 0)
		return -1;
	*got = frame_available(r);
	*data = *got ? frame_bytes(r) : (const uint8_t *)"";
	return 0;
}

static uint32_t little_endian(const uint8_t *p, size_t size)
{
	uint32_t value = 0;

	for (size_t i = 0; i < size; i++)
		value |= (uint32_t)p[i] << (8 * i);
	return value;
}

enum extent { EXTENT_WHOLE, EXTENT_CUT, EXTENT_BAD };

/* Finds the size of the zstd frame at hand and gets all of it into memory; adds what that took to
 * *cost, in bytes. */
static int find_extent(struct frame_reader *r, enum extent *extent, size_t *size, uint64_t *cost,
		       struct err *err)
{
	static const uint8_t dictionary_bytes[] = {0, 1, 2, 4};
	static const uint8_t content_bytes[] = {0, 2, 4, 8};
	size_t at = 5;
	bool checksum;
	bool last = false;

	*extent = EXTENT_CUT;
	*size = 0;
	if (fill(r, at, err) < 0)
		return -1;
	if (frame_available(r) < at)
		return 0;
	uint8_t descriptor = frame_bytes(r)[4];

	*extent = EXTENT_BAD;
	if (descriptor & 0x08) /* reserved */
		return 0;
	checksum = descriptor & 0x04;
	at += !(descriptor & 0x20); /* window */
	at += dictionary_bytes[descriptor & 3];
	at += content_bytes[descriptor >> 6];
	at += !(descriptor >> 6) && (descriptor & 0x20);
	while (!last) {
		uint32_t header;
		uint32_t length;

		if (fill(r, at + 3, err) < 0)
			return -1;
		if (frame_available(r) < at + 3) {
			*extent = EXTENT_CUT;
			return 0;
		}
		*cost += BLOCK_HEADER_COST;
		header = little_endian(frame_bytes(r) + at, 3);
		last = header & 1;
		length = header >> 3;
		if ((header >> 1 & 3) == 3 || length > ZSTD_BLOCK_MAX)
			return 0;
		at += 3 + ((header >> 1 & 3) == 1 ? 1 : length);
		if (at > TRACE_MAX_FRAME_BYTES)
			return 0;
	}
	at += checksum ? 4 : 0;
	if (fill(r, at, err) < 0)
		return -1;
	*extent = frame_available(r) < at ? EXTENT_CUT : EXTENT_WHOLE;
	*size = at;
	return 0;
}

/* Decodes the frame at hand; grows the result step by step, so that a small file cannot ask for
 * much memory. Returns NULL, or what is wrong. */
static const char *decode(struct frame_reader *r, size_t size)
{
	ZSTD_inBuffer in = {frame_bytes(r), size, 0};
	unsigned long long promised = ZSTD_getFrameContentSize(in.src, in.size);
	size_t left;

	if (promised == ZSTD_CONTENTSIZE_ERROR)
		return "its frame header is damaged";
	if (promised != ZSTD_CONTENTSIZE_UNKNOWN && promised > TRACE_MAX_FRAME_BYTES)
		return "it is too large";
	buf_clear(&r->content);
	ZSTD_DCtx_reset(r->context, ZSTD_reset_session_only);
	if (promised <= SMALL_CONTENT) {
		buf_reserve(&r->content, promised + 1);
		left = ZSTD_decompressDCtx(r->context, r->content.data, r->content.capacity, in.src,
					   in.size);
		if (ZSTD_isError(left))
			return ZSTD_getErrorName(left);
		r->content.size = left;
		return NULL;
	}
	do {
		ZSTD_outBuffer out;
		size_t step = r->content.size < SMALL_CONTENT ? SMALL_CONTENT : r->content.size;

		buf_reserve(&r->content, step);
		out = (ZSTD_outBuffer){r->content.data, r->content.capacity, r->content.size};
		left = ZSTD_decompressStream(r->context, &out, &in);
		if (ZSTD_isError(left))
			return ZSTD_getErrorName(left);
		if (left && in.pos == in.size && out.pos == r->content.size)
			return "it ends too early";
		r->content.size = out.pos;
		if (r->content.size > TRACE_MAX_FRAME_BYTES)
			return "it is too large";
	} while (left);
	return NULL;
}

/* In a growing file: forgets what is there of an incomplete frame, so that the next look sees it as
 * it is then. A writer without disk space cuts off what it could not complete. */
static int look_later(struct frame_reader *r, struct err *err)
{
	struct stat status;

	r->at_end = false;
	if (fstat(r->fd, &status) || !S_ISREG(status.st_mode))
		return 0;
	if ((uint64_t)status.st_size < r->offset)
		return err_set(err, ERR_FAILED,
			       "the file was emptied or cut off: another recording writes to it");
	if (lseek(r->fd, (off_t)r->offset, SEEK_SET) < 0)
		return err_errno(err, "cannot read on after %llu bytes",
				 (unsigned long long)r->offset);
	r->held.size = r->start;
	return 0;
}

/* Gets a skippable frame into memory as far as it is there, and its size. One too large for that is
 * passed over at once. */
static int fill_skippable(struct frame_reader *r, size_t *size, struct err *err)
{
	uint64_t whole = 8 + (uint64_t)little_endian(frame_bytes(r) + 4, 4);

	*size = whole > TRACE_MAX_FRAME_BYTES ? 0 : (size_t)whole;
	return fill(r, *size, err);
}

/* Steps over a skippable frame whose 8 header bytes are in memory. */
static int skip(struct frame_reader *r, struct trace_damage *damage, struct err *err)
{
	uint64_t left = 8 + (uint64_t)little_endian(frame_bytes(r) + 4, 4);

	while (left) {
		size_t step;

		if (fill(r, 1, err) < 0)
			return -1;
		step = frame_available(r) < left ? frame_available(r) : (size_t)left;
		if (!step) {
			trace_damage_note(damage, "the index at the end is cut off");
			return 0;
		}
		consume(r, step);
		left -= step;
	}
	return 0;
}

/* Moves on to the next place that looks like the start of a zstd frame, at least one byte. */
static int search(struct frame_reader *r, struct err *err)
{
	size_t step = 1;

	for (;;) {
		const uint8_t *bytes;
		const uint8_t *found;
		size_t n;

		if (fill(r, step + 4, err) < 0)
			return -1;
		n = frame_available(r);
		if (n < step + 4) {
			consume(r, n);
			return 0;
		}
		bytes = frame_bytes(r);
		found = memchr(bytes + step, ZSTD_MAGICNUMBER & 0xff, n - step);
		if (!found) {
			consume(r, n);
			step = 0;
			continue;
		}
		consume(r, (size_t)(found - bytes));
		if (fill(r, 4, err) < 0)
			return -1;
		if (frame_available(r) >= 4 && little_endian(frame_bytes(r), 4) == ZSTD_MAGICNUMBER)
			return 0;
		step = 1;
	}
}

static bool frame_starts_at(struct frame_reader *r, size_t at, struct err *err)
{
	uint32_t magic;

	if (fill(r, at + 4, err) < 0 || frame_available(r) < at + 4)
		return false;
	magic = little_endian(frame_bytes(r) + at, 4);
	return magic == ZSTD_MAGICNUMBER || (magic & ~15u) == SKIPPABLE_MAGIC;
}

int frame_reader_next(struct frame_reader *r, struct trace_frame *frame,
		      struct trace_damage *damage, struct err *err)
{
	const char *cause = NULL; /* of the damage that is being stepped over */
	uint64_t damage_start = 0;

	for (;;) {
		const char *problem = "it is not a frame";
		uint32_t magic = 0;
		enum extent extent = EXTENT_BAD;
		uint64_t cost = 0;
		size_t size = 0;

		if (fill(r, 8, err) < 0)
			return -1;
		if (!frame_available(r) && !(r->follow && !cause))
			break;
		if (frame_available(r) >= 4)
			magic = little_endian(frame_bytes(r), 4);
		if (magic == ZSTD_MAGICNUMBER && find_extent(r, &extent, &size, &cost, err) < 0)
			return -1;
		if (r->follow && !cause && r->at_end &&
		    (frame_available(r) < 8 || extent == EXTENT_CUT))
			return look_later(r, err);
		if (frame_available(r) < 4 || extent == EXTENT_CUT) {
			problem = "cut";
		} else if (extent == EXTENT_WHOLE) {
			problem = decode(r, size);
			cost += r->content.size;
		} else if ((magic & ~15u) == SKIPPABLE_MAGIC && !cause && frame_available(r) >= 8) {
			if (r->follow && fill_skippable(r, &size, err) < 0)
				return -1;
			if (r->follow && frame_available(r) < size)
				return look_later(r, err);
			if (skip(r, damage, err) < 0)
				return -1;
			continue;
		}
		if (!problem) {
			*frame = (struct trace_frame){r->offset, size, r->content.data,
						      r->content.size};
			if (cause)
				trace_damage_note(damage,
						  "%llu bytes from byte %llu on are damaged (%s)",
						  (unsigned long long)(r->offset - damage_start),
						  (unsigned long long)damage_start,
						  strcmp(cause, "cut") ? cause : "cut short");
			consume(r, size);
			return 1;
		}
		if (cause)
			r->searched += cost + size;
		else
			damage_start = r->offset;
		cause = cause ? cause : problem;
		if (r->searched > MAX_SEARCH_BYTES) {
			trace_damage_note(damage, "too much is damaged: given up at byte %llu",
					  (unsigned long long)r->offset);
			return 0;
		}
		if (extent == EXTENT_WHOLE && frame_starts_at(r, size, err))
			consume(r, size);
		else if (search(r, err) < 0)
			return -1;
	}
	if (cause && !strcmp(cause, "cut"))
		trace_damage_note(damage, "the last block is cut off after %llu bytes",
				  (unsigned long long)(r->offset - damage_start));
	else if (cause)
		trace_damage_note(damage,
				  "the last %llu bytes, from byte %llu on, are damaged (%s)",
				  (unsigned long long)(r->offset - damage_start),
				  (unsigned long long)damage_start, cause);
	return r->follow ? look_later(r, err) : 0;
}

struct frame_writer {
	ZSTD_CCtx *context;
	int level;
};

struct frame_writer *frame_writer_new(int level)
{
	struct frame_writer *w = xcalloc(1, sizeof(*w));

	w->level = level;
	w->context = ZSTD_createCCtx();
	if (!w->context)
		xalloc_die(0);
	ZSTD_CCtx_setParameter(w->context, ZSTD_c_checksumFlag, 1);
	return w;
}

void frame_writer_free(struct frame_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->context);
	free(w);
}

/* Feeds a piece of the content and ends a zstd block, or the frame, behind it. */
static int compress_piece(struct frame_writer *w, const uint8_t *data, size_t size,
			  ZSTD_EndDirective directive, struct buf *out, struct err *err)
{
	ZSTD_inBuffer in = {data, size, 0};
	size_t left;

	do {
		ZSTD_outBuffer to;

		buf_reserve(out, size / 4 + 512);
		to = (ZSTD_outBuffer){out->data, out->capacity, out->size};
		left = ZSTD_compressStream2(w->context, &to, &in, directive);
		if (ZSTD_isError(left))
			return err_set(err, ERR_FAILED, "cannot compress: %s",
				       ZSTD_getErrorName(left));
		out->size = to.pos;
	} while (left);
	return 0;
}

int frame_writer_add(struct frame_writer *w, const struct buf *content, const size_t *boundaries,
		     size_t boundary_count, struct buf *out, struct err *err)
{
	const uint8_t *data = content->size ? content->data : (const uint8_t *)"";
	int level = w->level;
	size_t at = 0;

	if (!level)
		level = content->size <= SMALL_CONTENT ? SMALL_LEVEL : LARGE_LEVEL;
	ZSTD_CCtx_reset(w->context, ZSTD_reset_session_only);
	ZSTD_CCtx_setParameter(w->context, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setPledgedSrcSize(w->context, content->size);
	for (size_t i = 0; i < boundary_count; i++) {
		if (compress_piece(w, data + at, boundaries[i] - at, ZSTD_e_flush, out, err) < 0)
			return -1;
		at = boundaries[i];
	}
	return compress_piece(w, data + at, content->size - at, ZSTD_e_end, out, err);
}
