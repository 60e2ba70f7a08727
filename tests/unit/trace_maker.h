/* SPDX-License-Identifier: Apache-2.0
 *
 * Short words for writing traces in tests, with the production writer. Code objects are Python 3.9
 * ones whose instruction at byte 2 * k is on line first_line + k.
 */
#ifndef SCPROF_TRACE_MAKER_H
#define SCPROF_TRACE_MAKER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/trace_writer.h"

#define MAKER_MAX_LINES 120
#define MAKER_MAX_THREADS 64
#define MS UINT64_C(1000000)

struct maker {
	struct trace_writer *w;
	uint64_t now_ns[MAKER_MAX_THREADS];
	bool sampled[MAKER_MAX_THREADS];
	uint32_t process_of[MAKER_MAX_THREADS];
};

static inline void maker_die(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

static inline struct trace_text maker_text(const char *text)
{
	return (struct trace_text){.data = text, .size = strlen(text)};
}

/* Takes fd. The rates are those of the header: 0 when memory or copies are not recorded. */
static inline void maker_open_rates(struct maker *m, int fd, uint64_t realtime_ns,
				    uint64_t memory_rate, uint64_t copy_rate)
{
	static const struct trace_text command[] = {
		{.data = "python3", .size = 7},
		{.data = "app.py", .size = 6},
		{.data = "--size", .size = 6},
		{.data = "big one", .size = 7},
	};
	struct err err = {0};
	struct trace_header header = {
		.version = TRACE_VERSION,
		.tool_version = "0.1.0",
		.start_monotonic_ns = 5000 * MS,
		.start_realtime_ns = realtime_ns,
		.host = "build-7",
		.system = "Linux 6.1.0 x86_64",
		.cpu_count = 4,
		.command = command,
		.command_count = sizeof(command) / sizeof(*command),
		.directory = maker_text("/home/me/project"),
		.rate_hz = 1000,
		.wall = true,
		.source = true,
		.tick_ns = 1,
		.options = maker_text("-o run.trace"),
		.memory_rate = memory_rate,
		.copy_rate = copy_rate,
	};

	memset(m, 0, sizeof(*m));
	m->w = trace_writer_open(fd, &header, 0, &err);
	if (!m->w)
		maker_die("trace_writer_open", &err);
}

static inline void maker_open(struct maker *m, int fd, uint64_t realtime_ns)
{
	maker_open_rates(m, fd, realtime_ns, 0, 0);
}

static inline void maker_process_as(struct maker *m, uint32_t index, int32_t pid, uint32_t parent,
				    enum trace_process_origin origin)
{
	struct trace_text command[] = {maker_text("python3"), maker_text("app.py"),
				       maker_text("--size"), maker_text("big one")};

	trace_writer_process(m->w, &(struct trace_process){
					   .index = index,
					   .pid = pid,
					   .parent = parent,
					   .command = command,
					   .command_count = sizeof(command) / sizeof(*command),
					   .executable = maker_text("/usr/bin/python3.12"),
					   .python_hex = 0x030c01f0,
					   .python_build = maker_text("3.12.1 (main)"),
					   .origin = origin,
					   .prefix = maker_text("/usr"),
				   });
}

static inline void maker_process(struct maker *m, uint32_t index, int32_t pid, uint32_t parent)
{
	maker_process_as(m, index, pid, parent,
			 parent == TRACE_NONE ? TRACE_ORIGIN_LAUNCH : TRACE_ORIGIN_FORK);
}

static inline void maker_thread(struct maker *m, uint32_t index, uint32_t process, int32_t tid,
				const char *name)
{
	m->process_of[index] = process;
	trace_writer_thread(m->w, &(struct trace_thread){
					  .index = index,
					  .process = process,
					  .tid = tid,
					  .main = !*name,
					  .name = maker_text(name),
				  });
}

static inline uint32_t maker_code(struct maker *m, const char *path, const char *name,
				  int32_t first_line)
{
	uint8_t lnotab[2 * MAKER_MAX_LINES];
	const char *dot = strrchr(name, '.');
	const char *last = dot ? dot + 1 : name;

	for (size_t i = 0; i < sizeof(lnotab); i += 2) {
		lnotab[i] = 2;
		lnotab[i + 1] = 1;
	}
	return trace_writer_code(m->w,
				 &(struct trace_code){
					 .filename = trace_writer_string(m->w, path, strlen(path)),
					 .name = trace_writer_string(m->w, last, strlen(last)),
					 .qualname = trace_writer_string(m->w, name, strlen(name)),
					 .first_line = first_line,
					 .python = 0x309,
					 .line_table = lnotab,
					 .line_table_size = sizeof(lnotab),
					 .code_bytes = 2 * MAKER_MAX_LINES,
				 });
}

/* The stack parent + the code at first_line + line. */
static inline uint32_t maker_frame(struct maker *m, uint32_t parent, uint32_t code, int32_t line)
{
	return trace_writer_node(m->w, parent, code, 2 * line);
}

static inline uint32_t maker_module(struct maker *m, const char *path, enum trace_module_role role)
{
	return trace_writer_module(m->w, &(struct trace_module){
						 .path = maker_text(path),
						 .build_id = (const uint8_t *)path,
						 .build_id_size = strlen(path),
						 .role = role,
					 });
}

static inline void maker_symbol(struct maker *m, uint32_t module, uint64_t start, uint64_t size,
				const char *name, enum trace_symbol_kind kind)
{
	trace_writer_symbol(m->w, &(struct trace_symbol){
					  .module = module,
					  .start = start,
					  .size = size,
					  .name = maker_text(name),
					  .kind = kind,
				  });
}

/* The thread ran for wall_ns and used cpu_ns of it. */
static inline void maker_sample_as(struct maker *m, uint32_t thread, uint32_t node, uint32_t pc,
				   uint32_t flags, uint64_t cpu_ns, uint64_t wall_ns)
{
	m->now_ns[thread] += wall_ns;
	if (!m->sampled[thread])
		flags |= TRACE_SAMPLE_FIRST;
	m->sampled[thread] = true;
	trace_writer_sample(m->w, m->process_of[thread],
			    &(struct trace_sample){
				    .thread = thread,
				    .node = node,
				    .pc = pc,
				    .flags = flags,
				    .time_ns = m->now_ns[thread],
				    .wall_ns = wall_ns,
				    .cpu_ns = cpu_ns,
			    });
}

static inline void maker_sample(struct maker *m, uint32_t thread, uint32_t node, uint32_t pc,
				uint32_t flags, uint64_t cpu_ns)
{
	maker_sample_as(m, thread, node, pc, flags, cpu_ns, cpu_ns);
}

/* The thread ran for cpu_ns, no sample hit it, then it waited for wall_ns. */
static inline void maker_wait(struct maker *m, uint32_t thread, uint32_t node,
			      enum trace_wait_kind kind, uint64_t wall_ns, uint64_t cpu_ns)
{
	m->now_ns[thread] += cpu_ns + wall_ns;
	trace_writer_wait(m->w, m->process_of[thread],
			  &(struct trace_wait){
				  .thread = thread,
				  .node = node,
				  .kind = kind,
				  .time_ns = m->now_ns[thread],
				  .wall_ns = wall_ns,
				  .cpu_ns = cpu_ns,
			  });
}

/* Memory events happen at the thread's present time, see maker_pass. An ALLOC's block number is
 * returned. */
static inline uint64_t maker_alloc_as(struct maker *m, uint32_t thread, uint32_t node,
				      uint64_t size, enum trace_heap_kind kind, uint32_t flags)
{
	return trace_writer_heap(m->w, m->process_of[thread],
				 &(struct trace_heap){
					 .op = TRACE_HEAP_ALLOC,
					 .thread = thread,
					 .node = node,
					 .kind = kind,
					 .flags = flags,
					 .time_ns = m->now_ns[thread],
					 .size = size,
				 });
}

static inline uint64_t maker_alloc(struct maker *m, uint32_t thread, uint32_t node, uint64_t size)
{
	return maker_alloc_as(m, thread, node, size, TRACE_HEAP_PYTHON, 0);
}

static inline void maker_free(struct maker *m, uint32_t thread, uint64_t block)
{
	trace_writer_heap(m->w, m->process_of[thread],
			  &(struct trace_heap){
				  .op = TRACE_HEAP_FREE,
				  .thread = thread,
				  .time_ns = m->now_ns[thread],
				  .block = block,
			  });
}

static inline void maker_resize(struct maker *m, uint32_t thread, uint64_t block, uint64_t size)
{
	trace_writer_heap(m->w, m->process_of[thread],
			  &(struct trace_heap){
				  .op = TRACE_HEAP_RESIZE,
				  .thread = thread,
				  .time_ns = m->now_ns[thread],
				  .block = block,
				  .size = size,
			  });
}

static inline void maker_copy(struct maker *m, uint32_t thread, uint32_t node,
			      enum trace_copy_kind kind, uint64_t size)
{
	trace_writer_copy(m->w, m->process_of[thread],
			  &(struct trace_copy){
				  .thread = thread,
				  .node = node,
				  .kind = kind,
				  .time_ns = m->now_ns[thread],
				  .size = size,
			  });
}

static inline void maker_footprint(struct maker *m, uint32_t process, uint64_t time_ns,
				   uint64_t rss_bytes)
{
	trace_writer_footprint(m->w, process,
			       &(struct trace_footprint){
				       .time_ns = time_ns,
				       .rss_bytes = rss_bytes,
				       .file_bytes = rss_bytes / 4,
				       .minor_faults = rss_bytes / 4096,
			       });
}

/* label is "" but for TRACE_MARK_LABEL. */
static inline void maker_mark(struct maker *m, uint32_t process, enum trace_mark_kind kind,
			      uint64_t time_ns, const char *label)
{
	trace_writer_mark(m->w, &(struct trace_mark){
					.process = process,
					.kind = kind,
					.time_ns = time_ns,
					.label = maker_text(label),
				});
}

/* Time passes for a thread that nothing is seen of. */
static inline void maker_pass(struct maker *m, uint32_t thread, uint64_t time_ns)
{
	m->now_ns[thread] += time_ns;
}

static inline void maker_process_end(struct maker *m, uint32_t process, uint64_t time_ns,
				     uint64_t cpu_ns)
{
	trace_writer_process_end(m->w, &(struct trace_process_end){
					       .process = process,
					       .time_ns = time_ns,
					       .how = TRACE_END_EXIT,
					       .cpu_ns = cpu_ns,
				       });
}

static inline void maker_loss(struct maker *m, enum trace_loss_kind kind, uint64_t count)
{
	trace_writer_loss(m->w, &(struct trace_loss){
					.kind = kind,
					.thread = TRACE_NONE,
					.count = count,
				});
}

static inline void maker_source(struct maker *m, const char *path, const char *text)
{
	trace_writer_source(m->w, &(struct trace_source){
					  .path = maker_text(path),
					  .text = maker_text(text),
				  });
}

static inline void maker_flush(struct maker *m)
{
	struct err err = {0};

	if (trace_writer_flush(m->w, &err) != 0)
		maker_die("trace_writer_flush", &err);
}

static inline void maker_finish(struct maker *m, uint64_t time_ns)
{
	struct err err = {0};
	struct trace_end end = {
		.time_ns = time_ns,
		.reason = TRACE_REASON_FINISHED,
		.samples = trace_writer_samples(m->w),
	};

	if (trace_writer_finish(m->w, &end, &err) != 0)
		maker_die("trace_writer_finish", &err);
	trace_writer_free(m->w);
	m->w = NULL;
}

#endif
