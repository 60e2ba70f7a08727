/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes JSON to a stream as it goes. Commas, quoting and escaping are done here and nowhere else.
 * Errors stay in the stream: check ferror at the end.
 *
 *	json_begin_object(&j);
 *	json_key(&j, "name");
 *	json_text(&j, name);
 *	json_end_object(&j);
 */
#ifndef SCPROF_JSON_WRITE_H
#define SCPROF_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum json_flag {
	JSON_INDENT = 1 << 0, /* one value a line, for eyes */
	JSON_HTML = 1 << 1,   /* safe inside <script>: "<" is escaped */
};

struct json {
	FILE *to; /* borrowed */
	unsigned int flags;
	unsigned int depth;
	bool comma;     /* a value precedes in the same object or array */
	bool after_key; /* the next value belongs to a key */
};

void json_init(struct json *j, FILE *to, unsigned int flags);

void json_begin_object(struct json *j);
void json_end_object(struct json *j);
void json_begin_array(struct json *j);
void json_end_array(struct json *j);
void json_key(struct json *j, const char *key);

/* Invalid UTF-8 (surrogates included) becomes U+FFFD. */
void json_text(struct json *j, const char *text);
void json_bytes(struct json *j, const void *data, size_t size);
void json_uint(struct json *j, uint64_t value);
void json_int(struct json *j, int64_t value);
/* The shortest form that reads back as the same number; null when it is not finite. */
void json_double(struct json *j, double value);
void json_bool(struct json *j, bool value);
void json_null(struct json *j);

/* Key and value in one. */
void json_key_text(struct json *j, const char *key, const char *text);
void json_key_uint(struct json *j, const char *key, uint64_t value);
void json_key_int(struct json *j, const char *key, int64_t value);
void json_key_double(struct json *j, const char *key, double value);
void json_key_bool(struct json *j, const char *key, bool value);

/* Length of the valid UTF-8 sequence at the start of data, 0 when there is none. For other writers
 * that must not pass on broken text. */
size_t json_utf8_length(const void *data, size_t size);

#endif
