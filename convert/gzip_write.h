/* SPDX-License-Identifier: Apache-2.0
 *
 * Compresses into a stream as gzip does.
 */
#ifndef SCPROF_GZIP_WRITE_H
#define SCPROF_GZIP_WRITE_H

#include <stddef.h>
#include <stdio.h>

struct gzip;

/* Borrows to, whose own errors stay in it. */
struct gzip *gzip_new(FILE *to);
void gzip_write(struct gzip *z, const void *data, size_t size);
/* Writes the end and frees z. */
void gzip_finish(struct gzip *z);

#endif
