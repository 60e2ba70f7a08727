/* SPDX-License-Identifier: Apache-2.0 */
#include "record/dump.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/json_write.h"
#include "formats/base/xalloc.h"
#include "formats/line_table.h"
#include "record/attach.h"
#include "record/process_info.h"
#include "record/python/object_read.h"
#include "record/snapshot.h"

struct dump {
	const struct dump_options *options;
	const struct target *target;
	struct process_info info;
	struct snapshot snapshot;
};

struct place {
	const char *path, *function;
	struct line_position position;
};

static struct place find_place(const struct dump *d, const struct ring_frame *frame)
{
	const struct py_code_text *text = d->snapshot.queue.codes[frame->code].text;
	const struct trace_code code = {
		.first_line = text->first_line,
		.flags = text->flags,
		.python = d->target->layout.version,
		.line_table = text->line_table,
		.line_table_size = text->line_table_size,
		.code_bytes = text->code_bytes,
	};

	return (struct place){text->filename, text->qualname,
			      line_table_find(&code, frame->offset)};
}

static const char *state_name(const struct snapshot_thread *t)
{
	static const char *const kinds[TRACE_WAIT_KINDS] = {
		[TRACE_WAIT_RUNNABLE] = "waiting for a processor",
		[TRACE_WAIT_IO] = "waiting for I/O",
		[TRACE_WAIT_LOCK] = "waiting for a lock",
		[TRACE_WAIT_SLEEP] = "sleeping",
		[TRACE_WAIT_GIL] = "waiting for the GIL",
		[TRACE_WAIT_OTHER] = "waiting",
		[TRACE_WAIT_END] = "ending",
	};

	if (!t->running)
		return kinds[t->kind];
	return t->in_syscall ? "running in the kernel" : "running";
}

static const char *wait_name(enum trace_wait_kind kind)
{
	static const char *const names[TRACE_WAIT_KINDS] = {
		[TRACE_WAIT_RUNNABLE] = "runnable", [TRACE_WAIT_IO] = "io",
		[TRACE_WAIT_LOCK] = "lock",         [TRACE_WAIT_SLEEP] = "sleep",
		[TRACE_WAIT_GIL] = "gil",           [TRACE_WAIT_OTHER] = "other",
		[TRACE_WAIT_END] = "end",
	};

	return names[kind];
}

/* Control characters would reach the terminal. */
static void print_text(FILE *to, const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			fprintf(to, "\\x%02x", (unsigned char)*text);
		else
			fputc(*text, to);
	}
}

