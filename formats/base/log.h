/* SPDX-License-Identifier: Apache-2.0
 *
 * What a tool says to its user, on stderr: "tool: message", lower case, without a full stop. Only
 * the tools' own files and what they wire up call it; library code returns a struct err.
 */
#ifndef SCPROF_LOG_H
#define SCPROF_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_QUIET = -1,  /* errors only (-q) */
	LOG_NORMAL = 0,  /* and warnings and what the user should know */
	LOG_VERBOSE = 1, /* and progress (-v) */
	LOG_DEBUG = 2,   /* and how it came about (-vv) */
};

/* Sets the name in front of each message and the level. tool is borrowed for ever. */
void log_init(const char *tool, enum log_level level);
bool log_shows(enum log_level level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
