/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as users write them. Each returns 0, or -1 with ERR_USAGE and a sentence that names the
 * text; nothing may follow the number.
 */
#ifndef SCPROF_PARSE_H
#define SCPROF_PARSE_H

#include <stdint.h>

#include "formats/base/err.h"

/* A whole number in [min, max]. */
int parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct err *err);
/* A finite decimal number. */
int parse_double(const char *text, double *value, struct err *err);
/* Bytes: "512", "64K", "10M", "1.5G", "1T"; also "64KB" and "64KiB". 1K is 1024. */
int parse_size(const char *text, uint64_t *bytes, struct err *err);
/* A time or a length of time: "1.5" (seconds), "10s", "200ms", "50us", "5ns", "2m", "1h". */
int parse_duration(const char *text, uint64_t *ns, struct err *err);

#endif
