/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain's processes: who started them and when, and how they ended. A process says that itself
 * when it exits; of one that was killed its parent says so, if that is recorded, too.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/drain_state.h"

static uint64_t since(uint64_t ns, uint64_t start_ns)
{
	return ns > start_ns ? ns - start_ns : 0;
}

uint64_t drain_program_start(const struct drain *d, const struct target *t)
{
	const struct ring_header *ring = t->ring;
	uint64_t start_ns = drain_not_after_now(d, ring->start_ns);
	uint64_t used = ring->start_cpu_ns > t->drained->base_cpu_ns
				? ring->start_cpu_ns - t->drained->base_cpu_ns
				: 0;

	return start_ns > used ? start_ns - used : 0;
}

void drain_find_ancestors(struct target *t)
{
	struct drain_target *dt = t->drained;
	pid_t pid = t->ring->parent_pid;

	/* A program that was not forked is in the process of the one before it. */
	if (!t->ring->forked)
		dt->ancestors[dt->ancestor_count++] = t->pid;
	if (t->attached || !t->same_namespace || pid <= 1)
		pid = dt->info.parent_pid;
	while (pid > 1 && dt->ancestor_count < ANCESTORS_MAX) {
		dt->ancestors[dt->ancestor_count++] = pid;
		pid = process_parent(pid);
	}
	/* What has ended, or was orphaned, cannot be followed up. */
	for (size_t i = 0; t->same_namespace && !t->attached && i < RING_PARENTS; i++)
		if (t->ring->parents[i] > 0 && dt->ancestor_count < ANCESTORS_MAX)
			dt->ancestors[dt->ancestor_count++] = t->ring->parents[i];
}

static uint32_t find_parent(struct drain *d, const struct target *t)
{
	const struct drain_target *dt = t->drained;

	for (size_t i = 0; i < dt->ancestor_count; i++) {
		pid_t pid = dt->ancestors[i];

		/* A fork that has a child is more than the way to another program. */
		for (size_t k = 0; k < d->live_count; k++) {
			if (d->live[k] != t && d->live[k]->pid == pid) {
				drain_define_process(d, d->live[k]);
				return d->live[k]->index;
			}
		}
		for (size_t k = d->known_count; k > 0; k--)
			if (d->known[k - 1].pid == pid)
				return d->known[k - 1].index;
	}
	return TRACE_NONE;
}

/* A fork enters the trace with its first event: what is forked only to become another program at
 * once leaves no mark. */
void drain_define_process(struct drain *d, struct target *t)
{
	struct drain_target *dt = t->drained;
	const struct ring_header *ring = t->ring;
	const struct process_info *info = &dt->info;
	struct trace_process process;
	char build[sizeof(ring->build) + 1];

	if (dt->defined)
		return;
	dt->defined = true;
	memset(&process, 0, sizeof(process));
	process.parent = find_parent(d, t); /* which may take the next index for itself */
	t->index = d->next_process++;
	memcpy(build, ring->build, sizeof(ring->build));
	build[sizeof(ring->build)] = '\0';
	process.index = t->index;
	process.pid = t->pid;
	process.parent_pid = info->parent_pid;
	process.start_ns = drain_since_start(d, drain_program_start(d, t));
	process.command = info->command;
	process.command_count = info->command_count;
	process.executable = (struct trace_text){info->executable, strlen(info->executable)};
	process.python_hex = ring->python_hex;
	process.python_build = (struct trace_text){build, strlen(build)};
	process.free_threaded = ring->free_threaded != 0;
	process.origin = t->became                                     ? TRACE_ORIGIN_EXEC
			 : t->attached || (t->joined && !ring->forked) ? TRACE_ORIGIN_ATTACH
			 : dt->launched                                ? TRACE_ORIGIN_LAUNCH
			 : ring->forked                                ? TRACE_ORIGIN_FORK
								       : TRACE_ORIGIN_EXEC;
	process.prefix = (struct trace_text){info->prefix, strlen(info->prefix)};
	trace_writer_process(d->writer, &process);
	d->known = xgrow(d->known, &d->known_capacity, d->known_count + 1, sizeof(*d->known));
	d->known[d->known_count].pid = t->pid;
	d->known[d->known_count++].index = t->index;
}

void drain_take_reaped(struct drain *d, struct target *t, const struct ring_reaped *record,
		       size_t size)
{
	struct reaped *reaped = &d->reaped[d->reaped_count % REAPED_MAX];

	if (size < sizeof(*record) || !(WIFEXITED(record->status) || WIFSIGNALED(record->status)))
		return;
	t->drained->children_cpu_ns += record->user_ns + record->system_ns;
	/* In another namespace the number is that of another process here. */
	if (!t->same_namespace || record->pid <= 0)
		return;
	*reaped = (struct reaped){
		.pid = record->pid,
		.status = record->status,
		.time_ns = drain_not_after_now(d, record->time_ns),
		.user_ns = record->user_ns,
		.system_ns = record->system_ns,
	};
	d->reaped_count++;
}

/* What the parent of t learned when it waited for it; NULL when that is not known, or not yet. */
static const struct reaped *find_reaped(const struct drain *d, const struct target *t)
{
	size_t count = d->reaped_count < REAPED_MAX ? d->reaped_count : REAPED_MAX;

	for (size_t i = 0; i < count; i++) {
		const struct reaped *reaped = &d->reaped[(d->reaped_count - 1 - i) % REAPED_MAX];

		if (reaped->pid == t->pid)
			/* Numbers are used again. */
			return reaped->time_ns >= t->ring->start_ns ? reaped : NULL;
	}
	return NULL;
}

