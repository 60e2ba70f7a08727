/* SPDX-License-Identifier: Apache-2.0 */
#include "record/control.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "record/listener.h"

#define ANSWER_WAIT_MS 2000 /* a recorder looks every 10 ms */

/* 0: it answered; -1: it did not. */
static int ask(const char *name, const struct ring_request *request, struct ring_answer *answer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(name);
	struct pollfd poll_fd;
	int ret = -1;

	memcpy(address.sun_path + 1, name, length);
	poll_fd = (struct pollfd){socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), POLLIN, 0};
	if (poll_fd.fd < 0)
		return -1;
	if (connect(poll_fd.fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0 &&
	    send(poll_fd.fd, request, sizeof(*request), MSG_NOSIGNAL) ==
		    (ssize_t)sizeof(*request) &&
	    poll(&poll_fd, 1, ANSWER_WAIT_MS) == 1 &&
	    recv(poll_fd.fd, answer, sizeof(*answer), 0) == (ssize_t)sizeof(*answer)) {
		answer->text[sizeof(answer->text) - 1] = '\0';
		ret = 0;
	}
	close(poll_fd.fd);
	return ret;
}

int control_send(pid_t pid, enum ring_verb verb, const char *label, struct ring_answer *answer,
		 struct err *err)
{
	struct ring_request request = {
		.magic = RING_REQUEST_MAGIC,
		.protocol = RING_PROTOCOL,
		.pid = (int32_t)pid,
		.verb = verb,
	};
	FILE *sockets = fopen("/proc/net/unix", "re");
	char line[512];

	if (!sockets)
		return err_errno(err, "cannot read /proc/net/unix");
	snprintf(request.label, sizeof(request.label), "%s", label ? label : "");
	while (fgets(line, sizeof(line), sockets)) {
		char *name = strstr(line, " @" LISTENER_PREFIX);
		size_t length;

		if (!name)
			continue;
		name += 2;
		length = strcspn(name, "\n");
		name[length] = '\0';
		if (length < sizeof(((struct listener *)NULL)->name) &&
		    ask(name, &request, answer) == 0 && answer->known) {
			fclose(sockets);
			return 0;
		}
	}
	fclose(sockets);
	return err_set(err, ERR_FAILED,
		       "no scprof-record that you may talk to is recording process %d", (int)pid);
}
