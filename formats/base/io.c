/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole reads and writes, see io.h.
 */
#include "formats/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "formats/base/banned.h"

/* A descriptor that somebody else set to non-blocking (a shared pipe) is waited for. */
static int io_retry(int fd, short events)
{
	struct pollfd wait = {.fd = fd, .events = events};

	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return -1;
	return poll(&wait, 1, -1) < 0 && errno != EINTR ? -1 : 0;
}

ssize_t io_read_all(int fd, void *data, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t got = read(fd, (char *)data + n, size - n);

		if (got > 0)
			n += (size_t)got;
		else if (got == 0)
			break;
		else if (io_retry(fd, POLLIN) < 0)
			return -1;
	}
	return (ssize_t)n;
}

int io_write_all(int fd, const void *data, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t put = write(fd, (const char *)data + n, size - n);

		if (put > 0) {
			n += (size_t)put;
		} else if (put == 0) {
			errno = ENOSPC;
			return -1;
		} else if (io_retry(fd, POLLOUT) < 0) {
			return -1;
		}
	}
	return 0;
}

ssize_t io_pread_all(int fd, void *data, size_t size, off_t offset)
{
	size_t n = 0;

	while (n < size) {
		ssize_t got = pread(fd, (char *)data + n, size - n, offset + (off_t)n);

		if (got > 0)
			n += (size_t)got;
		else if (got == 0)
			break;
		else if (io_retry(fd, POLLIN) < 0)
			return -1;
	}
	return (ssize_t)n;
}

int io_read_file(const char *path, size_t max_bytes, struct buf *b, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t total = 0;
	ssize_t got;
	int ret = -1;

	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	do {
		size_t step = 64 * 1024;

		got = io_read_all(fd, buf_reserve(b, step), step);
		if (got < 0) {
			err_errno(err, "cannot read '%s'", path);
			goto out;
		}
		b->size += (size_t)got;
		total += (size_t)got;
		if (total > max_bytes) {
			err_set(err, ERR_FAILED, "'%s' is larger than %zu bytes", path, max_bytes);
			goto out;
		}
	} while (got > 0);
	ret = 0;
out:
	close(fd);
	return ret;
}
