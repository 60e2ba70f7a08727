/* SPDX-License-Identifier: Apache-2.0
 *
 * Per thread the scheduler keeps three numbers in /proc/PID/task/TID/schedstat: time on a
 * processor, time spent ready for one, and how often it was put on one. A thread that was blocked
 * at the last look and shows the same numbers now is still blocked: that is the one cheap read an
 * idle thread costs. Otherwise /proc/PID/task/TID/syscall tells a running thread ("running") from a
 * blocked one, and of the blocked one the system call and its arguments, hence what it waits for.
 */
#include "record/sampler.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/wait_stack.h"

#define SLOT_SCAN_TICKS 4
#define IDLE_LOOK_MAX_NS 20000000u
#define MISSED_CPU_NS 20000000u /* CPU used since the request without an answer */
#define WAIT_REPORT_NS 1000000000u
#define NAMES_NS 500000000u
#define STRANGERS_NS 250000000u /* look for threads that have no slot */
#define COST_SHARE 50           /* a capture may take 1/50 of the time until the next */

struct sampled_thread {
	uint32_t slot;
	uint32_t generation;
	pid_t tid;
	int schedstat_fd;
	bool coarse;    /* it is the stat file instead */
	int syscall_fd; /* -1 until the thread was seen to run */
	struct wait_thread where;

	uint64_t runtime_ns;
	uint64_t runs;
	uint64_t next_look_ns;
	uint64_t next_ask_ns;
	uint64_t asked_runtime_ns;
	bool counted_missed;

	bool waiting;
	uint64_t idle_since_ns;
	struct look wait; /* the open one */
	bool gone;
};

struct sampled_target {
	struct target *target;
	struct sampled_thread *threads[RING_SLOTS];
	uint32_t *used; /* slots with a thread, dense */
	size_t used_count, used_capacity;
	struct look_queue queue;
	struct wait_stack *stacks;
	uint64_t names_ns, strangers_ns;
	uint32_t *strangers; /* tids without a slot at the last look for them */
	size_t stranger_count;
	bool names_wanted;
	unsigned ticks;
};

struct sampler {
	struct sampler_options options;
	pthread_t thread;
	pthread_mutex_t lock;
	bool running;
	_Atomic bool stop;
	_Atomic uint64_t late;
	struct sampled_target **targets;
	size_t count, capacity;
	uint64_t random;
};

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

static uint64_t now_ns(void)
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

/* Where the kernel keeps no schedstat (built without it, or not quite Linux): the state letter and
 * the CPU ticks of /proc/PID/task/TID/stat. A thread that runs now has run. */
static int read_coarse(const struct sampled_thread *t, uint64_t *runtime_ns, uint64_t *runs)
{
	char text[512], state = 0, *at;
	unsigned long long user = 0, system = 0;
	ssize_t n = pread(t->schedstat_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state,
			  &user, &system) != 3)
		return -1;
	*runtime_ns = (user + system) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
	*runs = t->runs + (state == 'R');
	return 0;
}

/* Reads the scheduler's numbers. Returns 0, or -1 when the thread is gone. */
static int read_schedstat(const struct sampled_thread *t, uint64_t *runtime_ns, uint64_t *runs)
{
	char text[96], *end;
	ssize_t n;

	if (t->coarse)
		return read_coarse(t, runtime_ns, runs);
	n = pread(t->schedstat_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	*runtime_ns = strtoull(text, &end, 10);
	strtoull(end, &end, 10);
	*runs = strtoull(end, NULL, 10);
	return 0;
}

static bool wait_is_open_ended_select(long number, const unsigned long *arg)
{
#ifdef SYS_select
	if (number == SYS_select)
		return arg[0] == 0;
#endif
#ifdef SYS_poll
	if (number == SYS_poll)
		return arg[1] == 0;
#endif
	return (number == SYS_pselect6 && arg[0] == 0) || (number == SYS_ppoll && arg[1] == 0);
}

/* What the thread is doing: true when it runs (or is about to). Otherwise *kind, and for a futex
 * its address in *futex. */
static bool is_running(const struct sampled_target *st, struct sampled_thread *t,
		       enum trace_wait_kind *kind, uint64_t *futex)
{
	char path[64], text[256], *at;
	unsigned long arg[2];
	long number;
	ssize_t n = -1;
	int fd;

	*futex = 0;
	*kind = TRACE_WAIT_OTHER;
	if (t->syscall_fd < 0) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)st->target->pid,
			 (int)t->tid);
		t->syscall_fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (t->syscall_fd >= 0)
		n = pread(t->syscall_fd, text, sizeof(text) - 1, 0);
	if (n <= 0) {
		/* Not allowed to look that close: the state letter must do. */
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)st->target->pid,
			 (int)t->tid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return false;
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (n <= 0)
			return false;
		text[n] = '\0';
		at = strrchr(text, ')');
		return at && at[1] == ' ' && at[2] == 'R';
	}
	text[n] = '\0';
	if (text[0] == 'r')
		return true;
	number = strtol(text, &at, 10);
	if (number < 0) {
		*kind = TRACE_WAIT_IO; /* a page fault that waits for a disk */
		return false;
	}
	arg[0] = strtoul(at, &at, 16);
	arg[1] = strtoul(at, &at, 16);
	if (number == SYS_futex) {
		*kind = TRACE_WAIT_LOCK;
		*futex = arg[0];
	} else if (number == SYS_nanosleep || number == SYS_clock_nanosleep ||
		   wait_is_open_ended_select(number, arg)) {
		*kind = TRACE_WAIT_SLEEP;
	} else {
		*kind = TRACE_WAIT_IO;
	}
	return false;
}

