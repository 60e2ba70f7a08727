/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows to columns and back, see trace_columns.h.
 *
 * A thread's wall time since its last event is nearly always the time since its last row, so the
 * column holds the difference: zeros, mostly. CPU time is stored as wall minus CPU, which is small
 * while a thread runs.
 */
#include "formats/trace_columns.h"

#include <string.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* Ticks given out after the next event: as many as wanted if the sum stays within a tick of what
 * was measured, else what rounds it down; never fewer than before. */
static uint64_t next_total(uint64_t before, uint64_t wanted, uint64_t measured_ns, uint64_t tick_ns)
{
	uint64_t total = measured_ns / tick_ns;

	if (wanted == total + 1 && measured_ns % tick_ns)
		total = wanted;
	return total > before ? total : before;
}

void trace_clock_add(struct trace_clock *clock, uint64_t tick_ns, uint64_t time_ns,
		     uint64_t wall_ns, uint64_t cpu_ns, uint64_t ready_ns, struct trace_row *row)
{
	uint64_t time = time_ns / tick_ns;
	uint64_t wanted = wall_ns / tick_ns;
	uint64_t wall;
	uint64_t cpu;

	/* Both freedoms make columns of zeros: wall time that is what the time column predicts, and
	 * CPU time that is all of it but what was really spent off the processor. */
	if (clock->started)
		wanted = clock->wall + time - clock->time;
	clock->started = true;
	clock->time = time;
	clock->wall_ns += wall_ns;
	clock->cpu_ns += cpu_ns;
	wall = next_total(clock->wall, wanted, clock->wall_ns, tick_ns);
	wanted = wall;
	if (clock->wall_ns > clock->cpu_ns)
		wanted -= (clock->wall_ns - clock->cpu_ns) / tick_ns;
	cpu = next_total(clock->cpu, wanted, clock->cpu_ns, tick_ns);
	row->time = time;
	row->wall = wall - clock->wall;
	row->cpu = cpu - clock->cpu;
	clock->wall = wall;
	clock->cpu = cpu;
	clock->ready_ns += ready_ns;
	row->ready = clock->ready_ns / tick_ns;
	clock->ready_ns %= tick_ns;
}

void trace_rows_sort(struct trace_row *rows, size_t count, struct trace_row *scratch)
{
	size_t half = count / 2;
	size_t left = 0;
	size_t right;
	size_t n = 1;

	while (n < count && rows[n - 1].time <= rows[n].time)
		n++;
	if (n >= count)
		return;
	trace_rows_sort(rows, half, scratch);
	trace_rows_sort(rows + half, count - half, scratch);
	memcpy(scratch, rows, half * sizeof(*rows));
	right = half;
	for (n = 0; left < half; n++) {
		if (right < count && rows[right].time < scratch[left].time)
			rows[n] = rows[right++];
		else
			rows[n] = scratch[left++];
	}
}

static void *column(struct trace_columns *c, size_t count, size_t size)
{
	void *data = arena_alloc(&c->arena, count * size);

	if (!data)
		xalloc_die(count * size);
	return data;
}

/* The row before this one of the same thread, or MAP_NONE; and this row is the thread's last now.
 * Runs of one thread need no look-up. */
static uint32_t last_row(struct trace_columns *c, uint32_t thread, uint32_t previous_thread,
			 size_t row)
{
	uint32_t last;

	if (row && thread == previous_thread)
		return (uint32_t)row - 1;
	if (row)
		map_set(&c->last, previous_thread, (uint32_t)row - 1);
	last = map_get(&c->last, thread);
	return last;
}

/* The columns that samples and waits share. */
static void common_columns(struct trace_columns *c, const struct trace_row *rows, size_t count,
			   uint64_t first, uint32_t *thread, uint64_t *time, int64_t *wall,
			   uint32_t *node)
{
	uint64_t now = first;

	map_clear(&c->last);
	for (size_t i = 0; i < count; i++) {
		uint32_t last = last_row(c, rows[i].thread, i ? rows[i - 1].thread : 0, i);
		uint64_t expected = last == MAP_NONE ? 0 : rows[i].time - rows[last].time;

		thread[i] = rows[i].thread;
		time[i] = rows[i].time - now;
		wall[i] = (int64_t)(rows[i].wall - expected);
		node[i] = rows[i].node;
		now = rows[i].time;
	}
}

