/* SPDX-License-Identifier: Apache-2.0
 *
 * A signal that finds a thread inside a large write makes the kernel return what was written so
 * far, SA_RESTART or not. Programs that got all of it written before (an unbuffered Python's print
 * to a pipe, say) must still get that. So when it was our signal that cut a transfer short, and
 * nothing else, the rest follows here. Reads go on only where more is certain to come: regular
 * files and memory devices.
 *
 * The bytes that system calls carry are also counted here, and in interpose_copy_io.c.
 */
#include "record/agent/agent.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record/agent/copy.h"

#define PARTS_MAX 1024   /* IOV_MAX */
#define MEMORY_DEVICES 1 /* major number: /dev/zero, /dev/urandom, ... */

_Thread_local volatile sig_atomic_t agent_cut_in;

static struct {
	ssize_t (*write)(int, const void *, size_t);
	ssize_t (*pwrite)(int, const void *, size_t, off_t);
	ssize_t (*writev)(int, const struct iovec *, int);
	ssize_t (*send)(int, const void *, size_t, int);
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*pread)(int, void *, size_t, off_t);
} real;

void interpose_io_start(void)
{
	*(void **)&real.pwrite = agent_real("pwrite");
	*(void **)&real.writev = agent_real("writev");
	*(void **)&real.send = agent_real("send");
	*(void **)&real.read = agent_real("read");
	*(void **)&real.pread = agent_real("pread");
	*(void **)&real.write = agent_real("write");
}

static inline void make_sure(void)
{
	if (__builtin_expect(!real.write, 0))
		interpose_io_start(); /* called before our constructor */
}

static bool always_has_more(int fd)
{
	int saved_errno = errno;
	struct stat st;
	bool ret = fstat(fd, &st) == 0 &&
		   (S_ISREG(st.st_mode) ||
		    (S_ISCHR(st.st_mode) && major(st.st_rdev) == MEMORY_DEVICES));

	errno = saved_errno;
	return ret;
}

/* One call of the program. */
struct transfer {
	int fd;
	char *data;
	size_t size;
	off_t offset;
	int flags;
};
typedef ssize_t (*step_fn)(const struct transfer *t, size_t done);

/* Takes steps until all is done or something other than our signal stopped it. */
static inline __attribute__((always_inline)) ssize_t take_steps(const struct transfer *t,
								step_fn step, bool reading)
{
	size_t done = 0;

	make_sure();
	for (;;) {
		ssize_t n;

		agent_cut_in = 0;
		n = step(t, done);
		if (n <= 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if (done >= t->size || !agent_cut_in || (reading && !always_has_more(t->fd)))
			return (ssize_t)done;
	}
}

static inline __attribute__((always_inline)) ssize_t transfer(const struct transfer *t,
							      step_fn step, bool reading)
{
	ssize_t n = take_steps(t, step, reading);

	if (n > 0)
		copy_note((size_t)n, reading ? TRACE_COPY_READ : TRACE_COPY_WRITE);
	return n;
}

static inline ssize_t step_write(const struct transfer *t, size_t done)
{
	return real.write(t->fd, t->data + done, t->size - done);
}

static inline ssize_t step_pwrite(const struct transfer *t, size_t done)
{
	return real.pwrite(t->fd, t->data + done, t->size - done, t->offset + (off_t)done);
}

static inline ssize_t step_send(const struct transfer *t, size_t done)
{
	return real.send(t->fd, t->data + done, t->size - done, t->flags);
}

static inline ssize_t step_read(const struct transfer *t, size_t done)
{
	return real.read(t->fd, t->data + done, t->size - done);
}

static inline ssize_t step_pread(const struct transfer *t, size_t done)
{
	return real.pread(t->fd, t->data + done, t->size - done, t->offset + (off_t)done);
}

AGENT_EXPORT ssize_t write(int fd, const void *data, size_t size)
{
	const struct transfer t = {fd, (char *)(uintptr_t)data, size, 0, 0};

	agent_watch_end(); /* what was left in stdout's buffer is written then */
	return transfer(&t, step_write, false);
}

AGENT_EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	const struct transfer t = {fd, (char *)(uintptr_t)data, size, offset, 0};

	return transfer(&t, step_pwrite, false);
}

AGENT_EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite(fd, data, size, offset);
}

AGENT_EXPORT ssize_t send(int fd, const void *data, size_t size, int flags)
{
	const struct transfer t = {fd, (char *)(uintptr_t)data, size, 0, flags};

	return transfer(&t, step_send, false);
}

AGENT_EXPORT ssize_t read(int fd, void *data, size_t size)
{
	const struct transfer t = {fd, data, size, 0, 0};

	return transfer(&t, step_read, true);
}

AGENT_EXPORT ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	const struct transfer t = {fd, data, size, offset, 0};

	return transfer(&t, step_pread, true);
}

AGENT_EXPORT ssize_t pread64(int fd, void *data, size_t size, off_t offset)
{
	return pread(fd, data, size, offset);
}

AGENT_EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
	size_t size = 0, done;
	ssize_t n;

	make_sure();
	agent_cut_in = 0;
	n = real.writev(fd, parts, count);
	if (n > 0)
		copy_note((size_t)n, TRACE_COPY_WRITE);
	if (n <= 0 || !agent_cut_in || count > PARTS_MAX)
		return n;
	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	/* The rest, part by part. */
	done = (size_t)n;
	for (size_t i = 0, start = 0; done < size; start += parts[i++].iov_len) {
		size_t skip = done > start ? done - start : 0;

		if (done >= start + parts[i].iov_len)
			continue;
		n = write(fd, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
		if (n <= 0)
			break;
		done += (size_t)n;
		if ((size_t)n < parts[i].iov_len - skip)
			break;
	}
	return (ssize_t)done;
}
