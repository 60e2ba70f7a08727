/* SPDX-License-Identifier: Apache-2.0
 *
 * What the live view shows, at one moment of a recording. A model can be finished only once, so a
 * snapshot is made by a child process that finishes its own copy of the model and sends the figures
 * through a pipe; the parent's model stays open for what is still to come.
 */
#ifndef SCPROF_LIVE_SNAPSHOT_H
#define SCPROF_LIVE_SNAPSHOT_H

#include <sys/types.h>

#include "analyze/model.h"
#include "formats/base/buf.h"

enum live_list {
	LIVE_LINES,
	LIVE_FUNCTIONS,
	LIVE_THREADS,
	LIVE_PROCESSES,
	LIVE_LEAKS,
	LIVE_LISTS,
};

/* Times in ns, memory in bytes; all since the start. */
enum live_value {
	LIVE_OWN,        /* CPU time, with --wall wall time */
	LIVE_CUMULATIVE, /* the same with everything below */
	LIVE_CPU,
	LIVE_NATIVE,
	LIVE_SYSTEM,
	LIVE_WALL,
	LIVE_WAIT_IO,
	LIVE_WAIT_LOCK,
	LIVE_WAIT_SLEEP,
	LIVE_WAIT_GIL,
	LIVE_HELD, /* live bytes now */
	LIVE_ALLOCATED,
	LIVE_PEAK,
	LIVE_COPIED,
	LIVE_GROWTH,     /* of a leak: bytes a second */
	LIVE_LIKELIHOOD, /* of a leak: 0..1 */
	LIVE_VALUES,
};

struct live_row {
	uint64_t key;   /* the same thing has the same key in every snapshot */
	uint32_t place; /* offset into texts: what it is */
	uint32_t text;  /* the same: source, where it is, a command line */
	double values[LIVE_VALUES];
};

#define LIVE_POINTS 32

struct live_totals {
	uint64_t time_ns; /* since the start of the recording */
	double values[LIVE_VALUES];
	double gil_ns; /* CPU time that held the GIL */
	double rss_bytes;
	double max_rss_bytes;
	uint64_t samples;
	uint64_t lost; /* samples and memory events, for whatever reason */
	uint64_t processes;
	bool has_memory;
	bool paused;              /* the recording is */
	float heap[LIVE_POINTS];  /* live bytes over the whole time */
	float cores[LIVE_POINTS]; /* processors in use over the whole time */
};

struct live_snapshot {
	struct live_totals totals;
	struct live_row *rows[LIVE_LISTS]; /* in order of keys */
	size_t counts[LIVE_LISTS];
	char *texts; /* clean: safe for a terminal */
	size_t text_size;
};

/* The child at work: zeroed when there is none. */
struct live_camera {
	pid_t pid;
	int fd; /* to poll */
	struct buf taken;
};

struct live_look {
	bool all;                 /* library code by itself, see report_options */
	const char *const *files; /* of --file */
	size_t file_count;
};

/* Starts a child that takes a snapshot of m, into which t is still being read. */
int live_camera_start(struct live_camera *c, struct model *m, struct model_trace *t,
		      const struct live_look *look, struct err *err);
/* Reads what the child has sent: 1 and *snapshot (release it with live_snapshot_release) when that
 * was the last of it, 0 when there is more to come, -1 when it failed. */
int live_camera_read(struct live_camera *c, struct live_snapshot *snapshot, struct err *err);
void live_camera_stop(struct live_camera *c);

/* The row with that key, or NULL. */
const struct live_row *live_snapshot_find(const struct live_snapshot *s, enum live_list list,
					  uint64_t key);
/* Adds a command line, long paths cut down to their last parts, clean. */
void live_short_command(struct buf *to, const char *command);
void live_snapshot_release(struct live_snapshot *s);

#endif
