/* SPDX-License-Identifier: Apache-2.0 */
#include "record/target.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"

/* The last number of the NSpid line is the tid inside the innermost namespace. */
static uint32_t innermost_tid(const char *status_path)
{
	unsigned last = 0;
	char line[512];
	FILE *f = fopen(status_path, "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		char *at, *end;

		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		for (at = line + 6;; at = end) {
			unsigned long n = strtoul(at, &end, 10);

			if (end == at)
				break;
			last = (unsigned)n;
		}
		break;
	}
	fclose(f);
	return last;
}

struct target *target_new(int fd, pid_t pid, struct err *err)
{
	struct target *t = NULL;
	struct ring_header *ring;
	char debug_offsets[PY_DEBUG_OFFSETS_SIZE];
	const char *why = NULL;
	char path[64];
	struct stat st = {0};
	int mem = -1, seals = fcntl(fd, F_GET_SEALS), ret = fstat(fd, &st);
	bool lanes = st.st_size == (off_t)lane_region_size(true);
	size_t size = lane_region_size(lanes);
	char *memory;

	if (ret || st.st_size != (off_t)size || seals < 0 || !(seals & F_SEAL_SHRINK)) {
		err_set(err, ERR_CORRUPT, "process %d reported a region of the wrong size",
			(int)pid);
		return NULL;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		err_errno(err, "cannot map the region of process %d", (int)pid);
		return NULL;
	}
	ring = (struct ring_header *)memory;
	if (ring->magic != RING_MAGIC || ring->protocol != RING_PROTOCOL ||
	    ring->slot_count != RING_SLOTS || ring->data_size != RING_DATA_SIZE) {
		err_set(err, ERR_VERSION,
			"the agent in process %d is of another version; install scprof anew",
			(int)pid);
		goto fail;
	}

	t = xcalloc(1, sizeof(*t));
	t->pid = pid;
	t->ring = ring;
	t->slots = (struct ring_slot *)(memory + RING_SLOTS_OFFSET);
	t->final_status = -1;
	t->data = memory + RING_DATA_OFFSET;
	if (lanes)
		t->lanes = (struct lane_area *)(memory + RING_REGION_SIZE);
	t->same_namespace = ring->pid == pid;
	t->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);

	/* From 3.13 on the layout is completed by the target's own table. */
	memset(debug_offsets, 0, sizeof(debug_offsets));
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem >= 0) {
		if (pread(mem, debug_offsets, sizeof(debug_offsets), (off_t)ring->runtime) < 0)
			memset(debug_offsets, 0, sizeof(debug_offsets));
		close(mem);
	}
	if (py_layout_find(&t->layout, ring->python_hex, ring->free_threaded, debug_offsets,
			   sizeof(debug_offsets), &why)) {
		/* Waiting threads cannot be looked at; what the agent sends is still good. */
		memset(&t->layout, 0, sizeof(t->layout));
		t->layout.version = ring->python_hex >> 16;
	}
	close(fd);
	return t;
fail:
	munmap(memory, size);
	return NULL;
}

struct target *target_new_attached(pid_t pid, const struct found_python *python)
{
	struct target *t = xcalloc(1, sizeof(*t));
	char *memory = mmap(NULL, RING_REGION_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char path[64];

	if (memory == MAP_FAILED)
		xalloc_die(RING_REGION_SIZE);
	t->pid = pid;
	t->attached = true;
	t->ring = (struct ring_header *)memory;
	t->slots = (struct ring_slot *)(memory + RING_SLOTS_OFFSET);
	t->final_status = -1;
	t->data = memory + RING_DATA_OFFSET;
	t->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	t->layout = python->layout;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	t->ring->pid = (int32_t)innermost_tid(path);
	t->same_namespace = t->ring->pid == pid;
	t->ring->python_hex = python->hex;
	t->ring->free_threaded = python->layout.free_threaded;
	t->ring->runtime = python->runtime;
	t->ring->code_type = python->code_type;
	memcpy(t->ring->build, python->build, sizeof(t->ring->build));
	return t;
}

void target_free(struct target *t)
{
	if (!t)
		return;
	if (t->ring)
		munmap(t->ring, lane_region_size(t->lanes != NULL));
	if (t->pid_fd >= 0)
		close(t->pid_fd);
	free(t);
}

pid_t target_outer_tid(const struct target *t, uint32_t inner_tid)
{
	struct dirent *entry;
	pid_t found = 0;
	char path[300];
	DIR *dir;

	if (t->same_namespace)
		return (pid_t)inner_tid;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)t->pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (!found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)t->pid,
			 entry->d_name);
		if (innermost_tid(path) == inner_tid)
			found = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(dir);
	return found;
}

uint32_t target_inner_tid(const struct target *t, pid_t tid)
{
	char path[64];

	if (t->same_namespace)
		return (uint32_t)tid;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)t->pid, (int)tid);
	return innermost_tid(path);
}
