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
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "record/python/opcode_class.h"

struct agent agent;
_Thread_local uint32_t agent_tid;

extern char **environ;
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

static uint64_t process_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Connects to scprof-record and hands over what is known, with the region's descriptor when there
 * is one. The socket's buffer takes it: nobody waits for an answer. Returns 0 or -1. */
static int report(const struct ring_hello *hello, int region)
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
	hello.refused = 1;
	snprintf(hello.text, sizeof(hello.text), "%s", why);
	report(&hello, -1);
	agent.unfit = true;
}

/* Makes and hands over the region of this process. Returns 0 or -1. */
static int make_region(const char *build, uint32_t hex, bool forked)
{
	struct ring_hello hello;
	struct ring_header *ring;
	struct rlimit limit;
	char *memory;
	int fd, ret = -1;

	/* Beyond the limit ftruncate ends in SIGXFSZ, which would kill the program. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < RING_REGION_SIZE) {
		refuse("its limit on file sizes (ulimit -f) leaves no room for the shared memory");
		return -1;
	}
	fd = memfd_create("scprof", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	/* Sealed against shrinking: scprof-record must be able to trust the size it mapped. */
	if (ftruncate(fd, RING_REGION_SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		goto out;
	memory = mmap(NULL, RING_REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
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
	ring->forked = forked;
	snprintf(ring->build, sizeof(ring->build), "%s", build);
	agent.ring = ring;
	agent.slots = (struct ring_slot *)(memory + RING_SLOTS_OFFSET);
	agent.data = memory + RING_DATA_OFFSET;
	agent_claim_slot(true);
	atomic_store_explicit(&agent.live, true, memory_order_release);

	memset(&hello, 0, sizeof(hello));
	hello.magic = RING_MAGIC;
	hello.protocol = RING_PROTOCOL;
	hello.pid = agent.pid;
	hello.python_hex = hex;
	ret = report(&hello, fd);
	if (ret)
		atomic_store_explicit(&agent.live, false, memory_order_release);
out:
	close(fd);
	return ret;
}

int agent_claim_slot(bool main_thread)
{
	uint32_t tid = (uint32_t)cpu_syscall(SYS_gettid);
	uint32_t used = atomic_load_explicit(&agent.ring->slots_used, memory_order_relaxed);

	for (uint32_t i = 0; i < RING_SLOTS; i++) {
		struct ring_slot *slot = &agent.slots[i];
		uint32_t nobody = 0;

		if (atomic_load_explicit(&slot->tid, memory_order_relaxed) ||
		    !atomic_compare_exchange_strong_explicit(&slot->tid, &nobody, UINT32_MAX,
							     memory_order_acquire,
							     memory_order_relaxed))
			continue;
		slot->pthread_id = (uint64_t)pthread_self();
		slot->start_ns = agent_now();
		slot->main = main_thread;
		atomic_store_explicit(&slot->answered,
				      atomic_load_explicit(&slot->asked, memory_order_relaxed),
				      memory_order_relaxed);
		atomic_fetch_add_explicit(&slot->generation, 1, memory_order_relaxed);
		while (used <= i && !atomic_compare_exchange_weak_explicit(
					    &agent.ring->slots_used, &used, i + 1,
					    memory_order_relaxed, memory_order_relaxed))
			;
		/* Paired with the sampler's look at the slots. */
		agent_tid = tid;
		atomic_store_explicit(&slot->tid, tid, memory_order_release);
		return (int)i;
	}
	atomic_fetch_add_explicit(&agent.ring->threads_without_slot, 1, memory_order_relaxed);
	return -1;
}

static void write_thread_end(int index)
{
	struct ring_slot *slot = &agent.slots[index];
	struct ring_thread_end *record;

	record = (struct ring_thread_end *)ring_reserve(sizeof(*record));
	if (record) {
		record->generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
		record->tid = atomic_load_explicit(&slot->tid, memory_order_relaxed);
		record->start_ns = slot->start_ns;
		record->pthread_id = slot->pthread_id;
		record->time_ns = agent_now();
		record->cpu_ns = agent_thread_cpu();
		ring_commit(&record->record, sizeof(*record), RING_THREAD_END, (unsigned)index);
	}
}

void agent_release_slot(int index)
{
	write_thread_end(index);
	atomic_store_explicit(&agent.slots[index].tid, 0, memory_order_release);
}

/* The thread that ends the process ends with it. */
static void end_calling_thread(void)
{
	uint32_t tid = (uint32_t)cpu_syscall(SYS_gettid);
	uint32_t used = atomic_load_explicit(&agent.ring->slots_used, memory_order_relaxed);

	for (uint32_t i = 0; i < used && i < RING_SLOTS; i++) {
		if (atomic_load_explicit(&agent.slots[i].tid, memory_order_relaxed) == tid) {
			write_thread_end((int)i);
			return;
		}
	}
}

void agent_end(bool exec, bool has_status, int status)
{
	struct ring_header *ring = agent.ring;
	struct rusage usage;

	if (!ring || !agent_is_home() ||
	    atomic_load_explicit(&ring->state, memory_order_relaxed) != RING_LIVE)
		return;
	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		ring->end_user_ns = (uint64_t)usage.ru_utime.tv_sec * 1000000000u +
				    (uint64_t)usage.ru_utime.tv_usec * 1000u;
		ring->end_system_ns = (uint64_t)usage.ru_stime.tv_sec * 1000000000u +
				      (uint64_t)usage.ru_stime.tv_usec * 1000u;
		ring->end_peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024u;
	}
	if (!exec)
		end_calling_thread();
	ring->end_ns = agent_now();
	ring->end_cpu_ns = process_cpu();
	ring->end_status = status;
	ring->end_has_status = has_status;
	atomic_store_explicit(&ring->state, exec ? RING_EXEC : RING_ENDED, memory_order_release);
}

static void at_exit(int status, void *arg)
{
	(void)arg;
	agent_end(false, true, status & 0xff);
}

/* In the child of a fork only the calling thread is left, no handler is running, and the region
 * mapped here is the parent's. */
static void after_fork_in_child(void)
{
	int saved_errno = errno;
	char build[sizeof(agent.ring->build)];
	uint32_t hex;

	agent.pid = (int32_t)cpu_syscall(SYS_getpid);
	if (!agent.ring)
		return;
	atomic_store_explicit(&agent.live, false, memory_order_relaxed);
	memcpy(build, agent.ring->build, sizeof(build));
	hex = agent.ring->python_hex;
	munmap(agent.ring, RING_REGION_SIZE);
	agent.ring = NULL;
	memset(agent.threads, 0, sizeof(agent.threads));
	code_table_free(agent.codes);
	agent.codes = code_table_new();
	if (!agent.codes || make_region(build, hex, true))
		agent.unfit = true;
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

static void *find_symbol(void *handle, const char *name)
{
	return dlsym(handle ? handle : RTLD_DEFAULT, name);
}

void agent_start(const void *anchor)
{
	const char *(*get_version)(void);
	const unsigned long *version_number;
	void *handle = NULL, *runtime;
	const char *why = NULL, *build;
	uint32_t hex;
	bool free_threaded = false;
	Dl_info info;

	if (agent.ring || agent.unfit || !agent.socket[0])
		return;
	if (anchor) {
		if (!dladdr(anchor, &info) || !info.dli_fname)
			return;
		handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
		if (!handle)
			return;
	}
	runtime = find_symbol(handle, "_PyRuntime");
	*(void **)&get_version = find_symbol(handle, "Py_GetVersion");
	if (!get_version)
		return; /* not a Python: nothing to do, nothing to say */
	build = get_version();
	if (!runtime) { /* up to 3.6 */
		char text[128];

		snprintf(text, sizeof(text),
			 "Python %.*s is older than 3.9, the oldest version that scprof knows",
			 (int)strcspn(build, " "), build);
		refuse(text);
		return;
	}
	version_number = find_symbol(handle, "Py_Version");
	if (version_number) {
		hex = (uint32_t)*version_number;
	} else {
		unsigned major = 0, minor = 0, micro = 0;

		sscanf(build, "%u.%u.%u", &major, &minor, &micro);
		hex = major << 24 | minor << 16 | (micro & 0xff) << 8 | 0xf0;
	}
	if (memcmp(runtime, "xdebugpy", 8) == 0)
		free_threaded = ((const uint64_t *)runtime)[2] != 0;
	if (py_layout_find(&agent.layout, hex, free_threaded, runtime, PY_DEBUG_OFFSETS_SIZE,
			   &why)) {
		refuse(why);
		return;
	}
	agent.runtime = (uint64_t)(uintptr_t)runtime;
	agent.code_type = (uint64_t)(uintptr_t)find_symbol(handle, "PyCode_Type");
	*(void **)&agent.this_thread_state = find_symbol(handle, "PyGILState_GetThisThreadState");
	if (!agent.code_type || !agent.this_thread_state) {
		refuse("this Python does not export what scprof needs (PyCode_Type)");
		return;
	}
	agent.opcode_classes = opcode_class_table(agent.layout.version);
	agent.guarded = agent.layout.ts_cframe != PY_NO_OFFSET && agent.layout.version >= 0x30b;
	agent.main_stack_end = (uint64_t)(uintptr_t)__libc_stack_end;
	agent.codes = code_table_new();
	if (!agent.codes || signal_install(agent.signal)) {
		refuse("out of memory or signals");
		return;
	}
	give_signal_stack();
	if (make_region(build, hex, false)) {
		agent.unfit = true;
		return;
	}
	agent.dormant = false;
	on_exit(at_exit, NULL);
}

/* Removes `remove` from the environment variable LD_PRELOAD, and our own variable: the program sees
 * the environment it would have without us. Works on the array in place, before anybody read it. */
static void clean_environment(void)
{
	size_t own = strlen(RING_ENVIRONMENT), path = strlen(agent.agent_path);
	char **to = environ;

	for (char **from = environ; *from; from++) {
		char *entry = *from;

		if (strncmp(entry, RING_ENVIRONMENT "=", own + 1) == 0)
			continue;
		if (strncmp(entry, "LD_PRELOAD=", 11) == 0 &&
		    strncmp(entry + 11, agent.agent_path, path) == 0) {
			if (entry[11 + path] == '\0')
				continue;
			if (entry[11 + path] == ':' || entry[11 + path] == ' ')
				memmove(entry + 11, entry + 12 + path,
					strlen(entry + 12 + path) + 1);
		}
		*to++ = entry;
	}
	*to = NULL;
}

__attribute__((constructor)) static void construct(void)
{
	const char *setting = getenv(RING_ENVIRONMENT);
	const char *comma = setting ? strchr(setting, ',') : NULL;
	int saved_errno = errno;
	Dl_info info;

	interpose_start();
	agent.pid = (int32_t)cpu_syscall(SYS_getpid);
	if (!comma || (size_t)(comma - setting) >= sizeof(agent.socket) ||
	    strlen(setting) + sizeof(RING_ENVIRONMENT) + 1 > sizeof(agent.environment) ||
	    !dladdr((void *)(uintptr_t)construct, &info) || !info.dli_fname ||
	    strlen(info.dli_fname) >= sizeof(agent.agent_path)) {
		errno = saved_errno;
		return;
	}
	memcpy(agent.socket, setting, (size_t)(comma - setting));
	agent.signal = (int)strtol(comma + 1, NULL, 10);
	snprintf(agent.agent_path, sizeof(agent.agent_path), "%s", info.dli_fname);
	snprintf(agent.environment, sizeof(agent.environment), RING_ENVIRONMENT "=%s", setting);
	snprintf(agent.preload, sizeof(agent.preload), "LD_PRELOAD=%s", agent.agent_path);
	agent.dormant = true;
	pthread_atfork(NULL, NULL, after_fork_in_child);
	agent_start(NULL);
	if (agent.ring)
		clean_environment();
	errno = saved_errno;
}
