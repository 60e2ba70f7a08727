/* SPDX-License-Identifier: Apache-2.0
 *
 * speedscope's JSON: one profile for each thread, in order of time, all from the same zero. Where a
 * thread has nothing to show, or has not started yet, its profile has a gap. A profile is written
 * as samples (the whole stack each time) or as events (only what changes), whichever is shorter:
 * deep stacks would fill hundreds of megabytes as samples.
 */
#include "convert/exporter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/timeline.h"
#include "formats/base/json_write.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

/* The application gets slow beyond the first and dies of deeper stacks than the second. */
#define MAX_RUNS 100000
#define MAX_DEPTH 1500
#define DEPTH_KEPT_OUTSIDE 1000
/* Typical bytes of one frame of a sample and of one event. */
#define SAMPLE_FRAME_BYTES 5
#define EVENT_BYTES 36

/* Frames that are not in the frame table come behind it. */
enum extra_frame {
	EXTRA_CUT,   /* stands for the frames left out of a deep stack */
	EXTRA_OTHER, /* several rare stacks */
	EXTRA_WAIT,  /* one for each enum trace_wait_kind */
	EXTRA_FRAMES = EXTRA_WAIT + TRACE_WAIT_KINDS,
};

static const char *const extra_names[EXTRA_FRAMES] = {
	[EXTRA_CUT] = "[frames left out]",
	[EXTRA_OTHER] = "[rare stacks]",
	[EXTRA_WAIT + TRACE_WAIT_RUNNABLE] = "[waiting for a processor]",
	[EXTRA_WAIT + TRACE_WAIT_IO] = "[waiting for I/O]",
	[EXTRA_WAIT + TRACE_WAIT_LOCK] = "[waiting for a lock]",
	[EXTRA_WAIT + TRACE_WAIT_SLEEP] = "[sleeping]",
	[EXTRA_WAIT + TRACE_WAIT_GIL] = "[waiting for the GIL]",
	[EXTRA_WAIT + TRACE_WAIT_OTHER] = "[waiting]",
	[EXTRA_WAIT + TRACE_WAIT_END] = "[ending]",
};

/* A stack as indices of frames, from the root on. */
struct stack {
	uint32_t frames[MAX_DEPTH + 1];
	size_t depth;
};

struct speedscope {
	struct json json;
	struct frame_table frames;
	struct call_tree tree;
	const struct export *x;
	struct timeline *timeline;
	struct stack stack;
	struct stack open; /* frames that events have opened */
};

static void *speedscope_events_new(const struct export_options *options, enum model_weight weight)
{
	struct timeline *t = xmalloc(sizeof(*t));

	(void)options;
	timeline_init(t, weight);
	return t;
}

static void speedscope_events_add(void *events, const struct model_event *event)
{
	timeline_add(events, event);
}

static void speedscope_events_free(void *events)
{
	if (events)
		timeline_release(events);
	free(events);
}

/* Fills s->stack with the frames of a run; in a stack that is too deep a mark stands for what is
 * neither near the root nor near the leaf. */
static void find_stack(struct speedscope *s, const struct timeline_run *run)
{
	struct stack *stack = &s->stack;
	uint32_t extra = (uint32_t)s->frames.count;
	uint32_t waiting = run->state > 0;
	uint32_t node = run->node;
	size_t depth;
	size_t left_out = 0;

	stack->depth = 0;
	if (node == TIMELINE_GAP)
		return;
	if (node == TIMELINE_OTHER) {
		stack->frames[stack->depth++] = extra + EXTRA_OTHER;
		return;
	}
	depth = s->tree.nodes[node].depth;
	if (depth > MAX_DEPTH - 1)
		left_out = depth - (MAX_DEPTH - 2);
	stack->depth = depth - left_out + (left_out > 0) + waiting;
	if (waiting)
		stack->frames[stack->depth - 1] = extra + EXTRA_WAIT + run->state - 1;
	for (size_t at = stack->depth - waiting; node != 0; node = s->tree.nodes[node].parent) {
		if (left_out > 0 && at == DEPTH_KEPT_OUTSIDE + 1) {
			stack->frames[--at] = extra + EXTRA_CUT;
			for (; left_out > 1; left_out--)
				node = s->tree.nodes[node].parent;
			left_out = 0;
			continue;
		}
		stack->frames[--at] = s->tree.nodes[node].frame;
	}
}

