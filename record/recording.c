/* SPDX-License-Identifier: Apache-2.0 */
#include "record/recording.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/log.h"
#include "formats/base/xalloc.h"
#include "formats/trace_writer.h"
#include "record/drain_ring.h"
#include "record/listener.h"
#include "record/process_info.h"
#include "record/symbolize.h"

#define FLUSH_NS 1000000000u
/* Zstandard's fast default: a block a second is little data, and this core is the target's too. */
#define COMPRESSION_LEVEL 6

struct recording {
	struct recording_options options;
	struct trace_writer *writer;
	struct listener listener;
	struct sampler *sampler;
	struct drain *drain;
	struct target **targets;
	size_t count, capacity;
	size_t reports; /* targets so far */
	pid_t command;
	int command_status; /* of waitpid, -1 while it runs */
	uint64_t start_ns;
	uint64_t flushed_ns;
	uint64_t late_ticks;
	size_t refusals;
	char refusal[256];
	bool write_failed;
	struct err write_error;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct recording *recording_new(int fd, struct trace_header *header,
				const struct recording_options *options, struct err *err)
{
	struct recording *r = xcalloc(1, sizeof(*r));
	struct timespec real;

	r->options = *options;
	r->command_status = -1;
	r->listener.fd = -1;
	if (listener_open(&r->listener, err))
		goto fail;
	clock_gettime(CLOCK_REALTIME, &real);
	r->start_ns = r->flushed_ns = now_ns();
	header->start_monotonic_ns = r->start_ns;
	header->start_realtime_ns = (uint64_t)real.tv_sec * 1000000000u + (uint64_t)real.tv_nsec;
	r->writer = trace_writer_open(fd, header, COMPRESSION_LEVEL, err);
	if (!r->writer)
		goto fail;
	return r;
fail:
	listener_close(&r->listener);
	free(r);
	return NULL;
}

const char *recording_socket(const struct recording *r)
{
	return r->listener.name;
}

int recording_start(struct recording *r, pid_t command, struct err *err)
{
	struct sampler_options options = {
		.rate_hz = r->options.rate_hz,
		.wall = r->options.wall,
		.signal = r->options.signal,
	};
	struct rlimit files;

	/* Two descriptors a thread. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	r->command = command;
	r->sampler = sampler_new(&options, err);
	if (!r->sampler)
		return -1;
	r->drain = drain_new(r->writer, r->sampler, r->start_ns);
	return 0;
}

static void end_target(struct recording *r, size_t at, int wait_status)
{
	struct target *t = r->targets[at];

	drain_end(r->drain, t, wait_status);
	r->targets[at] = r->targets[--r->count];
	target_free(t);
}

static void refused(struct recording *r, pid_t pid, const char *why)
{
	struct trace_loss loss = {
		.kind = TRACE_LOSS_PROCESS,
		.process = TRACE_NONE,
		.thread = TRACE_NONE,
		.time_ns = now_ns() - r->start_ns,
		.count = 1,
	};

	if (r->refusals++ == 0)
		snprintf(r->refusal, sizeof(r->refusal), "process %d is not recorded: %s", (int)pid,
			 why);
	if (drain_processes(r->drain))
		trace_writer_loss(r->writer, &loss);
}

/* Works until the process is waited for. */
static uint64_t process_cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void take_reports(struct recording *r)
{
	struct ring_hello hello;
	int region;
	pid_t pid;

	while (listener_accept(&r->listener, &hello, &pid, &region) > 0) {
		struct target *t;
		struct err err;

		if (hello.refused || region < 0) {
			if (region >= 0)
				close(region);
			refused(r, pid, hello.text);
			continue;
		}
		t = target_new(region, pid, &err);
		if (!t) {
			close(region);
			refused(r, pid, err.text);
			continue;
		}
		/* The same process again: it has become another program. */
		for (size_t i = 0; i < r->count; i++) {
			if (r->targets[i]->pid == pid) {
				end_target(r, i, -1);
				break;
			}
		}
		drain_add(r->drain, t, pid == r->command && !r->reports++);
		r->targets = xgrow(r->targets, &r->capacity, r->count + 1, sizeof(*r->targets));
		r->targets[r->count++] = t;
		sampler_add(r->sampler, t);
	}
}

static void flush(struct recording *r)
{
	struct err err;

	r->flushed_ns = now_ns();
	if (trace_writer_flush(r->writer, &err) == 0)
		return;
	if (!r->write_failed) {
		r->write_failed = true;
		r->write_error = err;
		log_error("%s; the program runs on, what was written so far is kept", err.text);
	}
}

void recording_step(struct recording *r, int timeout_ms)
{
	struct pollfd *fds = xcalloc(r->count + 1, sizeof(*fds));
	size_t watched = r->count;
	uint64_t late = sampler_late_ticks(r->sampler);

	fds[0].fd = r->listener.fd;
	fds[0].events = POLLIN;
	for (size_t i = 0; i < watched; i++) {
		fds[i + 1].fd = r->targets[i]->pid_fd;
		fds[i + 1].events = POLLIN;
		if (ring_fill(r->targets[i]) > RING_DATA_SIZE / 4)
			timeout_ms = 0;
	}
	poll(fds, watched + 1, timeout_ms);
	for (size_t i = 0; i < watched; i++) {
		struct target *t = r->targets[i];

		if (!t->exited && fds[i + 1].revents & POLLIN) {
			t->exited = true;
			t->final_cpu_ns = process_cpu_ns(t->pid);
		}
	}
	free(fds);

	/* A report may come from a process that has ended by now; its region is complete. */
	take_reports(r);
	for (size_t i = 0; i < r->count;) {
		struct target *t = r->targets[i];

		/* The command's own end waits for its status. */
		if (t->exited && (t->pid != r->command || r->command_status != -1))
			end_target(r, i, t->pid == r->command ? r->command_status : -1);
		else if (t->pid_fd < 0 && process_parent(t->pid) == 0)
			end_target(r, i, -1);
		else {
			drain_target(r->drain, t);
			i++;
		}
	}
	if (late > r->late_ticks && r->count && r->targets[0]->index != TRACE_NONE) {
		struct trace_loss loss = {
			.kind = TRACE_LOSS_LATE_TICK,
			.process = r->targets[0]->index,
			.thread = TRACE_NONE,
			.time_ns = now_ns() - r->start_ns,
			.count = late - r->late_ticks,
		};

		trace_writer_loss(r->writer, &loss);
		r->late_ticks = late;
	}
	if (now_ns() - r->flushed_ns >= FLUSH_NS)
		flush(r);
}

void recording_command_ended(struct recording *r, int wait_status)
{
	r->command_status = wait_status;
}

size_t recording_live(const struct recording *r)
{
	return r->count;
}

size_t recording_processes(const struct recording *r)
{
	return r->drain ? drain_processes(r->drain) : 0;
}

bool recording_full(const struct recording *r)
{
	return r->options.max_size && trace_writer_bytes(r->writer) >= r->options.max_size;
}

const char *recording_refusal(const struct recording *r)
{
	return r->refusals ? r->refusal : NULL;
}

size_t recording_refusals(const struct recording *r)
{
	return r->refusals;
}

struct recording_totals recording_totals(const struct recording *r)
{
	struct recording_totals totals = {
		.bytes = trace_writer_bytes(r->writer),
		.elapsed_ns = now_ns() - r->start_ns,
		.write_failed = r->write_failed,
		.late_ticks = r->late_ticks,
	};

	if (r->drain)
		totals.drain = drain_totals(r->drain);
	return totals;
}

int recording_finish(struct recording *r, enum trace_end_reason reason, int command_status,
		     struct err *err)
{
	struct trace_end end = {
		.reason = reason,
		.command_status = command_status,
	};
	int ret;

	if (r->sampler) {
		take_reports(r);
		sampler_stop(r->sampler);
		while (r->count)
			end_target(r, r->count - 1,
				   r->targets[r->count - 1]->pid == r->command ? r->command_status
									       : -1);
	}
	end.time_ns = now_ns() - r->start_ns;
	end.samples = trace_writer_samples(r->writer);
	if (r->drain && !r->write_failed) {
		symbolize(r->writer);
		if (r->options.source)
			drain_sources(r->drain);
	}
	ret = trace_writer_finish(r->writer, &end, err);
	if (r->write_failed) {
		*err = r->write_error;
		ret = -1;
	}
	return ret;
}

void recording_free(struct recording *r)
{
	if (!r)
		return;
	sampler_stop(r->sampler);
	for (size_t i = 0; i < r->count; i++) {
		sampler_remove(r->sampler, r->targets[i]);
		target_free(r->targets[i]);
	}
	sampler_free(r->sampler);
	drain_free(r->drain);
	trace_writer_free(r->writer);
	listener_close(&r->listener);
	free(r->targets);
	free(r);
}
