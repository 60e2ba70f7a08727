/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/cost.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* No sum grows beyond: a trace can claim blocks of any size. */
#define MOST ((double)INT64_MAX)

#define WHOLE(member) .offset = offsetof(struct metrics, member)
#define FRACTION(member) .offset = offsetof(struct metrics, memory.member), .fraction = true

const struct cost costs[COST_KINDS] = {
	[COST_CPU] = {"CPU", "CPU time", "CPU time in ns", COST_NS, WHOLE(cpu_ns)},
	[COST_PYTHON] = {"Python", "Python time", "CPU time in Python code in ns", COST_NS,
			 WHOLE(python_ns)},
	[COST_NATIVE] = {"Native", "native time", "CPU time in native code in ns", COST_NS,
			 WHOLE(native_ns)},
	[COST_SYSTEM] = {"System", "system time", "CPU time in the kernel in ns", COST_NS,
			 WHOLE(system_ns)},
	[COST_WALL] = {"Wall", "wall time", "Wall time in ns", COST_NS, WHOLE(wall_ns)},
	[COST_SAMPLES] = {"Samples", "samples", "CPU samples", COST_PIECES, WHOLE(samples)},
	[COST_MALLOC] = {"Malloc", "memory allocated", "Memory allocated in bytes", COST_BYTES,
			 FRACTION(malloc_bytes)},
	[COST_BLOCKS] = {"Blocks", "blocks allocated", "Blocks allocated", COST_PIECES,
			 FRACTION(malloc_count)},
	[COST_PEAK] = {"Peak", "memory at the peak", "Memory live at the peak in bytes", COST_BYTES,
		       FRACTION(peak_bytes)},
	[COST_LIVE] = {"Live", "memory left live", "Memory live at the end in bytes", COST_BYTES,
		       FRACTION(growth_bytes)},
	[COST_LEAKS] = {"Leaks", "leaked memory", "Memory leaked in bytes", COST_BYTES,
			FRACTION(leak_bytes)},
	[COST_TEMPORARY] = {"Temporary", "temporary memory", "Memory freed at once in bytes",
			    COST_BYTES, FRACTION(temporary_bytes)},
	[COST_COPIES] = {"Copies", "memory copied", "Memory copied in bytes", COST_BYTES,
			 FRACTION(copy_bytes)},
	[COST_ALLOCATIONS] = {"Allocations", "allocations recorded", "Allocations recorded",
			      COST_PIECES, WHOLE(memory.events)},
	[COST_COPY_EVENTS] = {"CopyEvents", "copies recorded", "Copies recorded", COST_PIECES,
			      WHOLE(memory.copies)},
};

const char *const metric_names[] = {
	[MODEL_CPU] = "cpu",       [MODEL_WALL] = "wall",           [MODEL_MALLOC] = "malloc",
	[MODEL_PEAK] = "peak",     [MODEL_LIVE] = "live",           [MODEL_LEAKS] = "leaks",
	[MODEL_COPIES] = "copies", [MODEL_TEMPORARY] = "temporary", [MODEL_WEIGHTS] = NULL,
};

enum cost_kind cost_of_weight(enum model_weight weight)
{
	static const enum cost_kind kinds[MODEL_WEIGHTS] = {
		[MODEL_CPU] = COST_CPU,       [MODEL_WALL] = COST_WALL,
		[MODEL_MALLOC] = COST_MALLOC, [MODEL_PEAK] = COST_PEAK,
		[MODEL_LIVE] = COST_LIVE,     [MODEL_LEAKS] = COST_LEAKS,
		[MODEL_COPIES] = COST_COPIES, [MODEL_TEMPORARY] = COST_TEMPORARY,
	};

	return kinds[weight];
}

static bool is_time(enum cost_kind kind)
{
	return kind <= COST_SAMPLES;
}

static bool is_copy(enum cost_kind kind)
{
	return kind == COST_COPIES || kind == COST_COPY_EVENTS;
}

enum cost_kind cost_events(enum cost_kind kind)
{
	if (is_time(kind))
		return COST_SAMPLES;
	return is_copy(kind) ? COST_COPY_EVENTS : COST_ALLOCATIONS;
}

bool weight_is_time(enum model_weight weight)
{
	return is_time(cost_of_weight(weight));
}

