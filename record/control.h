/* SPDX-License-Identifier: Apache-2.0
 *
 * Talking to a recording in progress from another terminal: "scprof-record --control". The recorder
 * that has the process is found by asking every recorder of this machine that will listen to us.
 */
#ifndef SCPROF_CONTROL_H
#define SCPROF_CONTROL_H

#include <sys/types.h>

#include "formats/base/err.h"
#include "record/ring.h"

/* Sends verb (with a label for RING_VERB_MARK, else NULL) to whoever records pid. Returns 0 and the
 * answer, a sentence; -1 when nobody records it. */
int control_send(pid_t pid, enum ring_verb verb, const char *label, struct ring_answer *answer,
		 struct err *err);

#endif
