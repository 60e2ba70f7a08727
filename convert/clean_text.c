/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/clean_text.h"

#include <stdint.h>
#include <string.h>

#include "formats/base/json_write.h"

#define REPLACEMENT "\xef\xbf\xbd"

static uint32_t code_point(const uint8_t *at, size_t length)
{
	switch (length) {
	case 1:
		return at[0];
	case 2:
		return (uint32_t)(at[0] & 0x1f) << 6 | (at[1] & 0x3f);
	case 3:
		return (uint32_t)(at[0] & 0x0f) << 12 | (uint32_t)(at[1] & 0x3f) << 6 |
		       (at[2] & 0x3f);
	default:
		return (uint32_t)(at[0] & 0x07) << 18 | (uint32_t)(at[1] & 0x3f) << 12 |
		       (uint32_t)(at[2] & 0x3f) << 6 | (at[3] & 0x3f);
	}
}

/* Control characters, what ends a line elsewhere, text direction overrides (they would reorder the
 * rest of the line on screen), and U+FFFE and U+FFFF. */
static bool is_unfit(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || (c & 0xfffe) == 0xfffe;
}

static void add_clean(struct buf *b, const char *text, bool xml)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t left = strlen(text);

	while (left > 0) {
		size_t length = json_utf8_length(at, left);

		if (length == 0) {
			/* One mark for all bytes of a broken sequence, such as a lone surrogate. */
			length = 1;
			while (length < left && (at[length] & 0xc0) == 0x80)
				length++;
			buf_add_text(b, REPLACEMENT);
		} else if (*at == '\n' || *at == '\t' || *at == '\r') {
			buf_add_byte(b, ' ');
		} else if (is_unfit(code_point(at, length))) {
			buf_add_text(b, REPLACEMENT);
		} else if (xml && *at == '&') {
			buf_add_text(b, "&amp;");
		} else if (xml && *at == '<') {
			buf_add_text(b, "&lt;");
		} else if (xml && *at == '>') {
			buf_add_text(b, "&gt;");
		} else if (xml && *at == '"') {
			buf_add_text(b, "&quot;");
		} else if (xml && *at == '\'') {
			buf_add_text(b, "&#39;");
		} else {
			buf_add(b, at, length);
		}
		at += length;
		left -= length;
	}
}

void clean_text(struct buf *b, const char *text)
{
	add_clean(b, text, false);
}

void clean_text_xml(struct buf *b, const char *text)
{
	add_clean(b, text, true);
}

size_t clean_text_length(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}
