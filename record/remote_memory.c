/* SPDX-License-Identifier: Apache-2.0 */
#include "record/remote_memory.h"

#include <errno.h>
#include <sys/uio.h>

#include "formats/base/banned.h"

int remote_read(pid_t pid, uint64_t address, void *to, size_t size)
{
	struct iovec local = {to, size};
	struct iovec remote = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	if (n >= 0 && (size_t)n != size)
		errno = EFAULT;
	return n == (ssize_t)size ? 0 : -1;
}

int remote_write(pid_t pid, uint64_t address, const void *from, size_t size)
{
	struct iovec local = {(void *)(uintptr_t)from, size};
	struct iovec remote = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_writev(pid, &local, 1, &remote, 1, 0);

	if (n >= 0 && (size_t)n != size)
		errno = EFAULT;
	return n == (ssize_t)size ? 0 : -1;
}
