/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the drain share: drain.c (a pass over a target), drain_code.c (code objects,
 * stacks and sources), drain_thread.c (processes and threads). Nobody else includes this.
 */
#ifndef SCPROF_DRAIN_STATE_H
#define SCPROF_DRAIN_STATE_H

#include "record/drain.h"
#include "record/module_map.h"
#include "record/process_info.h"

#define ANCESTORS_MAX 32

struct drained_thread {
	struct drained_thread *older; /* earlier threads of the same slot that have not ended yet */
	uint32_t generation;
	uint32_t index; /* in the trace */
	bool ended;
	bool sampled;
	bool defined;
	uint64_t last_ns; /* CLOCK_MONOTONIC */
	uint64_t last_cpu_ns;
	uint64_t owed_ns; /* wall time charged beyond what passed, to be left out of later events */
	uint32_t *nodes;  /* the current stack, root first */
	uint32_t depth;
	size_t node_capacity;
	uint32_t wait_node;
	uint64_t pthread_id;
	struct trace_thread definition;
	char *name;
};

/* A code object whose line table is still coming in. */
struct pending_code {
	uint32_t id;
	struct trace_code code;
	uint8_t *line_table;
	size_t have;
};

struct event {
	uint64_t time_ns;
	uint64_t cpu_ns;
	uint64_t order; /* of arrival: keeps the sort stable */
	uint32_t slot;
	uint32_t generation;
	uint32_t node;
	uint32_t pc;
	uint32_t flags;
	enum { EVENT_SAMPLE, EVENT_LOOK, EVENT_END } type; /* in this order at equal times */
	enum trace_wait_kind kind;
};

struct drain_target {
	bool defined;
	bool launched;
	struct process_info info;
	pid_t ancestors[ANCESTORS_MAX]; /* nearest first; of a program started by exec, itself first
					 */
	size_t ancestor_count;
	struct drained_thread *threads[RING_SLOTS];
	uint32_t *codes; /* agent's id -> trace's id, TRACE_NONE: unknown */
	size_t code_count, code_capacity;
	uint32_t *look_codes;
	size_t look_code_count, look_code_capacity;
	struct pending_code *pending;
	size_t pending_count, pending_capacity;
	struct module_map *modules;
	uint64_t base_cpu_ns; /* the process's CPU before this program */
	uint64_t lost, unwalked, missed, slotless;
	struct event *events;
	size_t event_count, event_capacity;
	/* Ends of threads wait for one pass: the sampler still has to close the thread's last wait.
	 */
	struct event *ends;
	size_t end_count, end_capacity;
};

struct drain {
	struct trace_writer *writer;
	struct sampler *sampler;
	uint64_t start_ns;
	uint32_t next_process, next_thread;
	struct drain_totals totals;
	struct target *current;
	uint8_t *record; /* a private copy: the target may change the original */
	bool *code_is_leaf;
	size_t leaf_capacity;
	struct {
		pid_t pid;
		uint32_t index;
	} * known; /* every process in the trace, to find parents */
	size_t known_count, known_capacity;
	struct {
		pid_t pid;
		uint64_t cpu_ns;
	} * ended; /* what processes had used when they became another program */
	size_t ended_count, ended_capacity;
};

/* drain_thread.c */
uint64_t drain_now(void);
uint64_t drain_since_start(const struct drain *d, uint64_t ns);
void drain_define_process(struct drain *d, struct target *t);
/* The thread in slot, made when it is new: from birth, or when that is NULL from what the slot
 * says. NULL for one that has ended. A thread may be seen for the first time at its end (`ending`),
 * when its slot has a new owner already. */
struct drained_thread *drain_thread(struct drain *d, struct target *t, uint32_t slot,
				    uint32_t generation, const struct look_thread *birth,
				    bool ending);
void drain_free_thread(struct drained_thread *thread);
/* Threads are defined with their first event, when their tid and perhaps their name are known. */
void drain_define_thread(struct drain *d, struct target *t, struct drained_thread *thread);
void drain_name_thread(struct drain *d, struct drained_thread *thread, const char *name,
		       size_t size);

/* drain_code.c */
void drain_mark_leaf(struct drain *d, uint32_t code);
void drain_take_code(struct drain *d, struct target *t, const struct ring_code *record,
		     size_t size);
void drain_take_code_more(struct drain *d, struct target *t, const struct ring_code_more *record,
			  size_t size);
void drain_take_look_codes(struct drain *d, struct target *t, const struct look_queue *queue);
/* Brings the thread's stack up to date. Returns 0, or -1 when the frames make no sense. */
int drain_take_frames(struct drain *d, struct target *t, struct drained_thread *thread,
		      uint32_t common, uint32_t count, const struct ring_frame *frames);

#endif
