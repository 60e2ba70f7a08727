/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the drain share: drain.c (a pass over a target), drain_code.c (code objects,
 * stacks and sources), drain_heap.c (memory), drain_lanes.c (full recordings of it),
 * drain_process.c and drain_thread.c (processes and threads). Nobody else includes this.
 */
#ifndef SCPROF_DRAIN_STATE_H
#define SCPROF_DRAIN_STATE_H

#include "record/drain.h"
#include "record/heap_blocks.h"
#include "record/module_map.h"
#include "record/process_info.h"

#define ANCESTORS_MAX 32

/* One frame of a stack. */
struct drained_frame {
	uint32_t node;
	uint32_t code;
};

/* What a thread let go last of the mappings, before it was known whether it could. */
struct drained_gone {
	uint64_t start, size;    /* as it asked; size 0: nothing */
	uint64_t bytes;          /* that were in the books */
	struct heap_block block; /* the first of it */
};

struct drained_thread {
	struct drained_thread *older; /* earlier threads of the same slot that have not ended yet */
	uint32_t generation;
	uint32_t index; /* in the trace */
	bool ended;
	bool sampled;
	bool defined;
	bool guessed;     /* its slot was no longer its own: what it was comes with its end */
	uint64_t last_ns; /* CLOCK_MONOTONIC */
	uint64_t last_cpu_ns;
	uint64_t last_ready_ns;
	uint64_t unplaced_ns; /* of being ready: no event had room for it yet */
	bool ready_known;     /* last_ready_ns has begun to count */
	/* The newest sample of a pass: what it stood ready for is known when the next event is. */
	bool holds;
	struct trace_sample held;
	uint64_t owed_ns; /* wall time charged beyond what passed, to be left out of later events */
	struct drained_frame *stack; /* the current one, root first */
	uint32_t depth;
	size_t stack_capacity;
	uint32_t wait_node;
	uint64_t pthread_id;
	struct trace_thread definition;
	char *name;
	struct drained_gone gone;
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
	uint64_t ready_ns; /* 0: not known */
	uint64_t order;    /* of arrival: keeps the sort stable */
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
	struct drained_heap *heap;
	struct drained_lanes *lanes; /* NULL: memory is sampled, or not recorded */
	uint64_t base_cpu_ns;        /* the process's CPU before this program */
	uint64_t children_cpu_ns;    /* of the children that it has waited for */
	uint64_t marked_ns;          /* the last mark; CLOCK_MONOTONIC */
	struct drained_turn {
		bool stop; /* else the recording goes on */
		uint64_t time_ns;
	} * turns; /* from turn_at on, those that are later than the last event written */
	size_t turn_at, turn_count, turn_capacity;
	uint64_t turned_ns; /* when the last pass began */
	bool paused_once;
	uint64_t resumed_ns; /* end of the last pause; CLOCK_MONOTONIC */
	uint64_t stopped_ns; /* start of the current pause, or 0 */
	uint64_t lost, unwalked, missed, slotless;
	struct event *events;
	size_t event_count, event_capacity;
	/* Ends of threads wait for one pass: the sampler still has to close the thread's last wait.
	 */
	struct event *ends;
	size_t end_count, end_capacity;
};

/* How a child ended, from its parent. */
struct reaped {
	pid_t pid;
	int status; /* as of waitpid */
	uint64_t time_ns;
	uint64_t user_ns; /* of the child and of what it waited for; 0 when not known */
	uint64_t system_ns;
};

#define REAPED_MAX 4096u /* the newest: the children's own ends are not far */

struct drain {
	struct trace_writer *writer;
	struct sampler *sampler;
	struct module_files files;
	int root_fd; /* of the first program with other mounts than ours, -1 */
	struct drain_options options;
	uint64_t pass_ns; /* when the pass over the current target began, CLOCK_MONOTONIC */
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
	struct target **live; /* borrowed from drain_add to drain_end */
	size_t live_count, live_capacity;
	struct {
		pid_t pid;
		uint64_t cpu_ns;
		uint64_t children_cpu_ns;
	} * ended; /* what processes had used when they became another program */
	size_t ended_count, ended_capacity;
	struct reaped reaped[REAPED_MAX]; /* a ring */
	size_t reaped_count;              /* so far */
};

/* drain.c */
void drain_write_loss(struct drain *d, struct target *t, enum trace_loss_kind kind, uint64_t count);

/* drain_thread.c */
uint64_t drain_now(void);
/* What a target says of its clocks is checked: nothing has happened in the future, and no thread
 * has run for longer than the machine. */
uint64_t drain_not_after_now(const struct drain *d, uint64_t ns);
uint64_t drain_since_start(const struct drain *d, uint64_t ns);
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

/* drain_process.c */
void drain_find_ancestors(struct target *t);
void drain_define_process(struct drain *d, struct target *t);
/* When the program began, as near as can be known: the agent's start less the CPU used until then.
 */
uint64_t drain_program_start(const struct drain *d, const struct target *t);
void drain_take_reaped(struct drain *d, struct target *t, const struct ring_reaped *record,
		       size_t size);
/* Fills *end but for its process and time. Returns the time, CLOCK_MONOTONIC. */
uint64_t drain_process_end(struct drain *d, const struct target *t, uint32_t state, int wait_status,
			   struct trace_process_end *end);

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

/* drain_heap.c */

/* Who did it, where and when: what all events of memory have in common. */
struct drain_place {
	uint32_t thread;
	uint32_t node;
	uint32_t flags;   /* enum trace_heap_flag */
	uint64_t time_ns; /* as drain_heap_time gives it */
};

struct drained_heap *drain_heap_new(const struct drain *d, const struct target *t);
void drain_heap_free(struct drained_heap *heap);
void drain_take_heap(struct drain *d, struct target *t, const struct ring_record *record,
		     size_t size);
void drain_heap_losses(struct drain *d, struct target *t);
/* The trace's time of an event at monotonic_ns: it goes on from event to event, and no further than
 * to now. */
uint64_t drain_heap_time(const struct drain *d, struct target *t, uint64_t monotonic_ns);
/* Returns the block's number. */
uint64_t drain_write_alloc(struct drain *d, struct target *t, const struct drain_place *place,
			   enum trace_heap_kind kind, uint64_t size);
/* left: what there is still of the block; 0: it is gone. */
void drain_write_release(struct drain *d, struct target *t, const struct drain_place *place,
			 uint64_t number, uint64_t left);
void drain_count_unmatched(struct target *t);
void drain_count_heap_lost(struct target *t);
/* Looks at the process from outside. last: it is gone. */
void drain_footprint(struct drain *d, struct target *t, bool last);

/* drain_lanes.c; all but the first accept a target without lanes */
struct drained_lanes *drain_lanes_new(const struct target *t);
void drain_lanes_free(struct drained_lanes *lanes);
/* The number of the first event that has not begun yet. */
uint64_t drain_lanes_cut(const struct target *t);
/* Takes the events below the limit; DRAIN_ALL: whatever is there, of a process that is gone. */
#define DRAIN_ALL UINT64_MAX
void drain_lanes(struct drain *d, struct target *t, uint64_t limit);
/* What a thread that is about to end did without a lane. */
void drain_lanes_alloc(struct drain *d, struct target *t, const struct drain_place *place,
		       uint64_t address, enum trace_heap_kind kind, uint64_t size);
void drain_lanes_free_block(struct drain *d, struct target *t, const struct drain_place *place,
			    uint64_t address);

#endif