bool drain_awaits_parent(const struct drain *d, const struct target *t)
{
	uint32_t state = atomic_load_explicit(&t->ring->state, memory_order_acquire);
	bool has_status = t->final_status != -1 || (state == RING_ENDED && t->ring->end_has_status);

	/* Its parent may have waited for it between our looks at the two. */
	return (!t->final_cpu_ns || !has_status) && t->same_namespace && state != RING_EXEC &&
	       !find_reaped(d, t);
}

/* All that the process has used, programs before this one included, as the kernel counted it in
 * the end; 0 when that is not known. */
static uint64_t kernel_cpu(const struct drain *d, const struct target *t)
{
	const struct reaped *reaped = find_reaped(d, t);

	if (t->final_cpu_ns || !reaped)
		return t->final_cpu_ns;
	/* That of its own children is in it, if it waited for them. */
	return since(reaped->user_ns + reaped->system_ns, t->drained->children_cpu_ns);
}

/* What the process used after its last words, as far as that is known. */
static uint64_t exit_cpu(const struct drain *d, const struct target *t)
{
	const struct ring_header *ring = t->ring;
	const struct reaped *reaped = find_reaped(d, t);
	uint64_t all = kernel_cpu(d, t), end_ns, gone_ns = t->exited_ns, most, more;

	if (all <= ring->end_cpu_ns)
		return 0;
	/* One thread is left, which cannot have used more time than there was. */
	end_ns = drain_not_after_now(d, ring->end_ns);
	if (reaped && reaped->time_ns < gone_ns)
		gone_ns = reaped->time_ns;
	most = gone_ns > end_ns ? gone_ns - end_ns : 0;
	more = all - ring->end_cpu_ns;
	return more < most ? more : most;
}

static void set_status(struct trace_process_end *end, int wait_status)
{
	bool killed = WIFSIGNALED(wait_status);

	end->how = killed ? TRACE_END_SIGNAL : TRACE_END_EXIT;
	end->status = killed ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* What the kernel, or whoever waited for it, said. */
static void status_of_others(const struct drain *d, const struct target *t,
			     struct trace_process_end *end)
{
	const struct reaped *reaped = find_reaped(d, t);

	if (reaped)
		set_status(end, reaped->status);
	else if (t->final_status != -1)
		set_status(end, t->final_status);
}

/* It was killed: what others know of it. Returns when it ended at the latest. */
static uint64_t killed_end(const struct drain *d, const struct target *t,
			   struct trace_process_end *end)
{
	const struct drain_target *dt = t->drained;
	const struct reaped *reaped = find_reaped(d, t);
	uint64_t now = drain_now(), cpu_ns = kernel_cpu(d, t), end_ns;

	end_ns = t->exited_ns && t->exited_ns < now ? t->exited_ns : now;
	if (reaped && reaped->time_ns < end_ns)
		end_ns = reaped->time_ns;
	status_of_others(d, t, end);
	end->cpu_ns = since(cpu_ns, dt->base_cpu_ns);
	return end_ns;
}

/* It had last words. */
static void own_end(struct drain *d, const struct target *t, uint32_t state,
		    struct trace_process_end *end)
{
	const struct ring_header *ring = t->ring;
	uint64_t base_ns = t->drained->base_cpu_ns;

	end->cpu_ns = since(ring->end_cpu_ns, base_ns);
	end->user_ns = since(ring->end_user_ns, ring->start_user_ns);
	end->system_ns = since(ring->end_system_ns, ring->start_system_ns);
	end->peak_rss_bytes = ring->end_peak_rss_bytes;
	if (state == RING_EXEC) {
		end->how = TRACE_END_EXEC;
		/* What a fork used on its way to another program is that program's. */
		if (t->drained->defined) {
			d->ended = xgrow(d->ended, &d->ended_capacity, d->ended_count + 1,
					 sizeof(*d->ended));
			d->ended[d->ended_count].pid = t->pid;
			d->ended[d->ended_count].children_cpu_ns = t->drained->children_cpu_ns;
			d->ended[d->ended_count++].cpu_ns = ring->end_cpu_ns;
		}
	} else {
		end->exit_cpu_ns = exit_cpu(d, t);
		end->cpu_ns += end->exit_cpu_ns;
		end->system_ns += end->exit_cpu_ns;
		if (ring->end_has_status) {
			end->how = TRACE_END_EXIT;
			end->status = ring->end_status;
		} else if (state == RING_ENDED) {
			status_of_others(d, t, end);
		}
	}
}

uint64_t drain_process_end(struct drain *d, const struct target *t, uint32_t state, int wait_status,
			   struct trace_process_end *end)
{
	uint64_t end_ns;

	memset(end, 0, sizeof(*end));
	if (state == RING_LIVE) {
		end_ns = killed_end(d, t, end);
	} else {
		end_ns = drain_not_after_now(d, t->ring->end_ns);
		own_end(d, t, state, end);
	}
	if (wait_status != -1 && (WIFSIGNALED(wait_status) || state != RING_EXEC))
		set_status(end, wait_status);
	return end_ns;
}
