/* SPDX-License-Identifier: Apache-2.0
 *
 * Coming into a program that runs, and going. scprof_inject is called in a thread of the program
 * that holds no lock of the C library; it makes a region with every thread in it, and then lets the
 * calls of all loaded objects, and Python's allocators, come through here. Going is done by
 * whatever thread gets the signal: it puts back all that. Threads that are in the agent's functions
 * then just come out of them: the library is never unloaded.
 */
#include "record/agent/agent.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "record/agent/patch.h"
#include "record/agent/steer.h"
#include "record/lane.h"

int scprof_inject(const char *setting);
int scprof_yield(const struct steer *next);

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

/* One thread at a time comes or goes. Who finds another at it does not wait: a wish to go is left
 * to that one. */
enum work {
	WORK_NONE,
	WORK_BUSY,
	WORK_DETACH, /* busy, and then everything is to be taken back */
};
static _Atomic int work;

static void *(*real_dlsym)(void *, const char *);

/* --- going --- */

/* Fewer chunks in a row are not worth a mapping more. */
#define LEAST_UNMAPPED 16u

/* The chunks that no thread has taken, and none will: `seen` is what the recorder sees. */
static void unmap_chunks(const struct lane_area *seen, struct lane_area *area)
{
	uint64_t untaken[LANE_CHUNKS / 64];

	for (size_t i = 0; i < LANE_CHUNKS / 64; i++)
		untaken[i] = atomic_load_explicit(&seen->free[i], memory_order_relaxed);
	for (size_t i = 0, count; i < LANE_CHUNKS; i += count + 1) {
		count = 0;
		while (i + count < LANE_CHUNKS && untaken[(i + count) / 64] >> (i + count) % 64 & 1)
			count++;
		if (count >= LEAST_UNMAPPED)
			cpu_syscall(SYS_munmap,
				    (char *)area + LANE_HEADER_SIZE + i * LANE_CHUNK_SIZE,
				    count * LANE_CHUNK_SIZE);
	}
}

/* Whoever still writes there, from before, writes to memory that nobody reads. However long such a
 * thread does not get on, the memory must be there: so it stays for good, most of it untouched. */
