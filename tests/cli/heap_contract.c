/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program may rely on when it asks for memory; a library, loaded into a Python that is being
 * recorded. contract() prints what the allocator does at the edges, for a comparison with what it
 * does alone. stress() lets threads allocate, resize and free at random, hand blocks to one another
 * and fork, and counts what is not as it must be: contents, alignment, size, errno.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

extern void free_sized(void *, size_t) __attribute__((weak));
extern void cfree(void *) __attribute__((weak));

#define SHOW(what) printf("%s: %lld\n", #what, (long long)(what))

static int aligned_to(const void *block, size_t alignment)
{
	return block && (uintptr_t)block % alignment == 0;
}

/* What of `call` must leave errno alone. */
#define KEEPS(call)                                                   \
	do {                                                          \
		errno = 4711;                                         \
		call;                                                 \
		printf("%s keeps errno: %d\n", #call, errno == 4711); \
	} while (0)

#define FAILS(call)                                                                    \
	do {                                                                           \
		errno = 0;                                                             \
		void *got = (void *)(call);                                            \
		printf("%s: %s, errno %d\n", #call, got ? "not NULL" : "NULL", errno); \
		free(got);                                                             \
	} while (0)

int contract(void)
{
	volatile size_t huge = SIZE_MAX - 100, half = SIZE_MAX / 2 + 2;
	void *p = NULL, *q;
	char *text = NULL;
	size_t room = 0;
	FILE *file;

	for (int round = 0; round < 50; round++) {
		FAILS(malloc(huge));
		FAILS(calloc(half, 2));
		FAILS(calloc(1, huge));
		FAILS(calloc(0, huge));
		FAILS(realloc(NULL, huge));
		FAILS(reallocarray(NULL, half, 2));
		FAILS(memalign(64, huge));
		FAILS(aligned_alloc(64, huge));
		FAILS(valloc(huge));
		FAILS(pvalloc(huge));
		FAILS(malloc(0));
		FAILS(realloc(NULL, 0));
		FAILS(calloc(0, 0));

		errno = 4711;
		SHOW(posix_memalign(&p, 3, 100));
		SHOW(posix_memalign(&p, 2, 100));
		SHOW(posix_memalign(&p, 64, huge));
		SHOW(posix_memalign(&p, 64, 100));
		SHOW(aligned_to(p, 64));
		free(p);

		/* A realloc that fails leaves the block as it is, and it can be freed. */
		p = malloc(100000);
		memset(p, 0x5a, 100000);
		errno = 0;
		q = realloc(p, huge);
		printf("failed realloc: %d, errno %d, contents %d\n", q == NULL, errno,
		       ((char *)p)[0] == 0x5a && ((char *)p)[99999] == 0x5a);
		q = reallocarray(p, half, 4);
		printf("failed reallocarray: %d, contents %d\n", q == NULL,
		       ((char *)p)[99999] == 0x5a);
		p = realloc(p, 200000);
		SHOW(((char *)p)[99999] == 0x5a);
		SHOW(malloc_usable_size(p) >= 200000);
		p = realloc(p, 10);
		SHOW(((char *)p)[9] == 0x5a);
		q = realloc(p, 0);
		SHOW(q == NULL);

		KEEPS(free(NULL));
		KEEPS(free(malloc(10)));
		KEEPS(free(malloc(1000000)));
		KEEPS(free(realloc(malloc(10), 100000)));
		KEEPS(free(calloc(1000, 100)));
		KEEPS(free(memalign(4096, 10000)));
		SHOW(malloc_usable_size(NULL));
		if (free_sized)
			free_sized(malloc(77777), 77777);
		if (cfree)
			cfree(malloc(77777));

		/* What allocates inside the C library. */
		p = strdup("a text");
		SHOW(strlen(p));
		free(p);
		p = wcsdup(L"wide");
		SHOW(wcslen(p));
		free(p);
		SHOW(asprintf(&text, "%*d", 30000, 1));
		free(text);
		text = NULL;
		file = open_memstream(&text, &room);
		for (int i = 0; i < 10000; i++)
			fprintf(file, "%d ", i);
		fclose(file);
		SHOW(room);
		free(text);
		text = NULL;

		p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(p, 1, 1 << 20);
		errno = 0;
		printf("munmap: %d", munmap((char *)p + 1, 4096));
		printf(", errno %d", errno);
		printf(", of nothing %d", munmap(p, 0));
		printf(", errno %d\n", errno);
		SHOW(munmap((char *)p + 8192, 100));
		q = mremap(p, 8192, 1 << 22, MREMAP_MAYMOVE);
		SHOW(((char *)q)[8191]);
		SHOW(mprotect(q, 1 << 22, PROT_NONE));
		SHOW(mprotect((char *)q + 1, 1, PROT_READ));
		SHOW(mprotect(q, 1 << 22, PROT_READ));
		SHOW(munmap(q, 1 << 22));
		SHOW(munmap((char *)p + 8192, (1 << 20) - 8192));
		errno = 0;
		SHOW(mmap(NULL, huge & ~4095ull, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		     MAP_FAILED);
		SHOW(errno);
		SHOW(mremap((void *)4096, 4096, 8192, 0) == MAP_FAILED);
		SHOW(errno);
	}
	fflush(stdout);
	return 0;
}

/* --- many threads --- */

#define BLOCKS 256

struct block {
	unsigned char *data;
	size_t size;
	unsigned char mark;
};

/* Whether some ask for more than there is. Settable from outside, before the threads start. */
int stress_too_much = 1;

static _Atomic(struct block *) mailbox[64];
static _Atomic unsigned long faults;
static _Atomic int over;

static void fault(const char *what)
{
	if (atomic_fetch_add(&faults, 1) < 20)
		fprintf(stderr, "heap_contract: %s\n", what);
}

static uint64_t next(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

static size_t some_size(uint64_t *random)
{
	switch (next(random) % 16) {
	case 0:
		return 0;
	case 1:
		return next(random) % 300000;
	case 2:
	case 3:
		return next(random) % 10000;
	default:
		return next(random) % 600;
	}
}

static void fill(struct block *b)
{
	memset(b->data, b->mark, b->size);
}

static void check(const struct block *b, size_t size)
{
	/* The ends and some of the middle: every byte of every block would be the cache's test. */
	size_t step = size < 600 ? 1 : 61;

	for (size_t i = 0; i < size; i += step)
		if (b->data[i] != b->mark) {
			fault("contents changed");
			return;
		}
	if (size && b->data[size - 1] != b->mark)
		fault("the end changed");
}

static void allocate(struct block *b, uint64_t *random)
{
	size_t alignment = (size_t)16 << next(random) % 9;

	b->size = some_size(random);
	b->mark = (unsigned char)next(random);
	errno = 4711;
	switch (next(random) % 8) {
	case 0:
		b->data = calloc(b->size ? 1 : 0, b->size);
		for (size_t i = 0; i < b->size; i++)
			if (b->data[i]) {
				fault("calloc gave more than zeros");
				break;
			}
		break;
	case 1:
		b->data = memalign(alignment, b->size);
		if (!aligned_to(b->data, alignment))
			fault("memalign did not align");
		break;
	case 2:
		if (posix_memalign((void **)&b->data, alignment, b->size) ||
		    !aligned_to(b->data, alignment))
			fault("posix_memalign did not align");
		break;
	case 3:
		b->data = aligned_alloc(alignment, b->size);
		if (!aligned_to(b->data, alignment))
			fault("aligned_alloc did not align");
		break;
	case 4:
		b->data = realloc(NULL, b->size);
		break;
	default:
		b->data = malloc(b->size);
		break;
	}
	if (!aligned_to(b->data, 16))
		fault("not aligned");
	if (malloc_usable_size(b->data) < b->size)
		fault("too small");
	if (errno != 4711)
		fault("errno changed by an allocation");
	fill(b);
}

static void resize(struct block *b, uint64_t *random)
{
	size_t size = some_size(random), least = size < b->size ? size : b->size;
	void *moved;

	if (next(random) % 32 == 0 && stress_too_much) {
		moved = realloc(b->data, SIZE_MAX - 4096);
		if (moved)
			fault("realloc gave what cannot be");
		check(b, b->size);
		return;
	}
	moved = next(random) % 2 ? realloc(b->data, size) : reallocarray(b->data, size, 1);
	if (!moved) {
		if (size)
			fault("realloc failed");
		b->data = NULL;
		return;
	}
	b->data = moved;
	check(b, least);
	b->size = size;
	b->mark = (unsigned char)next(random);
	fill(b);
}

static void release(struct block *b)
{
	check(b, b->size);
	errno = 4711;
	free(b->data);
	if (errno != 4711)
		fault("errno changed by free");
	b->data = NULL;
}

/* A child has every block that its parent has, and may do with it what it likes. */
static void fork_and_check(struct block *blocks, uint64_t *random)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		atomic_store(&faults, 0);
		for (int i = 0; i < BLOCKS; i++) {
			if (!blocks[i].data)
				allocate(&blocks[i], random);
			else if (i % 2)
				resize(&blocks[i], random);
			if (blocks[i].data)
				release(&blocks[i]);
		}
		_exit(atomic_load(&faults) ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fault("a child of fork found faults");
}

static void *stress_thread(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15ull | 1;
	struct block blocks[BLOCKS], *parcel;
	unsigned long rounds = 0;

	memset(blocks, 0, sizeof(blocks));
	while (!atomic_load(&over)) {
		struct block *b = &blocks[next(&random) % BLOCKS];

		if (!b->data)
			allocate(b, &random);
		else if (next(&random) % 3 == 0)
			resize(b, &random);
		else if (next(&random) % 8 == 0) {
			/* Let somebody else free it. */
			parcel = malloc(sizeof(*parcel));
			*parcel = *b;
			b->data = NULL;
			parcel = atomic_exchange(&mailbox[next(&random) % 64], parcel);
			if (parcel) {
				release(parcel);
				free(parcel);
			}
		} else {
			release(b);
		}
		if (++rounds % 20000 == 0 && (uintptr_t)arg % 8 == 1)
			fork_and_check(blocks, &random);
	}
	for (int i = 0; i < BLOCKS; i++)
		if (blocks[i].data)
			release(&blocks[i]);
	return (void *)rounds;
}

static pthread_t ids[64];
static int started;

void stress_start(int threads, unsigned seed)
{
	for (started = 0; started < threads; started++)
		if (pthread_create(&ids[started], NULL, stress_thread,
				   (void *)(uintptr_t)(seed * 64u + (unsigned)started)))
			fault("no thread");
}

/* Returns the number of faults. */
unsigned long stress_end(void)
{
	unsigned long rounds = 0;
	void *result;

	atomic_store(&over, 1);
	for (int i = 0; i < started; i++) {
		pthread_join(ids[i], &result);
		rounds += (unsigned long)result;
	}
	for (int i = 0; i < 64; i++) {
		struct block *parcel = atomic_exchange(&mailbox[i], NULL);

		if (parcel) {
			release(parcel);
			free(parcel);
		}
	}
	printf("%lu rounds, %lu faults\n", rounds, atomic_load(&faults));
	fflush(stdout);
	return atomic_load(&faults);
}

unsigned long stress(int threads, double seconds, unsigned seed)
{
	struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	stress_start(threads, seed);
	nanosleep(&time, NULL);
	return stress_end();
}
