/* SPDX-License-Identifier: Apache-2.0
 *
 * What ran below the Python frames of a flame graph: C functions, the kernel, waiting. The model
 * knows the C functions of a line, not of every stack; a node gets them in its line's proportions,
 * as it gets its native time.
 */
#ifndef SCPROF_FLAMEGRAPH_LEAVES_H
#define SCPROF_FLAMEGRAPH_LEAVES_H

#include "convert/call_tree.h"

enum leaf_kind { LEAF_NATIVE, LEAF_SYSTEM, LEAF_WAIT };

struct leaf_frame {
	enum leaf_kind kind;
	const char *label; /* "deflate_slow (libz.so.1)", "[waiting for a lock]" */
	size_t name_length;
};

struct leaf {
	uint32_t node;  /* of the call tree */
	uint32_t frame; /* index into frames */
	uint64_t ns;
};

/* A node's leaves and the Python time that is left are its own time. */
struct leaf_table {
	struct leaf_frame *frames;
	size_t frame_count;
	size_t frame_capacity;
	struct leaf *leaves; /* by node, the heaviest first */
	size_t count;
	size_t capacity;
	struct intern texts;
};

void leaf_table_init(struct leaf_table *t, const struct model_view *view,
		     const struct call_tree *tree);
void leaf_table_release(struct leaf_table *t);

#endif
