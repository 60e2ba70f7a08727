/* SPDX-License-Identifier: Apache-2.0
 *
 * A growable buffer of bytes. A zeroed struct is an empty buffer.
 */
#ifndef SCPROF_BUF_H
#define SCPROF_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define VARINT_MAX_BYTES 10

struct buf {
	uint8_t *data; /* NULL while nothing was added */
	size_t size;
	size_t capacity;
};

void buf_release(struct buf *b);
/* Empties it but keeps the memory. */
void buf_clear(struct buf *b);
/* Room for extra more bytes: returns where they go; the caller adds to b->size what it used. */
uint8_t *buf_reserve(struct buf *b, size_t extra);
void buf_add(struct buf *b, const void *data, size_t size);
void buf_add_byte(struct buf *b, uint8_t byte);
void buf_add_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
/* Base-128, low bits first. */
void buf_add_varint(struct buf *b, uint64_t value);
/* The content as a C string, borrowed until the next change. */
const char *buf_text(struct buf *b);

/* Writes a varint into at least VARINT_MAX_BYTES bytes; returns the number used. */
size_t varint_write(uint8_t *to, uint64_t value);
/* Reads one from [*at, end) and moves *at behind it. Returns 0, or -1 when it is cut off or longer
 * than 64 bits; *at is then unchanged. */
int varint_read(const uint8_t **at, const uint8_t *end, uint64_t *value);

#endif
