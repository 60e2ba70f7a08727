/* SPDX-License-Identifier: Apache-2.0
 *
 * The malloc family, in front of whatever library provides it. Nearly every call is a subtraction
 * or a look at one byte, and a jump to the real function.
 *
 * The loader may call these before it has told us where the real ones are, and asking it may make
 * it call them. What is asked for meanwhile comes from a little memory of our own, for ever: its
 * blocks are in the filter of heap_set.h, so free() and realloc() look closer at them.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "record/agent/copy.h"
#include "record/agent/heap_sample.h"
#include "record/agent/heap_slab.h"

/* Not in every C library's headers. */
void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);

#define ALIGNMENT 16u
#define EARLY_SIZE (64u << 10)

struct early {
	size_t size;
	size_t padding;
	char data[];
};
_Static_assert(sizeof(struct early) == ALIGNMENT, "early blocks are not aligned");

static _Alignas(ALIGNMENT) char early_memory[EARLY_SIZE];
static _Atomic size_t early_used;
static _Atomic bool looking_up;

static void *first_malloc(size_t size);
static void *first_calloc(size_t count, size_t size);
static void *first_realloc(void *block, size_t size);
static void first_free(void *block);

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	void *(*memalign)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	size_t (*malloc_usable_size)(void *);
	/* NULL where there is none */
	void (*free_sized)(void *, size_t);
	void (*free_aligned_sized)(void *, size_t, size_t);
} real = {
	.malloc = first_malloc,
	.calloc = first_calloc,
	.realloc = first_realloc,
	.free = first_free,
};

/* --- before the real functions are known --- */

static bool is_early(const void *block)
{
	return (uintptr_t)block - (uintptr_t)early_memory < EARLY_SIZE;
}

