/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent's life: the constructor reads the environment and looks for an interpreter; a process
 * that has one gets a region, which goes to scprof-record over the socket. A forked child gets a
 * region of its own. At exit the process's clocks are left in the region.
 */
#include "record/agent/agent.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "record/agent/copy.h"
#include "record/agent/stack.h"
#include "record/lane.h"
#include "record/python/opcode_class.h"

struct agent agent;

extern void *__libc_stack_end;

void *agent_map(size_t size)
{
	long ret = cpu_syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

void agent_unmap(void *memory, size_t size)
{
	cpu_syscall(SYS_munmap, memory, size);
}

static uint64_t time_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

static uint64_t process_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int agent_report(const struct ring_hello *hello, int region)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(agent.socket);
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {(void *)(uintptr_t)hello, sizeof(*hello)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int fd, ret = -1;

	if (length + 1 >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path + 1, agent.socket, length);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)))
		goto out;
	if (region >= 0) {
		struct cmsghdr *head;

		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &region, sizeof(int));
	}
	if (sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(*hello))
		ret = 0;
out:
	close(fd);
	return ret;
}

static void refuse(const char *why)
{
	struct ring_hello hello;

	memset(&hello, 0, sizeof(hello));
	hello.magic = RING_MAGIC;
	hello.protocol = RING_PROTOCOL;
	hello.pid = agent.pid;
	hello.refused = RING_REFUSED_PROCESS;
	hello.parent_pid = (int32_t)cpu_syscall(SYS_getppid);
	children_command(hello.program, sizeof(hello.program));
	snprintf(hello.text, sizeof(hello.text), "%s", why);
	agent_report(&hello, -1);
	agent.unfit = true;
}

/* From here on new programs are told that this process is above them. */
static void write_environment(void)
{
	const int32_t *above = agent.parents;

	snprintf(agent.environment, sizeof(agent.environment),
		 RING_ENVIRONMENT "=%s:%d:%d:%d:%d,%s", agent.told, agent.pid, above[0], above[1],
		 above[2], agent.children);
}

/* Makes and hands over the region of this process. Returns 0 or -1. late: it runs already. */
static int make_region(const char *build, uint32_t hex, bool forked, bool late)
{
	struct ring_hello hello;
	struct ring_header *ring;
	bool lanes = agent.heap && agent.memory_rate == 1;
	size_t size = lane_region_size(lanes);
	struct rlimit limit;
	struct rusage usage;
	char *memory;
	int fd, ret = -1;

	/* Beyond the limit ftruncate ends in SIGXFSZ, which would kill the program. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size) {
		refuse("its limit on file sizes (ulimit -f) leaves no room for the shared memory");
		return -1;
	}
	fd = memfd_create("scprof", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	/* Sealed against shrinking: scprof-record must be able to trust the size it mapped. */
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		goto out;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		goto out;

	ring = (struct ring_header *)memory;
	ring->magic = RING_MAGIC;
	ring->protocol = RING_PROTOCOL;
	ring->header_size = RING_HEADER_SIZE;
	ring->slot_count = RING_SLOTS;
	ring->data_size = RING_DATA_SIZE;
	ring->pid = agent.pid;
	ring->parent_pid = (int32_t)cpu_syscall(SYS_getppid);
	ring->python_hex = hex;
	ring->free_threaded = agent.layout.free_threaded;
	ring->runtime = agent.runtime;
	ring->code_type = agent.code_type;
	ring->start_ns = agent_now();
	ring->start_cpu_ns = process_cpu();
	if (late && cpu_syscall(SYS_getrusage, RUSAGE_SELF, &usage) == 0) {
		ring->start_user_ns = time_ns(&usage.ru_utime);
		ring->start_system_ns = time_ns(&usage.ru_stime);
	}
	ring->forked = forked;
	ring->injected = agent_is_late();
	ring->lanes = lanes;
	children_describe(ring);
	agent.session++;
	memcpy(ring->parents, agent.parents, sizeof(ring->parents));
	write_environment();
	if (lanes && agent.heap->open_lanes((struct lane_area *)(memory + RING_REGION_SIZE)))
		agent.memory_rate = 0;
	atomic_store_explicit(&ring->paused, agent.starts_paused, memory_order_relaxed);
	snprintf(ring->build, sizeof(ring->build), "%s", build);
	agent.ring = ring;
	agent.slots = (struct ring_slot *)(memory + RING_SLOTS_OFFSET);
	if (late)
		agent_claim_all();
	else
		agent_claim_slot(true);
	atomic_store_explicit(&agent.live, true, memory_order_release);

	memset(&hello, 0, sizeof(hello));
	hello.magic = RING_MAGIC;
	hello.protocol = RING_PROTOCOL;
	hello.pid = agent.pid;
	hello.python_hex = hex;
	ret = agent_report(&hello, fd);
	copy_start();
	if (ret)
		atomic_store_explicit(&agent.live, false, memory_order_release);
out:
	close(fd);
	return ret;
}

