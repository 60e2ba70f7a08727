/* SPDX-License-Identifier: Apache-2.0 */
#include "record/sampler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/sampler_state.h"

#define IDLE_LOOK_MAX_NS 20000000u
#define MISSED_CPU_NS 20000000u /* CPU used since the request without an answer */
#define WAIT_REPORT_NS 1000000000u
#define SUSPEND_TRIES 200
#define NAMES_NS 500000000u
#define COST_SHARE 50 /* a capture may take 1/50 of the time until the next */

void look_queue_release(struct look_queue *queue)
{
	for (size_t i = 0; i < queue->code_count; i++) {
		py_code_text_release(queue->codes[i].text);
		free(queue->codes[i].text);
	}
	for (size_t i = 0; i < queue->name_count; i++)
		free(queue->names[i].name);
	free(queue->looks);
	free(queue->frames);
	free(queue->codes);
	free(queue->names);
	free(queue->threads);
	memset(queue, 0, sizeof(*queue));
}

uint64_t sampler_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(struct sampler *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

void sampler_close_wait(struct sampled_target *st, struct sampled_thread *t, uint64_t now)
{
	struct look_queue *queue = &st->queue;

	if (!t->waiting)
		return;
	t->wait.end_ns = now;
	t->wait.ready_ns = t->clocks.ready_ns;
	queue->looks =
		xgrow(queue->looks, &queue->capacity, queue->count + 1, sizeof(*queue->looks));
	queue->looks[queue->count++] = t->wait;
	t->waiting = false;
}

/* When a thread that was seen to wait woke, at the latest: what it has run since fits in between.
 */
static uint64_t woken_ns(const struct sampled_thread *t, const struct thread_clocks *clocks,
			 uint64_t now)
{
	uint64_t waited = now > t->wait.start_ns ? now - t->wait.start_ns : 0;
	uint64_t ran = clocks->runtime_ns > t->clocks.runtime_ns
			       ? clocks->runtime_ns - t->clocks.runtime_ns
			       : 0;

	return now - (ran < waited ? ran : waited);
}

/* The thread is blocked: read its stack, and believe it if it did not run meanwhile. */
static void open_wait(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
		      enum trace_wait_kind kind, uint64_t futex, uint64_t now)
{
	struct thread_clocks after;
	int n = 0;

	t->wait = (struct look){
		.slot = t->slot,
		.generation = t->generation,
		.kind = kind,
		.start_ns = now,
		.cpu_ns = t->clocks.runtime_ns,
		.first_frame = (uint32_t)st->queue.frame_count,
	};
	t->idle_since_ns = now;
	if (!s->options.wall) {
		t->waiting = true;
		return;
	}
	if (st->stacks) {
		n = wait_stack_read(st->stacks, &t->where, &st->queue);
		if (futex && wait_stack_is_gil(st->stacks, &t->where, futex))
			t->wait.kind = TRACE_WAIT_GIL;
	}
	if (thread_probe_clocks(&t->probe, &after) || thread_clocks_moved(&after, &t->clocks)) {
		/* It ran while we looked: what was read may be anything. Next tick. */
		st->queue.frame_count = t->wait.first_frame;
		return;
	}
	t->wait.unwalked = n < 0 || !st->stacks;
	t->wait.count = n > 0 ? (uint32_t)n : 0;
	t->waiting = true;
}

/* Asks a running thread to capture itself, with the request of this number. */
static void signal_thread(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
			  uint32_t number, uint64_t now)
{
	struct ring_header *ring = st->target->ring;
	struct ring_slot *slot = &st->target->slots[t->slot];
	uint32_t before = atomic_load_explicit(&slot->asked, memory_order_relaxed);
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = s->options.signal;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = (int)((RING_MAGIC & 0x7fff) << 16 | t->slot);

	/* Paired with exec_gate_close() in agent/interpose_exec.c. */
	atomic_store_explicit(&ring->sending, 1, memory_order_seq_cst);
	if (!atomic_load_explicit(&ring->closing, memory_order_seq_cst)) {
		atomic_store_explicit(&slot->asked, number, memory_order_release);
		t->asked_runtime_ns = t->clocks.runtime_ns;
		atomic_store_explicit(&slot->asked_cpu_ns, t->clocks.runtime_ns,
				      memory_order_relaxed);
		atomic_store_explicit(&slot->asked_ready_ns, t->clocks.ready_ns,
				      memory_order_relaxed);
		if (syscall(SYS_rt_tgsigqueueinfo, st->target->pid, t->probe.tid, s->options.signal,
			    &info) < 0)
			atomic_store_explicit(&slot->asked, before, memory_order_release);
		else
			t->next_ask_ns = now + (uint64_t)COST_SHARE *
						       atomic_load_explicit(&slot->cost_ns,
									    memory_order_relaxed);
	}
	atomic_store_explicit(&ring->sending, 0, memory_order_seq_cst);
}

static void ask(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
		uint64_t now)
{
	struct ring_slot *slot = &st->target->slots[t->slot];
	uint32_t asked = atomic_load_explicit(&slot->asked, memory_order_relaxed);

	/* Paired with the end of capture() in agent/capture.c. */
	if (atomic_load_explicit(&slot->answered, memory_order_acquire) != asked) {
		if (t->clocks.runtime_ns - t->asked_runtime_ns <= MISSED_CPU_NS)
			return;
		t->asked_runtime_ns = t->clocks.runtime_ns;
		st->queue.missed++;
		/* Once more, ever more seldom: who blocks the signal collects them. But who left
		 * the agent for good (agent_was_left) may not have seen the first one. */
		if ((t->unanswered & (t->unanswered + 1)) == 0)
			signal_thread(s, st, t, asked, now);
		t->unanswered++;
		return;
	}
	t->unanswered = 0;
	if (now >= t->next_ask_ns)
		signal_thread(s, st, t, asked + 1, now);
}

static void look_at(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
		    uint64_t now)
{
	struct thread_clocks clocks;
	enum trace_wait_kind kind;
	uint64_t futex, idle;

	if (now < t->next_look_ns || t->held)
		return;
	if (thread_probe_clocks(&t->probe, &clocks)) {
		t->gone = true;
		return;
	}
	if (t->waiting && !thread_clocks_moved(&clocks, &t->clocks)) {
		idle = now - t->idle_since_ns;
		t->next_look_ns = now + (idle / 8 < IDLE_LOOK_MAX_NS ? idle / 8 : IDLE_LOOK_MAX_NS);
		if (now - t->wait.start_ns > WAIT_REPORT_NS) {
			struct look again = t->wait;

			sampler_close_wait(st, t, now);
			/* The same stack for the next stretch, in this or the next queue. */
			t->wait = again;
			t->wait.start_ns = now;
			t->wait.first_frame = UINT32_MAX;
			t->waiting = true;
		}
		return;
	}
	/* From being woken to being put on a processor it was ready: that is in these clocks. */
	t->clocks.ready_ns = clocks.ready_ns;
	sampler_close_wait(st, t, woken_ns(t, &clocks, now));
	t->clocks = clocks;
	t->next_look_ns = 0;
	if (!thread_probe_running(&t->probe, &kind, &futex))
		open_wait(s, st, t, kind, futex, now);
	else if (st->target->attached)
		sampler_hold(s, st, t);
	else
		ask(s, st, t, now);
}

static void tick_target(struct sampler *s, struct sampled_target *st, uint64_t now)
{
	if (atomic_load_explicit(&st->target->ring->state, memory_order_acquire) != RING_LIVE)
		return;
	if (st->target->lanes)
		atomic_fetch_add_explicit(&st->target->lanes->ticks, 1, memory_order_relaxed);
	if (atomic_load_explicit(&st->target->ring->paused, memory_order_relaxed)) {
		for (size_t i = 0; i < st->used_count; i++)
			sampler_close_wait(st, st->threads[st->used[i]], now);
		return;
	}
	sampler_scan_threads(s, st, now);
	for (size_t i = 0; i < st->used_count; i++)
		look_at(s, st, st->threads[st->used[i]], now);
	if (st->stacks && (now - st->names_ns > NAMES_NS ||
			   (st->names_wanted && now - st->names_ns > NAMES_NS / 20))) {
		st->names_ns = now;
		st->names_wanted = false;
		if (st->target->attached)
			sampler_identify_threads(st);
		wait_stack_names(st->stacks, &st->queue);
	}
}

/* The sampler sleeps nearly all the time and then wants to run at once, also on a busy machine. A
 * short time slice gets it that from the scheduler (Linux 6.12 on); a better priority too, where it
 * is allowed. Neither has to work. */
static void ask_for_low_latency(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = {.size = sizeof(attributes), .nice = -15, .runtime = 100000};

	prctl(PR_SET_TIMERSLACK, 1);
	if (syscall(SYS_sched_setattr, 0, &attributes, 0) == 0)
		return;
	attributes.nice = 0;
	syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *sampler_main(void *arg)
{
	struct sampler *s = arg;
	const uint64_t period = 1000000000u / s->options.rate_hz;
	uint64_t deadline = sampler_now();

	ask_for_low_latency();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		struct timespec t;
		uint64_t now, end;

		/* Jittered by a quarter: a program with a rhythm of its own is met at every phase.
		 */
		deadline += period - period / 4 + random_next(s) % (period / 2 + 1);
		t.tv_sec = (time_t)(deadline / 1000000000u);
		t.tv_nsec = (long)(deadline % 1000000000u);
		/* Threads that were asked to stop are not kept waiting. */
		while (s->held_count && sampler_now() < deadline) {
			hold_wait(deadline);
			pthread_mutex_lock(&s->lock);
			sampler_take_held(s);
			pthread_mutex_unlock(&s->lock);
		}
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
			;
		now = sampler_now();
		pthread_mutex_lock(&s->lock);
		for (size_t i = 0; i < s->count; i++)
			tick_target(s, s->targets[i], now);
		sampler_take_held(s);
		pthread_mutex_unlock(&s->lock);
		end = sampler_now();
		/* No catching up: what was late is left out and counted, and the sampler leaves at
		 * least as much time as it takes. */
		if (end + (end - now) > deadline + period) {
			atomic_fetch_add(&s->late, (end + (end - now) - deadline) / period);
			deadline = end + (end - now);
		}
	}
	return NULL;
}

struct sampler *sampler_new(const struct sampler_options *options, struct err *err)
{
	struct sampler *s = xcalloc(1, sizeof(*s));
	sigset_t all, old;

	s->options = *options;
	s->random = sampler_now() * 2 + 1;
	pthread_mutex_init(&s->lock, NULL);
	/* Signals are for the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	errno = pthread_create(&s->thread, NULL, sampler_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (errno) {
		err_errno(err, "cannot start the sampler");
		free(s);
		return NULL;
	}
	s->running = true;
	return s;
}

void sampler_stop(struct sampler *s)
{
	if (!s || !s->running)
		return;
	atomic_store_explicit(&s->stop, true, memory_order_release);
	pthread_join(s->thread, NULL);
	s->running = false;
}

void sampler_suspend(struct sampler *s)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	bool held = true;

	/* A thread that sleeps uninterruptibly stops late; it is not waited for for ever. */
	for (int i = 0; held && i < SUSPEND_TRIES; i++) {
		pthread_mutex_lock(&s->lock);
		s->suspended = true;
		held = s->held_count > 0;
		pthread_mutex_unlock(&s->lock);
		if (held)
			nanosleep(&pause, NULL);
	}
}

void sampler_resume(struct sampler *s)
{
	pthread_mutex_lock(&s->lock);
	s->suspended = false;
	pthread_mutex_unlock(&s->lock);
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	sampler_stop(s);
	while (s->count)
		sampler_remove(s, s->targets[0]->target);
	free(s->held);
	free(s->targets);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void sampler_add(struct sampler *s, struct target *t)
{
	struct sampled_target *st = xcalloc(1, sizeof(*st));

	st->target = t;
	st->stacks = wait_stack_new(t);
	st->strangers_ns = sampler_now();
	pthread_mutex_lock(&s->lock);
	t->sampled = st;
	t->watched = true;
	s->targets = xgrow(s->targets, &s->capacity, s->count + 1, sizeof(*s->targets));
	s->targets[s->count++] = st;
	pthread_mutex_unlock(&s->lock);
}

static size_t target_at(const struct sampler *s, const struct target *t)
{
	size_t i = 0;

	while (i < s->count && s->targets[i]->target != t)
		i++;
	return i;
}

void sampler_remove(struct sampler *s, struct target *t)
{
	struct sampled_target *st = t->sampled;
	size_t at;

	if (!st)
		return;
	pthread_mutex_lock(&s->lock);
	at = target_at(s, t);
	if (at < s->count)
		s->targets[at] = s->targets[--s->count];
	t->watched = false;
	t->sampled = NULL;
	pthread_mutex_unlock(&s->lock);
	while (st->used_count)
		sampler_drop_thread(s, st, 0, sampler_now());
	look_queue_release(&st->queue);
	wait_stack_free(st->stacks);
	free(st->used);
	free(st->strangers);
	free(st);
}

void sampler_take(struct sampler *s, struct target *t, struct look_queue *queue)
{
	struct sampled_target *st = t->sampled;

	memset(queue, 0, sizeof(*queue));
	if (!st)
		return;
	pthread_mutex_lock(&s->lock);
	sampler_scan_ended(s, st, sampler_now());
	*queue = st->queue;
	memset(&st->queue, 0, sizeof(st->queue));
	/* Open waits refer to frames that go with the queue: the drain knows them by now only when
	 * their look is closed, so they move over. */
	for (size_t i = 0; i < st->used_count; i++) {
		struct sampled_thread *thread = st->threads[st->used[i]];
		struct look_queue *next = &st->queue;
		uint32_t count = thread->wait.count;

		if (!thread->waiting || !count || thread->wait.first_frame == UINT32_MAX)
			continue;
		next->frames = xgrow(next->frames, &next->frame_capacity, next->frame_count + count,
				     sizeof(*next->frames));
		memcpy(next->frames + next->frame_count, queue->frames + thread->wait.first_frame,
		       count * sizeof(*next->frames));
		thread->wait.first_frame = (uint32_t)next->frame_count;
		next->frame_count += count;
	}
	pthread_mutex_unlock(&s->lock);
}

void sampler_end_wait(struct sampler *s, struct target *t, uint32_t slot, uint32_t generation)
{
	struct sampled_target *st = t->sampled;
	struct sampled_thread *thread;

	if (!st)
		return;
	pthread_mutex_lock(&s->lock);
	thread = st->threads[slot];
	if (thread && thread->generation == generation)
		sampler_close_wait(st, thread, sampler_now());
	pthread_mutex_unlock(&s->lock);
}

uint64_t sampler_late_ticks(struct sampler *s)
{
	return atomic_load(&s->late);
}

struct sampler_holds sampler_holds(struct sampler *s)
{
	struct sampler_holds holds;

	pthread_mutex_lock(&s->lock);
	holds = s->holds;
	pthread_mutex_unlock(&s->lock);
	return holds;
}

void sampler_threads(struct sampler *s, struct target *t,
		     void (*found)(void *arg, uint32_t slot, uint32_t generation, uint64_t cpu_ns),
		     void *arg)
{
	struct sampled_target *st = t->sampled;
	uint64_t now = sampler_now();

	if (!st)
		return;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < st->used_count; i++) {
		struct sampled_thread *thread = st->threads[st->used[i]];
		struct thread_clocks clocks = thread->clocks;

		if (!thread->gone)
			thread_probe_clocks(&thread->probe, &clocks);
		sampler_close_wait(st, thread, woken_ns(thread, &clocks, now));
		thread->clocks.runtime_ns = clocks.runtime_ns;
		found(arg, thread->slot, thread->generation, thread->clocks.runtime_ns);
	}
	pthread_mutex_unlock(&s->lock);
}
