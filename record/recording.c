/* SPDX-License-Identifier: Apache-2.0 */
#include "record/recording.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/log.h"
#include "formats/base/xalloc.h"
#include "formats/trace_writer.h"
#include "record/drain_ring.h"
#include "record/injection.h"
#include "record/listener.h"
#include "record/process_info.h"
#include "record/refusals.h"
#include "record/symbolize.h"
#include "record/thread_probe.h"

#define FLUSH_NS 1000000000u
#define DRAIN_NICE (-5)
#define LEAVE_ROUNDS 20 /* in which an agent is asked to go */
#define LEAVE_MS 50
#define PARENT_WAIT_NS 200000000u /* who waits for a child, tells us at once */
#define PENDING_MAX 1000000u      /* events that wait in memory */
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
	uint64_t end_ns; /* 0 while it goes on */
	uint64_t late_ticks;
	bool paused; /* as last asked for with --control */
	struct refusals refusals;
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
	r->paused = options->paused;
	r->listener.fd = -1;
	if (listener_open(&r->listener, options->near, err))
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

static void make_room(void *arg)
{
	struct recording *r = arg;

	if (trace_writer_pending(r->writer) >= PENDING_MAX)
		flush(r);
}

int recording_start(struct recording *r, pid_t command, struct err *err)
{
	struct sampler_options options = {
		.rate_hz = r->options.rate_hz,
		.wall = r->options.wall,
		.signal = r->options.signal,
		.nonblocking = r->options.nonblocking,
	};
	const struct drain_options drain_options = {
		.start_ns = r->start_ns,
		.memory_rate = r->options.memory_rate,
		.copy_rate = r->options.copy_rate,
		.footprint = r->options.footprint,
		.make_room = make_room,
		.make_room_arg = r,
	};

	thread_probe_init();
	/* Everything that is allocated comes through here: on a busy machine this has to have its
	 * turn no later than the program. Not where it is not allowed. */
	if (r->options.memory_rate == 1)
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), DRAIN_NICE);
	r->command = command;
	r->sampler = sampler_new(&options, err);
	if (!r->sampler)
		return -1;
	r->drain = drain_new(r->writer, r->sampler, &drain_options);
	return 0;
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

static void add_target(struct recording *r, struct target *t, bool launched)
{
	drain_add(r->drain, t, launched);
	r->targets = xgrow(r->targets, &r->capacity, r->count + 1, sizeof(*r->targets));
	r->targets[r->count++] = t;
	sampler_add(r->sampler, t);
}

void recording_attach(struct recording *r, struct target *t)
{
	t->ring->start_ns = now_ns();
	t->base_cpu_ns = process_cpu_ns(t->pid);
	add_target(r, t, false);
}

static void end_target(struct recording *r, size_t at, int wait_status)
{
	struct target *t = r->targets[at];

	drain_end(r->drain, t, wait_status);
	r->targets[at] = r->targets[--r->count];
	target_free(t);
}

void recording_became_other(struct recording *r, pid_t pid)
{
	for (size_t i = 0; i < r->count; i++) {
		struct target *t = r->targets[i];

		if (t->pid != pid)
			continue;
		t->ring->end_ns = now_ns();
		t->ring->end_cpu_ns = process_cpu_ns(pid);
		atomic_store(&t->ring->state, RING_EXEC);
		end_target(r, i, -1);
		return;
	}
}

void recording_suspend(struct recording *r)
{
	sampler_suspend(r->sampler);
	raise(SIGSTOP);
	sampler_resume(r->sampler);
}

static struct trace_refusal make_refusal(const struct recording *r, pid_t pid, pid_t parent,
					 const char *program, const char *why)
{
	return (struct trace_refusal){
		.pid = pid,
		.parent_pid = parent,
		.time_ns = now_ns() - r->start_ns,
		.command = {program, strlen(program)},
		.why = {why, strlen(why)},
	};
}

static void refuse_python(struct recording *r, const struct trace_refusal *refusal)
{
	struct trace_loss loss = {
		.kind = TRACE_LOSS_PROCESS,
		.process = 0, /* who it belongs to is not known: to the first */
		.thread = TRACE_NONE,
		.time_ns = refusal->time_ns,
		.count = 1,
	};

	refusals_add_python(&r->refusals, r->writer, refusal);
	if (drain_processes(r->drain))
		trace_writer_loss(r->writer, &loss);
}

void recording_refuse(struct recording *r, pid_t pid, const char *why)
{
	const struct trace_refusal refusal = make_refusal(r, pid, 0, "", why);

	refuse_python(r, &refusal);
}