static bool write_mark(enum ring_mark_kind kind)
{
	uint64_t number = agent.heap->number();
	struct ring_mark *record = (struct ring_mark *)ring_reserve(sizeof(*record));

	if (!record)
		return false;
	record->kind = kind;
	record->length = 0;
	record->time_ns = agent_now();
	record->number = number;
	ring_commit(&record->record, sizeof(*record), RING_MARK,
		    agent_slot() ? agent_self.slot - 1 : RING_NO_SLOT);
	agent.heap->marked();
	return true;
}

void agent_watch_end(void)
{
	if (atomic_load_explicit(&agent.over, memory_order_relaxed) || !agent.heap || !agent.ring ||
	    !*(const uint64_t *)(uintptr_t)(agent.runtime + agent.layout.runtime_finalizing) ||
	    !agent_is_home() || atomic_exchange_explicit(&agent.over, true, memory_order_relaxed))
		return;
	/* Without room somebody else will try again. */
	if (!write_mark(RING_MARK_FINALIZE))
		atomic_store_explicit(&agent.over, false, memory_order_relaxed);
}

void agent_note_clocks(void)
{
	struct ring_header *ring = agent.ring;
	struct rusage usage;

	if (cpu_syscall(SYS_getrusage, RUSAGE_SELF, &usage) == 0) {
		ring->end_user_ns = time_ns(&usage.ru_utime);
		ring->end_system_ns = time_ns(&usage.ru_stime);
		ring->end_peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024u;
	}
	ring->end_ns = agent_now();
	ring->end_cpu_ns = process_cpu();
}

void agent_end(bool exec, bool has_status, int status)
{
	struct ring_header *ring = agent.ring;

	if (!ring || !agent_is_home() ||
	    atomic_load_explicit(&ring->state, memory_order_relaxed) != RING_LIVE)
		return;
	agent_watch_end();
	if (agent.heap)
		agent.heap->end();
	if (exec) {
		ring->exec_slot = agent_find_slot();
		ring->exec_thread_cpu_ns = agent_thread_cpu();
	} else {
		/* The last sample was taken. Nobody leaves this. */
		agent_self.entered = UINTPTR_MAX;
		agent_self.busy = 1;
		agent_end_thread();
	}
	agent_note_clocks();
	ring->end_status = status;
	ring->end_has_status = has_status;
	atomic_store_explicit(&ring->state, exec ? RING_EXEC : RING_ENDED, memory_order_release);
}

static void at_exit(int status, void *arg)
{
	(void)arg;
	agent_end(false, true, status & 0xff);
}

/* What is live now is the child's, too. */
static void before_fork(void)
{
	if (!agent.heap || !agent.ring || !agent.memory_rate || !agent.forks_too ||
	    !atomic_load_explicit(&agent.live, memory_order_relaxed) || !agent_is_home() ||
	    !agent_enter())
		return;
	write_mark(RING_MARK_FORK);
	agent_leave(__builtin_return_address(0));
}