static void close_wait(struct sampled_target *st, struct sampled_thread *t, uint64_t now)
{
	struct look_queue *queue = &st->queue;

	if (!t->waiting)
		return;
	t->wait.end_ns = now;
	queue->looks =
		xgrow(queue->looks, &queue->capacity, queue->count + 1, sizeof(*queue->looks));
	queue->looks[queue->count++] = t->wait;
	t->waiting = false;
}

/* The thread is blocked: read its stack, and believe it if it did not run meanwhile. */
static void open_wait(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
		      enum trace_wait_kind kind, uint64_t futex, uint64_t now)
{
	uint64_t runtime_ns, runs;
	int n = 0;

	t->wait = (struct look){
		.slot = t->slot,
		.generation = t->generation,
		.kind = kind,
		.start_ns = now,
		.cpu_ns = t->runtime_ns,
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
	if (read_schedstat(t, &runtime_ns, &runs) || runs != t->runs ||
	    runtime_ns != t->runtime_ns) {
		/* It ran while we looked: what was read may be anything. Next tick. */
		st->queue.frame_count = t->wait.first_frame;
		return;
	}
	t->wait.unwalked = n < 0 || !st->stacks;
	t->wait.count = n > 0 ? (uint32_t)n : 0;
	t->waiting = true;
}

static void ask(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
		uint64_t now)
{
	struct ring_header *ring = st->target->ring;
	struct ring_slot *slot = &st->target->slots[t->slot];
	uint32_t asked = atomic_load_explicit(&slot->asked, memory_order_relaxed);
	siginfo_t info;

	/* Paired with the end of capture() in agent/capture.c. */
	if (atomic_load_explicit(&slot->answered, memory_order_acquire) != asked) {
		if (t->runtime_ns - t->asked_runtime_ns > MISSED_CPU_NS) {
			t->asked_runtime_ns = t->runtime_ns;
			st->queue.missed++;
		}
		return;
	}
	if (now < t->next_ask_ns)
		return;

	memset(&info, 0, sizeof(info));
	info.si_signo = s->options.signal;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = (int)((RING_MAGIC & 0x7fff) << 16 | t->slot);

	/* Paired with gate_close() in agent/interpose_exec.c. */
	atomic_store_explicit(&ring->sending, 1, memory_order_seq_cst);
	if (!atomic_load_explicit(&ring->closing, memory_order_seq_cst)) {
		atomic_store_explicit(&slot->asked, asked + 1, memory_order_release);
		t->asked_runtime_ns = t->runtime_ns;
		atomic_store_explicit(&slot->asked_cpu_ns, t->runtime_ns, memory_order_relaxed);
		if (syscall(SYS_rt_tgsigqueueinfo, st->target->pid, t->tid, s->options.signal,
			    &info) < 0)
			atomic_store_explicit(&slot->asked, asked, memory_order_release);
		else
			t->next_ask_ns = now + (uint64_t)COST_SHARE *
						       atomic_load_explicit(&slot->cost_ns,
									    memory_order_relaxed);
	}
	atomic_store_explicit(&ring->sending, 0, memory_order_seq_cst);
}

static void look_at(struct sampler *s, struct sampled_target *st, struct sampled_thread *t,
		    uint64_t now)
{
	uint64_t runtime_ns, runs, futex, idle;
	enum trace_wait_kind kind;

	if (now < t->next_look_ns)
		return;
	if (read_schedstat(t, &runtime_ns, &runs)) {
		t->gone = true;
		return;
	}
	if (t->waiting && runs == t->runs && runtime_ns == t->runtime_ns) {
		idle = now - t->idle_since_ns;
		t->next_look_ns = now + (idle / 8 < IDLE_LOOK_MAX_NS ? idle / 8 : IDLE_LOOK_MAX_NS);
		if (now - t->wait.start_ns > WAIT_REPORT_NS) {
			struct look again = t->wait;

			close_wait(st, t, now);
			/* The same stack for the next stretch, in this or the next queue. */
			t->wait = again;
			t->wait.start_ns = now;
			t->wait.first_frame = UINT32_MAX;
			t->waiting = true;
		}
		return;
	}
	close_wait(st, t, now);
	t->runtime_ns = runtime_ns;
	t->runs = runs;
	t->next_look_ns = 0;
	if (is_running(st, t, &kind, &futex))
		ask(s, st, t, now);
	else
		open_wait(s, st, t, kind, futex, now);
}

static void drop_thread(struct sampled_target *st, size_t at, uint64_t now)
{
	uint32_t slot = st->used[at];
	struct sampled_thread *t = st->threads[slot];

	close_wait(st, t, now);
	close(t->schedstat_fd);
	if (t->syscall_fd >= 0)
		close(t->syscall_fd);
	free(t);
	st->threads[slot] = NULL;
	st->used[at] = st->used[--st->used_count];
}

static void add_thread(struct sampled_target *st, uint32_t slot, uint32_t inner_tid)
{
	const struct ring_slot *shared = &st->target->slots[slot];
	struct sampled_thread *t;
	char path[64];
	pid_t tid = target_outer_tid(st->target, inner_tid);
	bool coarse = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)st->target->pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)st->target->pid,
			 (int)tid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		coarse = true;
	}
	if (fd < 0)
		return;
	t = xcalloc(1, sizeof(*t));
	t->slot = slot;
	t->generation = atomic_load_explicit(&shared->generation, memory_order_relaxed);
	t->tid = tid;
	t->schedstat_fd = fd;
	t->coarse = coarse;
	t->syscall_fd = -1;
	t->where.pthread_id = shared->pthread_id;
	t->where.inner_tid = inner_tid;
	st->threads[slot] = t;
	st->used = xgrow(st->used, &st->used_capacity, st->used_count + 1, sizeof(*st->used));
	st->used[st->used_count++] = slot;
	st->names_wanted = true;
	st->queue.threads = xgrow(st->queue.threads, &st->queue.thread_capacity,
				  st->queue.thread_count + 1, sizeof(*st->queue.threads));
	st->queue.threads[st->queue.thread_count++] = (struct look_thread){
		.slot = slot,
		.generation = t->generation,
		.tid = inner_tid,
		.main = shared->main != 0,
		.pthread_id = shared->pthread_id,
		.start_ns = shared->start_ns,
	};
}

