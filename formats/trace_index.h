/* SPDX-License-Identifier: Apache-2.0
 *
 * The index at the end of a finished trace: where each block is, what it holds and its time range.
 *It lies in a skippable frame and ends with its own size, so it is found from the end of the file:
 *
 *	u32 magic 0x184d2a5c, u32 content size, Index message, u32 size of it all, u32 "scpx"
 *
 * Numbers are little endian. A trace without one is complete all the same.
 */
#ifndef SCPROF_TRACE_INDEX_H
#define SCPROF_TRACE_INDEX_H

#include "formats/base/buf.h"
#include "formats/base/err.h"
#include "formats/pack.h"

struct trace_index {
	struct pack_index_entry *entries; /* owned by the arena when loaded */
	size_t count;
	struct arena arena;
};

/* What an index says of a block: bit n when Block field n + 30 is present. */
uint32_t trace_index_kinds(const struct pack_block *block);
/* Adds the skippable frame to out. An index that would be too large for its reader is left out. */
void trace_index_write(const struct pack_index_entry *entries, size_t count, struct buf *out);
/* Reads the index of the trace at path. Returns 1, 0 when it has none (it is not finished, or not
 * a file that can be read from its end), -1 with ERR_CORRUPT or ERR_SYSTEM. Release with
 * trace_index_release. */
int trace_index_load(const char *path, struct trace_index *index, struct err *err);
void trace_index_release(struct trace_index *index);

#endif
