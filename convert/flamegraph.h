/* SPDX-License-Identifier: Apache-2.0
 *
 * The boxes of a flame graph: the call tree in the order in which it is drawn, with what ran below
 * Python (native code, the kernel, waiting) as boxes of its own on top.
 */
#ifndef SCPROF_FLAMEGRAPH_H
#define SCPROF_FLAMEGRAPH_H

#include "convert/flamegraph_leaves.h"

/* What a box stands for; decides its colour. */
enum flame_kind {
	FLAME_USER,
	FLAME_LIBRARY,
	FLAME_STANDARD,
	FLAME_NATIVE,
	FLAME_SYSTEM,
	FLAME_WAIT,
	FLAME_THREAD, /* and the root, and what has no Python frame */
	FLAME_OTHER,  /* boxes too small to be kept */
	FLAME_KINDS,
};

/* A frame of the table, or one of those that only flame graphs have. */
struct flame_frame {
	const char *label;
	size_t name_length; /* of the part of label that goes first into a narrow box */
	const char *path;
	int32_t line;
	enum flame_kind kind;
};

struct flame_box {
	uint32_t frame; /* index into frames */
	uint32_t depth; /* the root has 0 */
	uint64_t start;
	uint64_t total;
	uint64_t self; /* not covered by boxes above */
};

/* Parents before children, siblings from left to right; box 0 is the root. */
struct flame_graph {
	struct flame_frame *frames;
	size_t frame_count;
	struct flame_box *boxes;
	size_t count;
	size_t capacity;
	uint64_t kind_total[FLAME_KINDS]; /* own time by kind */
	size_t dropped;                   /* boxes that became part of a FLAME_OTHER one */
	uint64_t dropped_below;
};

/* Keeps about the max_boxes heaviest boxes. Borrows the texts of frames and leaves. */
void flame_graph_init(struct flame_graph *g, const struct frame_table *frames,
		      const struct call_tree *tree, const struct leaf_table *leaves,
		      size_t max_boxes);
void flame_graph_release(struct flame_graph *g);

/* A letter for each kind: the style sheet has five shades of each. */
char flame_kind_letter(enum flame_kind kind);

#endif
