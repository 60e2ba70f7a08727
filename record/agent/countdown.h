/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampling by volume. Each thread counts bytes down; whoever takes the counter below zero is
 * sampled, and the next distance is drawn. With exponential distances of mean `mean` something of
 * `size` bytes is hit with probability 1 - exp(-size / mean), whatever came before it.
 */
#ifndef SCPROF_COUNTDOWN_H
#define SCPROF_COUNTDOWN_H

#include <stdint.h>

/* The calling thread's next distance in bytes. A mean of 1 is 0: everything that has a byte hits.
 */
int64_t countdown_draw(uint64_t mean);

#endif
