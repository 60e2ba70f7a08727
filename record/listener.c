/* SPDX-License-Identifier: Apache-2.0 */
#include "record/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "formats/base/banned.h"

#define HELLO_WAIT_MS \
	200 /* connect and send follow each other; only a stopped sender takes longer */

/* A socket in the network namespace of a process, which is where names like ours are known. */
static int open_socket(pid_t near, struct err *err)
{
	struct stat own_status, their_status;
	int own = -1, their = -1, fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)near);
	if (near) {
		own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		their = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (own < 0 || their < 0 || fstat(own, &own_status) || fstat(their, &their_status) ||
	    own_status.st_ino == their_status.st_ino) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			err_errno(err, "cannot make a socket");
		goto out;
	}
	if (setns(their, CLONE_NEWNET)) {
		err_errno(err,
			  "process %d is in another network namespace (a container) that "
			  "scprof-record may not enter; run it there, or as root",
			  (int)near);
		goto out;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		err_errno(err, "cannot make a socket");
	if (setns(own, CLONE_NEWNET) && fd >= 0) {
		err_errno(err, "cannot return to the network namespace of scprof-record");
		close(fd);
		fd = -1;
	}
out:
	if (own >= 0)
		close(own);
	if (their >= 0)
		close(their);
	return fd;
}

int listener_open(struct listener *l, pid_t near, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	unsigned char random[16];
	int n;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(err, "cannot get random bytes");
	n = snprintf(l->name, sizeof(l->name), LISTENER_PREFIX);
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(l->name + n, sizeof(l->name) - (size_t)n, "%02x", random[i]);
	memcpy(address.sun_path + 1, l->name, (size_t)n);
	l->fd = open_socket(near, err);
	if (l->fd < 0)
		return -1;
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

static int receive(int fd, struct listener_message *to)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	union {
		struct ring_hello hello;
		struct ring_request request;
	} text;
	struct iovec part = {&text, sizeof(text)};
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
		memcpy(&to->region, CMSG_DATA(head), sizeof(int));
	if (n == sizeof(text.request) && text.request.magic == RING_REQUEST_MAGIC &&
	    text.request.protocol == RING_PROTOCOL && text.request.verb < RING_VERBS) {
		to->is_request = true;
		to->request = text.request;
		to->request.label[sizeof(to->request.label) - 1] = '\0';
		to->answer = fd;
		return 0;
	}
	if (n != sizeof(text.hello) || text.hello.magic != RING_MAGIC ||
	    text.hello.protocol != RING_PROTOCOL)
		return -1;
	to->hello = text.hello;
	to->hello.text[sizeof(to->hello.text) - 1] = '\0';
	to->hello.program[sizeof(to->hello.program) - 1] = '\0';
	return 0;
}

int listener_accept(struct listener *l, struct listener_message *message)
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
		memset(message, 0, sizeof(*message));
		message->region = message->answer = -1;
		ret = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
		/* Only our own user's processes, and root's requests. */
		if (ret == 0 && geteuid() != 0 && peer.uid != geteuid() && peer.uid != 0)
			ret = -1;
		if (ret == 0)
			ret = receive(fd, message);
		if (message->answer < 0)
			close(fd);
		if (ret == 0) {
			message->pid = peer.pid;
			return 1;
		}
		if (message->region >= 0)
			close(message->region);
	}
}
