/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's "mem" and "object" domains. What they ask for counts here, once, at the size that was
 * asked for: while an original allocator runs, nothing that it does counts a second time.
 *
 * pymalloc is not hooked where it frees. It serves up to 512 bytes from its arenas and hands the
 * rest on to malloc; so a small block that is to be recorded is asked for with 513 bytes, and
 * pymalloc itself will hand its release on to free(), where heap_malloc.c sees it. An allocator
 * that is not pymalloc is hooked where it frees, too, and always gets the true size. With
 * PYTHONMALLOC=malloc all blocks come from malloc, and the same hooks only say whose they are.
 *
 * The settings for debugging put a layer around each allocator, which checks what it is given back;
 * so there the hooks go between that layer and the allocator proper.
 */
#include "record/agent/heap_python.h"

#include <dlfcn.h>
#include <link.h>

#include "record/agent/heap_lane.h"
#include "record/agent/heap_sample.h"

#define POOL_MAX 512u
#define DEBUG_PADDING (3 * sizeof(size_t)) /* what the debugging layer adds to a block */

/* As in Python's headers: PyMemAllocatorEx, PyObjectArenaAllocator, PyMemAllocatorDomain. */
struct allocator {
	void *ctx;
	void *(*malloc)(void *ctx, size_t size);
	void *(*calloc)(void *ctx, size_t count, size_t size);
	void *(*realloc)(void *ctx, void *block, size_t size);
	void (*free)(void *ctx, void *block);
};
struct arena_allocator {
	void *ctx;
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *arena, size_t size);
};
enum { DOMAIN_RAW, DOMAIN_MEM, DOMAIN_OBJ };

/* The context of a debugging layer. */
struct debug_layer {
	char id; /* 'm' or 'o' */
	struct allocator inner;
};

static struct {
	void (*get)(int domain, struct allocator *to);
	void (*set)(int domain, const struct allocator *from);
	void (*get_arena)(struct arena_allocator *to);
	void (*set_arena)(const struct arena_allocator *from);
	const char *(*name)(void);
	int (*is_initialized)(void);
} python;

static struct {
	struct allocator own; /* its contexts are passed on */
	size_t most;          /* bytes that it serves itself; 0: PYTHONMALLOC=malloc */
	size_t padding;       /* of what it is asked for, this the program did not ask for */
} pool;
static struct allocator tracked[2];   /* others: mem, obj; contexts are passed on here, too */
static size_t tracked_padding;        /* as above */
static struct arena_allocator arenas; /* the original */
static bool maps;
static bool started;

/* Where the interpreter keeps its variables. */
static struct {
	struct {
		uintptr_t start, end;
	} ranges[4];
	size_t count;
} variables;

/* --- while an original runs --- */

/* due: the next block that malloc hands out is the one to record, with this size. Returns what
 * outside takes. */
static inline uint64_t inside(bool due, size_t size)
{
	uint64_t left = heap_self.left;

	heap_self.inside = true;
	heap_self.given = due ? size + 1 : 0;
	heap_self.left = due ? 0 : HEAP_UNCOUNTED;
	return left;
}

static inline void outside(uint64_t left)
{
	heap_self.given = 0;
	heap_self.inside = false;
	heap_self.left = left;
}

static inline bool is_due(size_t size)
{
	return heap_count(size) && heap_is_due(size);
}

/* --- pymalloc --- */

static HEAP_COLD void *pool_malloc_slowly(void *ctx, size_t size)
{
	bool small = size - 1 < pool.most, due;
	uint64_t left;
	void *block;

	if (heap_self.inside)
		return pool.own.malloc(ctx, size);
	due = is_due(size - pool.padding);
	if (small && !due)
		return pool.own.malloc(ctx, size);
	left = inside(due, size - pool.padding);
	block = pool.own.malloc(ctx, small ? pool.most + 1 : size);
	outside(left);
	return block;
}

static HEAP_COLD void *pool_calloc_slowly(void *ctx, size_t count, size_t each)
{
	size_t size = count * each; /* Python has checked that it fits */
	bool small = size - 1 < pool.most, due;
	uint64_t left;
	void *block;

	if (heap_self.inside)
		return pool.own.calloc(ctx, count, each);
	due = is_due(size - pool.padding);
	if (small && !due)
		return pool.own.calloc(ctx, count, each);
	left = inside(due, size - pool.padding);
	block = pool.own.calloc(ctx, 1, small ? pool.most + 1 : size);
	outside(left);
	return block;
}

