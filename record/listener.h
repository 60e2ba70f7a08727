/* SPDX-License-Identifier: Apache-2.0
 *
 * Where agents report: an abstract Unix socket with a random name. Nothing on a file system, gone
 * with scprof-record.
 */
#ifndef SCPROF_LISTENER_H
#define SCPROF_LISTENER_H

#include <sys/types.h>

#include "formats/base/err.h"
#include "record/ring.h"

struct listener {
	int fd; /* readable when somebody reports */
	char name[48];
};

int listener_open(struct listener *l, struct err *err);
void listener_close(struct listener *l);

/* Takes one report: 1 and *hello, the sender's pid as we see it and, when there is one, the
 * region's descriptor (else -1; the caller closes it); 0 when nobody waits. Strangers are turned
 * away. */
int listener_accept(struct listener *l, struct ring_hello *hello, pid_t *pid, int *region);

#endif