static void *drop_zeros(void *data, size_t size)
{
	const char *bytes = data;

	if (size && !bytes[0] && !memcmp(bytes, bytes + 1, size - 1))
		return NULL;
	return data;
}

void trace_columns_samples(struct trace_columns *c, const struct trace_row *rows, size_t count,
			   uint64_t first, struct pack_samples *to)
{
	*to = (struct pack_samples){
		.count = count,
		.thread = column(c, count, sizeof(*to->thread)),
		.time = column(c, count, sizeof(*to->time)),
		.wall = column(c, count, sizeof(*to->wall)),
		.off_cpu = column(c, count, sizeof(*to->off_cpu)),
		.node = column(c, count, sizeof(*to->node)),
		.pc = column(c, count, sizeof(*to->pc)),
		.flags = column(c, count, sizeof(*to->flags)),
		.ready = column(c, count, sizeof(*to->ready)),
	};
	common_columns(c, rows, count, first, to->thread, to->time, to->wall, to->node);
	for (size_t i = 0; i < count; i++) {
		to->ready[i] = rows[i].ready;
		to->off_cpu[i] = (int64_t)(rows[i].wall - rows[i].cpu);
		to->pc[i] = rows[i].pc;
		to->flags[i] = rows[i].what;
	}
	to->thread = drop_zeros(to->thread, count * sizeof(*to->thread));
	to->wall = drop_zeros(to->wall, count * sizeof(*to->wall));
	to->off_cpu = drop_zeros(to->off_cpu, count * sizeof(*to->off_cpu));
	to->node = drop_zeros(to->node, count * sizeof(*to->node));
	to->pc = drop_zeros(to->pc, count * sizeof(*to->pc));
	to->flags = drop_zeros(to->flags, count * sizeof(*to->flags));
	to->ready = drop_zeros(to->ready, count * sizeof(*to->ready));
}

void trace_columns_waits(struct trace_columns *c, const struct trace_row *rows, size_t count,
			 uint64_t first, struct pack_waits *to)
{
	*to = (struct pack_waits){
		.count = count,
		.thread = column(c, count, sizeof(*to->thread)),
		.time = column(c, count, sizeof(*to->time)),
		.wall = column(c, count, sizeof(*to->wall)),
		.cpu = column(c, count, sizeof(*to->cpu)),
		.node = column(c, count, sizeof(*to->node)),
		.kind = column(c, count, sizeof(*to->kind)),
		.ready = column(c, count, sizeof(*to->ready)),
	};
	common_columns(c, rows, count, first, to->thread, to->time, to->wall, to->node);
	for (size_t i = 0; i < count; i++) {
		to->cpu[i] = rows[i].cpu;
		to->kind[i] = rows[i].what;
		to->ready[i] = rows[i].ready;
	}
	to->thread = drop_zeros(to->thread, count * sizeof(*to->thread));
	to->wall = drop_zeros(to->wall, count * sizeof(*to->wall));
	to->cpu = drop_zeros(to->cpu, count * sizeof(*to->cpu));
	to->node = drop_zeros(to->node, count * sizeof(*to->node));
	to->kind = drop_zeros(to->kind, count * sizeof(*to->kind));
	to->ready = drop_zeros(to->ready, count * sizeof(*to->ready));
}

void trace_columns_copies(struct trace_columns *c, const struct trace_row *rows, size_t count,
			  uint64_t first, struct pack_copies *to)
{
	uint64_t now = first;

	*to = (struct pack_copies){
		.count = count,
		.thread = column(c, count, sizeof(*to->thread)),
		.time = column(c, count, sizeof(*to->time)),
		.node = column(c, count, sizeof(*to->node)),
		.size = column(c, count, sizeof(*to->size)),
		.kind = column(c, count, sizeof(*to->kind)),
		.flags = column(c, count, sizeof(*to->flags)),
	};
	for (size_t i = 0; i < count; i++) {
		to->thread[i] = rows[i].thread + 1;
		to->time[i] = rows[i].time - now;
		to->node[i] = rows[i].node;
		to->size[i] = rows[i].size;
		to->kind[i] = rows[i].kind;
		to->flags[i] = rows[i].what;
		now = rows[i].time;
	}
	to->node = drop_zeros(to->node, count * sizeof(*to->node));
	to->kind = drop_zeros(to->kind, count * sizeof(*to->kind));
	to->flags = drop_zeros(to->flags, count * sizeof(*to->flags));
}

