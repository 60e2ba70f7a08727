/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace event format of Chrome, which ui.perfetto.dev shows, too: what each thread ran as
 * slices in order of time, and above them the counters of the run: heap, resident memory, copies,
 * processors in use. A slice is a run of samples with the same frame at the same place.
 *
 * Readers take a slice that comes later, at the same time and for as long, as the inner one: so
 * outer ones are written first, though their length is known last.
 */
#include "convert/exporter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/run_stack.h"
#include "convert/timeline.h"
#include "formats/base/json_write.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* What readers show without trouble: some 100 MB. */
#define MAX_SLICES ((size_t)1000000)
/* Perfetto shows no deeper ones. */
#define MAX_DEPTH 500
#define NS_PER_US 1000
#define BYTES_PER_MB (1 << 20)
#define NO_ID UINT32_MAX

struct slice {
	uint64_t start_ns;
	uint64_t end_ns;
	uint32_t frame;
};

struct chrome {
	FILE *to;
	struct export *x;
	struct timeline *timeline;
	struct frame_table frames;
	struct call_tree tree;
	const char *names;    /* "name":"..." of each frame, one after the other, each with a 0 */
	size_t *name_offsets; /* in names */
	uint32_t *tids;       /* by model thread; made up where two have the same */
	struct slice *slices; /* of one thread, by start, outer ones first */
	size_t slice_count;
	size_t slice_capacity;
	struct run_stack stack;
	struct run_stack open;
	size_t open_slices[RUN_STACK_MAX + 1];
	bool comma;
};

/* Every event on a line of its own. */
static void begin_event(struct chrome *c)
{
	fputs(c->comma ? ",\n{" : "\n{", c->to);
	c->comma = true;
}

static void write_time(struct chrome *c, const char *key, uint64_t ns)
{
	fprintf(c->to, ",\"%s\":%" PRIu64, key, ns / NS_PER_US);
	if (ns % NS_PER_US > 0)
		fprintf(c->to, ".%03u", (unsigned int)(ns % NS_PER_US));
}

/* --- names -------------------------------------------------------------------------------- */

static const char *category(const struct frame *frame)
{
	switch (frame->origin) {
	case MODEL_USER:
		return "your code";
	case MODEL_LIBRARY:
		return "library";
	case MODEL_STANDARD:
		return "standard library";
	case MODEL_NONE:
		break;
	}
	return "other";
}

/* Names are written a hundred thousand times: they are quoted once. */
static int quote_names(struct chrome *c, struct err *err)
{
	size_t count = c->frames.count + EXTRA_FRAMES;
	char *names = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&names, &size);

	if (!to)
		return err_errno(err, "cannot write the names");
	c->name_offsets = xcalloc(count, sizeof(*c->name_offsets));
	for (size_t i = 0; i < count; i++) {
		bool extra = i >= c->frames.count;
		const struct frame *frame = extra ? NULL : &c->frames.frames[i];
		struct json j;

		fflush(to);
		c->name_offsets[i] = size;
		json_init(&j, to, 0);
		fputs("\"name\":", to);
		json_text(&j, extra ? extra_frame_names[i - c->frames.count] : frame->label);
		fprintf(to, ",\"cat\":\"%s\"", extra ? "other" : category(frame));
		putc(0, to);
	}
	if (fclose(to) != 0) {
		free(names);
		return err_errno(err, "cannot write the names");
	}
	c->names = names;
	return 0;
}

/* A number that was used again, or two traces, would put two threads on one track. */
static void choose_tids(struct chrome *c)
{
	const struct model_view *view = c->x->view;
	struct map taken = {0};

	c->tids = xcalloc(view->thread_count, sizeof(*c->tids));
	for (size_t i = 0; i < view->thread_count; i++) {
		const struct model_thread *thread = &view->threads[i];
		uint32_t pid = (uint32_t)view->processes[thread->process].pid;
		uint64_t key = (uint64_t)pid << 32 | (uint32_t)thread->tid;

		if (map_get_or_set(&taken, key, (uint32_t)i) == i)
			c->tids[i] = (uint32_t)thread->tid;
		else
			c->tids[i] = (uint32_t)INT32_MAX - (uint32_t)i;
	}
	map_release(&taken);
}

