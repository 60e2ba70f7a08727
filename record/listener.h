/* SPDX-License-Identifier: Apache-2.0
 *
 * Where agents report: an abstract Unix socket with a random name. Nothing on a file system, gone
 * with scprof-record.
 */
#ifndef SCPROF_LISTENER_H
#define SCPROF_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

#include "formats/base/err.h"
#include "record/ring.h"

#define LISTENER_PREFIX "scprof-" /* of the names */

struct listener {
	int fd; /* readable when somebody reports */
	char name[48];
};

/* near: a process whose network namespace the socket is to be in, 0: ours. */
int listener_open(struct listener *l, pid_t near, struct err *err);
void listener_close(struct listener *l);

/* What came in: an agent's report, or a request from "scprof-record --control". */
struct listener_message {
	bool is_request;
	pid_t pid; /* of the sender, as we see it */
	struct ring_hello hello;
	int region; /* of a report: the region's descriptor or -1; the caller closes it */
	struct ring_request request;
	int answer; /* of a request: where a struct ring_answer goes; the caller closes it */
};

/* Takes one message: 1, or 0 when nobody waits. Strangers are turned away. */
int listener_accept(struct listener *l, struct listener_message *message);

#endif
