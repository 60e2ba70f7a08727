/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaks as the reports show them: which ones, where they are, how their blocks were allocated.
 */
#ifndef SCPROF_REPORT_LEAKS_H
#define SCPROF_REPORT_LEAKS_H

#include "analyze/report_tables.h"

#define REPORT_TOP_LEAKS 10

/* Was the interpreter seen to take itself down? A process can be killed, or leave by _exit. */
bool report_saw_end(const struct report *r);
/* Its end frees what modules and frames refer to, and no leak of C code. */
bool report_leak_was_held(const struct model_leak *leak);
/* Is it large and fast enough for --min-leak? */
bool report_shows_leak(const struct report *r, const struct model_leak *leak);
/* The leak that grows most, and how many grow by more than rate bytes a second; NULL: none. */
const struct model_leak *report_worst_leak(const struct report *r, double rate, size_t *count);
/* Model nodes from the outermost frame to the innermost. Caller frees *nodes with free. */
size_t report_leak_stack(const struct report *r, const struct model_leak *leak, uint32_t **nodes);
/* "app.py:12" */
void report_leak_place(struct buf *to, const struct report *r, const struct model_leak *leak);

/* Growing leaks, and what grew once; as in report_tables.h. */
size_t tables_leaks(struct report *r, struct table *t);
size_t tables_grown_once(struct report *r, struct table *t);

#endif
