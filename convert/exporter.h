/* SPDX-License-Identifier: Apache-2.0
 *
 * What a foreign format has to offer to be one of scprof-convert's: a constant struct exporter in a
 * file of its own, listed in exporter_table.c. An exporter gets the finished model and a stream.
 * One that needs the order of time sees every event first, while the model is built.
 */
#ifndef SCPROF_EXPORTER_H
#define SCPROF_EXPORTER_H

#include <stdio.h>

#include "analyze/model.h"
#include "formats/base/buf.h"

enum exporter_flag {
	EXPORTER_MODEL = 1 << 0,   /* writes what the model knows */
	EXPORTER_EVENTS = 1 << 1,  /* has to see every event */
	EXPORTER_THREADS = 1 << 2, /* has room for threads: the model need not split its tree */
	EXPORTER_TIME = 1 << 3,    /* its figures are times: nothing else can be written */
	EXPORTER_PEAK = 1 << 4,    /* it is about the heap: --metric peak, even if not asked for */
};

struct export_options {
	const char *title;   /* NULL: the command line */
	bool threads;        /* a root per thread where the format has no place for threads */
	bool lines;          /* frames are lines instead of functions */
	uint64_t max_items;  /* samples or boxes; 0: what the format's readers can take */
	unsigned int traces; /* how many were read */
};

/* One conversion. */
struct export
{
	const struct model_view *view;
	const struct export_options *options;
	void *events; /* from events_new; NULL when metrics without an order in time are written */
	FILE *to;     /* write errors stay in it */
	struct buf note; /* a sentence when something was put together or left out */
	bool over_limit; /* because of max_items or the format's own limit */
};

struct exporter {
	const char *name;
	const char *description;
	const char *const *patterns; /* globs on the file's name, NULL at the end */
	unsigned int flags;
	/* For EXPORTER_EVENTS: events_add has the type of model_options.on_event. */
	void *(*events_new)(const struct export_options *options, enum model_weight weight);
	void (*events_add)(void *events, const struct model_event *event);
	void (*events_free)(void *events);
	/* Writes the whole file; returns 0 or -1. Need not look at x->to's errors. */
	int (*write)(struct export *x, struct err *err);
};

/* In alphabetical order of the names. */
extern const struct exporter *const exporter_table[];
extern const size_t exporter_count;

/* By name ("callgrind"), or NULL. */
const struct exporter *exporter_find(const char *name);
/* By the name of the file to write ("callgrind.out.42"), folders ignored, or NULL. */
const struct exporter *exporter_for_file(const char *path);

/* Whether the format can show what is weighed so. */
bool exporter_takes(const struct exporter *exporter, enum model_weight weight);

/* The title to show: options.title, or the command line of the first trace, or "scprof". Borrowed
 * from b. */
const char *export_title(const struct export *x, struct buf *b);

#endif
