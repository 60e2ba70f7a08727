/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/countdown.h"

#include "record/agent/agent.h"

/* Keeps every sum of a distance and a size within 64 bits. */
#define MEAN_MAX (1ull << 50)

static _Thread_local uint64_t random_state;

/* splitmix64: a counter, well mixed. The process id keeps the child of a fork from drawing what its
 * parent draws. */
static uint64_t random_bits(void)
{
	uint64_t z;

	if (!random_state)
		random_state = agent_now() ^ (uint64_t)(uintptr_t)&random_state << 20;
	random_state += 0x9e3779b97f4a7c15ull;
	z = random_state ^ (uint64_t)agent.pid << 32;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* The natural logarithm of bits / 2^64. There is no libm here; the series of artanh is good for 10
 * digits between sqrt(1/2) and sqrt(2). */
static double log_of_fraction(uint64_t bits)
{
	int shift = __builtin_clzll(bits);
	double m = (double)(bits << shift) * 0x1p-64; /* in [0.5, 1] */
	double power = -shift, s, square;

	if (m < 0.70710678118654752) {
		m *= 2;
		power--;
	}
	s = (m - 1) / (m + 1);
	square = s * s;
	return power * 0.69314718055994531 +
	       2 * s *
		       (1 +
			square * (1. / 3 +
				  square * (1. / 5 +
					    square * (1. / 7 +
						      square * (1. / 9 + square * (1. / 11))))));
}

int64_t countdown_draw(uint64_t mean)
{
	if (mean <= 1)
		return 0;
	if (mean > MEAN_MAX)
		mean = MEAN_MAX;
	return (int64_t)(-log_of_fraction(random_bits() | 1) * (double)mean);
}
