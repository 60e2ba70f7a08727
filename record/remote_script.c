/* SPDX-License-Identifier: Apache-2.0 */
#include "record/remote_script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "record/hold.h"
#include "record/remote_memory.h"

#define STOP_BIT 32u /* of the eval breaker: look around */
#define OFFSET_MAX (1u << 20)
#define THREADS_MAX 100000
#define HOLD_NS UINT64_C(10000000000)
#define LATE_NS 50000000 /* between the look at the word and the opening of the file */

/* The last words of _Py_DebugOffsets. */
struct debugger_support {
	uint64_t eval_breaker; /* in the thread state */
	uint64_t support;      /* in the thread state; the next but one are relative to it */
	uint64_t enabled;      /* in the interpreter */
	uint64_t pending_call;
	uint64_t script_path;
	uint64_t script_path_size;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int read_support(const struct target *target, struct debugger_support *support)
{
	uint32_t version = target->layout.version;
	uint64_t at;

	if (version == 0x30e)
		at = 712;
	else if (version == 0x30f)
		at = 840;
	else
		return -1;
	if (remote_read(target->pid, target->ring->runtime + at, support, sizeof(*support)) ||
	    support->eval_breaker > OFFSET_MAX || support->support > OFFSET_MAX ||
	    support->enabled > OFFSET_MAX || support->pending_call > OFFSET_MAX ||
	    support->script_path > OFFSET_MAX || support->script_path_size > OFFSET_MAX)
		return -1;
	return 0;
}

/* The main thread's state in the main interpreter, when scripts are allowed there; else 0. */
static uint64_t find_main_thread(const struct target *target,
				 const struct debugger_support *support)
{
	const struct py_layout *layout = &target->layout;
	pid_t pid = target->pid;
	uint64_t interpreter = 0, next = 0, state = 0, id = 0;
	uint32_t enabled = 0;

	if (remote_read(pid, target->ring->runtime + layout->runtime_interpreters_head,
			&interpreter, 8))
		return 0;
	/* The newest is the first; the main one is the last. */
	while (interpreter && remote_read(pid, interpreter + layout->interp_next, &next, 8) == 0 &&
	       next)
		interpreter = next;
	if (!interpreter || remote_read(pid, interpreter + support->enabled, &enabled, 4) ||
	    enabled != 1 || remote_read(pid, interpreter + layout->interp_threads_head, &state, 8))
		return 0;
	for (int i = 0; state && i < THREADS_MAX; i++) {
		if (remote_read(pid, state + layout->ts_native_thread_id, &id, 8))
			return 0;
		if (id == (uint64_t)target->ring->pid)
			return state;
		if (remote_read(pid, state + layout->ts_next, &state, 8))
			return 0;
	}
	return 0;
}

static void add_literal(struct buf *text, const char *value)
{
	for (; *value; value++)
		buf_printf(text, "\\x%02x", (unsigned char)*value);
}

/* The program looks for the file with its own eyes, and complains when it is not there. */
static bool sees_script(const struct remote_script *script)
{
	struct stat ours, theirs;
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)script->pid, script->path);
	return stat(script->path, &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* Only what has not been there before is taken out again: _ctypes alone, which is all it takes.
 * That the file is gone says that all is done. */
static int write_script(struct remote_script *script, const struct remote_call *call)
{
	struct buf text = {0};
	struct stat status;
	char process[32];
	int fd, ret;

	snprintf(script->path, sizeof(script->path), "/tmp/scprof-XXXXXX");
	fd = mkstemp(script->path);
	if (fd < 0) {
		script->path[0] = '\0';
		return -1;
	}
	buf_printf(&text, "def call():\n"
			  "    import sys\n"
			  "    known = '_ctypes' in sys.modules\n"
			  "    try:\n"
			  "        import _ctypes\n"
			  "        library = _ctypes.dlopen(b'");
	add_literal(&text, call->path);
	buf_printf(&text,
		   "', 2)\n"
		   "        _ctypes.call_cdeclfunction(_ctypes.dlsym(library, '%s'), (b'",
		   call->function);
	add_literal(&text, call->argument);
	buf_printf(&text,
		   "',))\n"
		   "    except BaseException:\n"
		   "        pass\n"
		   "    if not known:\n"
		   "        sys.modules.pop('_ctypes', None)\n"
		   "    try:\n"
		   "        import posix\n"
		   "        posix.unlink('%s')\n"
		   "    except BaseException:\n"
		   "        pass\n"
		   "call()\n",
		   script->path);
	/* The program may be another user's, who reads it and takes it away. */
	snprintf(process, sizeof(process), "/proc/%d", (int)script->pid);
	ret = io_write_all(fd, text.data, text.size) || fchmod(fd, 0644) ||
			      stat(process, &status) ||
			      (geteuid() == 0 && fchown(fd, status.st_uid, status.st_gid))
		      ? -1
		      : 0;
	close(fd);
	buf_release(&text);
	return ret;
}

/* The breaker's other bits are the thread's own: it has to stand still while one is added. */
static int set_breaker(pid_t pid, uint64_t breaker)
{
	const uint64_t deadline_ns = now_ns() + HOLD_NS;
	struct hold_stop stop = {0};
	uint64_t bits;
	int ret = -1;

	if (hold_ask(pid))
		return -1;
	while (!hold_next(&stop)) {
		if (now_ns() > deadline_ns)
			return -1;
		hold_wait(deadline_ns);
	}
	if (!stop.ended && remote_read(pid, breaker, &bits, sizeof(bits)) == 0) {
		bits |= STOP_BIT;
		ret = remote_write(pid, breaker, &bits, sizeof(bits));
	}
	hold_release(&stop);
	return ret;
}

int remote_script_start(struct remote_script *script, const struct remote_call *call,
			const struct target *target)
{
	const uint32_t yes = 1;
	struct debugger_support support;
	uint64_t state;
	size_t size;

	*script = (struct remote_script){.pid = call->pid};
	if (read_support(target, &support))
		return -1;
	state = find_main_thread(target, &support);
	if (!state || write_script(script, call))
		return -1;
	size = strlen(script->path) + 1;
	if (size > support.script_path_size || !sees_script(script) ||
	    remote_write(call->pid, state + support.support + support.script_path, script->path,
			 size) ||
	    remote_write(call->pid, state + support.support + support.pending_call, &yes,
			 sizeof(yes)))
		return -1;
	script->pending = state + support.support + support.pending_call;
	return set_breaker(call->pid, state + support.eval_breaker);
}

static bool is_waiting(const struct remote_script *script)
{
	uint32_t pending = 0;

	return script->pending &&
	       remote_read(script->pid, script->pending, &pending, sizeof(pending)) == 0 && pending;
}

bool remote_script_done(const struct remote_script *script)
{
	return access(script->path, F_OK) && errno == ENOENT;
}

bool remote_script_take_back(struct remote_script *script)
{
	const struct timespec late = {.tv_nsec = LATE_NS};
	const uint32_t no = 0;

	if (!is_waiting(script))
		return false;
	remote_write(script->pid, script->pending, &no, sizeof(no));
	nanosleep(&late, NULL);
	return true;
}

void remote_script_end(struct remote_script *script)
{
	remote_script_take_back(script);
	if (script->path[0])
		unlink(script->path);
	*script = (struct remote_script){0};
}