static void *pool_realloc(void *ctx, void *block, size_t size)
{
	uint64_t left;
	bool due;

	if (heap_self.inside)
		return pool.own.realloc(ctx, block, size);
	due = is_due(size - pool.padding);
	left = inside(due, size - pool.padding);
	block = pool.own.realloc(ctx, block, size);
	if (heap_self.given && block && size - 1 < pool.most) {
		/* malloc was not asked, so it is in an arena: bring it out. */
		void *out = pool.own.malloc(ctx, pool.most + 1);

		if (out) {
			memcpy(out, block, size);
			pool.own.free(ctx, block);
			block = out;
		}
	}
	outside(left);
	return block;
}

/* What is too large for pymalloc it asks malloc for, which must not count it again. */
static __attribute__((noinline)) void *pool_malloc_large(void *ctx, size_t size)
{
	uint64_t left;
	void *block;

	if (HEAP_UNLIKELY(heap_count(size)))
		return pool_malloc_slowly(ctx, size);
	left = heap_self.left;
	heap_self.left = HEAP_UNCOUNTED;
	block = pool.own.malloc(ctx, size);
	heap_self.left = left;
	return block;
}

static __attribute__((noinline)) void *pool_calloc_large(void *ctx, size_t count, size_t each)
{
	uint64_t left;
	void *block;

	if (HEAP_UNLIKELY(heap_count(count * each)))
		return pool_calloc_slowly(ctx, count, each);
	left = heap_self.left;
	heap_self.left = HEAP_UNCOUNTED;
	block = pool.own.calloc(ctx, count, each);
	heap_self.left = left;
	return block;
}

/* These two are on the way of every object. */
static void *pool_malloc(void *ctx, size_t size)
{
	if (HEAP_UNLIKELY(size - 1 >= POOL_MAX))
		return pool_malloc_large(ctx, size);
	if (HEAP_UNLIKELY(heap_count(size)))
		return pool_malloc_slowly(ctx, size);
	return pool.own.malloc(ctx, size);
}

static void *pool_calloc(void *ctx, size_t count, size_t each)
{
	size_t size = count * each;

	if (HEAP_UNLIKELY(size - 1 >= POOL_MAX))
		return pool_calloc_large(ctx, count, each);
	if (HEAP_UNLIKELY(heap_count(size)))
		return pool_calloc_slowly(ctx, count, each);
	return pool.own.calloc(ctx, count, each);
}

/* --- any other allocator --- */

static HEAP_COLD void *tracked_alloc_slowly(const struct allocator *own, size_t count, size_t size,
					    bool zero, const void *pc)
{
	size_t asked = count * size - tracked_padding;
	bool nested = heap_self.inside, due = !nested && is_due(asked);
	uint64_t left = inside(false, 0);
	void *block = zero ? own->calloc(own->ctx, count, size) : own->malloc(own->ctx, size);

	outside(left);
	heap_self.inside = nested;
	if (due && block)
		heap_add(block, asked, RING_HEAP_PYTHON, pc);
	return block;
}

static inline __attribute__((always_inline)) void *tracked_malloc(const struct allocator *own,
								  size_t size)
{
	if (HEAP_UNLIKELY(heap_count(size)))
		return tracked_alloc_slowly(own, 1, size, false, HEAP_CALLER);
	return own->malloc(own->ctx, size);
}

static inline __attribute__((always_inline)) void *tracked_calloc(const struct allocator *own,
								  size_t count, size_t size)
{
	if (HEAP_UNLIKELY(heap_count(count * size)))
		return tracked_alloc_slowly(own, count, size, true, HEAP_CALLER);
	return own->calloc(own->ctx, count, size);
}

static inline __attribute__((always_inline)) void *tracked_realloc(const struct allocator *own,
								   void *block, size_t size)
{
	bool nested = heap_self.inside, due = !nested && is_due(size - tracked_padding);
	struct heap_move move = heap_move_begin(block, HEAP_CALLER);
	uint64_t left = inside(false, 0);
	void *moved = own->realloc(own->ctx, block, size);

	outside(left);
	heap_self.inside = nested;
	heap_move_end(&move, moved, size - tracked_padding, due, RING_HEAP_PYTHON);
	return moved;
}

static HEAP_COLD void tracked_free_slowly(const struct allocator *own, void *block, const void *pc)
{
	bool nested = heap_self.inside;

	/* The object begins behind the debugging layer's first words. */
	if (lane_area)
		lane_forget_code((char *)block + tracked_padding / 3 * 2);
	heap_drop(block, pc);
	heap_self.inside = true;
	own->free(own->ctx, block);
	heap_self.inside = nested;
}

