/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of stacks that are no leaks, in LeakSanitizer's syntax: lines "leak:PATTERN"; "#" starts a
 * comment.
 */
#ifndef SCPROF_SUPPRESS_FILE_H
#define SCPROF_SUPPRESS_FILE_H

#include <stddef.h>

#include "formats/base/err.h"

struct suppress_file {
	char *text; /* the patterns point into it */
	const char **patterns;
	size_t count;
};

/* Returns 0, or -1 with a sentence that names the line. A zeroed struct is an empty one. */
int suppress_file_read(struct suppress_file *s, const char *path, struct err *err);
void suppress_file_release(struct suppress_file *s);

#endif
