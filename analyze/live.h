/* SPDX-License-Identifier: Apache-2.0
 *
 * "scprof-analyze --follow": shows a recording in the terminal while it goes on.
 *
 * trace_reader (a growing file) -> model -> live_snapshot (a child, once a second)
 *                                       -> live_table -> live_screen
 */
#ifndef SCPROF_LIVE_H
#define SCPROF_LIVE_H

#include "analyze/model.h"

struct live_options {
	const struct model_options *model; /* borrowed */
	const char *const *files;          /* of --file */
	size_t file_count;
	bool all;
	bool color;
	bool unicode;
};

/* Returns 0 when the user has seen enough, or -1. A trace that is not there yet is waited for, for
 * some seconds. */
int live_run(const char *path, const struct live_options *options, struct err *err);

#endif