static void write_name_event(struct chrome *c, const char *kind, int32_t pid, uint32_t tid,
			     const char *name)
{
	struct json j;

	begin_event(c);
	fprintf(c->to, "\"name\":\"%s\",\"ph\":\"M\",\"ts\":0,\"pid\":%d", kind, pid);
	if (tid != NO_ID)
		fprintf(c->to, ",\"tid\":%u", tid);
	fputs(",\"args\":{\"name\":", c->to);
	json_init(&j, c->to, 0);
	json_text(&j, name);
	fputs("}}", c->to);
}

static void write_names(struct chrome *c)
{
	const struct model_view *view = c->x->view;

	for (size_t i = 0; i < view->process_count; i++)
		write_name_event(c, "process_name", view->processes[i].pid, NO_ID,
				 view->processes[i].command);
	for (size_t i = 0; i < view->thread_count; i++)
		write_name_event(c, "thread_name", view->processes[view->threads[i].process].pid,
				 c->tids[i], view->threads[i].name);
}

/* --- slices ------------------------------------------------------------------------------- */

static void close_slices(struct chrome *c, size_t depth, uint64_t now_ns)
{
	while (c->open.depth > depth)
		c->slices[c->open_slices[--c->open.depth]].end_ns = now_ns;
}

/* Before the run in c->stack. When one function follows another one that is called the same,
 * speedscope takes the end of the first for that of the second, as both are at the same time: there
 * the first ends a nanosecond sooner, which is then its caller's. */
static void close_before_run(struct chrome *c, uint64_t now_ns)
{
	size_t common = run_stack_common(&c->open, &c->stack), same = common;
	const char *next;

	if (common < c->stack.depth) {
		next = c->names + c->name_offsets[c->stack.frames[common]];
		while (same < c->open.depth &&
		       strcmp(c->names + c->name_offsets[c->open.frames[same]], next) != 0)
			same++;
		if (same < c->open.depth &&
		    c->slices[c->open_slices[c->open.depth - 1]].start_ns < now_ns)
			close_slices(c, same, now_ns - 1);
	}
	close_slices(c, common, now_ns);
}

static void find_slices(struct chrome *c, const struct timeline_thread *thread)
{
	uint64_t now_ns = 0;

	c->slice_count = 0;
	c->open.depth = 0;
	for (size_t i = 0; i < thread->count; i++) {
		run_stack_fill(&c->stack, &c->tree, &c->frames, &thread->runs[i], MAX_DEPTH);
		close_before_run(c, now_ns);
		for (size_t k = c->open.depth; k < c->stack.depth; k++) {
			c->slices = xgrow(c->slices, &c->slice_capacity, c->slice_count + 1,
					  sizeof(*c->slices));
			c->slices[c->slice_count] = (struct slice){
				.start_ns = now_ns,
				.frame = c->stack.frames[k],
			};
			c->open.frames[k] = c->stack.frames[k];
			c->open_slices[k] = c->slice_count++;
		}
		c->open.depth = c->stack.depth;
		now_ns += thread->runs[i].weight;
	}
	close_slices(c, 0, now_ns);
}

static size_t count_slices(struct chrome *c)
{
	size_t count = 0;

	for (size_t i = 0; i < c->timeline->thread_count; i++) {
		const struct timeline_thread *thread = &c->timeline->threads[i];

		c->open.depth = 0;
		for (size_t k = 0; k < thread->count; k++) {
			size_t common;

			run_stack_fill(&c->stack, &c->tree, &c->frames, &thread->runs[k],
				       MAX_DEPTH);
			common = run_stack_common(&c->open, &c->stack);
			count += c->stack.depth - common;
			memcpy(c->open.frames + common, c->stack.frames + common,
			       (c->stack.depth - common) * sizeof(*c->open.frames));
			c->open.depth = c->stack.depth;
		}
	}
	return count;
}