bool cost_recorded(const struct model_view *view, enum cost_kind kind)
{
	if (is_time(kind))
		return true;
	return is_copy(kind) ? view->memory.copies_recorded : view->memory.recorded;
}

size_t cost_list(const struct model_view *view, enum cost_kind *kinds)
{
	enum cost_kind first = cost_of_weight(view->weight);
	size_t count = 0;

	kinds[count++] = first;
	for (enum cost_kind kind = 0; kind < COST_ALLOCATIONS; kind++) {
		if (kind != first && cost_recorded(view, kind))
			kinds[count++] = kind;
	}
	return count;
}

static void scaled_text(struct buf *b, uint64_t value, const double *sizes,
			const char *const *names, size_t count)
{
	size_t unit = 0;

	while (unit + 1 < count && (double)value < sizes[unit])
		unit++;
	buf_printf(b, "%.*f %s", (double)value / sizes[unit] < 100 && unit + 1 < count ? 2 : 0,
		   (double)value / sizes[unit], names[unit]);
}

void cost_text(struct buf *b, uint64_t value, enum cost_unit unit)
{
	static const double time_sizes[] = {1e9, 1e6, 1e3, 1};
	static const char *const time_names[] = {"s", "ms", "µs", "ns"};
	static const double byte_sizes[] = {1 << 30, 1 << 20, 1 << 10, 1};
	static const char *const byte_names[] = {"GB", "MB", "KB", "bytes"};

	switch (unit) {
	case COST_NS:
		scaled_text(b, value, time_sizes, time_names, 4);
		break;
	case COST_BYTES:
		scaled_text(b, value, byte_sizes, byte_names, 4);
		break;
	case COST_PIECES:
		buf_printf(b, "%llu", (unsigned long long)value);
		break;
	}
}

/* Memory that shrank is none. */
static double fraction_of(const struct metrics *m, const struct cost *cost)
{
	double value;

	memcpy(&value, (const char *)m + cost->offset, sizeof(value));
	return value > 0 ? value : 0;
}

static uint64_t whole_of(const struct metrics *m, const struct cost *cost)
{
	uint64_t value;

	memcpy(&value, (const char *)m + cost->offset, sizeof(value));
	return value;
}

/* One cost of all nodes into every width-th element of self. Of fractions the running sum is
 * rounded: so their sum is that of the whole rounded once. */
static void fill_self(uint64_t *self, size_t width, const struct model_view *view,
		      const struct cost *cost)
{
	double sum = 0;
	uint64_t done = 0;

	for (size_t i = 0; i < view->node_count; i++) {
		const struct metrics *m = &view->nodes[i].self;

		if (!cost->fraction) {
			self[i * width] = whole_of(m, cost);
			continue;
		}
		sum += fraction_of(m, cost);
		if (sum < MOST) {
			self[i * width] = (uint64_t)(sum + 0.5) - done;
			done += self[i * width];
		}
	}
}

void cost_table_init(struct cost_table *t, const struct model_view *view,
		     const enum cost_kind *kinds, size_t width)
{
	size_t count = view->node_count * width;

	*t = (struct cost_table){.width = width};
	t->self = xcalloc(count, sizeof(*t->self));
	t->total = xcalloc(count, sizeof(*t->total));
	for (size_t k = 0; k < width; k++)
		fill_self(t->self + k, width, view, &costs[kinds[k]]);
	for (size_t i = view->node_count; i-- > 0;) {
		for (size_t k = 0; k < width; k++) {
			t->total[i * width + k] += t->self[i * width + k];
			if (i > 0)
				t->total[view->nodes[i].parent * width + k] +=
					t->total[i * width + k];
		}
	}
}

void cost_table_release(struct cost_table *t)
{
	free(t->self);
	free(t->total);
	*t = (struct cost_table){0};
}

uint64_t cost_sum(const struct model_view *view, enum cost_kind kind)
{
	uint64_t whole = 0;
	double sum = 0;

	for (size_t i = 0; i < view->node_count; i++) {
		if (!costs[kind].fraction) {
			whole += whole_of(&view->nodes[i].self, &costs[kind]);
			continue;
		}
		sum += fraction_of(&view->nodes[i].self, &costs[kind]);
		if (sum < MOST)
			whole = (uint64_t)(sum + 0.5);
	}
	return whole;
}
