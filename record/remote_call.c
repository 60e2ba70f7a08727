/* SPDX-License-Identifier: Apache-2.0 */
#include "record/remote_call.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/hold.h"
#include "record/process_maps.h"
#include "record/remote_cpu.h"
#include "record/remote_linker.h"
#include "record/remote_memory.h"
#include "record/safe_point.h"

#define STACK_ROOM (64u << 10) /* what the linker may need */
#define ROUND_NS 1000000
#define STEP_NS 10000000u
#define LEAVE_NS \
	UINT64_C(10000000000) /* a thread in the code stops at once, when it has its turn */
#define POLL_NS 200000
#define REFRESH_ROUNDS 200

struct caller {
	const struct remote_call *call;
	struct process_maps maps;
	struct safe_points *points;
	struct remote_linker linker;
	uint64_t deadline_ns;
	uint64_t patient_ns; /* until then no thread is taken that may be in a signal's handler */
	uint64_t caught;     /* the signals that have one */
	struct remote_cpu cpu;
	uint64_t frame; /* address of the one in use */
	struct remote_result result;
	char error[256]; /* what the linker said */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t caught_signals(pid_t pid)
{
	unsigned long long caught = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "SigCgt: %llx", &caught) == 1)
			break;
	fclose(f);
	return caught;
}

/* A handler may have interrupted anything, also malloc. While it runs, its signal is blocked. */
static bool may_be_in_handler(const struct caller *c)
{
	return c->cpu.signal_mask & c->caught && now_ns() < c->patient_ns;
}

/* Reads anew what is mapped. Returns 0 or -1 with a sentence. */
static int look_around(struct caller *c, struct err *err)
{
	size_t room;

	safe_points_free(c->points);
	c->points = NULL;
	process_maps_release(&c->maps);
	if (process_maps_read(&c->maps, c->call->pid, err) && kill(c->call->pid, 0) == 0)
		return -1;
	if (!c->maps.count)
		return err_set(err, ERR_FAILED, "process %d has just ended", (int)c->call->pid);
	remote_cpu_code(&room);
	if (remote_linker_find(&c->linker, &c->maps, room, err))
		return -1;
	c->points = safe_points_new(&c->maps);
	c->caught = caught_signals(c->call->pid);
	return 0;
}

/* Waits for a stop or the end of the thread. Returns 1, or 0 when the time is over. */
static int wait_stop(pid_t tid, int *status, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now = now_ns(), step = now + STEP_NS;
		pid_t found;

		do
			found = waitpid(tid, status, __WALL | WNOHANG);
		while (found < 0 && errno == EINTR);
		if (found == tid)
			return 1;
		if (found < 0 || now >= deadline_ns)
			return 0;
		hold_wait(step < deadline_ns ? step : deadline_ns);
	}
}

static void let_go(pid_t tid, int signo)
{
	ptrace(PTRACE_DETACH, tid, NULL, (void *)(uintptr_t)(unsigned)signo);
}

/* Where the frame goes on the thread's stack: 0 when there is no room. */
static uint64_t place_frame(const struct caller *c, uint64_t sp, size_t size)
{
	uint64_t at = (sp - REMOTE_CPU_RED_ZONE - size) & ~UINT64_C(63);

	for (size_t i = 0; i < c->maps.count; i++) {
		const struct process_map *map = &c->maps.at[i];
		/* The main thread's stack grows by itself. */
		uint64_t room = strcmp(map->path, "[stack]") == 0 ? 0 : STACK_ROOM;

		if (sp > map->start && sp <= map->end)
			return at < sp && map->writable && at >= map->start + room ? at : 0;
	}
	return 0;
}