static inline __attribute__((always_inline)) void tracked_free(const struct allocator *own,
							       void *block)
{
	if (HEAP_UNLIKELY(heap_set_maybe(block)))
		tracked_free_slowly(own, block, HEAP_CALLER);
	else
		own->free(own->ctx, block);
}

/* Each domain has functions of its own, so that the contexts stay what they were: a thread that
 * reads one half of an allocator before it is replaced and the other half after that does the right
 * thing all the same. */

static void *mem_malloc(void *ctx, size_t size)
{
	(void)ctx;
	return tracked_malloc(&tracked[0], size);
}

static void *mem_calloc(void *ctx, size_t count, size_t size)
{
	(void)ctx;
	return tracked_calloc(&tracked[0], count, size);
}

static void *mem_realloc(void *ctx, void *block, size_t size)
{
	(void)ctx;
	return tracked_realloc(&tracked[0], block, size);
}

static void mem_free(void *ctx, void *block)
{
	(void)ctx;
	tracked_free(&tracked[0], block);
}

static void *obj_malloc(void *ctx, size_t size)
{
	(void)ctx;
	return tracked_malloc(&tracked[1], size);
}

static void *obj_calloc(void *ctx, size_t count, size_t size)
{
	(void)ctx;
	return tracked_calloc(&tracked[1], count, size);
}

static void *obj_realloc(void *ctx, void *block, size_t size)
{
	(void)ctx;
	return tracked_realloc(&tracked[1], block, size);
}

static void obj_free(void *ctx, void *block)
{
	(void)ctx;
	tracked_free(&tracked[1], block);
}

/* --- arenas --- */

static void *arena_alloc(void *ctx, size_t size)
{
	void *arena;

	(void)ctx;
	heap_self.arena = true;
	arena = arenas.alloc(arenas.ctx, size);
	heap_self.arena = false;
	return arena;
}

static void arena_free(void *ctx, void *arena, size_t size)
{
	(void)ctx;
	arenas.free(arenas.ctx, arena, size);
}

/* --- putting the hooks in --- */

static bool is_ours(const struct allocator *a)
{
	return a->malloc == pool_malloc || a->malloc == pool_malloc_slowly ||
	       a->malloc == mem_malloc || a->malloc == obj_malloc;
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What goes in place of `own`, the allocator proper of a domain. */
static struct allocator hooks_for(const char *name, const struct allocator *own, int domain,
				  bool debug)
{
	struct allocator *place = &tracked[domain - DOMAIN_MEM];

	if (starts_with(name, "mimalloc") || agent.memory_rate <= 1) {
		*place = *own;
		tracked_padding = debug ? DEBUG_PADDING : 0;
		if (domain == DOMAIN_MEM)
			return (struct allocator){own->ctx, mem_malloc, mem_calloc, mem_realloc,
						  mem_free};
		return (struct allocator){own->ctx, obj_malloc, obj_calloc, obj_realloc, obj_free};
	}
	pool.own = *own;
	pool.most = starts_with(name, "pymalloc") ? POOL_MAX : 0;
	pool.padding = debug ? DEBUG_PADDING : 0;
	if (pool.most && !debug)
		return (struct allocator){own->ctx, pool_malloc, pool_calloc, pool_realloc,
					  own->free};
	return (struct allocator){own->ctx, pool_malloc_slowly, pool_calloc_slowly, pool_realloc,
				  own->free};
}

/* What serves a domain that is not ours: "pymalloc", "malloc", "mimalloc", with "_debug" when
 * there is a layer for debugging; NULL: something unknown. */
static const char *name_of(const struct allocator *now)
{
	Dl_info python_file, its_file;

	/* 3.12 cannot be asked before it has initialised its locks; nothing was set up yet. */
	if (agent.layout.version != 0x30c || started || python.is_initialized())
		return python.name();
	if (!dladdr((void *)(uintptr_t)agent.code_type, &python_file) ||
	    !dladdr(*(void *const *)&now->malloc, &its_file) ||
	    python_file.dli_fbase != its_file.dli_fbase)
		return NULL;
	return now->ctx ? "pymalloc_debug" : "pymalloc";
}

/* Hooks the two domains, unless that is done or they are served by something unknown: then what
 * that asks malloc for is counted there. Returns whether they are hooked. */
static bool hook(void)
{
	struct allocator now[2], own[2];
	struct debug_layer *layers[2];
	const char *name;
	bool debug;

	for (int i = 0; i < 2; i++) {
		python.get(DOMAIN_MEM + i, &now[i]);
		if (is_ours(&now[i]))
			return true;
		layers[i] = now[i].ctx;
	}
	name = name_of(&now[0]);
	if (!name || (!starts_with(name, "pymalloc") && !starts_with(name, "malloc") &&
		      !starts_with(name, "mimalloc")))
		return false;
	debug = strstr(name, "_debug") != NULL;
	for (int i = 0; i < 2; i++) {
		if (debug && (!layers[i] || layers[i]->id != "mo"[i]))
			return false;
		own[i] = debug ? layers[i]->inner : now[i];
	}
	if (is_ours(&own[0]) || own[0].malloc == NULL)
		return own[0].malloc != NULL;
	for (int i = 0; i < 2; i++) {
		struct allocator hooks = hooks_for(name, &own[i], DOMAIN_MEM + i, debug);

		if (debug)
			layers[i]->inner = hooks;
		else
			python.set(DOMAIN_MEM + i, &hooks);
	}
	maps = starts_with(name, "mimalloc");
	return true;
}

static int find_variables(struct dl_phdr_info *info, size_t size, void *arg)
{
	bool found = false;

	(void)size;
	(void)arg;
	variables.count = 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W) ||
		    variables.count == sizeof(variables.ranges) / sizeof(variables.ranges[0]))
			continue;
		variables.ranges[variables.count].start = start;
		variables.ranges[variables.count++].end = start + segment->p_memsz;
		found |= agent.runtime >= start && agent.runtime < start + segment->p_memsz;
	}
	if (!found)
		variables.count = 0;
	return found;
}

