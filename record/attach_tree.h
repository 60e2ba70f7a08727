/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of a recording of running programs: notices when one becomes another program, and,
 * if wanted, its children. All by looking at /proc now and then.
 */
#ifndef SCPROF_ATTACH_TREE_H
#define SCPROF_ATTACH_TREE_H

#include <stdbool.h>
#include <sys/types.h>

#include "record/recording.h"

struct attach_tree;

struct attach_tree_options {
	bool holds;           /* see attach_target */
	const char *children; /* which ones; see record/child_pattern.h */
};

/* The target has been given to recording_attach already. Borrows recording. */
struct attach_tree *attach_tree_new(struct recording *recording, const struct target *target,
				    const struct attach_tree_options *options);
void attach_tree_free(struct attach_tree *tree);

/* Looks, if it is time. To be called often. */
void attach_tree_step(struct attach_tree *tree);

/* Whether there is somebody left who may still become a Python. */
bool attach_tree_waits(const struct attach_tree *tree);

#endif