/* The frame, the block and the texts, as they will lie on the stack. Returns 0 or -1. */
static int write_frame(struct caller *c, uint64_t sp, uint64_t *block_address)
{
	const char *const texts[] = {c->call->path, c->call->function, c->call->argument};
	struct remote_block block = {
		.errno_location = c->linker.errno_location,
		.dlopen = c->linker.dlopen,
		.dlsym = c->linker.dlsym,
		.dlerror = c->linker.dlerror,
	};
	uint64_t *const addresses[] = {&block.path, &block.name, &block.argument};
	struct remote_frame layout;
	size_t extra = 0, at;
	uint8_t *image;
	int ret = -1;

	for (size_t i = 0; i < 3; i++)
		extra += strlen(texts[i]) + 1;
	layout = remote_cpu_frame_layout(&c->cpu, extra);
	c->frame = place_frame(c, sp, layout.size);
	if (!c->frame)
		return -1;
	image = xcalloc(1, layout.size);
	remote_cpu_frame(&c->cpu, &layout, c->frame, image);
	at = layout.block + sizeof(block);
	for (size_t i = 0; i < 3; i++) {
		size_t size = strlen(texts[i]) + 1;

		memcpy(image + at, texts[i], size);
		*addresses[i] = c->frame + at;
		at += size;
	}
	memcpy(image + layout.block, &block, sizeof(block));
	*block_address = c->frame + layout.block;
	ret = remote_write(c->call->pid, c->frame, image, layout.size);
	free(image);
	return ret;
}

/* Pages of code are not writable, but for whoever traces. Returns 0 or -1. */
static int write_code(pid_t tid, uint64_t address)
{
	size_t size;
	const uint8_t *code = remote_cpu_code(&size);

	for (size_t at = 0; at < size; at += sizeof(long)) {
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKTEXT, tid, (void *)(uintptr_t)(address + at), NULL);
		if (errno)
			return -1;
		memcpy(&word, code + at, size - at < sizeof(word) ? size - at : sizeof(word));
		if (ptrace(PTRACE_POKETEXT, tid, (void *)(uintptr_t)(address + at),
			   (void *)(uintptr_t)word))
			return -1;
	}
	return 0;
}

static void read_error(struct caller *c)
{
	uint64_t at = c->result.error;

	for (size_t i = 0; at && i + 1 < sizeof(c->error); i++)
		if (remote_read(c->call->pid, at + i, &c->error[i], 1) || !c->error[i])
			break;
}

/* The thread has done its work: takes what came out of it, and gives it its registers back. */
static int take_result(struct caller *c, pid_t tid)
{
	int status;

	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	if (!wait_stop(tid, &status, now_ns() + LEAVE_NS) || !WIFSTOPPED(status))
		return 1;
	if (remote_cpu_result(tid, c->linker.room, &c->result)) {
		if (!c->result.loaded)
			read_error(c);
		remote_cpu_restore(tid, &c->cpu);
	} else {
		/* It got away, and went well as far as anybody knows. */
		c->result.loaded = true;
	}
	let_go(tid, 0);
	return 1;
}

/* The thread stopped by itself. Returns 0 when it goes on, -1 with a sentence when it does not. */
static int take_stop(struct caller *c, pid_t tid, int status, struct err *err)
{
	int signo = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;

	if (!WIFSTOPPED(status))
		return err_set(err, ERR_FAILED, "process %d ended while it loaded the library",
			       (int)c->call->pid);
	/* When the program is to stop, it does once we are done. All other signals are blocked. */
	if (status >> 16) {
		ptrace(PTRACE_CONT, tid, NULL, NULL);
		return 0;
	}
	remote_cpu_restore(tid, &c->cpu);
	let_go(tid, 0);
	return err_set(err, ERR_FAILED, "process %d could not load the library: %s",
		       (int)c->call->pid,
		       signo == SIGSYS ? "it may not (seccomp)" : strsignal(signo));
}

/* Follows the thread through the call. Returns 1 when it is over, -1 with a sentence. */
static int follow_call(struct caller *c, pid_t tid, uint64_t done_at, struct err *err)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	uint64_t done = 0;
	int status;

	ptrace(PTRACE_CONT, tid, NULL, NULL);
	while (now_ns() < c->deadline_ns) {
		if (wait_stop(tid, &status, 0)) {
			if (take_stop(c, tid, status, err))
				return -1;
		} else if (remote_read(c->call->pid, done_at, &done, sizeof(done)) == 0 && done) {
			return take_result(c, tid);
		}
		nanosleep(&pause, NULL);
	}
	/* It goes on by itself. */
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	if (wait_stop(tid, &status, now_ns() + LEAVE_NS) && WIFSTOPPED(status))
		let_go(tid, 0);
	return err_set(err, ERR_FAILED, "process %d did not load the library in time; try again",
		       (int)c->call->pid);
}

