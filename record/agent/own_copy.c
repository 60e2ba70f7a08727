/* SPDX-License-Identifier: Apache-2.0
 *
 * The linker sends every memcpy and memmove of the agent's own code here (--wrap in the Makefile),
 * also those that the compiler makes out of assignments: the agent must not count, and never
 * enter, the functions that it interposes.
 */
#include "record/agent/own_copy.h"

#include <stdint.h>

struct word {
	uint64_t bits;
} __attribute__((packed, may_alias));

void *__wrap_memmove(void *to, const void *from, size_t size)
{
	unsigned char *out = to;
	const unsigned char *in = from;
	size_t at = 0;

	if ((uintptr_t)out - (uintptr_t)in < size) {
		while (size--)
			out[size] = in[size];
		return to;
	}
	for (; size - at >= sizeof(struct word); at += sizeof(struct word))
		*(struct word *)(out + at) = *(const struct word *)(in + at);
	for (; at < size; at++)
		out[at] = in[at];
	return to;
}

void *__wrap_memcpy(void *to, const void *from, size_t size)
{
	return __wrap_memmove(to, from, size);
}
