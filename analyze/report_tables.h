/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports that are one plain table each. Figures come for eyes (percent and short times) or
 * for programs (raw numbers, units in the titles).
 */
#ifndef SCPROF_REPORT_TABLES_H
#define SCPROF_REPORT_TABLES_H

#include "analyze/report_table.h"

/* Each fills a table that the caller releases; returns how many rows --top left out. */
size_t tables_hot_lines(struct report *r, struct table *t);
size_t tables_functions(struct report *r, struct table *t);
size_t tables_natives(struct report *r, struct table *t);
size_t tables_threads(struct report *r, struct table *t);
size_t tables_processes(struct report *r, struct table *t);

void tables_raw_lines(const struct report *r, struct table *t);
void tables_raw_functions(const struct report *r, struct table *t);
void tables_raw_natives(const struct report *r, struct table *t);
void tables_raw_threads(const struct report *r, struct table *t);
void tables_raw_processes(const struct report *r, struct table *t);

#endif
