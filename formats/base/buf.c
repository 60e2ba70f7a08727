/* SPDX-License-Identifier: Apache-2.0
 *
 * A growable buffer of bytes, see buf.h.
 */
#include "formats/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

void buf_release(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void buf_clear(struct buf *b)
{
	b->size = 0;
}

uint8_t *buf_reserve(struct buf *b, size_t extra)
{
	size_t need = extra > SIZE_MAX - b->size ? SIZE_MAX : b->size + extra;

	b->data = xgrow(b->data, &b->capacity, need, 1);
	return b->data + b->size;
}

void buf_add(struct buf *b, const void *data, size_t size)
{
	if (!size)
		return;
	memcpy(buf_reserve(b, size), data, size);
	b->size += size;
}

void buf_add_byte(struct buf *b, uint8_t byte)
{
	*buf_reserve(b, 1) = byte;
	b->size++;
}

void buf_add_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vprintf(b, format, args);
	va_end(args);
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
	size_t room = 128;
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf((char *)buf_reserve(b, room), room, format, args);
	if (n >= 0 && (size_t)n >= room)
		n = vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, format, again);
	va_end(again);
	if (n > 0)
		b->size += (size_t)n;
}

void buf_add_varint(struct buf *b, uint64_t value)
{
	b->size += varint_write(buf_reserve(b, VARINT_MAX_BYTES), value);
}

const char *buf_text(struct buf *b)
{
	*buf_reserve(b, 1) = '\0';
	return (const char *)b->data;
}

size_t varint_write(uint8_t *to, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		to[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	to[n++] = (uint8_t)value;
	return n;
}

int varint_read(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	const uint8_t *p = *at;
	uint64_t result = 0;

	for (unsigned int shift = 0; shift < 64 && p < end; shift += 7) {
		uint8_t byte = *p++;

		if (shift == 63 && byte > 1)
			return -1;
		result |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*at = p;
			*value = result;
			return 0;
		}
	}
	return -1;
}
