/* SPDX-License-Identifier: Apache-2.0
 *
 * The file a conversion writes: it appears under its name when it is whole, or not at all.
 */
#ifndef SCPROF_EXPORT_FILE_H
#define SCPROF_EXPORT_FILE_H

#include <stdio.h>

#include "formats/base/err.h"

struct export_file {
	FILE *to;
	char *name;      /* for messages */
	char *path;      /* the name to appear under; NULL: written in place */
	char *temporary; /* a name of its own meanwhile; NULL: none */
};

/* "-" is stdout. Devices and pipes are written in place. Returns 0 or -1. */
int export_file_open(struct export_file *f, const char *path, struct err *err);
/* Writes what is buffered and gives the file its name. Returns 0, or -1: then nothing is left of
 * it. The struct is released either way. */
int export_file_finish(struct export_file *f, struct err *err);
/* Throws away what was written. */
void export_file_release(struct export_file *f);

#endif
