/* SPDX-License-Identifier: Apache-2.0
 *
 * Names come out of somebody else's program: they may hold anything. What is written into a foreign
 * file goes through here first: valid UTF-8, no control characters, one line.
 */
#ifndef SCPROF_CLEAN_TEXT_H
#define SCPROF_CLEAN_TEXT_H

#include <stdio.h>

#include "formats/base/buf.h"

/* Adds text to b: white space becomes a space, a character that XML 1.0, a terminal or a line based
 * format could choke on becomes U+FFFD. */
void clean_text(struct buf *b, const char *text);

/* Adds clean text with the five characters that XML reserves escaped, for text and attributes. */
void clean_text_xml(struct buf *b, const char *text);

/* Number of characters (not bytes) of clean text. */
size_t clean_text_length(const char *text);

#endif
