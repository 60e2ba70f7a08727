/* SPDX-License-Identifier: Apache-2.0
 *
 * The program finds the environment that it would have without us, whatever it is; what it starts
 * is told again by interpose_exec.c.
 */
#include "record/agent/agent.h"

#include <link.h>

extern char **environ;

static bool has_go_note(const char *at, size_t size)
{
	while (size >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)at;
		size_t whole = sizeof(*note) + ((note->n_namesz + 3u) & ~(size_t)3) +
			       ((note->n_descsz + 3u) & ~(size_t)3);

		if (whole > size)
			break;
		if (note->n_namesz == 4 && memcmp(note + 1, "Go\0", 4) == 0)
			return true;
		at += whole;
		size -= whole;
	}
	return false;
}

/* A program in Go starts others by system calls of its own, where we could not tell them anything:
 * what it finds in its environment is what they get. The first object is the program. */
static int look_for_go(struct dl_phdr_info *info, size_t size, void *arg)
{
	bool *is_go = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type == PT_NOTE &&
		    has_go_note((const char *)(info->dlpi_addr + part->p_vaddr), part->p_memsz))
			*is_go = true;
	}
	return 1;
}

/* Works on the array in place, before anybody read it. */
void environment_clean(void)
{
	size_t own = strlen(RING_ENVIRONMENT), path = strlen(agent.agent_path);
	char **to = environ;
	bool is_go = false;

	dl_iterate_phdr(look_for_go, &is_go);
	if (is_go)
		return;
	for (char **from = environ; *from; from++) {
		char *entry = *from;

		if (strncmp(entry, RING_ENVIRONMENT "=", own + 1) == 0)
			continue;
		if (strncmp(entry, "LD_PRELOAD=", 11) == 0 &&
		    strncmp(entry + 11, agent.agent_path, path) == 0) {
			if (entry[11 + path] == '\0')
				continue;
			if (entry[11 + path] == ':' || entry[11 + path] == ' ')
				memmove(entry + 11, entry + 12 + path,
					strlen(entry + 12 + path) + 1);
		}
		*to++ = entry;
	}
	*to = NULL;
}
