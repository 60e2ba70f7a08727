/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a trace by its path, and twice when it takes knowing what comes later: the names that
 * threads get, and where phases begin and end.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "analyze/filter_match.h"
#include "analyze/model_state.h"
#include "formats/base/buf.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

void model_forget_ahead(struct model *m)
{
	for (size_t i = 0; i < m->late_name_count; i++)
		free(m->late_names[i]);
	for (size_t i = 0; i < m->ahead_count; i++) {
		for (size_t k = 0; k < m->ahead[i].count; k++)
			free(m->ahead[i].phases[k].label);
		free(m->ahead[i].phases);
	}
	free(m->late_names);
	free(m->ahead);
	m->late_names = NULL;
	m->late_name_count = 0;
	m->ahead = NULL;
	m->ahead_count = m->ahead_capacity = 0;
}

static struct model_ahead *ahead_of(struct model *m, uint32_t process)
{
	size_t need = (size_t)process + 1;

	if (need > m->ahead_count) {
		m->ahead = xgrow(m->ahead, &m->ahead_capacity, need, sizeof(*m->ahead));
		memset(m->ahead + m->ahead_count, 0, (need - m->ahead_count) * sizeof(*m->ahead));
		m->ahead_count = need;
	}
	return &m->ahead[process];
}

/* A phase lasts until the next label, until the recording pauses, or until user code ends. */
static void learn_mark(struct model *m, const struct trace_mark *mark)
{
	struct model_ahead *ahead = ahead_of(m, mark->process);
	struct model_ahead_phase *last = ahead->count ? &ahead->phases[ahead->count - 1] : NULL;

	if (mark->kind == TRACE_MARK_START || mark->kind == TRACE_MARK_FORK)
		return;
	if (last && last->to_ns == UINT64_MAX)
		last->to_ns = mark->time_ns > last->from_ns ? mark->time_ns : last->from_ns;
	if (mark->kind != TRACE_MARK_LABEL || mark->label.size == 0)
		return;
	ahead->phases =
		xgrow(ahead->phases, &ahead->capacity, ahead->count + 1, sizeof(*ahead->phases));
	ahead->phases[ahead->count++] = (struct model_ahead_phase){
		.label = xstrdup(mark->label.data),
		.from_ns = mark->time_ns,
		.to_ns = UINT64_MAX,
	};
}

static void learn_ends(struct model *m, const struct trace_defs *defs, uint64_t end_ns)
{
	for (size_t i = 0; i < m->ahead_count; i++) {
		struct model_ahead *ahead = &m->ahead[i];
		struct model_ahead_phase *last =
			ahead->count ? &ahead->phases[ahead->count - 1] : NULL;
		uint64_t ns = end_ns;

		if (!last || last->to_ns != UINT64_MAX)
			continue;
		for (size_t k = 0; k < defs->process_end_count; k++) {
			if (defs->process_ends[k].process == i)
				ns = defs->process_ends[k].time_ns;
		}
		last->to_ns = ns > last->from_ns ? ns : last->from_ns;
	}
}

/* Reads a trace to its end. Trouble is left for the reading that counts. */
static void learn_ahead(struct model *m, const char *path)
{
	struct trace_reader *r = trace_reader_open(path, NULL);
	const struct trace_defs *defs;
	struct trace_block block;
	uint64_t end_ns = 0;

	if (!r)
		return;
	while (trace_reader_next(r, &block, NULL) == 1) {
		for (size_t i = 0; i < block.mark_count; i++)
			learn_mark(m, &block.marks[i]);
		if (block.last_time_ns > end_ns)
			end_ns = block.last_time_ns;
	}
	defs = trace_reader_defs(r);
	learn_ends(m, defs, end_ns);
	m->late_names = xcalloc(defs->thread_count + 1, sizeof(*m->late_names));
	m->late_name_count = defs->thread_count;
	for (size_t i = 0; i < defs->thread_count; i++) {
		if (defs->threads[i].name.size > 0)
			m->late_names[i] = xstrdup(defs->threads[i].name.data);
	}
	trace_reader_close(r);
}

/* A phase that is not there is more likely a mistake than what is wanted. */
static int check_phases(const struct model *m, const char *path, struct err *err)
{
	const struct model_filter *filter = &m->options.filter;
	bool any = false;

	if (!filter->phase_count)
		return 0;
	for (size_t i = 0; i < m->ahead_count; i++) {
		for (size_t k = 0; k < m->ahead[i].count; k++) {
			any = true;
			if (filter_match_phase(filter->phases, filter->phase_count,
					       m->ahead[i].phases[k].label))
				return 0;
		}
	}
	return err_set(err, ERR_FAILED,
		       any ? "%s: has no such phase (--phases lists those it has)"
			   : "%s: has no phases",
		       path);
}

int model_add_path(struct model *m, const char *path, struct err *err)
{
	bool phases = m->options.phases || m->options.filter.phase_count;
	struct trace_reader *r;
	struct stat st;
	int ret;

	model_forget_ahead(m);
	if (phases || m->options.filter.thread_count) {
		if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			learn_ahead(m, path);
		else if (phases && (strcmp(path, "-") == 0 || stat(path, &st) == 0))
			return err_set(
				err, ERR_FAILED,
				"%s: phases take reading a file twice: write the trace to one",
				strcmp(path, "-") == 0 ? "standard input" : path);
	}
	r = trace_reader_open(path, err);
	if (!r)
		return -1;
	if (check_phases(m, path, err) != 0) {
		trace_reader_close(r);
		return -1;
	}
	m->path = path;
	ret = model_add(m, r, err);
	m->path = NULL;
	trace_reader_close(r);
	return ret;
}
