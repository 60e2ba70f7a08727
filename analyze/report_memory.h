/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reports on memory and copies share: figures in bytes, and the small plot of live bytes
 * that stands in a column.
 */
#ifndef SCPROF_REPORT_MEMORY_H
#define SCPROF_REPORT_MEMORY_H

#include "analyze/report.h"

#define BYTES_PER_MB 1048576.0

/* Was it asked for? What was not recorded is not the same as nothing. */
bool report_has_memory(const struct report *r);
bool report_has_copies(const struct report *r);
/* Are the figures estimates, with intervals? */
bool report_memory_sampled(const struct report *r);
bool report_copies_sampled(const struct report *r);

/* "1.23 GB", "45.6 MB", "-789 KB"; "" for 0. 1 KB is 1024 bytes. */
const char *figure_bytes(char text[FIGURE_SIZE], double bytes);
/* "12.3" for a part of the whole in percent; "" for what rounds to nothing. */
const char *figure_share(char text[FIGURE_SIZE], double part, double whole);
/* "110-131 MB", a 95 % interval. */
const char *figure_bytes_range(char text[FIGURE_SIZE], double low, double high);
/* Is that interval wider than the figure? Then r->thin is set and the figure wants a mark. */
bool figure_bytes_is_thin(struct report *r, const struct memory *m, enum memory_figure figure);
/* Bytes of the whole time shown, in MB a second. */
double report_mb_per_s(const struct report *r, double bytes);

/* How long the time is that points of memory cover: with several traces also what is between them,
 * which is in no duration. */
uint64_t report_span_ns(const struct model_view *v);

/* ---- small plots ---------------------------------------------------------------------------- */

#define SPARK_WIDTH 8

/* The largest of count values within each of width equal stretches. */
void spark_shrink(float *to, size_t width, const float *values, size_t count);
/* Adds one character a value: blocks of a height in eighths of max, or ASCII. */
void spark_add(struct buf *to, const struct report *r, const float *values, size_t count,
	       float max);

#endif