static void *early_alloc(size_t size)
{
	size_t whole = (size + sizeof(struct early) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	size_t at = atomic_fetch_add_explicit(&early_used, whole, memory_order_relaxed);
	struct early *early = (struct early *)(early_memory + at);

	if (size > EARLY_SIZE || at > EARLY_SIZE || whole > EARLY_SIZE - at)
		return NULL;
	early->size = size;
	heap_set_keep(early->data);
	return early->data;
}

static size_t early_size(const void *block)
{
	return ((const struct early *)block - 1)->size;
}

void heap_keep_early(void)
{
	size_t used = atomic_load_explicit(&early_used, memory_order_relaxed), at = 0;

	while (at < used && at < EARLY_SIZE) {
		const struct early *early = (const struct early *)(early_memory + at);

		heap_set_keep(early->data);
		at += (early->size + sizeof(*early) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	}
}

/* Returns false while it is under way. */
static bool look_up(void)
{
	if (atomic_exchange_explicit(&looking_up, true, memory_order_acquire))
		return real.malloc != first_malloc;
	*(void **)&real.memalign = agent_real("memalign");
	*(void **)&real.posix_memalign = agent_real("posix_memalign");
	*(void **)&real.aligned_alloc = agent_real("aligned_alloc");
	*(void **)&real.valloc = agent_real("valloc");
	*(void **)&real.pvalloc = agent_real("pvalloc");
	*(void **)&real.malloc_usable_size = agent_real("malloc_usable_size");
	*(void **)&real.free_sized = agent_real("free_sized");
	*(void **)&real.free_aligned_sized = agent_real("free_aligned_sized");
	*(void **)&real.free = agent_real("free");
	*(void **)&real.realloc = agent_real("realloc");
	*(void **)&real.calloc = agent_real("calloc");
	*(void **)&real.malloc = agent_real("malloc");
	return true;
}

static HEAP_COLD void *first_malloc(size_t size)
{
	return look_up() ? real.malloc(size) : early_alloc(size);
}

static HEAP_COLD void *first_calloc(size_t count, size_t size)
{
	return look_up() ? real.calloc(count, size) : early_alloc(count * size);
}

static HEAP_COLD void *first_realloc(void *block, size_t size)
{
	return look_up() ? real.realloc(block, size) : block ? NULL : early_alloc(size);
}

static HEAP_COLD void first_free(void *block)
{
	if (look_up())
		real.free(block);
}

static inline void make_sure(void)
{
	if (HEAP_UNLIKELY(real.malloc == first_malloc))
		look_up();
}

__attribute__((constructor(101))) static void look_up_at_start(void)
{
	look_up();
}

/* --- malloc, calloc --- */

/* A small object of Python's that is to be recorded gets a place of its own. */
static void *place_for(size_t size)
{
	return heap_self.given && size == HEAP_SLAB_ASKED ? heap_slab_alloc() : NULL;
}

static HEAP_COLD void *malloc_slowly(size_t size, const void *pc)
{
	bool due = heap_is_due(size);
	void *block = place_for(size);

	if (!block)
		block = real.malloc(size);
	if (due && block)
		heap_add(block, size, 0, pc);
	return block;
}

AGENT_EXPORT void *malloc(size_t size)
{
	if (heap_count(size))
		return malloc_slowly(size, HEAP_CALLER);
	return real.malloc(size);
}

static HEAP_COLD void *calloc_slowly(size_t count, size_t size, const void *pc)
{
	bool due = heap_is_due(count * size);
	void *block = place_for(count * size);

	if (block)
		memset(block, 0, count * size);
	else
		block = real.calloc(count, size);
	if (due && block)
		heap_add(block, count * size, 0, pc);
	return block;
}

AGENT_EXPORT void *calloc(size_t count, size_t size)
{
	size_t whole;

	if (HEAP_UNLIKELY(__builtin_mul_overflow(count, size, &whole)))
		return real.calloc(count, size); /* sets errno */
	if (heap_count(whole))
		return calloc_slowly(count, size, HEAP_CALLER);
	return real.calloc(count, size);
}

/* --- free --- */

static HEAP_COLD void free_slowly(void *block, const void *pc)
{
	if (is_early(block))
		return;
	heap_drop(block, pc);
	if (heap_slab_has(block))
		heap_slab_free(block);
	else
		real.free(block);
}

AGENT_EXPORT void free(void *block)
{
	if (HEAP_UNLIKELY(heap_set_maybe(block)))
		free_slowly(block, HEAP_CALLER);
	else
		real.free(block);
}

AGENT_EXPORT void cfree(void *block)
{
	free(block);
}

AGENT_EXPORT void free_sized(void *block, size_t size)
{
	if (!real.free_sized || is_early(block) || heap_slab_has(block)) {
		free(block);
		return;
	}
	heap_drop(block, HEAP_CALLER);
	real.free_sized(block, size);
}

AGENT_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	if (!real.free_aligned_sized || is_early(block) || heap_slab_has(block)) {
		free(block);
		return;
	}
	heap_drop(block, HEAP_CALLER);
	real.free_aligned_sized(block, alignment, size);
}

/* --- realloc --- */

static void *leave_early(const void *block, size_t size)
{
	void *moved = real.malloc(size);

	if (moved)
		memcpy(moved, block, early_size(block) < size ? early_size(block) : size);
	return moved;
}

/* Size 0 frees the block, as glibc has it. */
static HEAP_COLD void *leave_slab(void *block, size_t size)
{
	void *moved = size ? real.malloc(size) : NULL;

	if (moved)
		memcpy(moved, block, size < HEAP_SLAB_SLOT ? size : HEAP_SLAB_SLOT);
	if (moved || !size)
		heap_slab_free(block);
	return moved;
}

static void *realloc_counted(void *block, size_t size, const void *pc)
{
	bool due = heap_count(size) && heap_is_due(size);
	bool copies = agent.copy_rate && block;
	struct heap_move move;
	size_t old = 0;
	void *moved;

	if (HEAP_UNLIKELY(is_early(block)))
		return leave_early(block, size);
	move = heap_move_begin(block, pc);
	if (HEAP_UNLIKELY(heap_slab_has(block))) {
		moved = leave_slab(block, size);
		copies = false;
	} else {
		if (copies && real.malloc_usable_size)
			old = real.malloc_usable_size(block);
		moved = real.realloc(block, size);
	}
	if (copies && moved && moved != block)
		copy_note(old < size ? old : size, TRACE_COPY_REALLOC);
	heap_move_end(&move, moved, size, due, 0);
	return moved;
}

AGENT_EXPORT void *realloc(void *block, size_t size)
{
	return realloc_counted(block, size, HEAP_CALLER);
}

AGENT_EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
	size_t whole;

	if (__builtin_mul_overflow(count, size, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc_counted(block, whole, HEAP_CALLER);
}

/* --- aligned blocks --- */

static inline void *count_aligned(void *block, size_t size, const void *pc)
{
	if (block && heap_count(size) && heap_is_due(size))
		heap_add(block, size, 0, pc);
	return block;
}

AGENT_EXPORT void *memalign(size_t alignment, size_t size)
{
	make_sure();
	return count_aligned(real.memalign(alignment, size), size, HEAP_CALLER);
}

AGENT_EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
	int ret;

	make_sure();
	ret = real.posix_memalign(block, alignment, size);
	if (ret == 0)
		count_aligned(*block, size, HEAP_CALLER);
	return ret;
}

AGENT_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	make_sure();
	return count_aligned(real.aligned_alloc(alignment, size), size, HEAP_CALLER);
}

AGENT_EXPORT void *valloc(size_t size)
{
	make_sure();
	return count_aligned(real.valloc(size), size, HEAP_CALLER);
}

AGENT_EXPORT void *pvalloc(size_t size)
{
	make_sure();
	return count_aligned(real.pvalloc(size), size, HEAP_CALLER);
}

AGENT_EXPORT size_t malloc_usable_size(void *block)
{
	if (is_early(block))
		return early_size(block);
	if (heap_slab_has(block))
		return HEAP_SLAB_SLOT;
	make_sure();
	return real.malloc_usable_size(block);
}
