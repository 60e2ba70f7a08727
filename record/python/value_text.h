/* SPDX-License-Identifier: Apache-2.0
 *
 * What an object of another process looks like, in a few words: numbers and short texts whole, long
 * ones and containers abbreviated, everything else by the name of its type. Nothing runs there: no
 * __repr__ is called.
 */
#ifndef SCPROF_VALUE_TEXT_H
#define SCPROF_VALUE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "record/python/object_reader.h"

/* Writes the text, 0-terminated, into to: at most size bytes. What cannot be read is "?". */
void value_text(struct object_reader *reader, uint64_t object, char *to, size_t size);

/* Calls found(arg, name, value) for each local variable of a frame that has a value, the text of
 * both being borrowed for the call. Returns 0, or -1 when the frame cannot be read. */
int frame_locals(struct object_reader *reader, uint64_t frame, uint64_t code,
		 void (*found)(void *arg, const char *name, const char *value), void *arg);

#endif