static size_t common_depth(const struct stack *a, const struct stack *b)
{
	size_t n = 0;

	while (n < a->depth && n < b->depth && a->frames[n] == b->frames[n])
		n++;
	return n;
}

static bool samples_are_shorter(struct speedscope *s, const struct timeline_thread *thread)
{
	uint64_t sample_bytes = 0;
	uint64_t event_bytes = 0;

	s->open.depth = 0;
	for (size_t i = 0; i < thread->count; i++) {
		size_t common;

		find_stack(s, &thread->runs[i]);
		common = common_depth(&s->open, &s->stack);
		sample_bytes += (s->stack.depth + 2) * SAMPLE_FRAME_BYTES;
		event_bytes += (s->open.depth + s->stack.depth - 2 * common) * EVENT_BYTES;
		memcpy(s->open.frames + common, s->stack.frames + common,
		       (s->stack.depth - common) * sizeof(*s->open.frames));
		s->open.depth = s->stack.depth;
	}
	return sample_bytes <= event_bytes;
}

static void write_samples(struct speedscope *s, const struct timeline_thread *thread)
{
	struct json *j = &s->json;

	json_key(j, "samples");
	json_begin_array(j);
	for (size_t i = 0; i < thread->count; i++) {
		find_stack(s, &thread->runs[i]);
		json_begin_array(j);
		for (size_t k = 0; k < s->stack.depth; k++)
			json_uint(j, s->stack.frames[k]);
		json_end_array(j);
	}
	json_end_array(j);
	json_key(j, "weights");
	json_begin_array(j);
	for (size_t i = 0; i < thread->count; i++)
		json_uint(j, thread->runs[i].weight_ns);
	json_end_array(j);
}

static void write_event(struct speedscope *s, const char *type, uint32_t frame, uint64_t at_ns)
{
	json_begin_object(&s->json);
	json_key_text(&s->json, "type", type);
	json_key_uint(&s->json, "frame", frame);
	json_key_uint(&s->json, "at", at_ns);
	json_end_object(&s->json);
}

static void close_frames(struct speedscope *s, size_t depth, uint64_t at_ns)
{
	while (s->open.depth > depth)
		write_event(s, "C", s->open.frames[--s->open.depth], at_ns);
}

static void write_events(struct speedscope *s, const struct timeline_thread *thread)
{
	uint64_t at_ns = 0;

	json_key(&s->json, "events");
	json_begin_array(&s->json);
	s->open.depth = 0;
	for (size_t i = 0; i < thread->count; i++) {
		find_stack(s, &thread->runs[i]);
		close_frames(s, common_depth(&s->open, &s->stack), at_ns);
		while (s->open.depth < s->stack.depth) {
			uint32_t frame = s->stack.frames[s->open.depth];

			write_event(s, "O", frame, at_ns);
			s->open.frames[s->open.depth++] = frame;
		}
		at_ns += thread->runs[i].weight_ns;
	}
	close_frames(s, 0, at_ns);
	json_end_array(&s->json);
}

static void profile_name(struct speedscope *s, size_t thread_id, struct buf *name)
{
	const struct model_view *view = s->x->view;
	const struct model_thread *thread = &view->threads[thread_id];

	buf_clear(name);
	buf_add_text(name, thread->name);
	if (view->process_count > 1)
		buf_printf(name, " (process %d, thread %d)", view->processes[thread->process].pid,
			   thread->tid);
	else
		buf_printf(name, " (thread %d)", thread->tid);
}

static void write_profile(struct speedscope *s, size_t thread_id)
{
	const struct timeline_thread *thread = &s->timeline->threads[thread_id];
	bool sampled = samples_are_shorter(s, thread);
	struct buf name = {0};

	profile_name(s, thread_id, &name);
	json_begin_object(&s->json);
	json_key_text(&s->json, "type", sampled ? "sampled" : "evented");
	json_key_text(&s->json, "name", buf_text(&name));
	json_key_text(&s->json, "unit", "nanoseconds");
	json_key_uint(&s->json, "startValue", 0);
	json_key_uint(&s->json, "endValue", thread->end_ns);
	if (sampled)
		write_samples(s, thread);
	else
		write_events(s, thread);
	json_end_object(&s->json);
	buf_release(&name);
}

