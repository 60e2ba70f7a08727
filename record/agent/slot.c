/* SPDX-License-Identifier: Apache-2.0
 *
 * The slots of the region: each thread that is to be sampled has one. A thread claims its own when
 * it starts; for those that were there before the agent, the thread that brings it claims them.
 */
#include "record/agent/agent.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#define PTHREAD_SEARCH 2048 /* bytes of the C library's own structure that hold the tid */

/* --- one slot --- */

static int claim(const struct ring_slot *as)
{
	uint32_t used = atomic_load_explicit(&agent.ring->slots_used, memory_order_relaxed);

	for (uint32_t i = 0; i < RING_SLOTS; i++) {
		struct ring_slot *slot = &agent.slots[i];
		uint32_t nobody = 0;

		if (atomic_load_explicit(&slot->tid, memory_order_relaxed) ||
		    !atomic_compare_exchange_strong_explicit(&slot->tid, &nobody, UINT32_MAX,
							     memory_order_acquire,
							     memory_order_relaxed))
			continue;
		slot->pthread_id = as->pthread_id;
		slot->start_ns = agent_now();
		slot->start_cpu_ns = as->start_cpu_ns;
		slot->main = as->main;
		atomic_store_explicit(&slot->answered,
				      atomic_load_explicit(&slot->asked, memory_order_relaxed),
				      memory_order_relaxed);
		atomic_fetch_add_explicit(&slot->generation, 1, memory_order_relaxed);
		while (used <= i && !atomic_compare_exchange_weak_explicit(
					    &agent.ring->slots_used, &used, i + 1,
					    memory_order_relaxed, memory_order_relaxed))
			;
		/* Paired with the sampler's look at the slots. */
		atomic_store_explicit(&slot->tid, as->tid, memory_order_release);
		return (int)i;
	}
	atomic_fetch_add_explicit(&agent.ring->threads_without_slot, 1, memory_order_relaxed);
	return -1;
}

static void keep_own(uint32_t tid, int slot)
{
	agent_self.tid = slot >= 0 ? tid : 0;
	agent_self.slot = (uint32_t)(slot + 1);
	agent_self.session = agent.session;
}

int agent_claim_slot(bool main_thread)
{
	const struct ring_slot as = {
		.tid = (uint32_t)cpu_syscall(SYS_gettid),
		.pthread_id = (uint64_t)pthread_self(),
		.main = main_thread,
	};
	int slot = claim(&as);

	keep_own(as.tid, slot);
	return slot;
}

uint32_t agent_find_slot(void)
{
	uint32_t tid = (uint32_t)cpu_syscall(SYS_gettid);
	uint32_t used = atomic_load_explicit(&agent.ring->slots_used, memory_order_relaxed);
	int found = -1;

	for (uint32_t i = 0; i < used && i < RING_SLOTS && found < 0; i++)
		if (atomic_load_explicit(&agent.slots[i].tid, memory_order_relaxed) == tid)
			found = (int)i;
	keep_own(tid, found);
	return agent_self.slot;
}

static void write_thread_end(int index)
{
	struct ring_slot *slot = &agent.slots[index];
	struct ring_thread_end *record;

	record = (struct ring_thread_end *)ring_reserve(sizeof(*record));
	if (!record) {
		atomic_fetch_add_explicit(&agent.ring->lost, 1, memory_order_relaxed);
	} else {
		record->generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
		record->tid = atomic_load_explicit(&slot->tid, memory_order_relaxed);
		record->start_ns = slot->start_ns;
		record->pthread_id = slot->pthread_id;
		record->time_ns = agent_now();
		record->cpu_ns = agent_thread_cpu();
		ring_commit(&record->record, sizeof(*record), RING_THREAD_END, (unsigned)index);
	}
}

