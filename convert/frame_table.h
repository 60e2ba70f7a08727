/* SPDX-License-Identifier: Apache-2.0
 *
 * The distinct frames of a model as foreign formats show them: one per function, or one per line,
 * each with clean texts, and which of them every node of the model's call tree is.
 */
#ifndef SCPROF_FRAME_TABLE_H
#define SCPROF_FRAME_TABLE_H

#include "analyze/model.h"
#include "formats/base/map.h"

enum frame_kind {
	FRAME_ROOT,    /* frame 0: everything */
	FRAME_UNKNOWN, /* frame 1: time without a Python frame that no function of the model holds
			*/
	FRAME_THREAD,
	FRAME_CODE,
};

#define FRAME_TABLE_ROOT 0
#define FRAME_TABLE_UNKNOWN 1

struct frame {
	enum frame_kind kind;
	enum model_origin origin; /* MODEL_NONE unless kind is FRAME_CODE */
	uint32_t function;        /* of the model, when kind is FRAME_CODE */
	int32_t line;             /* the line, or the function's first; 0: none */
	const char *name;         /* "Class.method"; clean like the others */
	const char *path;         /* "/srv/app/main.py", or "" */
	const char *short_path;   /* "main.py", "requests/api.py", or "" */
	const char *label;        /* "Class.method (main.py)"; two frames never share one */
};

struct frame_table {
	struct frame *frames;
	size_t count;
	size_t capacity;
	uint32_t *of_node; /* indexed by model node */
	struct map index;
	struct intern texts;
};

/* by_line: a frame per line of a function, with labels that say so. */
void frame_table_init(struct frame_table *t, const struct model_view *view, bool by_line);
void frame_table_release(struct frame_table *t);

#endif