/* Index of the first variable of a frame. */
static size_t first_local(const struct dump *d, uint32_t frame)
{
	size_t low = 0, high = d->snapshot.local_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (d->snapshot.locals[middle].frame < frame)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void print_frame(const struct dump *d, FILE *to, uint32_t index)
{
	struct place place = find_place(d, &d->snapshot.queue.frames[index]);

	fputs("    ", to);
	print_text(to, place.path);
	fprintf(to, ":%d  ", (int)place.position.line);
	print_text(to, place.function);
	fputc('\n', to);
	for (size_t i = first_local(d, index); i < d->snapshot.local_count; i++) {
		const struct snapshot_local *local = &d->snapshot.locals[i];

		if (local->frame != index)
			break;
		fputs("        ", to);
		print_text(to, local->name);
		fputs(" = ", to);
		print_text(to, local->value);
		fputc('\n', to);
	}
}

static void print_thread(const struct dump *d, FILE *to, const struct snapshot_thread *t)
{
	fprintf(to, "\nthread %d", (int)t->tid);
	if (t->inner_tid != (uint32_t)t->tid)
		fprintf(to, " (%u inside its container)", (unsigned)t->inner_tid);
	if (*t->name) {
		fputc(' ', to);
		print_text(to, t->name);
	} else if (t->tid == d->target->pid) {
		fputs(" (main)", to);
	}
	fprintf(to, ": %s", state_name(t));
	if (t->flags & TRACE_SAMPLE_GIL && !d->target->layout.free_threaded)
		fputs(", holds the GIL", to);
	if (t->flags & TRACE_SAMPLE_GC)
		fputs(", garbage collection is under way", to);
	fputc('\n', to);
	if (t->unread)
		fputs("    (its stack could not be read)\n", to);
	else if (!t->count)
		fputs(t->python ? "    (no Python code)\n" : "    (not a thread of Python)\n", to);
	for (uint32_t i = 0; i < t->count; i++)
		print_frame(d, to, t->first_frame + i);
}

static void print_dump(const struct dump *d, FILE *to)
{
	const struct ring_header *ring = d->target->ring;

	fprintf(to, "process %d:", (int)d->target->pid);
	for (size_t i = 0; i < d->info.command_count; i++) {
		fputc(' ', to);
		print_text(to, d->info.command[i].data);
	}
	fprintf(to, "\nPython %u.%u.%u%s, %s\n", ring->python_hex >> 24,
		ring->python_hex >> 16 & 0xff, ring->python_hex >> 8 & 0xff,
		d->target->layout.free_threaded ? " free-threaded" : "", d->info.executable);
	for (size_t i = 0; i < d->snapshot.count; i++)
		print_thread(d, to, &d->snapshot.threads[i]);
}

static void write_frame(const struct dump *d, struct json *j, uint32_t index)
{
	struct place place = find_place(d, &d->snapshot.queue.frames[index]);

	json_begin_object(j);
	json_key_text(j, "path", place.path);
	json_key_int(j, "line", place.position.line);
	if (place.position.column)
		json_key_int(j, "column", place.position.column);
	json_key_text(j, "function", place.function);
	if (d->options->locals) {
		json_key(j, "locals");
		json_begin_array(j);
		for (size_t i = first_local(d, index); i < d->snapshot.local_count; i++) {
			const struct snapshot_local *local = &d->snapshot.locals[i];

			if (local->frame != index)
				break;
			json_begin_object(j);
			json_key_text(j, "name", local->name);
			json_key_text(j, "value", local->value);
			json_end_object(j);
		}
		json_end_array(j);
	}
	json_end_object(j);
}

static void write_thread(const struct dump *d, struct json *j, const struct snapshot_thread *t)
{
	json_begin_object(j);
	json_key_int(j, "tid", t->tid);
	if (t->inner_tid != (uint32_t)t->tid)
		json_key_uint(j, "inner_tid", t->inner_tid);
	json_key_text(j, "name", t->name);
	json_key_bool(j, "main", t->tid == d->target->pid);
	json_key_bool(j, "python", t->python);
	json_key_bool(j, "running", t->running);
	if (!t->running)
		json_key_text(j, "wait", wait_name(t->kind));
	else
		json_key_bool(j, "kernel", t->in_syscall);
	json_key_bool(j, "gil", t->flags & TRACE_SAMPLE_GIL);
	json_key_bool(j, "gc", t->flags & TRACE_SAMPLE_GC);
	json_key_bool(j, "failed", t->unread);
	json_key(j, "frames");
	json_begin_array(j);
	for (uint32_t i = 0; i < t->count; i++)
		write_frame(d, j, t->first_frame + i);
	json_end_array(j);
	json_end_object(j);
}

static void write_dump(const struct dump *d, FILE *to)
{
	const struct ring_header *ring = d->target->ring;
	char version[32];
	struct json j;

	snprintf(version, sizeof(version), "%u.%u.%u", ring->python_hex >> 24,
		 ring->python_hex >> 16 & 0xff, ring->python_hex >> 8 & 0xff);
	json_init(&j, to, JSON_INDENT);
	json_begin_object(&j);
	json_key_int(&j, "pid", d->target->pid);
	json_key(&j, "command");
	json_begin_array(&j);
	for (size_t i = 0; i < d->info.command_count; i++)
		json_text(&j, d->info.command[i].data);
	json_end_array(&j);
	json_key_text(&j, "executable", d->info.executable);
	json_key_text(&j, "python", version);
	json_key_bool(&j, "free_threaded", d->target->layout.free_threaded);
	json_key_uint(&j, "held_ns", d->snapshot.held_ns);
	json_key(&j, "threads");
	json_begin_array(&j);
	for (size_t i = 0; i < d->snapshot.count; i++)
		write_thread(d, &j, &d->snapshot.threads[i]);
	json_end_array(&j);
	json_end_object(&j);
	fputc('\n', to);
}

int dump_process(pid_t pid, const struct dump_options *options, FILE *to, struct err *err)
{
	const struct snapshot_options how = {options->nonblocking, options->locals};
	struct dump d = {.options = options};
	struct target *target = attach_target(pid, !options->nonblocking, err);
	int ret = -1;

	if (!target)
		return -1;
	d.target = target;
	process_info_read(&d.info, pid, target->ring->python_hex);
	if (snapshot_take(&d.snapshot, target, &how, err))
		goto out;
	if (options->json)
		write_dump(&d, to);
	else
		print_dump(&d, to);
	ret = 0;
out:
	snapshot_release(&d.snapshot);
	process_info_release(&d.info);
	target_free(target);
	return ret;
}