void agent_release_slot(void)
{
	uint32_t slot = agent_slot();
	bool entered;

	if (!slot)
		return;
	/* A sample after the last clocks would have no time. */
	entered = agent_enter();
	write_thread_end((int)slot - 1);
	agent_self.tid = 0;
	agent_self.slot = 0;
	atomic_store_explicit(&agent.slots[slot - 1].tid, 0, memory_order_release);
	agent_self.asked = 0;
	if (entered)
		agent_leave(NULL);
}

void agent_end_thread(void)
{
	uint32_t slot = agent_find_slot();

	if (slot)
		write_thread_end((int)slot - 1);
}

/* --- the threads that are there --- */

/* Where in the C library's structure for a thread, which a pthread_t points to, its tid is; 0 when
 * it is not found. */
static size_t tid_offset(void)
{
	uint32_t tid = (uint32_t)cpu_syscall(SYS_gettid), value;

	for (size_t at = 0; at < PTHREAD_SEARCH; at += sizeof(value))
		if (agent_peek((uint64_t)pthread_self() + at, &value, sizeof(value)) == 0 &&
		    value == tid)
			return at;
	return 0;
}

/* The pthread_t of any thread, or 0. The kernel knows one address in that structure: its list of
 * robust mutexes. */
static uint64_t pthread_of(uint32_t tid, size_t at_tid)
{
	uint64_t own = 0, other = 0, found;
	uint32_t value;
	size_t size;

	if (!at_tid || cpu_syscall(SYS_get_robust_list, 0, &own, &size) ||
	    cpu_syscall(SYS_get_robust_list, tid, &other, &size) || !own || !other)
		return 0;
	found = other - own + (uint64_t)pthread_self();
	if (agent_peek(found + at_tid, &value, sizeof(value)) || value != tid)
		return 0;
	return found;
}

void agent_poke_thread(uint64_t pthread_id, void *own_variable, const void *value, size_t size)
{
	char *at = (char *)own_variable + (pthread_id - (uint64_t)pthread_self());
	struct iovec local = {(void *)(uintptr_t)value, size}, remote = {at, size};
	long n;

	/* The thread may be about to end, and its memory with it. */
	n = cpu_syscall(SYS_process_vm_writev, agent.pid, &local, 1, &remote, 1, 0);
	if (n == -EPERM || n == -ENOSYS)
		memcpy(at, value, size);
}

static uint64_t cpu_of(uint32_t tid)
{
	struct timespec t;

	/* The kernel's name for the CPU clock of a thread. */
	if (clock_gettime((clockid_t)(~tid << 3 | 6), &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* As the kernel writes it: struct linux_dirent64. */
struct entry {
	uint64_t inode;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

static uint32_t read_number(const char *text)
{
	uint32_t n = 0;

	while (*text >= '0' && *text <= '9')
		n = n * 10 + (uint32_t)(*text++ - '0');
	return n;
}

void agent_each_thread(void (*visit)(uint32_t tid, uint64_t pthread_id))
{
	uint32_t own = (uint32_t)cpu_syscall(SYS_gettid);
	_Alignas(struct entry) char buffer[4096];
	size_t at_tid = tid_offset();
	long fd, n;

	visit(own, (uint64_t)pthread_self());
	fd = cpu_syscall(SYS_openat, AT_FDCWD, "/proc/self/task",
			 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	while ((n = cpu_syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->size) {
			uint32_t tid = read_number(((struct entry *)(buffer + at))->name);

			if (tid && tid != own)
				visit(tid, pthread_of(tid, at_tid));
		}
	}
	cpu_syscall(SYS_close, fd);
}

static void claim_for(uint32_t tid, uint64_t pthread_id)
{
	const struct ring_slot as = {
		.tid = tid,
		.pthread_id = pthread_id,
		.main = (int32_t)tid == agent.pid,
		.start_cpu_ns = cpu_of(tid),
	};

	claim(&as);
}

void agent_claim_all(void)
{
	agent_each_thread(claim_for);
	agent_find_slot();
}
