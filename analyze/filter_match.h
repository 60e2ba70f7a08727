/* SPDX-License-Identifier: Apache-2.0
 *
 * What the globs of a filter match. Each returns true when there are no globs, or when one of them
 * matches.
 */
#ifndef SCPROF_FILTER_MATCH_H
#define SCPROF_FILTER_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "util.py" matches the file's name, "src/m*.py" the end of a path from any folder on. */
bool filter_match_path(const char *const *globs, size_t count, const char *path);
/* Matches the qualified name or its last part: "run" finds Worker.run. */
bool filter_match_function(const char *const *globs, size_t count, const char *name);
bool filter_match_thread(const char *const *globs, size_t count, const char *name, int32_t tid);
bool filter_match_phase(const char *const *globs, size_t count, const char *label);
bool filter_match_process(const char *const *globs, size_t count, const char *command, int32_t pid);

#endif
