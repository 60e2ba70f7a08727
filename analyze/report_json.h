/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of the JSON that have files of their own.
 */
#ifndef SCPROF_REPORT_JSON_H
#define SCPROF_REPORT_JSON_H

#include "analyze/report.h"
#include "formats/base/json_write.h"

/* The members of METRICS on memory and copies; none when they were not recorded. */
void report_json_memory(struct json *j, const struct report *r, const struct memory *m);
/* The key "leaks" with what grows to the end, worst first; none without memory in the trace. */
void report_json_leaks(struct json *j, const struct report *r);

#endif