/* A run is a slice or a hundred, as deep as it differs from the one before. */
static void choose_runs(struct chrome *c)
{
	size_t asked_for = c->x->options->max_items;

	timeline_finish(c->timeline, c->x->view, &c->tree, asked_for > 0 ? asked_for : MAX_SLICES);
	while (asked_for == 0 && count_slices(c) > MAX_SLICES && c->timeline->run_count > 1)
		timeline_shrink(c->timeline, c->timeline->run_count / 2);
	timeline_note(c->timeline, &c->tree, MAX_DEPTH, &c->x->note);
	c->x->over_limit = c->timeline->window_ns > 0;
}

static void write_slices(struct chrome *c, size_t thread)
{
	const struct model_view *view = c->x->view;
	int32_t pid = view->processes[view->threads[thread].process].pid;

	find_slices(c, &c->timeline->threads[thread]);
	for (size_t i = 0; i < c->slice_count; i++) {
		const struct slice *slice = &c->slices[i];

		begin_event(c);
		fprintf(c->to, "%s,\"ph\":\"X\",\"pid\":%d,\"tid\":%u",
			c->names + c->name_offsets[slice->frame], pid, c->tids[thread]);
		write_time(c, "ts", slice->start_ns);
		write_time(c, "dur", slice->end_ns - slice->start_ns);
		putc('}', c->to);
	}
}

/* --- counters ----------------------------------------------------------------------------- */

struct counter {
	const char *name;
	size_t offset;  /* in struct model_memory_point */
	double divisor; /* of the value */
	bool rate;      /* it is a sum over the step: shown by the second */
};

static const struct counter counters[] = {
	{"heap (MB)", offsetof(struct model_memory_point, live_bytes), BYTES_PER_MB, false},
	{"heap, most (MB)", offsetof(struct model_memory_point, peak_bytes), BYTES_PER_MB, false},
	{"RSS (MB)", offsetof(struct model_memory_point, rss_bytes), BYTES_PER_MB, false},
	{"PSS (MB)", offsetof(struct model_memory_point, pss_bytes), BYTES_PER_MB, false},
	{"Python's arenas (MB)", offsetof(struct model_memory_point, arena_bytes), BYTES_PER_MB,
	 false},
	{"mapped files (MB)", offsetof(struct model_memory_point, file_bytes), BYTES_PER_MB, false},
	{"allocated (MB/s)", offsetof(struct model_memory_point, malloc_bytes), BYTES_PER_MB, true},
	{"copied (MB/s)", offsetof(struct model_memory_point, copy_bytes), BYTES_PER_MB, true},
	{"processors in use", offsetof(struct model_memory_point, cpu_ns), 1e9, true},
};

static double point_value(const struct model_memory_point *point, const struct counter *counter)
{
	double value;

	memcpy(&value, (const char *)point + counter->offset, sizeof(value));
	return value / counter->divisor;
}

static void write_count(struct chrome *c, const struct counter *counter, uint64_t ns, double value)
{
	const struct model_view *view = c->x->view;
	struct json j;

	begin_event(c);
	fprintf(c->to, "\"name\":\"%s\",\"ph\":\"C\",\"pid\":%d", counter->name,
		view->processes[0].pid);
	write_time(c, "ts", ns);
	fputs(",\"args\":{\"value\":", c->to);
	json_init(&j, c->to, 0);
	json_double(&j, value);
	fputs("}}", c->to);
}

/* A count holds until the next one. Those of a whole step stand at its beginning, those of its end
 * there; where nothing changes one is enough. */
