/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls that carry a program's bytes and need nothing but to be counted. Those that our
 * signal could cut short are in interpose_io.c.
 */
#include "record/agent/agent.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record/agent/copy.h"

static struct {
	ssize_t (*readv)(int, const struct iovec *, int);
	ssize_t (*preadv)(int, const struct iovec *, int, off_t);
	ssize_t (*preadv2)(int, const struct iovec *, int, off_t, int);
	ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
	ssize_t (*pwritev2)(int, const struct iovec *, int, off_t, int);
	ssize_t (*recv)(int, void *, size_t, int);
	ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
	ssize_t (*recvmsg)(int, struct msghdr *, int);
	ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	ssize_t (*sendmsg)(int, const struct msghdr *, int);
	ssize_t (*sendfile)(int, int, off_t *, size_t);
	ssize_t (*copy_file_range)(int, off64_t *, int, off64_t *, size_t, unsigned);
	ssize_t (*splice)(int, off64_t *, int, off64_t *, size_t, unsigned);
	ssize_t (*read_chk)(int, void *, size_t, size_t);
	ssize_t (*pread_chk)(int, void *, size_t, off_t, size_t);
	ssize_t (*recv_chk)(int, void *, size_t, size_t, int);
	ssize_t (*recvfrom_chk)(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
} real;
static _Atomic bool ready;

static void look_up(void)
{
	*(void **)&real.readv = agent_real("readv");
	*(void **)&real.preadv = agent_real("preadv");
	*(void **)&real.preadv2 = agent_real("preadv2");
	*(void **)&real.pwritev = agent_real("pwritev");
	*(void **)&real.pwritev2 = agent_real("pwritev2");
	*(void **)&real.recv = agent_real("recv");
	*(void **)&real.recvfrom = agent_real("recvfrom");
	*(void **)&real.recvmsg = agent_real("recvmsg");
	*(void **)&real.sendto = agent_real("sendto");
	*(void **)&real.sendmsg = agent_real("sendmsg");
	*(void **)&real.sendfile = agent_real("sendfile");
	*(void **)&real.copy_file_range = agent_real("copy_file_range");
	*(void **)&real.splice = agent_real("splice");
	*(void **)&real.read_chk = agent_real("__read_chk");
	*(void **)&real.pread_chk = agent_real("__pread_chk");
	*(void **)&real.recv_chk = agent_real("__recv_chk");
	*(void **)&real.recvfrom_chk = agent_real("__recvfrom_chk");
	atomic_store_explicit(&ready, true, memory_order_release);
}

static inline void make_sure(void)
{
	if (__builtin_expect(!atomic_load_explicit(&ready, memory_order_acquire), 0))
		look_up();
}

static inline __attribute__((always_inline)) ssize_t carried(ssize_t n, enum trace_copy_kind kind)
{
	if (n > 0)
		copy_note((size_t)n, kind);
	return n;
}

AGENT_EXPORT ssize_t readv(int fd, const struct iovec *parts, int count)
{
	make_sure();
	return carried(real.readv(fd, parts, count), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
	make_sure();
	return carried(real.preadv(fd, parts, count, offset), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	return preadv(fd, parts, count, offset);
}

AGENT_EXPORT ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
	make_sure();
	return carried(real.preadv2(fd, parts, count, offset, flags), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t offset,
				int flags)
{
	return preadv2(fd, parts, count, offset, flags);
}

AGENT_EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	make_sure();
	return carried(real.pwritev(fd, parts, count, offset), TRACE_COPY_WRITE);
}

AGENT_EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	return pwritev(fd, parts, count, offset);
}

AGENT_EXPORT ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
	make_sure();
	return carried(real.pwritev2(fd, parts, count, offset, flags), TRACE_COPY_WRITE);
}

AGENT_EXPORT ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset,
				 int flags)
{
	return pwritev2(fd, parts, count, offset, flags);
}

AGENT_EXPORT ssize_t recv(int fd, void *data, size_t size, int flags)
{
	make_sure();
	return carried(real.recv(fd, data, size, flags), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *from,
			      socklen_t *from_size)
{
	make_sure();
	return carried(real.recvfrom(fd, data, size, flags, from, from_size), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	make_sure();
	return carried(real.recvmsg(fd, message, flags), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t sendto(int fd, const void *data, size_t size, int flags,
			    const struct sockaddr *to, socklen_t to_size)
{
	make_sure();
	return carried(real.sendto(fd, data, size, flags, to, to_size), TRACE_COPY_WRITE);
}

AGENT_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	make_sure();
	return carried(real.sendmsg(fd, message, flags), TRACE_COPY_WRITE);
}

/* Within the kernel, from file to file: one copy, not two. */
AGENT_EXPORT ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
	make_sure();
	return carried(real.sendfile(to, from, offset, size), TRACE_COPY_WRITE);
}

AGENT_EXPORT ssize_t sendfile64(int to, int from, off64_t *offset, size_t size)
{
	return sendfile(to, from, offset, size);
}

AGENT_EXPORT ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset,
				     size_t size, unsigned flags)
{
	make_sure();
	return carried(real.copy_file_range(from, from_offset, to, to_offset, size, flags),
		       TRACE_COPY_WRITE);
}

AGENT_EXPORT ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size,
			    unsigned flags)
{
	make_sure();
	return carried(real.splice(from, from_offset, to, to_offset, size, flags),
		       TRACE_COPY_WRITE);
}

/* What the compiler calls instead when it knows how much room there is (_FORTIFY_SOURCE). */

ssize_t __read_chk(int fd, void *data, size_t size, size_t room);
ssize_t __pread_chk(int fd, void *data, size_t size, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t offset, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags,
		       struct sockaddr *from, socklen_t *from_size);

AGENT_EXPORT ssize_t __read_chk(int fd, void *data, size_t size, size_t room)
{
	make_sure();
	return carried(real.read_chk(fd, data, size, room), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t __pread_chk(int fd, void *data, size_t size, off_t offset, size_t room)
{
	make_sure();
	return carried(real.pread_chk(fd, data, size, offset, room), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t offset, size_t room)
{
	return __pread_chk(fd, data, size, offset, room);
}

AGENT_EXPORT ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags)
{
	make_sure();
	return carried(real.recv_chk(fd, data, size, room, flags), TRACE_COPY_READ);
}

AGENT_EXPORT ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags,
				    struct sockaddr *from, socklen_t *from_size)
{
	make_sure();
	return carried(real.recvfrom_chk(fd, data, size, room, flags, from, from_size),
		       TRACE_COPY_READ);
}
