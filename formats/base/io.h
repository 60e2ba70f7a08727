/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing file descriptors to the end, whatever interrupts.
 */
#ifndef SCPROF_IO_H
#define SCPROF_IO_H

#include <stddef.h>
#include <sys/types.h>

#include "formats/base/buf.h"
#include "formats/base/err.h"

/* Reads until size bytes or the end of the file. Returns the count, or -1 with errno set. */
ssize_t io_read_all(int fd, void *data, size_t size);
/* Writes all size bytes. Returns 0, or -1 with errno set; part may be written then. */
int io_write_all(int fd, const void *data, size_t size);
/* The same at an offset; the file's position does not move. */
ssize_t io_pread_all(int fd, void *data, size_t size, off_t offset);
/* Adds the file's content to b; more than max_bytes is an error. Returns 0 or -1. */
int io_read_file(const char *path, size_t max_bytes, struct buf *b, struct err *err);

#endif