/* In the child of a fork only the calling thread is left, no handler is running, and the region
 * mapped here is the parent's. */
static void after_fork_in_child(void)
{
	int saved_errno = errno;
	char build[sizeof(agent.ring->build)];
	uint32_t hex;

	if (agent.ring) {
		memmove(agent.parents + 1, agent.parents, sizeof(int32_t) * (RING_PARENTS - 1));
		agent.parents[0] = agent.pid;
	}
	agent.pid = (int32_t)cpu_syscall(SYS_getpid);
	agent.is_command = false;
	if (!agent.forks_too)
		agent.unfit = true;
	inject_fork_child();
	if (!agent.ring || !atomic_load_explicit(&agent.live, memory_order_relaxed))
		return;
	agent_self.asked = 0;             /* that was the parent */
	agent_self.entered = UINTPTR_MAX; /* nobody leaves this */
	agent_self.busy = 1;
	atomic_store_explicit(&agent.live, false, memory_order_relaxed);
	memcpy(build, agent.ring->build, sizeof(build));
	hex = agent.ring->python_hex;
	agent.starts_paused = atomic_load_explicit(&agent.ring->paused, memory_order_relaxed) != 0;
	munmap(agent.ring, lane_region_size(agent.ring->lanes));
	agent.ring = NULL;
	memset(agent.threads, 0, sizeof(agent.threads));
	atomic_store_explicit(&agent.over, false, memory_order_relaxed);
	if (!agent.forks_too) {
		agent.memory_rate = agent.copy_rate = 0;
		if (agent.heap)
			agent.heap->fork_left();
		inject_leave_child();
		agent_self.busy = 0;
		errno = saved_errno;
		return;
	}
	if (agent.heap)
		agent.heap->fork_child();
	code_table_free(agent.codes);
	agent.codes = code_table_new();
	if (!agent.codes || make_region(build, hex, true, false))
		agent.unfit = true;
	agent_leave(__builtin_return_address(0));
	errno = saved_errno;
}

/* The handler of the main thread should not need the program's stack either. */
static void give_signal_stack(void)
{
	stack_t stack;

	if (sigaltstack(NULL, &stack) || !(stack.ss_flags & SS_DISABLE))
		return;
	memset(&stack, 0, sizeof(stack));
	stack.ss_sp = agent_map(AGENT_SIGNAL_STACK);
	stack.ss_size = AGENT_SIGNAL_STACK;
	if (stack.ss_sp)
		sigaltstack(&stack, NULL);
}

void *agent_symbol(const char *name)
{
	return dlsym(agent.python ? agent.python : RTLD_DEFAULT, name);
}

/* What is known of an interpreter: Py_GetVersion() and PY_VERSION_HEX. */
struct version {
	const char *build;
	uint32_t hex;
};