static void write_frames(struct speedscope *s)
{
	struct json *j = &s->json;

	json_key(j, "frames");
	json_begin_array(j);
	for (size_t i = 0; i < s->frames.count; i++) {
		const struct frame *frame = &s->frames.frames[i];

		json_begin_object(j);
		json_key_text(j, "name", frame->name);
		if (*frame->path)
			json_key_text(j, "file", frame->path);
		if (*frame->path && frame->line > 0)
			json_key_int(j, "line", frame->line);
		json_end_object(j);
	}
	for (size_t i = 0; i < EXTRA_FRAMES; i++) {
		json_begin_object(j);
		json_key_text(j, "name", extra_names[i]);
		json_end_object(j);
	}
	json_end_array(j);
}

/* Says what was put together, for the user and the file's name field. */
static void note_changes(const struct speedscope *s, struct buf *note)
{
	const struct timeline *t = s->timeline;

	if (t->window_ns > 0)
		buf_printf(
			note,
			"stacks within %g ms of each other are put together, %zu samples are left",
			(double)t->window_ns / 1e6, t->run_count);
	if (t->folded > 0)
		buf_printf(note, ", %zu rare stacks are shown as one", t->folded);
	if (s->tree.max_depth >= MAX_DEPTH)
		buf_printf(note, "%sstacks deeper than %d frames lack their middle",
			   note->size > 0 ? "; " : "", MAX_DEPTH);
}

static void write_file(struct speedscope *s)
{
	struct json *j = &s->json;
	const struct timeline *t = s->timeline;
	struct buf title = {0};
	size_t active = 0;
	size_t profiles = 0;
	uint64_t heaviest_ns = 0;

	export_title(s->x, &title);
	if (s->x->note.size > 0)
		buf_printf(&title, " (%.*s)", (int)s->x->note.size, (char *)s->x->note.data);
	json_begin_object(j);
	json_key_text(j, "$schema", "https://www.speedscope.app/file-format-schema.json");
	json_key_text(j, "name", buf_text(&title));
	json_key_text(j, "exporter", "scprof@" SCPROF_VERSION);
	json_key(j, "shared");
	json_begin_object(j);
	write_frames(s);
	json_end_object(j);
	json_key(j, "profiles");
	json_begin_array(j);
	for (size_t i = 0; i < t->thread_count; i++) {
		if (t->threads[i].weight_ns == 0)
			continue;
		if (t->threads[i].weight_ns > heaviest_ns) {
			heaviest_ns = t->threads[i].weight_ns;
			active = profiles;
		}
		profiles++;
		write_profile(s, i);
	}
	json_end_array(j);
	json_key_uint(j, "activeProfileIndex", active);
	json_end_object(j);
	putc('\n', s->x->to);
	buf_release(&title);
}

static int speedscope_write(struct export *x, struct err *err)
{
	struct speedscope *s = xcalloc(1, sizeof(*s));
	uint64_t max_runs = x->options->max_items > 0 ? x->options->max_items : MAX_RUNS;

	(void)err;
	s->x = x;
	s->timeline = x->events;
	json_init(&s->json, x->to, 0);
	frame_table_init(&s->frames, x->view, x->options->lines);
	call_tree_init(&s->tree, x->view, &s->frames);
	timeline_finish(s->timeline, x->view, &s->tree, max_runs);
	note_changes(s, &x->note);
	x->over_limit = s->timeline->window_ns > 0;
	write_file(s);
	call_tree_release(&s->tree);
	frame_table_release(&s->frames);
	free(s);
	return 0;
}

static const char *const speedscope_patterns[] = {"*.speedscope.json", "*.speedscope", NULL};

const struct exporter speedscope_exporter = {
	.name = "speedscope",
	.description = "every thread in order of time, for speedscope",
	.patterns = speedscope_patterns,
	.flags = EXPORTER_EVENTS | EXPORTER_THREADS,
	.events_new = speedscope_events_new,
	.events_add = speedscope_events_add,
	.events_free = speedscope_events_free,
	.write = speedscope_write,
};
