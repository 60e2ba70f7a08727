/* SPDX-License-Identifier: Apache-2.0
 *
 * The mapping family: every call is recorded, after it succeeded. Only what munmap and mremap let
 * go is recorded ahead, because another thread may get the addresses as soon as they are free; when
 * they fail it is taken back.
 *
 * Allocators map the memory that they serve blocks from. Those blocks are counted one by one, so
 * these mappings are kept apart: Python's arenas, and what is mapped by the library that provides
 * malloc, unless that is the C library, whose own calls do not come here.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "record/agent/heap_python.h"
#include "record/agent/heap_sample.h"

#define PAGE 4096u

static struct {
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	void *(*mremap)(void *, size_t, size_t, int, ...);
	int (*mprotect)(void *, size_t, int);
} real;

struct module {
	uintptr_t address; /* something in it */
	uintptr_t start, end;
};
static struct module malloc_module, python_module;

/* --- who maps --- */

static int find_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct module *m = arg;
	uintptr_t low = UINTPTR_MAX, high = 0;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD)
			continue;
		if (start < low)
			low = start;
		if (start + segment->p_memsz > high)
			high = start + segment->p_memsz;
	}
	if (m->address < low || m->address >= high)
		return 0;
	m->start = low;
	m->end = high;
	return 1;
}

static bool is_in(const struct module *m, const void *pc)
{
	return (uintptr_t)pc >= m->start && (uintptr_t)pc < m->end;
}

static void look_up(void)
{
	*(void **)&real.munmap = agent_real("munmap");
	*(void **)&real.mremap = agent_real("mremap");
	*(void **)&real.mprotect = agent_real("mprotect");
	*(void **)&real.mmap = agent_real("mmap");
}

static inline void make_sure(void)
{
	if (HEAP_UNLIKELY(!real.mmap))
		look_up();
}

void heap_map_start(void)
{
	make_sure();
	malloc_module.address = (uintptr_t)agent_real("malloc");
	dl_iterate_phdr(find_module, &malloc_module);
	if (is_in(&malloc_module, *(void **)&real.mmap))
		malloc_module.end = malloc_module.start;
	python_module.address = (uintptr_t)agent.code_type;
	dl_iterate_phdr(find_module, &python_module);
}

static bool is_arena(int flags, const void *pc)
{
	if (heap_self.arena || is_in(&malloc_module, pc))
		return true;
	return heap_python_maps() && flags & MAP_ANONYMOUS && flags & MAP_PRIVATE &&
	       is_in(&python_module, pc);
}

/* --- the family --- */

static void *map(void *address, size_t size, int protection, int flags, int fd, off_t offset,
		 const void *pc)
{
	struct heap_range range = {.size = size};
	void *mapped;

	make_sure();
	mapped = real.mmap(address, size, protection, flags, fd, offset);
	if (mapped == MAP_FAILED)
		return mapped;
	range.address = mapped;
	if (is_arena(flags, pc))
		range.flags |= RING_HEAP_ARENA;
	if (!(flags & MAP_ANONYMOUS) || !(flags & MAP_PRIVATE))
		range.flags |= RING_HEAP_FILE;
	if (protection == PROT_NONE)
		range.flags |= RING_HEAP_RESERVED;
	heap_range(RING_MAP, &range, pc);
	return mapped;
}

AGENT_EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	return map(address, size, protection, flags, fd, offset, HEAP_CALLER);
}

AGENT_EXPORT void *mmap64(void *address, size_t size, int protection, int flags, int fd,
			  off64_t offset)
{
	return map(address, size, protection, flags, fd, offset, HEAP_CALLER);
}

/* What the kernel will not take is left out. */
static bool let_go(const struct heap_range *range, const void *pc)
{
	uintptr_t start = (uintptr_t)range->address;

	if (start % PAGE || !range->size || range->size > UINTPTR_MAX - start)
		return false;
	heap_range(RING_UNMAP, range, pc);
	return true;
}

/* It is still there: there would have been too many mappings, or there was no room to grow. */
static void take_back(const struct heap_range *range, const void *pc)
{
	int saved_errno = errno;

	heap_range(RING_UNFREE, range, pc);
	errno = saved_errno;
}

AGENT_EXPORT int munmap(void *address, size_t size)
{
	const struct heap_range range = {.address = address, .size = size};
	bool leaves;
	int ret;

	make_sure();
	leaves = let_go(&range, HEAP_CALLER);
	ret = real.munmap(address, size);
	if (ret && leaves)
		take_back(&range, HEAP_CALLER);
	return ret;
}

AGENT_EXPORT void *mremap(void *address, size_t old_size, size_t size, int flags, ...)
{
	const struct heap_range old = {.address = address, .size = old_size};
	struct heap_range range = {.old_address = address, .old_size = old_size, .size = size};
	void *target = NULL, *mapped;
	va_list rest;
	bool leaves;

	if (flags & MREMAP_FIXED) {
		va_start(rest, flags);
		target = va_arg(rest, void *);
		va_end(rest);
	}
	make_sure();
	leaves = let_go(&old, HEAP_CALLER);
	mapped = real.mremap(address, old_size, size, flags, target);
	if (mapped == MAP_FAILED) {
		if (leaves)
			take_back(&old, HEAP_CALLER);
		return mapped;
	}
	range.address = mapped;
	heap_range(RING_REMAP, &range, HEAP_CALLER);
	return mapped;
}

AGENT_EXPORT int mprotect(void *address, size_t size, int protection)
{
	const struct heap_range range = {
		.address = address,
		.size = size,
		.flags = protection == PROT_NONE ? RING_HEAP_RESERVED : 0,
	};
	int ret;

	make_sure();
	ret = real.mprotect(address, size, protection);
	if (ret == 0)
		heap_range(RING_PROTECT, &range, HEAP_CALLER);
	return ret;
}