/* Learns all about the interpreter. Returns 0; -1: there is none, or it was refused. */
static int know_python(struct version *version)
{
	const char *(*get_version)(void);
	const unsigned long *version_number;
	void *runtime = agent_symbol("_PyRuntime");
	const char *why = NULL;
	bool free_threaded = false;

	*(void **)&get_version = agent_symbol("Py_GetVersion");
	if (!get_version)
		return -1; /* not a Python: nothing to do, nothing to say */
	version->build = get_version();
	if (!runtime) { /* up to 3.6 */
		char text[128];

		snprintf(text, sizeof(text),
			 "Python %.*s is older than 3.9, the oldest version that scprof knows",
			 (int)strcspn(version->build, " "), version->build);
		refuse(text);
		return -1;
	}
	version_number = agent_symbol("Py_Version");
	if (version_number) {
		version->hex = (uint32_t)*version_number;
	} else {
		unsigned major = 0, minor = 0, micro = 0;

		sscanf(version->build, "%u.%u.%u", &major, &minor, &micro);
		version->hex = major << 24 | minor << 16 | (micro & 0xff) << 8 | 0xf0;
	}
	if (memcmp(runtime, "xdebugpy", 8) == 0)
		free_threaded = ((const uint64_t *)runtime)[2] != 0;
	if (py_layout_find(&agent.layout, version->hex, free_threaded, runtime,
			   PY_DEBUG_OFFSETS_SIZE, &why)) {
		refuse(why);
		return -1;
	}
	agent.runtime = (uint64_t)(uintptr_t)runtime;
	agent.code_type = (uint64_t)(uintptr_t)agent_symbol("PyCode_Type");
	*(void **)&agent.this_thread_state = agent_symbol("PyGILState_GetThisThreadState");
	if (!agent.code_type || !agent.this_thread_state) {
		refuse("this Python does not export what scprof needs (PyCode_Type)");
		return -1;
	}
	agent.opcode_classes = opcode_class_table(agent.layout.version);
	agent.guarded = agent.layout.ts_cframe != PY_NO_OFFSET && agent.layout.version >= 0x30b;
	agent.main_stack_end = (uint64_t)(uintptr_t)__libc_stack_end;
	return 0;
}

static void watch_forks(void)
{
	static bool watched;

	if (!watched)
		pthread_atfork(before_fork, NULL, after_fork_in_child);
	watched = true;
}

static void watch_exit(void)
{
	static bool watched;

	if (!watched)
		on_exit(at_exit, NULL);
	watched = true;
}

static void start(const void *anchor)
{
	struct version version;
	Dl_info info;

	if (anchor) {
		if (!dladdr(anchor, &info) || !info.dli_fname)
			return;
		agent.python = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
		if (!agent.python)
			return;
	}
	if (know_python(&version))
		return;
	agent.codes = code_table_new();
	if (!agent.codes || signal_install(agent.signal)) {
		refuse("out of memory or signals");
		return;
	}
	give_signal_stack();
	if (agent.heap) {
		agent.heap->start();
		agent.heap->hook();
	}
	if (make_region(version.build, version.hex, false, false)) {
		agent.unfit = true;
		return;
	}
	agent.dormant = false;
	watch_exit();
}

/* The interpreter of a program that runs may be in a library that only part of it sees. */
static void find_python(void)
{
	if (dlsym(RTLD_DEFAULT, "Py_GetVersion"))
		return;
	for (const struct link_map *map = _r_debug.r_map; map && !agent.python; map = map->l_next) {
		void *handle = NULL, *found = NULL;
		Dl_info info;

		if (map->l_name && map->l_name[0])
			handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
		if (handle)
			found = dlsym(handle, "Py_GetVersion");
		if (found && dladdr(found, &info) && (uintptr_t)info.dli_fbase == map->l_addr)
			agent.python = handle;
		else if (handle)
			dlclose(handle);
	}
}

/* Of threads that were counting when a recording before this one ended. */
static void restart_thread(uint32_t tid, uint64_t pthread_id)
{
	static struct ring_record *const none;

	(void)tid;
	if (!pthread_id)
		return;
	agent_poke_thread(pthread_id, (void *)&agent_self.reserved, &none, sizeof(none));
	copy_start_thread(pthread_id);
	if (agent.heap)
		agent.heap->thread_start(pthread_id);
}

