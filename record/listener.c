/* SPDX-License-Identifier: Apache-2.0 */
#include "record/listener.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define HELLO_WAIT_MS \
	200 /* connect and send follow each other; only a stopped sender takes longer */

int listener_open(struct listener *l, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	unsigned char random[16];
	int n;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(err, "cannot get random bytes");
	n = snprintf(l->name, sizeof(l->name), "scprof-");
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(l->name + n, sizeof(l->name) - (size_t)n, "%02x", random[i]);
	memcpy(address.sun_path + 1, l->name, (size_t)n);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_errno(err, "cannot make a socket");
	if (bind(l->fd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) ||
	    listen(l->fd, 4096)) {
		err_errno(err, "cannot listen for the program's reports");
		close(l->fd);
		l->fd = -1;
		return -1;
	}
	return 0;
}

void listener_close(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static int receive(int fd, struct ring_hello *hello, int *region)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {hello, sizeof(*hello)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control.space)};
	struct pollfd poll_fd = {fd, POLLIN, 0};
	struct cmsghdr *head;
	ssize_t n;

	if (poll(&poll_fd, 1, HELLO_WAIT_MS) <= 0)
		return -1;
	n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	head = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
		memcpy(region, CMSG_DATA(head), sizeof(int));
	if (n != sizeof(*hello) || hello->magic != RING_MAGIC || hello->protocol != RING_PROTOCOL)
		return -1;
	hello->text[sizeof(hello->text) - 1] = '\0';
	return 0;
}

int listener_accept(struct listener *l, struct ring_hello *hello, pid_t *pid, int *region)
{
	for (;;) {
		struct ucred peer;
		socklen_t size = sizeof(peer);
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), ret;

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return 0;
		}
		*region = -1;
		ret = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
		if (ret == 0 && geteuid() != 0 && peer.uid != geteuid())
			ret = -1; /* only our own user's processes */
		if (ret == 0)
			ret = receive(fd, hello, region);
		close(fd);
		if (ret == 0) {
			*pid = peer.pid;
			return 1;
		}
		if (*region >= 0)
			close(*region);
	}
}
