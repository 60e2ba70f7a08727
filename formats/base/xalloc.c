/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation that cannot fail, see xalloc.h.
 */
#include "formats/base/xalloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/log.h"

#include "formats/base/banned.h"

void xalloc_die(size_t size)
{
	log_error("out of memory: %zu bytes are not to be had", size);
	exit(1);
}

void *xmalloc(size_t size)
{
	void *data = malloc(size ? size : 1);

	if (!data)
		xalloc_die(size);
	return data;
}

void *xcalloc(size_t count, size_t size)
{
	void *data = calloc(count ? count : 1, size ? size : 1);

	if (!data)
		xalloc_die(size && count > SIZE_MAX / size ? SIZE_MAX : count * size);
	return data;
}

void *xrealloc(void *old, size_t size)
{
	void *data = realloc(old, size ? size : 1);

	if (!data)
		xalloc_die(size);
	return data;
}

char *xstrdup(const char *text)
{
	return xmemdup(text, strlen(text));
}

void *xmemdup(const void *data, size_t size)
{
	char *copy;

	if (size == SIZE_MAX)
		xalloc_die(size);
	copy = xmalloc(size + 1);
	if (size)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

void *xgrow(void *array, size_t *capacity, size_t need, size_t item_size)
{
	size_t wanted = *capacity;

	if (array && need <= wanted)
		return array;
	if (wanted < 16)
		wanted = 16;
	while (wanted < need)
		wanted = wanted < SIZE_MAX / 2 ? wanted + wanted / 2 : need;
	if (item_size && wanted > SIZE_MAX / item_size)
		xalloc_die(SIZE_MAX);
	array = xrealloc(array, wanted * item_size);
	*capacity = wanted;
	return array;
}
