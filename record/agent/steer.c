/* SPDX-License-Identifier: Apache-2.0
 *
 * What the program itself may call, by name, when it is being recorded (see scprof.py): pause, go
 * on, and give the moment a name. Unlike the rest of the agent this runs because the program asked.
 */
#include "record/agent/steer.h"

#include <errno.h>

#include "record/agent/agent.h"

#define LABEL_MAX 127u

int scprof_recording(void);
int scprof_start(void);
int scprof_stop(void);
int scprof_mark(const char *label);

static const struct steer *_Atomic next;

static const struct steer own = {
	.recording = scprof_recording,
	.start = scprof_start,
	.stop = scprof_stop,
	.mark = scprof_mark,
};

const struct steer *steer_own(void)
{
	return &own;
}

void steer_next(const struct steer *other)
{
	next = other;
}

static bool is_recorded(void)
{
	return agent.ring && agent_is_home() &&
	       atomic_load_explicit(&agent.live, memory_order_acquire);
}

static int write_mark(unsigned kind, const char *label)
{
	uint64_t number = agent.heap ? agent.heap->number() : 0;
	struct ring_mark *record;
	uint32_t length = 0;

	while (length < LABEL_MAX && label[length])
		length++;
	record = (struct ring_mark *)ring_reserve(sizeof(*record) + length);
	if (!record)
		return -1;
	record->kind = kind;
	record->length = length;
	record->time_ns = agent_now();
	record->number = number;
	memcpy(record->label, label, length);
	ring_commit(&record->record, sizeof(*record) + length, RING_MARK, RING_NO_SLOT);
	if (agent.heap)
		agent.heap->marked();
	return 0;
}

/* 1: this process is being recorded; 2: it is, but the recording is paused; else 0. */
AGENT_EXPORT int scprof_recording(void)
{
	if (next)
		return next->recording();
	if (!is_recorded())
		return 0;
	return atomic_load_explicit(&agent.ring->paused, memory_order_relaxed) ? 2 : 1;
}

/* These return 0, or -1 when nothing records this process. */
AGENT_EXPORT int scprof_start(void)
{
	int saved_errno = errno, ret = -1;

	if (next)
		return next->start();
	if (is_recorded()) {
		ret = 0;
		if (atomic_exchange_explicit(&agent.ring->paused, 0, memory_order_relaxed))
			ret = write_mark(RING_MARK_START, "");
	}
	errno = saved_errno;
	return ret;
}

AGENT_EXPORT int scprof_stop(void)
{
	int saved_errno = errno, ret = -1;

	if (next)
		return next->stop();
	if (is_recorded()) {
		ret = 0;
		if (!atomic_exchange_explicit(&agent.ring->paused, 1, memory_order_relaxed))
			ret = write_mark(RING_MARK_STOP, "");
	}
	errno = saved_errno;
	return ret;
}

AGENT_EXPORT int scprof_mark(const char *label)
{
	int saved_errno = errno, ret = -1;

	if (next)
		return next->mark(label);
	if (is_recorded() && label)
		ret = write_mark(RING_MARK_LABEL, label);
	errno = saved_errno;
	return ret;
}