static bool is_ending(pid_t pid, pid_t tid)
{
	char path[64], line[512], *at;
	bool ending = true;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fgets(line, sizeof(line), f) && (at = strrchr(line, ')')) && at[1])
		ending = at[2] == 'Z' || at[2] == 'X';
	fclose(f);
	return ending;
}

/* Returns 1 when this thread made the call, 0 when it could not now, -1 with a sentence. */
static int try_thread(struct caller *c, pid_t tid, struct err *err)
{
	struct remote_point point;
	uint64_t block;
	int status, signo = 0;

	if (hold_ask(tid)) {
		/* One that is about to end may not be traced either. */
		if (errno != EPERM || is_ending(c->call->pid, tid))
			return 0;
		return err_set(
			err, ERR_FAILED,
			"process %d is being traced, or may not be: end the debugger, or run "
			"scprof-record as root",
			(int)c->call->pid);
	}
	if (!wait_stop(tid, &status, c->deadline_ns))
		return err_set(err, ERR_FAILED, "thread %d does not stop: it hangs in the kernel",
			       (int)tid);
	if (!WIFSTOPPED(status))
		return 0;
	if (status >> 16 == 0)
		signo = WSTOPSIG(status);
	else if (WSTOPSIG(status) != SIGTRAP) {
		let_go(tid, 0);
		return err_set(err, ERR_FAILED,
			       "process %d is stopped; let it go on first (kill -CONT %d)",
			       (int)c->call->pid, (int)c->call->pid);
	}
	if (signo || remote_cpu_read(tid, &c->cpu) || may_be_in_handler(c))
		goto not_now;
	remote_cpu_point(tid, &c->cpu, &point);
	if (!safe_points_has(c->points, &point) || write_frame(c, point.sp, &block) ||
	    write_code(tid, c->linker.room) ||
	    remote_cpu_enter(tid, &c->cpu, c->linker.room, c->frame, block))
		goto not_now;
	return follow_call(c, tid, block + offsetof(struct remote_block, done), err);
not_now:
	let_go(tid, signo);
	return 0;
}

/* One look at all threads; at first only at those that wait: nobody has to stop for that. */
static int try_threads(struct caller *c, bool all, struct err *err)
{
	struct dirent *entry;
	char path[64];
	DIR *threads;
	int ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)c->call->pid);
	threads = opendir(path);
	if (!threads)
		return err_set(err, ERR_FAILED, "process %d has just ended", (int)c->call->pid);
	while (ret == 0 && (entry = readdir(threads))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && (all || safe_points_waiting(c->points, tid)))
			ret = try_thread(c, tid, err);
	}
	closedir(threads);
	return ret;
}

int remote_call(const struct remote_call *call, uint64_t deadline_ns, int *value, struct err *err)
{
	const struct timespec pause = {.tv_nsec = ROUND_NS};
	struct caller *c = xcalloc(1, sizeof(*c));
	int ret = 0;

	c->call = call;
	c->deadline_ns = deadline_ns;
	c->patient_ns = now_ns() + (deadline_ns - now_ns()) / 2;
	for (unsigned round = 0; ret == 0; round++) {
		if (round % REFRESH_ROUNDS == 0 && look_around(c, err))
			ret = -1;
		else
			ret = try_threads(c, round % 2 == 1, err);
		if (ret == 0 && now_ns() > deadline_ns)
			ret = err_set(err, ERR_FAILED,
				      "process %d never stood where a library can be loaded; try "
				      "again when it does something else",
				      (int)call->pid);
		if (ret == 0)
			nanosleep(&pause, NULL);
	}
	if (ret == 1 && !c->result.loaded)
		ret = err_set(err, ERR_FAILED, "process %d cannot load %s: %s", (int)call->pid,
			      call->path, c->error);
	*value = c->result.value;
	safe_points_free(c->points);
	process_maps_release(&c->maps);
	free(c);
	return ret < 0 ? -1 : 0;
}
