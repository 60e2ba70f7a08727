/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks that are no leaks by the user's word: a pattern of LeakSanitizer's matches the name of a
 * function or the path of a file anywhere on them.
 */
#include <string.h>

#include "analyze/model_state.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* What is known of a function. */
enum { UNKNOWN, MATCHES, DIFFERS };

/* Where a part of a pattern without wildcards is in the text; NULL: nowhere. */
static const char *find_part(const char *text, const char *part, size_t size)
{
	return memmem(text, strlen(text), part, size);
}

/* A pattern is looked for anywhere in the text; "^" ties it to the start, "$" to the end, "*" is
 * anything. */
bool model_pattern_matches(const char *pattern, const char *text)
{
	bool tied = *pattern == '^';
	const char *at = text;

	if (tied)
		pattern++;
	while (*pattern) {
		size_t size = strcspn(pattern, "*$");
		bool last = pattern[size] == '$' && pattern[size + 1] == 0;

		if (pattern[size] == '$' && !last)
			size++; /* a dollar within is a letter */
		if (last) {
			size_t rest = strlen(at);

			return rest >= size && (!tied || rest == size) &&
			       memcmp(at + rest - size, pattern, size) == 0;
		}
		if (tied && strncmp(at, pattern, size) != 0)
			return false;
		if (!tied)
			at = find_part(at, pattern, size);
		if (!at)
			return false;
		at += size;
		pattern += size;
		tied = *pattern != '*';
		if (*pattern == '*')
			pattern++;
	}
	return true;
}

static bool function_matches(struct model *m, uint32_t function)
{
	const struct model_function *f = &m->functions[function];

	for (size_t i = 0; i < m->options.suppression_count; i++) {
		const char *pattern = m->options.suppressions[i];

		if (model_pattern_matches(pattern, f->name) ||
		    model_pattern_matches(pattern, m->files[f->file].path))
			return true;
	}
	return false;
}

bool model_suppressed(struct model *m, uint32_t node)
{
	if (m->options.suppression_count == 0)
		return false;
	for (; node; node = m->nodes[node].parent) {
		uint32_t function = m->nodes[node].function;

		if (function == MODEL_NO_ID)
			continue;
		if (function >= m->suppressed_count) {
			m->suppressed = xgrow(m->suppressed, &m->suppressed_capacity,
					      (size_t)function + 1, 1);
			memset(m->suppressed + m->suppressed_count, UNKNOWN,
			       function + 1 - m->suppressed_count);
			m->suppressed_count = (size_t)function + 1;
		}
		if (m->suppressed[function] == UNKNOWN)
			m->suppressed[function] = function_matches(m, function) ? MATCHES : DIFFERS;
		if (m->suppressed[function] == MATCHES)
			return true;
	}
	return false;
}
