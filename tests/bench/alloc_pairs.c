/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops over malloc and free, for the benchmark; loaded into a Python that may be recorded.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 64
#define SLOTS 10000u

double pairs_run(int threads, long pairs, int churn);
double copies_run(long copies, size_t size);

struct job {
	pthread_t thread;
	long pairs;
	int churn;
};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Pairs of one block, or a working set of random sizes in which every turn replaces one block. */
static void *work(void *arg)
{
	struct job *job = arg;
	uint32_t random = 1;
	void **slots = NULL;

	if (!job->churn) {
		for (long i = 0; i < job->pairs; i++) {
			void *volatile block = malloc(64);

			free(block);
		}
		return NULL;
	}
	slots = calloc(SLOTS, sizeof(*slots));
	if (!slots)
		return NULL;
	for (long i = 0; i < job->pairs; i++) {
		size_t slot;

		random = random * 1664525u + 1013904223u;
		slot = random >> 8 & 0xffffu;
		slot = slot * SLOTS >> 16;
		free(slots[slot]);
		slots[slot] = malloc(16 + (random >> 20 & 0x7ffu));
	}
	for (size_t i = 0; i < SLOTS; i++)
		free(slots[i]);
	free(slots);
	return NULL;
}

/* Nanoseconds of one thread's pair. */
double pairs_run(int threads, long pairs, int churn)
{
	struct job jobs[THREADS_MAX];
	double start;
	int started = 0;

	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	start = now_ns();
	for (; started < threads; started++) {
		jobs[started].pairs = pairs;
		jobs[started].churn = churn;
		if (pthread_create(&jobs[started].thread, NULL, work, &jobs[started]))
			break;
	}
	for (int i = 0; i < started; i++)
		pthread_join(jobs[i].thread, NULL);
	return started ? (now_ns() - start) / (double)pairs : 0;
}

/* Nanoseconds of one copy of size bytes. Aligned: one that straddles two pages takes ten times as
 * long, and where malloc puts it is chance. */
double copies_run(long copies, size_t size)
{
	size_t whole = (size + 63) & ~(size_t)63;
	char *from = aligned_alloc(64, whole), *to = aligned_alloc(64, whole);
	void *(*volatile copy)(void *, const void *, size_t) = memcpy;
	double start, ns = 0;

	if (from && to) {
		memset(from, 1, size);
		memset(to, 1, size);
		start = now_ns();
		for (long i = 0; i < copies; i++)
			copy(to, from, size);
		ns = (now_ns() - start) / (double)copies;
	}
	free(from);
	free(to);
	return ns;
}