static void write_counter(struct chrome *c, const struct counter *counter)
{
	const struct model_memory *memory = &c->x->view->memory;
	double seconds = (double)memory->point_step_ns / 1e9;
	bool at_end = !counter->rate &&
		      counter->offset != offsetof(struct model_memory_point, peak_bytes);
	bool any = false;
	double last = 0;

	for (size_t i = 0; i < memory->point_count; i++)
		any = any || point_value(&memory->points[i], counter) > 0;
	if (!any)
		return;
	for (size_t i = 0; i < memory->point_count; i++) {
		double value = point_value(&memory->points[i], counter);

		if (counter->rate)
			value /= seconds;
		if (i == 0 || value != last || i + 1 == memory->point_count)
			write_count(c, counter, (i + at_end) * memory->point_step_ns, value);
		last = value;
	}
	if (!at_end)
		write_count(c, counter, memory->point_count * memory->point_step_ns,
			    counter->rate ? 0 : last);
}

static void write_marks(struct chrome *c)
{
	static const char *const names[TRACE_MARK_KINDS] = {
		[TRACE_MARK_LABEL] = "",
		[TRACE_MARK_START] = "[recording goes on]",
		[TRACE_MARK_STOP] = "[recording stops]",
		[TRACE_MARK_FINALIZE] = "[user code is over]",
	};
	const struct model_view *view = c->x->view;

	for (size_t i = 0; i < view->mark_count; i++) {
		const struct model_mark *mark = &view->marks[i];
		struct json j;

		if (mark->time_ns < view->start_ns || mark->process >= view->process_count)
			continue;
		begin_event(c);
		fputs("\"name\":", c->to);
		json_init(&j, c->to, 0);
		json_text(&j, *mark->label ? mark->label : names[mark->kind]);
		fprintf(c->to, ",\"ph\":\"i\",\"s\":\"p\",\"pid\":%d,\"tid\":%d",
			view->processes[mark->process].pid, view->processes[mark->process].pid);
		write_time(c, "ts", mark->time_ns - view->start_ns);
		putc('}', c->to);
	}
}

/* --- the file ----------------------------------------------------------------------------- */

static void write_head(struct chrome *c)
{
	struct buf title = {0};
	struct json j;

	fputs("{\"displayTimeUnit\":\"ms\",\"otherData\":", c->to);
	json_init(&j, c->to, 0);
	json_begin_object(&j);
	json_key_text(&j, "creator", "scprof " SCPROF_VERSION);
	json_key_text(&j, "title", export_title(c->x, &title));
	if (c->x->note.size > 0) {
		buf_clear(&title);
		buf_add(&title, c->x->note.data, c->x->note.size);
		json_key_text(&j, "note", buf_text(&title));
	}
	json_end_object(&j);
	fputs(",\"traceEvents\":[", c->to);
	buf_release(&title);
}

static int chrome_write(struct export *x, struct err *err)
{
	struct chrome *c = xcalloc(1, sizeof(*c));
	int ret;

	c->to = x->to;
	c->x = x;
	c->timeline = x->events;
	frame_table_init(&c->frames, x->view, x->options->lines);
	call_tree_init(&c->tree, x->view, &c->frames);
	choose_runs(c);
	choose_tids(c);
	ret = quote_names(c, err);
	if (ret < 0)
		goto out;
	write_head(c);
	write_names(c);
	if (x->view->process_count > 0) {
		for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
			write_counter(c, &counters[i]);
		write_marks(c);
	}
	for (size_t i = 0; i < c->timeline->thread_count; i++)
		write_slices(c, i);
	fputs("\n]}\n", c->to);
out:
	free((char *)c->names);
	free(c->name_offsets);
	free(c->tids);
	free(c->slices);
	call_tree_release(&c->tree);
	frame_table_release(&c->frames);
	free(c);
	return ret;
}

static const char *const chrome_patterns[] = {"*.trace.json", "*.chrome.json", "*.perfetto.json",
					      NULL};

const struct exporter chrome_exporter = {
	.name = "chrome",
	.description = "slices and counters in order of time, for ui.perfetto.dev and Chrome",
	.patterns = chrome_patterns,
	.flags = EXPORTER_MODEL | EXPORTER_EVENTS | EXPORTER_THREADS | EXPORTER_TIME,
	.events_new = timeline_events_new,
	.events_add = timeline_events_add,
	.events_free = timeline_events_free,
	.write = chrome_write,
};
