/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures of what happened over time.
 */
#ifndef SCPROF_REPORT_PLOT_H
#define SCPROF_REPORT_PLOT_H

#include "analyze/report.h"
#include "formats/base/err.h"

enum plot_kind {
	PLOT_NONE,
	PLOT_MEMORY, /* heap and RSS */
	PLOT_CPU,    /* processors in use */
	PLOT_COPIES, /* MB copied a second */
};

enum plot_format {
	PLOT_SVG,
	PLOT_PNG,
	PLOT_TEXT,
};

/* The format that a file's name asks for; text without a name. Returns 0, or -1 with ERR_USAGE. */
int plot_format_of(const char *path, enum plot_format *format, struct err *err);

/* Returns the picture as a temporary file, read from its start, that the caller closes; or NULL. */
FILE *report_plot(const struct report *r, enum plot_kind kind, enum plot_format format,
		  struct err *err);

#endif
