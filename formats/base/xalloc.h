/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation for the tools: it works or the process ends with one sentence. Not for sizes that come
 * out of a file: those are checked against a cap first.
 */
#ifndef SCPROF_XALLOC_H
#define SCPROF_XALLOC_H

#include <stddef.h>

/* Ends the process with the sentence; for allocators of a different kind. */
void xalloc_die(size_t size) __attribute__((noreturn));
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
/* A copy of size bytes with a 0 after it that is not counted. */
void *xmemdup(const void *data, size_t size) __attribute__((malloc, returns_nonnull));
/* Makes room for at least need items in an array of *capacity items; grows by half and more, so
 * that adding one by one stays cheap. Returns the array, which may have moved. */
void *xgrow(void *array, size_t *capacity, size_t need, size_t item_size)
	__attribute__((returns_nonnull));

#endif
