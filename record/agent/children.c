/* SPDX-License-Identifier: Apache-2.0
 *
 * Which processes of a tree are recorded: the command always, through all of its execs; any other
 * as --children says, by the command line that it was started with. A fork has its parent's.
 */
#include <fcntl.h>

#include "record/agent/agent.h"
#include "record/child_pattern.h"

/* Reads a file's first `size` bytes. Returns how many there were. */
static size_t read_file(const char *path, char *to, size_t size)
{
	long fd = cpu_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), n = 0;
	size_t have = 0;

	if (fd < 0)
		return 0;
	while (have < size && (n = cpu_syscall(SYS_read, fd, to + have, size - have)) > 0)
		have += (size_t)n;
	cpu_syscall(SYS_close, fd);
	return have;
}

static bool matches(const char *pattern)
{
	char program[4096], *words = agent_map(2 * CHILD_COMMAND_MAX);
	long n = cpu_syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", program,
			     sizeof(program) - 1);
	size_t size;
	bool ret;

	if (!words)
		return false;
	program[n > 0 ? n : 0] = '\0';
	size = read_file("/proc/self/cmdline", words, CHILD_COMMAND_MAX - 1);
	ret = child_pattern_matches(pattern, words, size, program, words + CHILD_COMMAND_MAX);
	agent_unmap(words, 2 * CHILD_COMMAND_MAX);
	return ret;
}

void children_command(char *text, size_t size)
{
	size_t n = read_file("/proc/self/cmdline", text, size - 1);

	while (n && !text[n - 1])
		n--;
	for (size_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	text[n] = '\0';
}

void children_describe(struct ring_header *ring)
{
	size_t most = RING_PROGRAM_OFFSET - RING_COMMAND_OFFSET - 1;
	char *base = (char *)ring;
	long n = cpu_syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", base + RING_PROGRAM_OFFSET,
			     RING_HEADER_SIZE - RING_PROGRAM_OFFSET - 1);

	ring->program_size = n > 0 ? (uint32_t)n : 0;
	ring->command_size =
		(uint32_t)read_file("/proc/self/cmdline", base + RING_COMMAND_OFFSET, most);
}

void children_look(void)
{
	bool all = strcmp(agent.children, CHILD_PATTERN_ALL) == 0;

	agent.is_command = agent.pid == agent.command_pid;
	agent.only_command = !*agent.children;
	agent.forks_too = all || (!agent.only_command && matches(agent.children));
}