static void hook_arenas(void)
{
	struct arena_allocator hooks = {NULL, arena_alloc, arena_free}, now;

	if (!python.get_arena || !python.set_arena)
		return;
	python.get_arena(&now);
	if (now.alloc == arena_alloc)
		return;
	arenas = now;
	hooks.ctx = now.ctx;
	python.set_arena(&hooks);
}

bool heap_python_start(void)
{
	bool hooked = false;

	*(void **)&python.get = agent_symbol("PyMem_GetAllocator");
	*(void **)&python.set = agent_symbol("PyMem_SetAllocator");
	*(void **)&python.get_arena = agent_symbol("PyObject_GetArenaAllocator");
	*(void **)&python.set_arena = agent_symbol("PyObject_SetArenaAllocator");
	*(void **)&python.name = agent_symbol("_PyMem_GetCurrentAllocatorName");
	*(void **)&python.is_initialized = agent_symbol("Py_IsInitialized");
	dl_iterate_phdr(find_variables, NULL);
	if (python.get && python.set && python.name && python.is_initialized) {
		hooked = hook();
		started = true;
	}
	/* In a running program what is not known by its blocks is known by its mappings. */
	if (hooked || !agent_is_late())
		hook_arenas();
	return started && !python.is_initialized();
}

/* The program's threads read these at the same time. */
static void put_back(void *at, const void *function)
{
	__atomic_store_n((const void **)at, function, __ATOMIC_RELEASE);
}

static void unhook(struct allocator *a)
{
	const struct allocator *own = a->malloc == mem_malloc   ? &tracked[0]
				      : a->malloc == obj_malloc ? &tracked[1]
								: &pool.own;

	put_back(&a->malloc, *(void *const *)&own->malloc);
	put_back(&a->calloc, *(void *const *)&own->calloc);
	put_back(&a->realloc, *(void *const *)&own->realloc);
	put_back(&a->free, *(void *const *)&own->free);
}

/* The interpreter has functions for this, but takes a lock in them. So what it was given is looked
 * for where its variables are, and also found where it, or a layer on top of ours, keeps a copy. */
void heap_python_stop(void)
{
	for (size_t i = 0; i < variables.count; i++) {
		uintptr_t end = variables.ranges[i].end;

		for (uintptr_t at = (variables.ranges[i].start + 7) & ~(uintptr_t)7;
		     at + sizeof(struct allocator) <= end; at += sizeof(void *)) {
			struct arena_allocator *a = (struct arena_allocator *)at;

			if (is_ours((struct allocator *)at))
				unhook((struct allocator *)at);
			if (a->alloc != arena_alloc || a->free != arena_free)
				continue;
			put_back(&a->alloc, *(void *const *)&arenas.alloc);
			put_back(&a->free, *(void *const *)&arenas.free);
		}
	}
}

bool heap_python_watch(void)
{
	bool last = python.is_initialized() != 0;

	hook();
	return !last;
}

bool heap_python_maps(void)
{
	return maps;
}
