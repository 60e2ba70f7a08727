/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/frame_table.h"

#include <stdlib.h>
#include <string.h>

#include "convert/clean_text.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

static const char *keep_text(struct frame_table *t, const char *text)
{
	return intern_get(&t->texts, intern_add(&t->texts, text, strlen(text), NULL), NULL);
}

static const char *after(const char *path, const char *folder)
{
	const char *at = strstr(path, folder);

	return at ? at + strlen(folder) : NULL;
}

/* The part of a path that tells files apart: below site-packages, below the standard library, below
 * the folder the program was started in, or else the file's name. */
static const char *shorten_path(const struct model_view *view, const char *path)
{
	const char *directory = view->header ? view->header->directory.data : "";
	size_t length = directory ? strlen(directory) : 0;
	const char *part;
	const char *slash;

	if ((part = after(path, "/site-packages/")) || (part = after(path, "/dist-packages/")))
		return part;
	if ((part = after(path, "/lib/python"))) {
		slash = strchr(part, '/');
		if (slash && slash[1])
			return slash + 1;
	}
	if (length > 1 && strncmp(path, directory, length) == 0 && path[length] == '/')
		return path + length + 1;
	if (*path == '<')
		return path;
	slash = strrchr(path, '/');
	return slash && slash[1] ? slash + 1 : path;
}

static uint32_t add_frame(struct frame_table *t, const struct frame *frame)
{
	t->frames = xgrow(t->frames, &t->capacity, t->count + 1, sizeof(*t->frames));
	t->frames[t->count] = *frame;
	return (uint32_t)t->count++;
}

static uint32_t add_plain(struct frame_table *t, enum frame_kind kind, const char *name)
{
	struct frame frame = {
		.kind = kind,
		.origin = MODEL_NONE,
		.function = UINT32_MAX,
		.name = keep_text(t, name),
		.path = "",
		.short_path = "",
	};

	frame.label = frame.name;
	return add_frame(t, &frame);
}

static uint32_t add_thread(struct frame_table *t, const struct model_view *view, uint32_t id)
{
	const struct model_thread *thread = &view->threads[id];
	struct buf name = {0};
	uint32_t frame;

	clean_text(&name, thread->name);
	if (view->process_count > 1)
		buf_printf(&name, " (process %d, thread %d)", view->processes[thread->process].pid,
			   thread->tid);
	else
		buf_printf(&name, " (thread %d)", thread->tid);
	frame = add_plain(t, FRAME_THREAD, buf_text(&name));
	buf_release(&name);
	return frame;
}

static uint32_t add_code(struct frame_table *t, const struct model_view *view, uint32_t id,
			 int32_t line)
{
	const struct model_function *function = &view->functions[id];
	const struct model_file *file = &view->files[function->file];
	struct frame frame = {.kind = FRAME_CODE, .origin = file->origin, .function = id};
	struct buf text = {0};

	clean_text(&text, function->name);
	frame.name = keep_text(t, buf_text(&text));
	frame.path = frame.short_path = "";
	if (file->origin != MODEL_NONE) {
		buf_clear(&text);
		clean_text(&text, file->path);
		frame.path = keep_text(t, buf_text(&text));
		frame.short_path = *frame.path ? keep_text(t, shorten_path(view, frame.path)) : "?";
		frame.line = line;
	}
	buf_release(&text);
	return add_frame(t, &frame);
}

static uint32_t frame_of(struct frame_table *t, const struct model_view *view,
			 const struct model_node *node, bool by_line)
{
	const struct model_function *function;
	int32_t line = 0;
	uint64_t key;
	uint32_t frame;

	if (node->function == UINT32_MAX) {
		if (node->thread == UINT32_MAX)
			return FRAME_TABLE_ROOT;
		key = (uint64_t)node->thread << 32 | UINT32_MAX;
	} else {
		function = &view->functions[node->function];
		line = by_line ? node->line : function->first_line;
		/* Functions come in the upper half, so that a thread is never taken for one. */
		key = (uint64_t)node->function << 32 | (uint32_t)(line & INT32_MAX);
		key |= 1ull << 63;
	}
	frame = map_get(&t->index, key);
	if (frame != MAP_NONE)
		return frame;
	if (node->function == UINT32_MAX)
		frame = add_thread(t, view, node->thread);
	else
		frame = add_code(t, view, node->function, line);
	map_set(&t->index, key, frame);
	return frame;
}

/* "name (file)", by line "name (file:line)"; where that is not unique with the first line of the
 * function, and in the last resort with a number. Never ends in a number: a space and a number at
 * the end of a frame mean something else in collapsed stacks. */
static void set_labels(struct frame_table *t, const struct model_view *view, bool by_line)
{
	uint32_t *seen = xcalloc(t->count, sizeof(*seen)); /* how many share the label */
	uint32_t *first = xcalloc(t->count, sizeof(*first));
	struct intern labels = {0};
	struct buf text = {0};

	for (size_t round = 0; round < 3; round++) {
		intern_release(&labels);
		labels = (struct intern){0};
		for (size_t i = 0; i < t->count; i++) {
			struct frame *frame = &t->frames[i];
			bool added;
			uint32_t id;

			if (frame->kind == FRAME_CODE && (round == 0 || seen[first[i]] > 1)) {
				buf_clear(&text);
				buf_add_text(&text, frame->name);
				if (*frame->short_path) {
					buf_printf(&text, " (%s", frame->short_path);
					if (by_line)
						buf_printf(&text, ":%d", frame->line);
					else if (round > 0)
						buf_printf(&text, ":%d",
							   view->functions[frame->function]
								   .first_line);
					if (by_line && round > 0)
						buf_printf(&text, " of %d",
							   view->functions[frame->function]
								   .first_line);
					buf_add_byte(&text, ')');
				}
				if (round > 1)
					buf_printf(&text, " (%zu)", i);
				frame->label = keep_text(t, buf_text(&text));
			}
			id = intern_add(&labels, frame->label, strlen(frame->label), &added);
			if (added && round == 0)
				seen[id] = 0;
			first[i] = id;
		}
		memset(seen, 0, t->count * sizeof(*seen));
		for (size_t i = 0; i < t->count; i++)
			seen[first[i]]++;
	}
	intern_release(&labels);
	buf_release(&text);
	free(seen);
	free(first);
}

void frame_table_init(struct frame_table *t, const struct model_view *view, bool by_line)
{
	*t = (struct frame_table){0};
	add_plain(t, FRAME_ROOT, "all");
	add_plain(t, FRAME_UNKNOWN, "<no Python frame>");
	t->of_node = xcalloc(view->node_count, sizeof(*t->of_node));
	for (size_t i = 0; i < view->node_count; i++)
		t->of_node[i] = frame_of(t, view, &view->nodes[i], by_line);
	set_labels(t, view, by_line);
}

void frame_table_release(struct frame_table *t)
{
	free(t->frames);
	free(t->of_node);
	map_release(&t->index);
	intern_release(&t->texts);
	*t = (struct frame_table){0};
}
