/* SPDX-License-Identifier: Apache-2.0 */
#include "record/injection.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/log.h"
#include "record/remote_call.h"
#include "record/remote_script.h"

#define CALL_NS UINT64_C(10000000000)
#define SCRIPT_NS                                                                      \
	UINT64_C(500000000) /* a main thread that computes gets there in a millisecond \
			     */
#define DONE_NS UINT64_C(2000000000)
#define BUSY_TRIES 3
#define REPORT_NS UINT64_C(5000000000)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One at a time for each process: a name that the kernel takes back from whoever dies. Returns a
 * descriptor to close, or -1 with a sentence. */
static int lock_process(pid_t pid, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n;

	if (fd < 0)
		return err_errno(err, "cannot make a socket");
	n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "inject.scprof.%d",
		     (int)pid);
	if (bind(fd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0)
		return fd;
	if (errno == EADDRINUSE)
		err_set(err, ERR_FAILED,
			"another scprof-record is just about to record process %d; one of them is "
			"enough",
			(int)pid);
	else
		err_errno(err, "cannot lock process %d", (int)pid);
	close(fd);
	return -1;
}

/* The kernel's letter for what the process does. */
static char process_state(pid_t pid)
{
	char path[64], line[512], *at, state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return state;
	if (fgets(line, sizeof(line), f) && (at = strrchr(line, ')')) && at[1] == ' ')
		state = at[2];
	fclose(f);
	return state;
}

static bool wait_report(const struct injection *injection, uint64_t ns)
{
	const uint64_t deadline_ns = now_ns() + ns;

	while (!injection->reported(injection->arg))
		if (now_ns() > deadline_ns)
			return false;
	return true;
}

/* The interpreter's own way. Returns true when the agent has reported, and all is done. */
static bool call_by_script(const struct injection *injection, const struct remote_call *call)
{
	struct remote_script script;
	bool reported = false;
	uint64_t deadline_ns;

	if (remote_script_start(&script, call, injection->target) == 0) {
		log_verbose("the interpreter is asked to load the library");
		reported = wait_report(injection, SCRIPT_NS);
		deadline_ns = now_ns() + DONE_NS;
		/* The report comes before the last hook is in its place. */
		if (reported || !remote_script_take_back(&script))
			while (!remote_script_done(&script) && now_ns() < deadline_ns)
				injection->reported(injection->arg);
		reported = injection->reported(injection->arg);
	}
	remote_script_end(&script);
	return reported;
}

static int make_call(const struct injection *injection, struct err *err)
{
	const struct remote_call call = {
		.pid = injection->target->pid,
		.path = injection->library,
		.function = RING_INJECT_NAME,
		.argument = injection->setting,
	};
	int value = RING_INJECT_BUSY;

	if (call_by_script(injection, &call))
		return 0;
	log_verbose("a thread is made to load the library");
	/* Busy may also be who comes late: our script, or a recorder that was killed. */
	for (int i = 0; i < BUSY_TRIES && value == RING_INJECT_BUSY; i++) {
		if (remote_call(&call, now_ns() + CALL_NS, &value, err))
			return -1;
		if (wait_report(injection, value == RING_INJECT_BUSY ? SCRIPT_NS : REPORT_NS))
			return 0;
	}
	if (value == RING_INJECT_BUSY)
		return err_set(err, ERR_FAILED,
			       "process %d is being recorded already; end that recording first",
			       (int)call.pid);
	return err_set(err, ERR_FAILED,
		       "scprof's library in process %d cannot reach scprof-record (is it another "
		       "version, or forbidden to use sockets?); leave out --inject",
		       (int)call.pid);
}

int injection_start(const struct injection *injection, struct err *err)
{
	const pid_t pid = injection->target->pid;
	int lock, ret;

	if (process_state(pid) == 'T')
		return err_set(err, ERR_FAILED,
			       "process %d is stopped; let it go on first (kill -CONT %d)",
			       (int)pid, (int)pid);
	lock = lock_process(pid, err);
	if (lock < 0)
		return -1;
	ret = make_call(injection, err);
	close(lock);
	return ret;
}

/* Whether a thread would take the signal: it has a handler, which is the agent's, and does not
 * block it. Without one the signal would end the program. */
static bool takes_signal(pid_t pid, pid_t tid, int signo)
{
	unsigned long long blocked = ~0ull, caught = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SigBlk: %llx", &blocked) != 1)
			sscanf(line, "SigCgt: %llx", &caught);
	}
	fclose(f);
	return caught >> (signo - 1) & 1 && !(blocked >> (signo - 1) & 1);
}

static bool send_signal(struct target *t, pid_t tid, int signo)
{
	struct ring_header *ring = t->ring;
	siginfo_t info;
	bool sent = false;

	memset(&info, 0, sizeof(info));
	info.si_signo = signo;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = (int)((RING_MAGIC & 0x7fff) << 16 | RING_NO_SLOT);

	/* As ask() in sampler.c: paired with gate_close() in agent/interpose_exec.c. */
	atomic_store_explicit(&ring->sending, 1, memory_order_seq_cst);
	if (!atomic_load_explicit(&ring->closing, memory_order_seq_cst) && !injection_gone(t))
		sent = syscall(SYS_rt_tgsigqueueinfo, t->pid, tid, signo, &info) == 0;
	atomic_store_explicit(&ring->sending, 0, memory_order_seq_cst);
	return sent;
}

bool injection_ask_to_go(struct target *t, int signo)
{
	struct dirent *entry;
	bool asked = false;
	char path[64];
	DIR *threads;

	atomic_store_explicit(&t->ring->detach, 1, memory_order_release);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)t->pid);
	threads = opendir(path);
	if (!threads)
		return false;
	while ((entry = readdir(threads)) && !injection_gone(t)) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && takes_signal(t->pid, tid, signo) && send_signal(t, tid, signo)) {
			asked = true;
			break;
		}
	}
	closedir(threads);
	return asked;
}

bool injection_gone(const struct target *t)
{
	return atomic_load_explicit(&t->ring->state, memory_order_acquire) != RING_LIVE;
}