/* Threads come and go in the slots. */
static void scan_ended(struct sampled_target *st, uint64_t now)
{
	for (size_t i = 0; i < st->used_count;) {
		struct sampled_thread *t = st->threads[st->used[i]];
		struct ring_slot *slot = &st->target->slots[t->slot];

		if (t->gone &&
		    atomic_load_explicit(&slot->tid, memory_order_acquire) == t->where.inner_tid)
			/* It ended without a word (no agent function at its end): free its place.
			 */
			atomic_store_explicit(&slot->tid, 0, memory_order_release);
		if (t->gone || !atomic_load_explicit(&slot->tid, memory_order_acquire) ||
		    atomic_load_explicit(&slot->generation, memory_order_relaxed) != t->generation)
			drop_thread(st, i, now);
		else
			i++;
	}
}

static void scan_started(struct sampled_target *st)
{
	uint32_t used = atomic_load_explicit(&st->target->ring->slots_used, memory_order_relaxed);

	if (used > RING_SLOTS)
		used = RING_SLOTS;
	for (uint32_t i = 0; i < used; i++) {
		uint32_t tid =
			atomic_load_explicit(&st->target->slots[i].tid, memory_order_acquire);

		if (tid && tid != UINT32_MAX && !st->threads[i])
			add_thread(st, i, tid);
	}
}

static bool has_slot(const struct target *t, uint32_t tid, uint32_t *free_slot)
{
	*free_slot = RING_SLOTS;
	for (uint32_t i = 0; i < RING_SLOTS; i++) {
		uint32_t have = atomic_load_explicit(&t->slots[i].tid, memory_order_acquire);

		if (have == tid || have == UINT32_MAX) /* or one is being claimed right now */
			return true;
		if (!have && *free_slot == RING_SLOTS)
			*free_slot = i;
	}
	return false;
}

