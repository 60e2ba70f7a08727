/* SPDX-License-Identifier: Apache-2.0 */
#include "record/refusals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/process_info.h"

#define PROGRAMS_MAX 256u
#define SAID 3u

void refusals_release(struct refusals *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->programs[i].program);
		free(r->programs[i].why);
	}
	free(r->programs);
	memset(r, 0, sizeof(*r));
}

/* Keeps what was not told of before. */
static bool keep(struct refusals *r, const char *program, const char *why)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->programs[i].program, program) == 0 &&
		    strcmp(r->programs[i].why, why) == 0)
			return false;
	if (r->count == PROGRAMS_MAX) {
		r->not_told++;
		return false;
	}
	r->programs = xgrow(r->programs, &r->capacity, r->count + 1, sizeof(*r->programs));
	r->programs[r->count++] = (struct refusal){xstrdup(program), xstrdup(why)};
	return true;
}

void refusals_add_python(struct refusals *r, struct trace_writer *writer,
			 const struct trace_refusal *refusal)
{
	struct trace_refusal full = *refusal;
	struct process_info info;
	struct buf command = {0};

	full.python = true;
	if (r->pythons++ == 0)
		snprintf(r->first, sizeof(r->first), "process %d is not recorded: %s",
			 (int)refusal->pid, refusal->why.data);
	if (r->pythons > PROGRAMS_MAX)
		return;
	process_info_read(&info, refusal->pid, 0);
	for (size_t i = 0; i < info.command_count; i++)
		buf_printf(&command, "%s%s", i ? " " : "", info.command[i].data);
	if (info.parent_pid)
		full.parent_pid = info.parent_pid;
	if (command.size)
		full.command = (struct trace_text){buf_text(&command), command.size};
	trace_writer_refusal(writer, &full);
	buf_release(&command);
	process_info_release(&info);
}

void refusals_add_program(struct refusals *r, struct trace_writer *writer,
			  const struct trace_refusal *refusal)
{
	if (keep(r, refusal->command.data, refusal->why.data))
		trace_writer_refusal(writer, refusal);
}

bool refusals_say(const struct refusals *r, struct buf *text)
{
	for (size_t i = 0; i < r->count && i < SAID; i++)
		buf_printf(text, "%s'%s' (%s)", i ? ", " : "", r->programs[i].program,
			   r->programs[i].why);
	if (r->count > SAID)
		buf_printf(text, " and %zu more", r->count - SAID + (size_t)r->not_told);
	if (r->count)
		buf_printf(text, " ran unrecorded: nothing can be preloaded there");
	return r->count != 0;
}