void recording_refuse_program(struct recording *r, pid_t pid, pid_t parent, const char *program,
			      const char *why)
{
	const struct trace_refusal refusal = make_refusal(r, pid, parent, program, why);

	refusals_add_program(&r->refusals, r->writer, &refusal);
}

static void take_report(struct recording *r, struct listener_message *message)
{
	struct trace_refusal refusal;
	pid_t pid = message->pid;
	struct target *t;
	struct err err;

	if (message->hello.refused == RING_REFUSED_PROGRAM && message->region < 0) {
		recording_refuse_program(r, message->hello.starts ? 0 : pid,
					 message->hello.starts ? pid : process_parent(pid),
					 message->hello.program, message->hello.text);
		return;
	}
	if (message->hello.refused || message->region < 0) {
		if (message->region >= 0)
			close(message->region);
		refusal = make_refusal(r, pid, message->hello.parent_pid, message->hello.program,
				       message->hello.text);
		refuse_python(r, &refusal);
		return;
	}
	t = target_new(message->region, pid, &err);
	if (!t) {
		close(message->region);
		recording_refuse(r, pid, err.text);
		return;
	}
	/* The same process again: it has become another program. */
	for (size_t i = 0; i < r->count; i++) {
		if (r->targets[i]->pid == pid) {
			end_target(r, i, -1);
			break;
		}
	}
	t->joined = t->ring->injected || (pid == r->options.near && !recording_processes(r));
	if (t->joined)
		t->base_cpu_ns = t->ring->start_cpu_ns;
	/* A fork does as its parent does; a new program was told at its start, perhaps long ago. */
	if (r->paused != r->options.paused && !t->ring->forked)
		atomic_store_explicit(&t->ring->paused, r->paused, memory_order_relaxed);
	add_target(r, t, pid == r->command && !r->reports++);
	if (atomic_load_explicit(&t->ring->paused, memory_order_relaxed))
		drain_mark(r->drain, t, TRACE_MARK_STOP, now_ns(), "", 0);
}

/* ---- requests of "scprof-record --control" -------------------------------------------------- */

static void pause_target(struct recording *r, struct target *t, bool paused)
{
	if (atomic_exchange_explicit(&t->ring->paused, paused, memory_order_relaxed) != paused)
		drain_mark(r->drain, t, paused ? TRACE_MARK_STOP : TRACE_MARK_START, now_ns(), "",
			   0);
}