static void leave_region(void)
{
	struct ring_header *ring = agent.ring;
	struct lane_area *area = NULL;
	intptr_t seen = -1;

	if (ring->lanes) {
		area = (struct lane_area *)((char *)ring + RING_REGION_SIZE);
		/* Of size 0: the same page once more, at another place. */
		seen = (intptr_t)cpu_syscall(SYS_mremap, area, 0, LANE_HEADER_SIZE, MREMAP_MAYMOVE);
	}
	atomic_store_explicit(&ring->state, RING_DETACHED, memory_order_release);
	cpu_syscall(SYS_mmap, ring, lane_region_size(area != NULL), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	atomic_store_explicit(&ring->state, RING_DETACHED, memory_order_relaxed);
	if (seen > 0) {
		unmap_chunks((const struct lane_area *)seen, area);
		cpu_syscall(SYS_munmap, seen, LANE_HEADER_SIZE);
	}
}

/* Safe in a signal handler. */
static void detach(void)
{
	int saved_errno = errno;

	if (!atomic_load_explicit(&agent.live, memory_order_acquire) || !agent_is_home())
		return;
	patch_undo();
	if (agent.heap) {
		agent.heap->unhook();
		agent.heap->end();
		agent.heap->close();
	}
	agent.preload[0] = '\0';
	exec_gate_close();
	atomic_store_explicit(&agent.live, false, memory_order_release);
	signal_uninstall();
	agent_note_clocks();
	leave_region();
	code_table_clear(agent.codes);
	errno = saved_errno;
}

static bool begin(void)
{
	int none = WORK_NONE;

	return atomic_compare_exchange_strong(&work, &none, WORK_BUSY);
}

static void end(void)
{
	int busy = WORK_BUSY;

	if (atomic_compare_exchange_strong(&work, &busy, WORK_NONE))
		return;
	detach();
	atomic_store(&work, WORK_NONE);
}

void inject_detach(void)
{
	int busy = WORK_BUSY;

	/* Between the two the other may have come to its end. */
	while (!begin()) {
		if (atomic_compare_exchange_strong(&work, &busy, WORK_DETACH) ||
		    busy == WORK_DETACH)
			return;
		busy = WORK_BUSY;
	}
	detach();
	atomic_store(&work, WORK_NONE);
}

void inject_fork_child(void)
{
	atomic_store(&work, WORK_NONE);
}

void inject_leave_child(void)
{
	if (!agent_is_late())
		return;
	patch_undo();
	if (agent.heap)
		agent.heap->unhook();
	signal_uninstall();
}

/* --- objects that are loaded later --- */

static __attribute__((noinline)) void patch_again(void)
{
	int saved_errno = errno;

	if (agent_is_home() && begin()) {
		patch_objects(agent_is_library);
		end();
	}
	errno = saved_errno;
}

/* Who loads an object asks for something in it. The loader goes by who calls it: so dlopen is left
 * alone, and this has to end in a jump. */
static void *watch_dlsym(void *handle, const char *name)
{
	if (atomic_load_explicit(&agent.live, memory_order_acquire) && patch_is_stale())
		patch_again();
	return real_dlsym(handle, name);
}

/* --- coming --- */

static void *real_of(const char *name)
{
	return strncmp(name, "scprof_", 7) == 0 ? NULL : agent_real(name);
}

static void patch_all(void)
{
	struct patch patch = {.name = "dlsym"};

	patch_clear();
	*(void **)&real_dlsym = agent_real("dlsym");
	*(void *(**)(void *, const char *)) & patch.ours = watch_dlsym;
	patch.real = *(void **)&real_dlsym;
	if (patch.real)
		patch_add(&patch);
	patch_add_exports(_DYNAMIC, real_of);
	patch_objects(agent_is_library);
	/* Some slots were bound for the first time in just this moment. */
	patch_objects(agent_is_library);
}

/* Nobody listens any more where this process reported to. */
static bool recorder_is_gone(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(agent.socket);
	bool gone;
	int fd;

	if (!length || length + 1 >= sizeof(address.sun_path))
		return true;
	memcpy(address.sun_path + 1, agent.socket, length);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	gone = connect(fd, (struct sockaddr *)&address,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) &&
	       errno == ECONNREFUSED;
	close(fd);
	return gone;
}

/* Another of the agent's libraries asks to take over, and to be the one that `next` steers. Returns
 * 1 as long as this one is recording; 0: it does nothing any more. */
AGENT_EXPORT int scprof_yield(const struct steer *next)
{
	if (!begin())
		return 1;
	if (atomic_load_explicit(&agent.live, memory_order_acquire)) {
		if (!recorder_is_gone()) {
			end();
			return 1;
		}
		detach();
	}
	steer_next(next);
	end();
	return 0;
}

static bool others_yield(void)
{
	for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
		int (*yield)(const struct steer *) = NULL;
		void *handle;

		if (map->l_ld == _DYNAMIC || !map->l_name || !agent_is_library(map->l_name))
			continue;
		handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
		if (handle)
			*(void **)&yield = dlsym(handle, "scprof_yield");
		if (yield && yield(steer_own()))
			return false;
	}
	return true;
}

/* What is loaded from a place that only this process can name cannot be handed on. */
static void check_preload(void)
{
	if (agent.agent_path[0] != '/' || strncmp(agent.agent_path, "/proc/", 6) == 0 ||
	    access(agent.agent_path, R_OK))
		agent.preload[0] = '\0';
}

static enum ring_inject inject(const char *setting)
{
	agent.pid = (int32_t)cpu_syscall(SYS_getpid);
	if (atomic_load_explicit(&agent.live, memory_order_acquire)) {
		if (!recorder_is_gone())
			return RING_INJECT_BUSY;
		detach();
	}
	if (!others_yield())
		return RING_INJECT_BUSY;
	if (agent_read_setting(setting))
		return RING_INJECT_REFUSED;
	check_preload();
	children_look();
	agent.is_command = true;
	if (agent_start_late())
		return RING_INJECT_REFUSED;
	steer_next(NULL);
	/* So that who looks for scprof_mark and the like in the whole program finds them. */
	dlopen(agent.agent_path, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
	if (agent.heap)
		agent.heap->hook();
	if (agent_is_late())
		patch_all();
	return RING_INJECT_DONE;
}

AGENT_EXPORT int scprof_inject(const char *setting)
{
	enum ring_inject ret = RING_INJECT_BUSY;
	int saved_errno = errno;

	if (begin()) {
		if (agent_enter()) {
			ret = inject(setting);
			agent_leave(__builtin_return_address(0));
		}
		end();
	}
	errno = saved_errno;
	return (int)ret;
}
