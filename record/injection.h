/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts the agent into a program that runs already, and takes it out again: the library stays, but
 * nothing of it is in the program's way.
 */
#ifndef SCPROF_INJECTION_H
#define SCPROF_INJECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "record/target.h"

struct injection {
	const struct target *target; /* the process and what is known of its Python */
	const char *library;         /* path of the agent's, as the process sees it */
	const char *setting;         /* what the agent is told, see RING_ENVIRONMENT */
	/* Waits a moment for what the agent has to say: true once it has reported or refused. */
	bool (*reported)(void *arg);
	void *arg;
};

/* Has the agent loaded and started. Returns 0 when it has reported, or -1 with a sentence. */
int injection_start(const struct injection *injection, struct err *err);

/* Asks an injected agent to go; once more for as long as it is there. False when nobody can be
 * asked (any more). */
bool injection_ask_to_go(struct target *t, int signo);

/* Whether the agent is out of the program's way, or the program has become another one. */
bool injection_gone(const struct target *t);

#endif
