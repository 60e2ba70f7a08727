/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages to the user, see log.h. The tool's name and level are the process's own and set once, so
 * they are the one piece of state outside a struct that is passed down. A message is one write, so
 * that lines of threads and of the profiled program do not mix.
 */
#include "formats/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/io.h"

#include "formats/base/banned.h"

static struct {
	const char *tool;
	enum log_level level;
} state = {"scprof", LOG_NORMAL};

void log_init(const char *tool, enum log_level level)
{
	state.tool = tool;
	state.level = level;
}

bool log_shows(enum log_level level)
{
	return state.level >= level;
}

static void log_message(enum log_level level, const char *kind, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

static void log_message(enum log_level level, const char *kind, const char *format, va_list args)
{
	int saved = errno;
	char text[2048];
	size_t n;

	if (!log_shows(level))
		return;
	n = (size_t)snprintf(text, sizeof(text) / 2, "%s: %s", state.tool, kind);
	if (n > sizeof(text) / 2 - 1)
		n = sizeof(text) / 2 - 1;
	errno = saved; /* for %m */
	vsnprintf(text + n, sizeof(text) - n - 1, format, args);
	n = strlen(text);
	text[n++] = '\n';
	fflush(stderr);
	io_write_all(STDERR_FILENO, text, n);
	errno = saved;
}

void log_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_message(LOG_QUIET, "", format, args);
	va_end(args);
}

void log_warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_message(LOG_NORMAL, "warning: ", format, args);
	va_end(args);
}

void log_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_message(LOG_NORMAL, "", format, args);
	va_end(args);
}

void log_verbose(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_message(LOG_VERBOSE, "", format, args);
	va_end(args);
}

void log_debug(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_message(LOG_DEBUG, "", format, args);
	va_end(args);
}
