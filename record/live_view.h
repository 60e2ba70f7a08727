/* SPDX-License-Identifier: Apache-2.0
 *
 * "scprof-record --live": scprof-analyze --follow in our terminal, beside the recording. While it
 * has the terminal, what we have to say waits.
 */
#ifndef SCPROF_LIVE_VIEW_H
#define SCPROF_LIVE_VIEW_H

#include <stdbool.h>
#include <sys/types.h>

#include "formats/base/err.h"

struct live_view {
	pid_t pid;      /* 0: there is no view */
	int stderr_fd;  /* the real one */
	char *out_path; /* where the program's output goes, or NULL */
	int out_fd;     /* the same, open */
	int null_fd;    /* what the program finds as its standard input */
};

/* Is there a terminal, and a scprof-analyze beside us? To be asked before anything is started. */
int live_view_check(struct err *err);
/* Opens what the program gets instead of the terminal: TRACE.out. */
int live_view_take_output(struct live_view *v, const char *trace, struct err *err);
/* Shows the trace. */
int live_view_start(struct live_view *v, const char *trace, struct err *err);
/* Whether the user closed the view since the last call: then the terminal is ours again. */
bool live_view_closed(struct live_view *v);
/* Waits until the user has closed it. */
void live_view_wait(struct live_view *v);
/* The file with the program's output, or NULL when there was none: then it is removed. Borrowed. */
const char *live_view_output(const struct live_view *v);
void live_view_release(struct live_view *v);

#endif
