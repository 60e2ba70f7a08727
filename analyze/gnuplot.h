/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs gnuplot: the script goes to its stdin, no shell has a part in it.
 */
#ifndef SCPROF_GNUPLOT_H
#define SCPROF_GNUPLOT_H

#include <stdio.h>

#include "formats/base/buf.h"
#include "formats/base/err.h"

/* Returns what gnuplot draws, a temporary file read from its start that the caller closes; NULL
 * when it is missing or fails. title is ARG1 in the script: text of others never becomes a command.
 */
FILE *gnuplot_run(const struct buf *script, const char *title, struct err *err);

#endif
