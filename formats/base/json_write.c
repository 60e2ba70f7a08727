/* SPDX-License-Identifier: Apache-2.0
 *
 * A streaming JSON writer, see json_write.h.
 */
#include "formats/base/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"

void json_init(struct json *j, FILE *to, unsigned int flags)
{
	*j = (struct json){.to = to, .flags = flags};
}

static void json_new_line(struct json *j)
{
	if (!(j->flags & JSON_INDENT))
		return;
	fputc('\n', j->to);
	for (unsigned int i = 0; i < j->depth; i++)
		fputc('\t', j->to);
}

/* What stands between the last value and the next. */
static void json_before_value(struct json *j)
{
	if (j->after_key) {
		j->after_key = false;
		return;
	}
	if (j->comma)
		fputc(',', j->to);
	if (j->depth)
		json_new_line(j);
	j->comma = true;
}

static void json_begin(struct json *j, char bracket)
{
	json_before_value(j);
	fputc(bracket, j->to);
	j->depth++;
	j->comma = false;
}

static void json_end(struct json *j, char bracket)
{
	j->depth--;
	if (j->comma)
		json_new_line(j);
	fputc(bracket, j->to);
	j->comma = true;
	if (!j->depth && (j->flags & JSON_INDENT))
		fputc('\n', j->to);
}

void json_begin_object(struct json *j)
{
	json_begin(j, '{');
}

void json_end_object(struct json *j)
{
	json_end(j, '}');
}

void json_begin_array(struct json *j)
{
	json_begin(j, '[');
}

void json_end_array(struct json *j)
{
	json_end(j, ']');
}

size_t json_utf8_length(const void *data, size_t size)
{
	const unsigned char *p = data;
	unsigned int low = 0x80;
	unsigned int high = 0xbf;
	size_t n;

	if (!size)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	/* The second byte shuts out overlong forms, surrogates and what is past U+10FFFF. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (size < n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

static void json_escaped(struct json *j, unsigned char c)
{
	static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";

	for (size_t i = 0; i + 1 < sizeof(letters); i += 2) {
		if (letters[i] == (char)c) {
			fputc('\\', j->to);
			fputc(letters[i + 1], j->to);
			return;
		}
	}
	fprintf(j->to, "\\u%04x", c);
}

static void json_quoted(struct json *j, const unsigned char *p, size_t size)
{
	size_t plain = 0; /* bytes that go out as they are */

	fputc('"', j->to);
	while (plain < size) {
		unsigned char c = p[plain];
		size_t n = 1;

		if (c >= 0x80) {
			n = json_utf8_length(p + plain, size - plain);
			/* U+2028 and U+2029 end a line in JavaScript. */
			if (n == 3 && c == 0xe2 && p[plain + 1] == 0x80 &&
			    (p[plain + 2] & 0xfe) == 0xa8 && (j->flags & JSON_HTML)) {
				fwrite(p, 1, plain, j->to);
				fprintf(j->to, "\\u20%02x", p[plain + 2] - 0x80);
			} else if (n) {
				plain += n;
				continue;
			} else {
				n = 1;
				fwrite(p, 1, plain, j->to);
				fputs("\xef\xbf\xbd", j->to);
			}
		} else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f ||
			   (c == '<' && (j->flags & JSON_HTML))) {
			fwrite(p, 1, plain, j->to);
			json_escaped(j, c);
		} else {
			plain++;
			continue;
		}
		p += plain + n;
		size -= plain + n;
		plain = 0;
	}
	fwrite(p, 1, plain, j->to);
	fputc('"', j->to);
}

void json_key(struct json *j, const char *key)
{
	json_before_value(j);
	json_quoted(j, (const unsigned char *)key, strlen(key));
	fputs(j->flags & JSON_INDENT ? ": " : ":", j->to);
	j->after_key = true;
}

void json_text(struct json *j, const char *text)
{
	json_bytes(j, text, strlen(text));
}

void json_bytes(struct json *j, const void *data, size_t size)
{
	json_before_value(j);
	json_quoted(j, data, size);
}

void json_uint(struct json *j, uint64_t value)
{
	json_before_value(j);
	fprintf(j->to, "%" PRIu64, value);
}

void json_int(struct json *j, int64_t value)
{
	json_before_value(j);
	fprintf(j->to, "%" PRId64, value);
}

void json_double(struct json *j, double value)
{
	char text[40];

	if (!isfinite(value)) {
		json_null(j);
		return;
	}
	json_before_value(j);
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	fputs(text, j->to);
}

void json_bool(struct json *j, bool value)
{
	json_before_value(j);
	fputs(value ? "true" : "false", j->to);
}

void json_null(struct json *j)
{
	json_before_value(j);
	fputs("null", j->to);
}

void json_key_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_text(j, text);
}

void json_key_uint(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_uint(j, value);
}

void json_key_int(struct json *j, const char *key, int64_t value)
{
	json_key(j, key);
	json_int(j, value);
}

void json_key_double(struct json *j, const char *key, double value)
{
	json_key(j, key);
	json_double(j, value);
}

void json_key_bool(struct json *j, const char *key, bool value)
{
	json_key(j, key);
	json_bool(j, value);
}
