/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying without the C library, at any time and in any state of the process.
 */
#ifndef SCPROF_OWN_COPY_H
#define SCPROF_OWN_COPY_H

#include <stddef.h>

/* What the agent's own calls of memcpy and memmove become. Both are right for overlapping blocks.
 */
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size);

#endif
