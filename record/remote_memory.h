/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of another process, from outside.
 */
#ifndef SCPROF_REMOTE_MEMORY_H
#define SCPROF_REMOTE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Copies size bytes at address to `to`. Returns 0, or -1 with errno when not all could be read. */
int remote_read(pid_t pid, uint64_t address, void *to, size_t size);
/* The other way: what is not writable there cannot be written. */
int remote_write(pid_t pid, uint64_t address, const void *from, size_t size);

#endif