static void answer_request(struct recording *r, const struct ring_request *request, int to)
{
	struct ring_answer answer;
	struct target *t = NULL;
	bool pause = request->verb == RING_VERB_STOP;

	memset(&answer, 0, sizeof(answer));
	for (size_t i = 0; i < r->count; i++) {
		if (r->targets[i]->pid == request->pid)
			t = r->targets[i];
	}
	/* The command may be a shell, or not have got to its Python yet. */
	if (!t && request->pid == r->command && r->count)
		t = r->targets[0];
	answer.known = t || request->pid == r->command;
	/* Every recorder that runs here is asked until one knows the process. */
	if (!answer.known) {
		log_debug("asked to control process %d, which is not recorded here",
			  (int)request->pid);
	} else if (t && request->verb == RING_VERB_MARK) {
		drain_mark(r->drain, t, TRACE_MARK_LABEL, now_ns(), request->label,
			   strlen(request->label));
		snprintf(answer.text, sizeof(answer.text), "marked '%.100s' in process %d",
			 request->label, (int)t->pid);
	} else if (request->verb == RING_VERB_MARK) {
		snprintf(answer.text, sizeof(answer.text), "there is no Python to mark yet");
	} else {
		r->paused = pause;
		for (size_t i = 0; i < r->count; i++)
			pause_target(r, r->targets[i], pause);
		snprintf(answer.text, sizeof(answer.text), "%s %zu process%s",
			 pause ? "paused the recording of" : "recording", r->count,
			 r->count == 1 ? "" : "es");
	}
	if (send(to, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
		log_note("whoever asked to control the recording did not wait for an answer");
}

static void take_reports(struct recording *r)
{
	struct listener_message message;

	while (listener_accept(&r->listener, &message) > 0) {
		if (message.is_request) {
			answer_request(r, &message.request, message.answer);
			close(message.answer);
		} else {
			take_report(r, &message);
		}
	}
}

/* While nobody has waited for it, the kernel knows all. */
static void note_exit(struct target *t)
{
	t->exited = true;
	t->exited_ns = now_ns();
	t->final_cpu_ns = process_cpu_ns(t->pid);
	t->final_status = process_status(t->pid, t->pid_fd);
}

static bool is_over(const struct recording *r, const struct target *t)
{
	/* The command's own end waits for its status. */
	if (t->pid == r->command)
		return r->command_status != -1;
	if (!drain_awaits_parent(r->drain, t) || now_ns() - t->exited_ns > PARENT_WAIT_NS)
		return true;
	for (size_t i = 0; i < r->count; i++) {
		const struct target *parent = r->targets[i];

		if (parent->pid == t->ring->parent_pid && !parent->attached && !parent->exited)
			return false;
	}
	return true;
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
		/* At once, where there is something to take. */
		if (ring_fill(r->targets[i]) > RING_DATA_SIZE / 4 && timeout_ms > 0)
			timeout_ms = r->targets[i]->stuck ? 1 : 0;
	}
	poll(fds, watched + 1, timeout_ms);
	for (size_t i = 0; i < watched; i++) {
		struct target *t = r->targets[i];

		if (!t->exited && fds[i + 1].revents & POLLIN) {
			note_exit(t);
		}
	}
	free(fds);

	/* A report may come from a process that has ended by now; its region is complete. */
	take_reports(r);
	for (size_t i = 0; i < r->count;) {
		struct target *t = r->targets[i];

		if (!t->exited && t->pid_fd < 0 && process_parent(t->pid) == 0)
			note_exit(t);
		if (t->exited && is_over(r, t)) {
			end_target(r, i, t->pid == r->command ? r->command_status : -1);
		} else {
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
	make_room(r);
}

void recording_command_dead(struct recording *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->targets[i]->pid == r->command && !r->targets[i]->exited)
			note_exit(r->targets[i]);
	}
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

struct refusals *recording_refusals(struct recording *r)
{
	return &r->refusals;
}

struct sampler_holds recording_holds(struct recording *r)
{
	return sampler_holds(r->sampler);
}

struct recording_totals recording_totals(const struct recording *r)
{
	struct recording_totals totals = {
		.bytes = trace_writer_bytes(r->writer),
		.elapsed_ns = (r->end_ns ? r->end_ns : now_ns()) - r->start_ns,
		.write_failed = r->write_failed,
		.late_ticks = r->late_ticks,
	};

	if (r->drain)
		totals.drain = drain_totals(r->drain);
	return totals;
}

/* Under --max-size what is left for source text, which is written to a fourth of its size or less.
 */
static uint64_t source_budget(const struct recording *r)
{
	uint64_t written = trace_writer_bytes(r->writer), most = r->options.max_size;

	if (!most)
		return UINT64_MAX;
	return written < most ? (most - written) * 4 : 0;
}

/* Whether one of the agents that were injected is still there. */
static bool agents_left(struct recording *r, pid_t *pid)
{
	for (size_t i = 0; i < r->count; i++) {
		struct target *t = r->targets[i];
		struct pollfd ended = {t->pid_fd, POLLIN, 0};

		if (!t->ring->injected || injection_gone(t) || poll(&ended, 1, 0) == 1)
			continue;
		*pid = t->pid;
		return true;
	}
	return false;
}

/* Has the agents leave programs that ran without them before. */
static void let_agents_go(struct recording *r)
{
	pid_t pid = 0;

	for (int i = 0; i < LEAVE_ROUNDS && agents_left(r, &pid); i++) {
		for (size_t k = 0; k < r->count; k++)
			if (r->targets[k]->ring->injected && !injection_gone(r->targets[k]))
				injection_ask_to_go(r->targets[k], r->options.signal);
		for (int ms = 0; ms < LEAVE_MS && agents_left(r, &pid); ms++) {
			poll(NULL, 0, 1);
			for (size_t k = 0; k < r->count; k++)
				drain_target(r->drain, r->targets[k]);
		}
	}
	if (agents_left(r, &pid))
		log_note("process %d does not react (is it stopped?), so scprof's library stays "
			 "active in it: that costs next to nothing, and the next --inject takes "
			 "over",
			 (int)pid);
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
		/* Who runs on need not do the work of a recording, nor its children. */
		listener_close(&r->listener);
		for (size_t i = 0; i < r->count; i++)
			atomic_store_explicit(&r->targets[i]->ring->paused, 1,
					      memory_order_relaxed);
		let_agents_go(r);
		/* What parents say of their children comes first. */
		for (size_t i = 0; i < r->count; i++)
			drain_target(r->drain, r->targets[i]);
		while (r->count)
			end_target(r, r->count - 1,
				   r->targets[r->count - 1]->pid == r->command ? r->command_status
									       : -1);
	}
	r->end_ns = now_ns();
	end.time_ns = r->end_ns - r->start_ns;
	end.samples = trace_writer_samples(r->writer);
	if (r->drain && !r->write_failed) {
		symbolize(r->writer, drain_module_files(r->drain));
		if (r->options.source)
			drain_sources(r->drain, source_budget(r));
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
	refusals_release(&r->refusals);
	free(r->targets);
	free(r);
}
