/* SPDX-License-Identifier: Apache-2.0
 *
 * Globs against paths, functions, threads and processes.
 */
#include "analyze/filter_match.h"

#include <fnmatch.h>
#include <inttypes.h>

#include "formats/base/banned.h"

bool filter_match_path(const char *const *globs, size_t count, const char *path)
{
	for (size_t i = 0; i < count; i++) {
		const char *part = path;

		while (part) {
			if (fnmatch(globs[i], part, 0) == 0)
				return true;
			part = strchr(part, '/');
			if (part)
				part++;
		}
	}
	return count == 0;
}

bool filter_match_function(const char *const *globs, size_t count, const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; i < count; i++) {
		if (fnmatch(globs[i], name, 0) == 0)
			return true;
		if (dot && fnmatch(globs[i], dot + 1, 0) == 0)
			return true;
	}
	return count == 0;
}

static bool match_name_or_number(const char *const *globs, size_t count, const char *name,
				 int32_t number)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%" PRId32, number);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(globs[i], digits) == 0 || fnmatch(globs[i], name, 0) == 0)
			return true;
	}
	return count == 0;
}

bool filter_match_thread(const char *const *globs, size_t count, const char *name, int32_t tid)
{
	return match_name_or_number(globs, count, name, tid);
}

bool filter_match_phase(const char *const *globs, size_t count, const char *label)
{
	for (size_t i = 0; i < count; i++) {
		if (fnmatch(globs[i], label, 0) == 0)
			return true;
	}
	return count == 0;
}

bool filter_match_process(const char *const *globs, size_t count, const char *command, int32_t pid)
{
	return match_name_or_number(globs, count, command, pid);
}
