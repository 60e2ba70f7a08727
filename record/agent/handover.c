/* SPDX-License-Identifier: Apache-2.0 */
#include "record/agent/handover.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "record/agent/agent.h"

#define TOLD 32u /* programs that were reported */

extern char **environ;

static bool starts_with(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return false;
	return true;
}

/* Is the path of `length` characters that of one of the agent's libraries? */
static bool is_agent(const char *path, size_t length)
{
	const char *name = path;

	for (size_t i = 0; i < length; i++)
		if (path[i] == '/')
			name = path + i + 1;
	return (size_t)(path + length - name) > sizeof(RING_AGENT_NAME) &&
	       starts_with(name, RING_AGENT_NAME);
}

bool handover_preload(const char *others, bool recorded, char *to)
{
	static const char name[] = "LD_PRELOAD=";
	size_t start = sizeof(name) - 1, n, length;

	n = recorded ? strlen(agent.preload) : start;
	memcpy(to, recorded ? agent.preload : name, n);
	for (; *others; others += length) {
		if (*others == ':' || *others == ' ') {
			length = 1;
			continue;
		}
		for (length = 0; others[length] && others[length] != ':' && others[length] != ' ';)
			length++;
		if (is_agent(others, length))
			continue;
		if (n > start)
			to[n++] = ':';
		memcpy(to + n, others, length);
		n += length;
	}
	to[n] = '\0';
	return n > start;
}

void handover_fill(char *const envp[], bool recorded, char **to, char *preload)
{
	const char *others = NULL;
	size_t n = 0;

	for (; envp && *envp; envp++) {
		if (starts_with(*envp, RING_ENVIRONMENT "="))
			continue;
		if (starts_with(*envp, "LD_PRELOAD=")) {
			others = *envp + 11;
			continue;
		}
		to[n++] = *envp;
	}
	if (others && handover_preload(others, recorded, preload))
		to[n++] = preload;
	else if (recorded)
		to[n++] = agent.preload;
	if (recorded)
		to[n++] = agent.environment;
	to[n] = NULL;
}

size_t handover_size(char *const envp[], size_t *preload_size)
{
	size_t n = 0;

	*preload_size = 1;
	for (; envp && envp[n]; n++)
		if (starts_with(envp[n], "LD_PRELOAD="))
			*preload_size = strlen(envp[n]) + sizeof(agent.preload) + 2;
	return n;
}

bool handover_wanted(bool child)
{
	if (!agent.preload[0] || !agent.only_command)
		return agent.preload[0] != '\0';
	return !child && agent.is_command && agent_is_home();
}

/* The file that PATH leads to, in `path`. False when there is none, or no room. */
static bool search_path(const char *file, char path[PATH_MAX])
{
	const char *at = getenv("PATH"), *end;
	size_t size = strlen(file) + 1;

	for (at = at ? at : "/bin:/usr/bin"; at; at = end ? end + 1 : NULL) {
		struct stat st;
		size_t n;

		end = strchr(at, ':');
		n = end ? (size_t)(end - at) : strlen(at);
		if (n + 1 + size > PATH_MAX)
			continue;
		memcpy(path, at, n);
		if (n)
			path[n++] = '/';
		memcpy(path + n, file, size);
		if (fstatat(AT_FDCWD, path, &st, 0) == 0 && S_ISREG(st.st_mode) &&
		    faccessat(AT_FDCWD, path, X_OK, 0) == 0)
			return true;
	}
	return false;
}

/* Once a program is enough. May run in the child of a vfork, whose memory is its parent's. */
static bool was_told(const char *path)
{
	static _Atomic uint64_t told[TOLD];
	static _Atomic unsigned count;
	uint64_t hash = 0xcbf29ce484222325ull;
	unsigned at;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3ull;
	for (unsigned i = 0; i < TOLD; i++)
		if (atomic_load_explicit(&told[i], memory_order_relaxed) == hash)
			return true;
	at = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	atomic_store_explicit(&told[at % TOLD], hash, memory_order_relaxed);
	return false;
}

static void tell(const char *path, enum preload preload, bool child)
{
	struct ring_hello hello;

	/* Only whom the user wants, and nobody needs to know of every look. */
	if ((strcmp(agent.children, "*") != 0 && !(agent.is_command && agent_is_home())) ||
	    was_told(path))
		return;
	memset(&hello, 0, sizeof(hello));
	hello.magic = RING_MAGIC;
	hello.protocol = RING_PROTOCOL;
	hello.pid = agent.pid;
	hello.refused = RING_REFUSED_PROGRAM;
	hello.starts = child;
	snprintf(hello.text, sizeof(hello.text), "%s", preload_reason(preload));
	snprintf(hello.program, sizeof(hello.program), "%s", path);
	agent_report(&hello, -1);
}

enum preload handover_check(int dir, const char *file, bool search, bool child)
{
	enum preload preload = PRELOAD_WORKS;
	int saved_errno = errno;
	char found[PATH_MAX];

	if (!agent.socket[0] || !handover_wanted(child) || !file)
		return PRELOAD_WORKS;
	if (search && !strchr(file, '/'))
		file = search_path(file, found) ? found : NULL;
	if (file)
		preload = preload_check(dir, file);
	if (preload != PRELOAD_WORKS)
		tell(*file ? file : "a program without a name", preload, child);
	errno = saved_errno;
	return preload;
}