void trace_columns_footprints(struct trace_columns *c, const struct trace_footprint *rows,
			      size_t count, uint64_t first, uint64_t tick_ns,
			      struct pack_footprints *to)
{
	struct trace_footprint last = {.time_ns = first * tick_ns};

	*to = (struct pack_footprints){
		.count = count,
		.time = column(c, count, sizeof(*to->time)),
		.rss_bytes = column(c, count, sizeof(*to->rss_bytes)),
		.file_bytes = column(c, count, sizeof(*to->file_bytes)),
		.pss_bytes = column(c, count, sizeof(*to->pss_bytes)),
		.swap_bytes = column(c, count, sizeof(*to->swap_bytes)),
		.minor_faults = column(c, count, sizeof(*to->minor_faults)),
		.major_faults = column(c, count, sizeof(*to->major_faults)),
	};
	for (size_t i = 0; i < count; i++) {
		const struct trace_footprint *row = &rows[i];

		to->time[i] = row->time_ns / tick_ns - last.time_ns / tick_ns;
		to->rss_bytes[i] = (int64_t)(row->rss_bytes - last.rss_bytes);
		to->file_bytes[i] = (int64_t)(row->file_bytes - last.file_bytes);
		to->pss_bytes[i] = row->pss_bytes;
		to->swap_bytes[i] = row->swap_bytes;
		to->minor_faults[i] = (int64_t)(row->minor_faults - last.minor_faults);
		to->major_faults[i] = (int64_t)(row->major_faults - last.major_faults);
		last = *row;
	}
	to->pss_bytes = drop_zeros(to->pss_bytes, count * sizeof(*to->pss_bytes));
	to->swap_bytes = drop_zeros(to->swap_bytes, count * sizeof(*to->swap_bytes));
}

void trace_columns_reset(struct trace_columns *c)
{
	arena_reset(&c->arena);
}

void trace_columns_release(struct trace_columns *c)
{
	map_release(&c->last);
	arena_release(&c->arena);
}

/* Walks over time and wall of a block's rows; everything in ticks. */
struct column_walk {
	uint64_t now;
	uint64_t limit;
	uint32_t previous_thread;
};

/* The next row's time and wall time; false when one of them cannot be. */
static bool walk_row(struct trace_columns *c, struct column_walk *walk, size_t row, uint32_t thread,
		     uint64_t step, int64_t wall_column, const uint64_t *times, uint64_t *wall)
{
	uint32_t last = last_row(c, thread, walk->previous_thread, row);
	int64_t value;

	if (step > walk->limit - walk->now)
		return false;
	walk->now += step;
	walk->previous_thread = thread;
	if (__builtin_add_overflow(wall_column,
				   last == MAP_NONE ? 0 : (int64_t)(walk->now - times[last]),
				   &value) ||
	    value < 0 || (uint64_t)value > walk->limit)
		return false;
	*wall = (uint64_t)value;
	return true;
}

int trace_columns_to_samples(struct trace_columns *c, const struct pack_samples *from,
			     uint64_t first_ns, uint64_t tick_ns, struct trace_sample *to)
{
	struct column_walk walk = {first_ns / tick_ns, TRACE_MAX_TIME_NS / tick_ns, 0};
	uint64_t *times = from->time; /* replaced by absolute ticks on the way */

	if (walk.now > walk.limit)
		return -1;
	map_clear(&c->last);
	for (size_t i = 0; i < from->count; i++) {
		uint32_t thread = from->thread ? from->thread[i] : 0;
		int64_t off = from->off_cpu ? from->off_cpu[i] : 0;
		uint64_t ready = from->ready ? from->ready[i] : 0;
		uint64_t wall;
		int64_t cpu;

		if (!walk_row(c, &walk, i, thread, times[i], from->wall ? from->wall[i] : 0, times,
			      &wall) ||
		    __builtin_sub_overflow((int64_t)wall, off, &cpu) || cpu < 0 ||
		    (uint64_t)cpu > walk.limit || ready > walk.limit)
			return -1;
		times[i] = walk.now;
		to[i] = (struct trace_sample){
			.thread = thread,
			.node = from->node ? from->node[i] : 0,
			.pc = from->pc ? from->pc[i] : 0,
			.flags = from->flags ? from->flags[i] : 0,
			.time_ns = walk.now * tick_ns,
			.wall_ns = wall * tick_ns,
			.cpu_ns = (uint64_t)cpu * tick_ns,
			.ready_ns = ready * tick_ns,
		};
	}
	return 0;
}

