/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether the loader will put the agent into a program, as far as the program's file tells. Asked
 * before an exec, also in the child of a vfork: so nothing but system calls and the stack.
 */
#ifndef SCPROF_PRELOAD_H
#define SCPROF_PRELOAD_H

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum preload {
	PRELOAD_WORKS, /* or nobody knows */
	PRELOAD_SET_ID,
	PRELOAD_CAPABILITIES,
	PRELOAD_STATIC,
	PRELOAD_OTHER_MACHINE, /* the loader would complain, */
	PRELOAD_OTHER_LOADER,  /* or fail */
};

#define PRELOAD_INTERPRETERS 5 /* of scripts that are run by scripts, as in the kernel */
#define PRELOAD_HEAD 1024      /* bytes of a file that are looked at first */
#define PRELOAD_PATH 256

/* The linker's name for our own file's header: the machine that we are made for. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static inline const char *preload_reason(enum preload preload)
{
	static const char *const reasons[] = {
		[PRELOAD_WORKS] = "",
		[PRELOAD_SET_ID] = "it runs as another user or group (setuid, setgid)",
		[PRELOAD_CAPABILITIES] = "its file has capabilities",
		[PRELOAD_STATIC] = "it is statically linked",
		[PRELOAD_OTHER_MACHINE] = "it is a program for another kind of machine",
		[PRELOAD_OTHER_LOADER] = "its C library is not glibc",
	};

	return reasons[preload];
}

/* Whether it, and what it starts, must not be told of the agent. */
static inline bool preload_harms(enum preload preload)
{
	return preload == PRELOAD_OTHER_MACHINE || preload == PRELOAD_OTHER_LOADER;
}

static inline bool preload_read(int fd, void *to, size_t size, uint64_t at)
{
	return syscall(SYS_pread64, fd, to, size, at) == (long)size;
}

/* Whether the program gets rights that its caller lacks: the loader then takes no preloads. */
static inline enum preload preload_privileges(int fd, const struct stat *st)
{
	enum preload preload = PRELOAD_WORKS;
	struct statfs system;
	char value[64];

	if ((st->st_mode & S_ISUID && st->st_uid != (uid_t)syscall(SYS_getuid)) ||
	    ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
	     st->st_gid != (gid_t)syscall(SYS_getgid)))
		preload = PRELOAD_SET_ID;
	else if (fd >= 0 && syscall(SYS_getuid) != 0 &&
		 syscall(SYS_fgetxattr, fd, "security.capability", value, sizeof(value)) > 0)
		preload = PRELOAD_CAPABILITIES;
	/* Not everywhere does that count. */
	if (preload != PRELOAD_WORKS &&
	    (syscall(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	     (fd >= 0 && syscall(SYS_fstatfs, fd, &system) == 0 && system.f_flags & ST_NOSUID)))
		preload = PRELOAD_WORKS;
	return preload;
}

static inline bool preload_is_glibc(const char *loader)
{
	const char *slash = strrchr(loader, '/');
	const char *name = slash ? slash + 1 : loader;

	return strncmp(name, "ld-linux", 8) == 0 || strncmp(name, "ld64.so", 7) == 0 ||
	       strncmp(name, "ld.so", 5) == 0;
}

/* A program of our own machine: does it have a loader, and whose? */
static inline enum preload preload_loader(int fd, const ElfW(Ehdr) * head, const char *path)
{
	char loader[PRELOAD_PATH];
	ElfW(Phdr) part;

	for (unsigned i = 0; i < head->e_phnum && i < 64; i++) {
		size_t size;

		if (!preload_read(fd, &part, sizeof(part), head->e_phoff + i * sizeof(part)))
			return PRELOAD_WORKS;
		if (part.p_type != PT_INTERP)
			continue;
		size = part.p_filesz < sizeof(loader) ? part.p_filesz : sizeof(loader) - 1;
		if (!preload_read(fd, loader, size, part.p_offset))
			return PRELOAD_WORKS;
		loader[size] = '\0';
		return preload_is_glibc(loader) ? PRELOAD_WORKS : PRELOAD_OTHER_LOADER;
	}
	/* The loader itself may be called with a program. */
	return preload_is_glibc(path) ? PRELOAD_WORKS : PRELOAD_STATIC;
}

/* What runs the script in text; false when nothing does. */
static inline bool preload_script(char *text, size_t size, char path[PRELOAD_PATH])
{
	size_t at = 2, length = 0;

	while (at < size && (text[at] == ' ' || text[at] == '\t'))
		at++;
	while (at + length < size && length < PRELOAD_PATH - 1 && text[at + length] &&
	       !strchr(" \t\n", text[at + length]))
		length++;
	for (size_t i = 0; i < length; i++)
		path[i] = text[at + i];
	path[length] = '\0';
	return length != 0;
}

/* Looks at one file. Returns whether it is a script, whose interpreter is in next. */
static inline bool preload_look(int fd, const char *path, const struct stat *st,
				enum preload *preload, char next[PRELOAD_PATH])
{
	union {
		ElfW(Ehdr) elf;
		char text[PRELOAD_HEAD];
	} head;
	long n = fd >= 0 ? syscall(SYS_pread64, fd, head.text, sizeof(head.text), 0) : 0;

	*preload = PRELOAD_WORKS;
	if (n > 2 && head.text[0] == '#' && head.text[1] == '!')
		return preload_script(head.text, (size_t)n, next);
	*preload = preload_privileges(fd, st);
	if (*preload != PRELOAD_WORKS || n < (long)sizeof(head.elf) ||
	    memcmp(head.elf.e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	if (head.elf.e_ident[EI_CLASS] != __ehdr_start.e_ident[EI_CLASS] ||
	    head.elf.e_ident[EI_DATA] != __ehdr_start.e_ident[EI_DATA] ||
	    head.elf.e_machine != __ehdr_start.e_machine)
		*preload = PRELOAD_OTHER_MACHINE;
	else
		*preload = preload_loader(fd, &head.elf, path);
	return false;
}

/* The file that an exec of `path`, seen from the folder `dir`, would run; "": dir is the file. */
static inline enum preload preload_check(int dir, const char *path)
{
	char own[32] = "/proc/self/fd/", next[PRELOAD_PATH];
	enum preload preload = PRELOAD_WORKS;
	struct stat st;

	if (!*path) {
		unsigned digits[12], count = 0, rest = (unsigned)dir;
		size_t at = strlen(own);

		do
			digits[count++] = rest % 10;
		while ((rest /= 10) != 0);
		while (count)
			own[at++] = (char)('0' + digits[--count]);
		own[at] = '\0';
		path = own;
	}
	for (int i = 0; i < PRELOAD_INTERPRETERS; i++) {
		bool script;
		int fd;

		if (fstatat(dir, path, &st, 0) || !S_ISREG(st.st_mode))
			return PRELOAD_WORKS;
		fd = (int)syscall(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		script = preload_look(fd, path, &st, &preload, next);
		if (fd >= 0)
			syscall(SYS_close, fd);
		if (!script)
			break;
		path = next;
		dir = AT_FDCWD;
	}
	return preload;
}

#endif
