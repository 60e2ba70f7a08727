/* SPDX-License-Identifier: Apache-2.0
 *
 * speedscope's JSON: one profile for each thread, in order of time, all from the same zero. Where a
 * thread has nothing to show, or has not started yet, its profile has a gap. Memory has no such
 * order: one profile has all stacks, those with most of it first. A profile is written as samples
 * (the whole stack each time) or as events (only what changes), whichever is shorter: deep stacks
 * would fill hundreds of megabytes as samples.
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

/* The application gets slow beyond the first and dies of deeper stacks than the second. */
#define MAX_RUNS 100000
#define MAX_DEPTH RUN_STACK_MAX
/* Typical bytes of one frame of a sample and of one event. */
#define SAMPLE_FRAME_BYTES 5
#define EVENT_BYTES 36

struct speedscope {
	struct json json;
	struct frame_table frames;
	struct call_tree tree;
	const struct export *x;
	struct timeline *timeline;
	struct run_stack stack;
	struct run_stack open; /* frames that events have opened */
};

static void find_stack(struct speedscope *s, const struct timeline_run *run)
{
	run_stack_fill(&s->stack, &s->tree, &s->frames, run, MAX_DEPTH);
}

static bool samples_are_shorter(struct speedscope *s, const struct timeline_thread *thread)
{
	uint64_t sample_bytes = 0;
	uint64_t event_bytes = 0;

	s->open.depth = 0;
	for (size_t i = 0; i < thread->count; i++) {
		size_t common;

		find_stack(s, &thread->runs[i]);
		common = run_stack_common(&s->open, &s->stack);
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
		json_uint(j, thread->runs[i].weight);
	json_end_array(j);
}

static void write_event(struct speedscope *s, const char *type, uint32_t frame, uint64_t at)
{
	json_begin_object(&s->json);
	json_key_text(&s->json, "type", type);
	json_key_uint(&s->json, "frame", frame);
	json_key_uint(&s->json, "at", at);
	json_end_object(&s->json);
}

static void close_frames(struct speedscope *s, size_t depth, uint64_t at)
{
	while (s->open.depth > depth)
		write_event(s, "C", s->open.frames[--s->open.depth], at);
}

static void write_events(struct speedscope *s, const struct timeline_thread *thread)
{
	uint64_t at = 0;

	json_key(&s->json, "events");
	json_begin_array(&s->json);
	s->open.depth = 0;
	for (size_t i = 0; i < thread->count; i++) {
		find_stack(s, &thread->runs[i]);
		close_frames(s, run_stack_common(&s->open, &s->stack), at);
		while (s->open.depth < s->stack.depth) {
			uint32_t frame = s->stack.frames[s->open.depth];

			write_event(s, "O", frame, at);
			s->open.frames[s->open.depth++] = frame;
		}
		at += thread->runs[i].weight;
	}
	close_frames(s, 0, at);
	json_end_array(&s->json);
}

static void profile_name(struct speedscope *s, size_t thread_id, struct buf *name)
{
	const struct model_view *view = s->x->view;
	const struct model_thread *thread;

	if (!weight_is_time(view->weight)) {
		buf_add_text(name, costs[s->tree.cost].title);
		return;
	}
	thread = &view->threads[thread_id];
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
	json_key_text(&s->json, "unit",
		      costs[s->tree.cost].unit == COST_NS ? "nanoseconds" : "bytes");
	json_key_uint(&s->json, "startValue", 0);
	json_key_uint(&s->json, "endValue", thread->end);
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
		json_key_text(j, "name", extra_frame_names[i]);
		json_end_object(j);
	}
	json_end_array(j);
}

static void write_file(struct speedscope *s)
{
	struct json *j = &s->json;
	const struct timeline *t = s->timeline;
	struct buf title = {0};
	size_t active = 0;
	size_t profiles = 0;
	uint64_t heaviest = 0;

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
		if (t->threads[i].weight == 0 && weight_is_time(s->x->view->weight))
			continue;
		if (t->threads[i].weight > heaviest) {
			heaviest = t->threads[i].weight;
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
	struct timeline of_tree;
	uint64_t max_runs = x->options->max_items > 0 ? x->options->max_items : MAX_RUNS;

	(void)err;
	timeline_init(&of_tree, x->view->weight);
	s->x = x;
	s->timeline = x->events ? x->events : &of_tree;
	json_init(&s->json, x->to, 0);
	frame_table_init(&s->frames, x->view, x->options->lines);
	call_tree_init(&s->tree, x->view, &s->frames);
	if (weight_is_time(x->view->weight))
		timeline_finish(s->timeline, x->view, &s->tree, max_runs);
	else
		timeline_from_tree(s->timeline, &s->tree, max_runs);
	timeline_note(s->timeline, &s->tree, MAX_DEPTH, &x->note);
	x->over_limit = s->timeline->window_ns > 0 || s->timeline->folded > 0;
	write_file(s);
	timeline_release(&of_tree);
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
	.events_new = timeline_events_new,
	.events_add = timeline_events_add,
	.events_free = timeline_events_free,
	.write = speedscope_write,
};