int trace_columns_to_waits(struct trace_columns *c, const struct pack_waits *from,
			   uint64_t first_ns, uint64_t tick_ns, struct trace_wait *to)
{
	struct column_walk walk = {first_ns / tick_ns, TRACE_MAX_TIME_NS / tick_ns, 0};
	uint64_t *times = from->time;

	if (walk.now > walk.limit)
		return -1;
	map_clear(&c->last);
	for (size_t i = 0; i < from->count; i++) {
		uint32_t thread = from->thread ? from->thread[i] : 0;
		uint32_t kind = from->kind ? from->kind[i] : 0;
		uint64_t cpu = from->cpu ? from->cpu[i] : 0;
		uint64_t ready = from->ready ? from->ready[i] : 0;
		uint64_t wall;

		if (!walk_row(c, &walk, i, thread, times[i], from->wall ? from->wall[i] : 0, times,
			      &wall) ||
		    cpu > walk.limit || ready > walk.limit)
			return -1;
		times[i] = walk.now;
		to[i] = (struct trace_wait){
			.thread = thread,
			.node = from->node ? from->node[i] : 0,
			.kind = kind < TRACE_WAIT_KINDS ? kind : TRACE_WAIT_OTHER,
			.time_ns = walk.now * tick_ns,
			.wall_ns = wall * tick_ns,
			.cpu_ns = cpu * tick_ns,
			.ready_ns = ready * tick_ns,
		};
	}
	return 0;
}

/* Adds a step to *now; false when the sum cannot be a time. */
static bool step_time(uint64_t *now, uint64_t step, uint64_t limit)
{
	if (*now > limit || step > limit - *now)
		return false;
	*now += step;
	return true;
}

static uint64_t capped_size(uint64_t size)
{
	return size < TRACE_MAX_SIZE_BYTES ? size : TRACE_MAX_SIZE_BYTES;
}

int trace_columns_to_copies(const struct pack_copies *from, uint64_t first_ns, uint64_t tick_ns,
			    struct trace_copy *to)
{
	uint64_t now = first_ns / tick_ns;

	for (size_t i = 0; i < from->count; i++) {
		uint32_t kind = from->kind ? from->kind[i] : 0;

		if (!step_time(&now, from->time ? from->time[i] : 0, TRACE_MAX_TIME_NS / tick_ns))
			return -1;
		to[i] = (struct trace_copy){
			.thread = (from->thread ? from->thread[i] : 0) - 1,
			.node = from->node ? from->node[i] : 0,
			.kind = kind < TRACE_COPY_KINDS ? kind : TRACE_COPY_MEMORY,
			.flags = from->flags ? from->flags[i] : 0,
			.time_ns = now * tick_ns,
			.size = capped_size(from->size ? from->size[i] : 0),
		};
	}
	return 0;
}

/* Adds a difference to *value; false when the sum cannot be. */
static bool step_value(uint64_t *value, const int64_t *column_of, size_t row)
{
	int64_t sum;

	if (__builtin_add_overflow((int64_t)*value, column_of ? column_of[row] : 0, &sum) ||
	    sum < 0 || (uint64_t)sum > TRACE_MAX_SIZE_BYTES)
		return false;
	*value = (uint64_t)sum;
	return true;
}

int trace_columns_to_footprints(const struct pack_footprints *from, uint64_t first_ns,
				uint64_t tick_ns, struct trace_footprint *to)
{
	uint64_t now = first_ns / tick_ns;
	struct trace_footprint row = {0};

	for (size_t i = 0; i < from->count; i++) {
		if (!step_time(&now, from->time[i], TRACE_MAX_TIME_NS / tick_ns) ||
		    !step_value(&row.rss_bytes, from->rss_bytes, i) ||
		    !step_value(&row.file_bytes, from->file_bytes, i) ||
		    !step_value(&row.minor_faults, from->minor_faults, i) ||
		    !step_value(&row.major_faults, from->major_faults, i))
			return -1;
		row.time_ns = now * tick_ns;
		row.pss_bytes = capped_size(from->pss_bytes ? from->pss_bytes[i] : 0);
		row.swap_bytes = capped_size(from->swap_bytes ? from->swap_bytes[i] : 0);
		to[i] = row;
	}
	return 0;
}
