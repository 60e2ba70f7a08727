/* SPDX-License-Identifier: Apache-2.0
 *
 * What each thread did, in order of time: runs of equal stacks with gaps between them. It is filled
 * event by event while the model is built, in bounded memory: when there are too many runs, those
 * within a window of time are sorted by stack and put together. No time is ever lost that way, only
 * the order within the window.
 */
#ifndef SCPROF_TIMELINE_H
#define SCPROF_TIMELINE_H

#include "convert/call_tree.h"
#include "convert/exporter.h"

#define TIMELINE_GAP UINT32_MAX         /* the thread has nothing to show */
#define TIMELINE_OTHER (UINT32_MAX - 1) /* several rare stacks */

struct timeline_run {
	uint32_t node;   /* of the model; after timeline_finish of the call tree */
	uint32_t state;  /* 0: running, else 1 + enum trace_wait_kind */
	uint64_t weight; /* ns; bytes after timeline_from_tree */
};

/* The runs follow each other without holes from the recording's time 0 on. */
struct timeline_thread {
	struct timeline_run *runs;
	size_t count;
	size_t capacity;
	uint64_t end;    /* of the last run */
	uint64_t weight; /* without gaps */
};

struct timeline {
	struct timeline_thread *threads; /* by model thread */
	size_t thread_count;
	size_t thread_capacity;
	size_t run_count;
	enum model_weight weight;
	uint64_t window_ns; /* runs within such a window were put together; 0: none were */
	size_t folded;      /* runs that became TIMELINE_OTHER */
};

/* For exporters: events is a timeline. */
void *timeline_events_new(const struct export_options *options, enum model_weight weight);
void timeline_events_add(void *events, const struct model_event *event);
void timeline_events_free(void *events);

void timeline_init(struct timeline *t, enum model_weight weight);
void timeline_release(struct timeline *t);
void timeline_add(struct timeline *t, const struct model_event *event);
/* Moves time 0 to the start of what the model shows, turns model nodes into nodes of tree, and gets
 * the number of runs below max_runs. */
void timeline_finish(struct timeline *t, const struct model_view *view,
		     const struct call_tree *tree, size_t max_runs);

/* Gets the number of runs below max_runs after timeline_finish, too. */
void timeline_shrink(struct timeline *t, size_t max_runs);

/* Adds what was put together or, in stacks deeper than max_depth, left out; or nothing. */
void timeline_note(const struct timeline *t, const struct call_tree *tree, size_t max_depth,
		   struct buf *note);

/* For costs that have no order in time: one thread with a run for each stack of the tree, a tree's
 * branches together and the heaviest first. Instead of the other functions, after timeline_init. */
void timeline_from_tree(struct timeline *t, const struct call_tree *tree, size_t max_runs);

#endif