static void adopt(struct target *t, uint32_t tid, uint32_t at, uint64_t now)
{
	struct ring_slot *slot = &t->slots[at];
	uint32_t nobody = 0;

	if (!atomic_compare_exchange_strong(&slot->tid, &nobody, UINT32_MAX))
		return;
	slot->pthread_id = 0;
	slot->start_ns = now;
	slot->main = 0;
	atomic_fetch_add(&slot->generation, 1);
	if (atomic_load(&t->ring->slots_used) <= at)
		atomic_store(&t->ring->slots_used, at + 1);
	atomic_store_explicit(&slot->tid, tid, memory_order_release);
}

/* Threads that did not come through pthread_create, or that were there before the agent woke up,
 * have no slot yet. One that gave its slot back is about to end; so only who is there at two looks
 * is adopted. Only where tids need no translation. */
static void adopt_strangers(struct sampled_target *st, uint64_t now)
{
	struct dirent *entry;
	uint32_t *found = NULL;
	size_t count = 0, capacity = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)st->target->pid);
	dir = st->target->same_namespace ? opendir(path) : NULL;
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		uint32_t tid = (uint32_t)strtoul(entry->d_name, NULL, 10), at;
		bool again = false;

		if (!tid || has_slot(st->target, tid, &at))
			continue;
		for (size_t i = 0; i < st->stranger_count; i++)
			again |= st->strangers[i] == tid;
		if (again && at < RING_SLOTS) {
			adopt(st->target, tid, at, now);
			continue;
		}
		found = xgrow(found, &capacity, count + 1, sizeof(*found));
		found[count++] = tid;
	}
	closedir(dir);
	free(st->strangers);
	st->strangers = found;
	st->stranger_count = count;
}

static void tick_target(struct sampler *s, struct sampled_target *st, uint64_t now)
{
	if (atomic_load_explicit(&st->target->ring->state, memory_order_acquire) != RING_LIVE)
		return;
	if (st->ticks++ % SLOT_SCAN_TICKS == 0) {
		scan_ended(st, now);
		scan_started(st);
	}
	for (size_t i = 0; i < st->used_count; i++)
		look_at(s, st, st->threads[st->used[i]], now);
	if (now - st->strangers_ns > STRANGERS_NS) {
		st->strangers_ns = now;
		adopt_strangers(st, now);
	}
	if (st->stacks && (now - st->names_ns > NAMES_NS ||
			   (st->names_wanted && now - st->names_ns > NAMES_NS / 20))) {
		st->names_ns = now;
		st->names_wanted = false;
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
	uint64_t deadline = now_ns();

	ask_for_low_latency();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		struct timespec t;
		uint64_t now, end;

		/* Jittered by a quarter: a program with a rhythm of its own is met at every phase.
		 */
		deadline += period - period / 4 + random_next(s) % (period / 2 + 1);
		t.tv_sec = (time_t)(deadline / 1000000000u);
		t.tv_nsec = (long)(deadline % 1000000000u);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
			;
		now = now_ns();
		pthread_mutex_lock(&s->lock);
		for (size_t i = 0; i < s->count; i++)
			tick_target(s, s->targets[i], now);
		pthread_mutex_unlock(&s->lock);
		end = now_ns();
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
	s->random = now_ns() * 2 + 1;
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

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	sampler_stop(s);
	while (s->count)
		sampler_remove(s, s->targets[0]->target);
	free(s->targets);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void sampler_add(struct sampler *s, struct target *t)
{
	struct sampled_target *st = xcalloc(1, sizeof(*st));

	st->target = t;
	st->stacks = wait_stack_new(t);
	st->strangers_ns = now_ns();
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
		drop_thread(st, 0, now_ns());
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
	scan_ended(st, now_ns());
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

uint64_t sampler_late_ticks(struct sampler *s)
{
	return atomic_load(&s->late);
}

void sampler_threads(struct sampler *s, struct target *t,
		     void (*found)(void *arg, uint32_t slot, uint32_t generation, uint64_t cpu_ns),
		     void *arg)
{
	struct sampled_target *st = t->sampled;
	uint64_t now = now_ns();

	if (!st)
		return;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < st->used_count; i++) {
		struct sampled_thread *thread = st->threads[st->used[i]];
		uint64_t runtime_ns, runs;

		if (!thread->gone && read_schedstat(thread, &runtime_ns, &runs) == 0)
			thread->runtime_ns = runtime_ns;
		close_wait(st, thread, now);
		found(arg, thread->slot, thread->generation, thread->runtime_ns);
	}
	pthread_mutex_unlock(&s->lock);
}
