/* SPDX-License-Identifier: Apache-2.0 */
#include "record/safe_point.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"

enum module_kind {
	MODULE_KIND_UNKNOWN, /* not looked at yet */
	MODULE_KIND_LINKER,
	MODULE_KIND_ALLOCATOR, /* and whatever else is called from below */
	MODULE_KIND_CALLER,
};

struct safe_points {
	const struct process_maps *maps;
	enum module_kind *kinds; /* of each mapping */
};

struct safe_points *safe_points_new(const struct process_maps *maps)
{
	struct safe_points *points = xcalloc(1, sizeof(*points));

	points->maps = maps;
	points->kinds = xcalloc(maps->count + 1, sizeof(*points->kinds));
	return points;
}

void safe_points_free(struct safe_points *points)
{
	if (!points)
		return;
	free(points->kinds);
	free(points);
}

static enum module_kind kind_of_file(const struct process_maps *maps, const struct process_map *map)
{
	static const char *const below[] = {"libc.so",   "libc-",     "libpthread", "libdl",
					    "libgcc_s",  "libstdc++", "libc++",     "librt",
					    "libunwind", "libscprof-"};
	const char *slash = strrchr(map->path, '/');
	const char *name = slash ? slash + 1 : map->path;
	enum module_kind kind = MODULE_KIND_ALLOCATOR;
	struct elf_symbol symbol;
	struct elf_file *elf;

	if (!map->inode)
		return kind;
	if (strncmp(name, "ld-", 3) == 0 || strncmp(name, "ld.so", 5) == 0)
		return MODULE_KIND_LINKER;
	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++)
		if (strncmp(name, below[i], strlen(below[i])) == 0)
			return kind;
	elf = process_maps_open(maps, map);
	if (elf && elf_file_symbol_by_name(elf, "malloc", &symbol))
		kind = MODULE_KIND_CALLER;
	elf_file_close(elf);
	return kind;
}

static enum module_kind kind_at(struct safe_points *points, uint64_t address)
{
	for (size_t i = 0; i < points->maps->count; i++) {
		const struct process_map *map = &points->maps->at[i];

		if (address < map->start || address >= map->end)
			continue;
		if (!map->executable)
			break;
		if (points->kinds[i] == MODULE_KIND_UNKNOWN)
			points->kinds[i] = kind_of_file(points->maps, map);
		return points->kinds[i];
	}
	return MODULE_KIND_UNKNOWN;
}

/* A system call in which programs wait for something outside, and neither malloc nor the loader
 * do. */
static bool is_waiting_call(long number, const unsigned long *arguments)
{
	static const long calls[] = {
#ifdef SYS_poll
		SYS_poll,
		SYS_select,
		SYS_epoll_wait,
		SYS_pause,
		SYS_accept,
#endif
		SYS_ppoll,
		SYS_pselect6,
		SYS_epoll_pwait,
		SYS_nanosleep,
		SYS_clock_nanosleep,
		SYS_read,
		SYS_readv,
		SYS_write,
		SYS_writev,
		SYS_recvfrom,
		SYS_recvmsg,
		SYS_sendto,
		SYS_sendmsg,
		SYS_accept4,
		SYS_connect,
		SYS_wait4,
		SYS_waitid,
		SYS_rt_sigsuspend,
		SYS_rt_sigtimedwait,
		SYS_flock,
		SYS_fcntl,
		SYS_sched_yield,
		SYS_restart_syscall,
		SYS_recvmmsg,
#ifdef SYS_epoll_pwait2
		SYS_epoll_pwait2,
#endif

	};

	/* Conditions and semaphores. The locks inside libc wait another way. */
	if (number == SYS_futex)
		return (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (number == calls[i])
			return true;
	return false;
}

bool safe_points_has(struct safe_points *points, const struct remote_point *point)
{
	enum module_kind kind = kind_at(points, point->pc);

	if (point->call >= 0)
		return kind != MODULE_KIND_UNKNOWN && kind != MODULE_KIND_LINKER &&
		       is_waiting_call(point->call, point->arguments);
	return kind == MODULE_KIND_CALLER;
}

bool safe_points_waiting(struct safe_points *points, pid_t tid)
{
	struct remote_point point = {.call = -1};
	unsigned long long words[8];
	char path[64], line[256];
	bool waiting = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)points->maps->pid, (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f) &&
	    sscanf(line, "%ld %llx %llx %llx %llx %llx %llx %llx %llx", &point.call, &words[0],
		   &words[1], &words[2], &words[3], &words[4], &words[5], &words[6],
		   &words[7]) == 9 &&
	    point.call >= 0) {
		point.arguments[0] = words[0];
		point.arguments[1] = words[1];
		point.sp = words[6];
		point.pc = words[7];
		waiting = safe_points_has(points, &point);
	}
	fclose(f);
	return waiting;
}
