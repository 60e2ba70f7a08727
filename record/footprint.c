/* SPDX-License-Identifier: Apache-2.0 */
#include "record/footprint.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#define LOOK_NS 9000000u /* a little less than a step of the recorder */
#define LOOK_QUIET_NS 50000000u
#define REPORT_NS 1000000000u
#define CHANGE_BYTES (64u << 10) /* smaller ones wait for REPORT_NS */
/* Asking for shared and swapped pages makes the kernel walk them all, with a lock held that the
 * process wants when it maps something. What that takes grows with the process. */
#define ROLLUP_MAX_NS 1000000u
#define ROLLUP_GUESS_NS_PER_MB 20000u

struct footprint {
	pid_t pid;
	int statm_fd, stat_fd;
	uint64_t page;
	uint64_t next_look_ns;
	uint64_t changed_ns;
	uint64_t rollup_ns_per_mb;
	bool any; /* something was seen */
	struct trace_footprint seen, reported;
};

static int open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

struct footprint *footprint_open(pid_t pid)
{
	struct footprint *f = xcalloc(1, sizeof(*f));

	f->pid = pid;
	f->statm_fd = open_proc(pid, "statm");
	f->stat_fd = open_proc(pid, "stat");
	f->page = (uint64_t)sysconf(_SC_PAGESIZE);
	f->rollup_ns_per_mb = ROLLUP_GUESS_NS_PER_MB;
	return f;
}

void footprint_close(struct footprint *f)
{
	if (!f)
		return;
	if (f->statm_fd >= 0)
		close(f->statm_fd);
	if (f->stat_fd >= 0)
		close(f->stat_fd);
	free(f);
}

/* Returns false when nothing comes: the process is gone, or about to be. */
static bool read_sizes(const struct footprint *f, struct trace_footprint *row)
{
	unsigned long long pages, file_pages;
	char text[256];
	ssize_t n = f->statm_fd >= 0 ? pread(f->statm_fd, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (sscanf(text, "%*s %llu %llu", &pages, &file_pages) != 2 || !pages)
		return false;
	row->rss_bytes = pages * f->page;
	row->file_bytes = file_pages * f->page;
	return true;
}

static void read_faults(const struct footprint *f, struct trace_footprint *row)
{
	unsigned long long minor, major;
	char text[1024], *at;
	ssize_t n = f->stat_fd >= 0 ? pread(f->stat_fd, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return;
	text[n] = '\0';
	/* PID (NAME) STATE and six more: the name may hold anything, also a ')'. */
	at = strrchr(text, ')');
	if (!at || sscanf(at, ") %*s %*s %*s %*s %*s %*s %*s %llu %*s %llu", &minor, &major) != 2)
		return;
	row->minor_faults = minor;
	row->major_faults = major;
}

static uint64_t own_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t rollup_line(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static void read_rollup(struct footprint *f, struct trace_footprint *row)
{
	uint64_t mb = (row->rss_bytes >> 20) + 1, start;
	char text[4096];
	ssize_t n;
	int fd;

	if (f->rollup_ns_per_mb * mb > ROLLUP_MAX_NS)
		return;
	start = own_cpu_ns();
	fd = open_proc(f->pid, "smaps_rollup");
	if (fd < 0)
		return;
	n = io_read_all(fd, text, sizeof(text) - 1);
	close(fd);
	f->rollup_ns_per_mb = (own_cpu_ns() - start) / mb;
	if (n <= 0)
		return;
	text[n] = '\0';
	row->pss_bytes = rollup_line(text, "\nPss:");
	row->swap_bytes = rollup_line(text, "\nSwap:");
}

static bool differs(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) >= CHANGE_BYTES;
}

size_t footprint_look(struct footprint *f, uint64_t now_ns,
		      struct trace_footprint rows[FOOTPRINT_ROWS])
{
	struct trace_footprint now = f->seen;
	bool due, changed;
	uint64_t quiet;
	size_t count = 0;

	if (now_ns < f->next_look_ns)
		return 0;
	f->next_look_ns = now_ns + LOOK_NS;
	if (!read_sizes(f, &now))
		return 0;
	now.time_ns = now_ns;
	now.pss_bytes = now.swap_bytes = 0;
	if (!f->any || now.rss_bytes != f->seen.rss_bytes || now.file_bytes != f->seen.file_bytes)
		f->changed_ns = now_ns;
	quiet = now_ns - f->changed_ns;
	if (quiet / 8 > LOOK_NS)
		f->next_look_ns = now_ns + (quiet / 8 < LOOK_QUIET_NS ? quiet / 8 : LOOK_QUIET_NS);

	due = !f->any || now_ns - f->reported.time_ns >= REPORT_NS;
	changed = differs(now.rss_bytes, f->reported.rss_bytes) ||
		  differs(now.file_bytes, f->reported.file_bytes);
	if (due || changed) {
		read_faults(f, &now);
		if (due)
			read_rollup(f, &now);
		/* A change is sudden, not a slope from the last report on. */
		if (changed && f->any && f->seen.time_ns != f->reported.time_ns)
			rows[count++] = f->seen;
		rows[count++] = now;
		f->reported = now;
	}
	f->seen = now;
	f->any = true;
	return count;
}

size_t footprint_last(struct footprint *f, struct trace_footprint rows[FOOTPRINT_ROWS])
{
	if (!f->any || f->seen.time_ns == f->reported.time_ns)
		return 0;
	rows[0] = f->reported = f->seen;
	return 1;
}