int agent_start_late(void)
{
	struct version version;
	int (*is_initialized)(void);

	agent.unfit = false;
	if (!agent.python)
		find_python();
	*(void **)&is_initialized = agent_symbol("Py_IsInitialized");
	if (!is_initialized) {
		refuse("there is no Python in it");
		return -1;
	}
	if (know_python(&version))
		return -1;
	if (!is_initialized() ||
	    *(const uint64_t *)(uintptr_t)(agent.runtime + agent.layout.runtime_finalizing)) {
		refuse("its interpreter is starting or ending");
		return -1;
	}
	if (agent.codes)
		code_table_clear(agent.codes);
	else
		agent.codes = code_table_new();
	stack_forget_all();
	atomic_store_explicit(&agent.over, false, memory_order_relaxed);
	if (agent.heap)
		agent.heap->start();
	agent_each_thread(restart_thread);
	if (!agent.codes || signal_install(agent.signal)) {
		refuse("out of memory or signals");
		return -1;
	}
	if (make_region(version.build, version.hex, false, true)) {
		signal_uninstall();
		return -1;
	}
	watch_forks();
	watch_exit();
	return 0;
}

void agent_start(const void *anchor)
{
	if (agent.ring || agent.unfit || !agent.socket[0] || !agent_enter())
		return;
	start(anchor);
	agent_leave(__builtin_return_address(0));
}

/* Reads what RING_ENVIRONMENT says; a rate that is not given is 0. Returns 0 or -1. */
int agent_read_setting(const char *setting)
{
	const char *comma = setting ? strchr(setting, ',') : NULL;
	const char *children = "*";
	char *end;

	if (!comma || (size_t)(comma - setting) >= sizeof(agent.socket) ||
	    strlen(setting) + sizeof(RING_ENVIRONMENT) + 1 > sizeof(agent.environment))
		return -1;
	memset(agent.socket, 0, sizeof(agent.socket));
	memcpy(agent.socket, setting, (size_t)(comma - setting));
	agent.memory_rate = agent.copy_rate = 0;
	agent.starts_paused = false;
	agent.command_pid = 0;
	agent.signal = (int)strtol(comma + 1, &end, 10);
	if (*end == ',')
		agent.memory_rate = strtoull(end + 1, &end, 10);
	if (*end == ',')
		agent.copy_rate = strtoull(end + 1, &end, 10);
	if (*end == ',')
		agent.starts_paused = strtol(end + 1, &end, 10) == 1;
	if (*end == ',')
		agent.command_pid = (int32_t)strtol(end + 1, &end, 10);
	snprintf(agent.told, sizeof(agent.told), "%.*s", (int)(end - setting), setting);
	memset(agent.parents, 0, sizeof(agent.parents));
	for (size_t i = 0; i < RING_PARENTS && *end == ':'; i++)
		agent.parents[i] = (int32_t)strtol(end + 1, &end, 10);
	if (*end == ',')
		children = end + 1;
	snprintf(agent.children, sizeof(agent.children), "%s", children);
	snprintf(agent.environment, sizeof(agent.environment), RING_ENVIRONMENT "=%s", setting);
	snprintf(agent.preload, sizeof(agent.preload), "LD_PRELOAD=%s", agent.agent_path);
	return 0;
}

__attribute__((constructor)) static void construct(void)
{
	int saved_errno = errno;
	Dl_info info;

	interpose_start();
	agent.pid = (int32_t)cpu_syscall(SYS_getpid);
	if (dladdr((void *)(uintptr_t)construct, &info) && info.dli_fname &&
	    strlen(info.dli_fname) < sizeof(agent.agent_path))
		snprintf(agent.agent_path, sizeof(agent.agent_path), "%s", info.dli_fname);
	/* In a program that runs already, scprof_inject says what to do. */
	if (agent_is_late() || !agent.agent_path[0] ||
	    agent_read_setting(getenv(RING_ENVIRONMENT))) {
		errno = saved_errno;
		return;
	}
	children_look();
	if (!agent.is_command && !agent.forks_too) {
		/* Left out: all that is left to do is to hand on the setting, if anybody may want
		 * it. */
		agent.unfit = true;
		agent.memory_rate = agent.copy_rate = 0;
		environment_clean();
		if (agent.only_command)
			agent.socket[0] = '\0';
		errno = saved_errno;
		return;
	}
	agent.dormant = true;
	watch_forks();
	agent_start(NULL);
	environment_clean();
	errno = saved_errno;
}
