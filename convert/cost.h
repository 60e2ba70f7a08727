/* SPDX-License-Identifier: Apache-2.0
 *
 * What stacks cost, in whole numbers that add up: nanoseconds, bytes, pieces. The model's estimates
 * of memory are fractions; here each stack gets whole bytes, so that every sum over stacks is exact
 * and all exports of one cost have the same total.
 */
#ifndef SCPROF_COST_H
#define SCPROF_COST_H

#include "analyze/model.h"
#include "formats/base/buf.h"

enum cost_unit {
	COST_NS,
	COST_BYTES,
	COST_PIECES,
};

/* In the order in which formats with room for several list them. */
enum cost_kind {
	COST_CPU,
	COST_PYTHON,
	COST_NATIVE,
	COST_SYSTEM,
	COST_WALL,
	COST_SAMPLES,
	COST_MALLOC,
	COST_BLOCKS,
	COST_PEAK,
	COST_LIVE,
	COST_LEAKS,
	COST_TEMPORARY,
	COST_COPIES,
	COST_ALLOCATIONS, /* recorded ones, like COST_SAMPLES: what the estimates rest on */
	COST_COPY_EVENTS, /* the same for copies */
	COST_KINDS,
};

struct cost {
	const char *name;        /* one word: "Peak" */
	const char *title;       /* goes before a figure: "memory at the peak" */
	const char *description; /* says the unit, too */
	enum cost_unit unit;
	size_t offset; /* in struct metrics */
	bool fraction; /* a double there, else a uint64_t */
};

extern const struct cost costs[COST_KINDS];
/* Indexed by enum model_weight; NULL at the end. */
extern const char *const metric_names[];

enum cost_kind cost_of_weight(enum model_weight weight);
/* The cost that counts what a cost of this kind was measured by. */
enum cost_kind cost_events(enum cost_kind kind);
bool weight_is_time(enum model_weight weight);

/* Whether the traces can tell about it at all. */
bool cost_recorded(const struct model_view *view, enum cost_kind kind);

/* For formats with room for all costs: those recorded, without COST_ALLOCATIONS and what follows
 * it; the one that the view is weighed by comes first. Returns their number, at most COST_KINDS. */
size_t cost_list(const struct model_view *view, enum cost_kind *kinds);

/* Adds "1.25 s", "3.50 MB", "17". */
void cost_text(struct buf *b, uint64_t value, enum cost_unit unit);

/* Costs of each node of the model, several side by side. */
struct cost_table {
	size_t width;
	uint64_t *self;  /* width for each node */
	uint64_t *total; /* self and everything below */
};

void cost_table_init(struct cost_table *t, const struct model_view *view,
		     const enum cost_kind *kinds, size_t width);
void cost_table_release(struct cost_table *t);

/* Of the whole model: what the table's root has. */
uint64_t cost_sum(const struct model_view *view, enum cost_kind kind);

#endif
