/* SPDX-License-Identifier: Apache-2.0
 *
 * What the program itself may call when it is being recorded. Several of the agent's libraries can
 * be in a process, one after the other at work; the program may have found any of them.
 */
#ifndef SCPROF_STEER_H
#define SCPROF_STEER_H

/* One library's functions, see steer.c. */
struct steer {
	int (*recording)(void);
	int (*start)(void);
	int (*stop)(void);
	int (*mark)(const char *label);
};

const struct steer *steer_own(void);
/* From now on another library is at work (NULL: this one): calls are passed on to it. */
void steer_next(const struct steer *next);

#endif
