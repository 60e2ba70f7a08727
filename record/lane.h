/* SPDX-License-Identifier: Apache-2.0
 *
 * The exact events of a full memory recording, too many for the ring. They travel in chunks behind
 * the ring in the same region, touched as they are used. A thread takes a free chunk, is its only
 * writer, and closes it when it is full; the chunks of one thread are its lane. The reader gives a
 * closed chunk back when it has read it. No free chunk: the event is counted in `heap_lost`.
 *
 * Every event has a number from one counter, taken after an allocation succeeded and before a
 * release happens; so the numbers order all events of one address as they happened. A writer
 * publishes an event, with what explains it, by storing `used`. A reader that first reads the
 * counter and then every `used` holds all events below that count whose order could matter to each
 * other: see the cut in lane_read.c.
 *
 * The recorder treats everything here as hostile.
 */
#ifndef SCPROF_LANE_H
#define SCPROF_LANE_H

#include <stdbool.h>

#include "record/ring.h"

#define LANE_CHUNKS 4096u
#define LANE_CHUNK_SIZE (64u << 10)
#define LANE_HEADER_SIZE 4096u
#define LANE_AREA_SIZE (LANE_HEADER_SIZE + (size_t)LANE_CHUNKS * LANE_CHUNK_SIZE)

/* At RING_REGION_SIZE in the region; present when ring_header.lanes is set. */
struct lane_area {
	_Alignas(64) _Atomic uint64_t next_number;
	/* Grows with the time, and with every mark: a writer that sees it changed looks at the
	 * clock. Between two looks its events have one time. */
	_Alignas(64) _Atomic uint64_t ticks;
	_Alignas(64) _Atomic uint64_t free[LANE_CHUNKS / 64]; /* a bit for each chunk */
	_Atomic uint32_t next_lane;
};
_Static_assert(sizeof(struct lane_area) <= LANE_HEADER_SIZE, "lane_area is too large");

/* Bytes of a region with lanes or without. */
static inline size_t lane_region_size(bool lanes)
{
	return RING_REGION_SIZE + (lanes ? LANE_AREA_SIZE : 0);
}

struct lane_entry {
	uint64_t what; /* enum lane_op in the lowest 4 bits */
	uint64_t value;
};

struct lane_chunk {
	uint32_t lane; /* unique in the process */
	uint32_t generation;
	uint32_t slot;           /* of the thread; RING_NO_SLOT: none */
	_Atomic uint32_t closed; /* enum lane_closed: the writer is done with it */
	uint64_t number;         /* the first entry's difference counts from here */
	uint64_t time_ns;        /* CLOCK_MONOTONIC when the chunk was taken */
	/* Not 0: the writer will publish a release with this number when it has happened. The
	 * reader must not go beyond it. */
	_Atomic uint64_t pending;
	_Atomic uint32_t used; /* entries that can be read */
	uint32_t reserved[5];
	struct lane_entry entries[];
};
_Static_assert(sizeof(struct lane_chunk) == 64, "lane_chunk changed size");

#define LANE_ENTRIES ((LANE_CHUNK_SIZE - sizeof(struct lane_chunk)) / sizeof(struct lane_entry))

enum lane_closed {
	LANE_OPEN,
	LANE_FULL,  /* the lane goes on in another chunk, which was taken before this was closed */
	LANE_ENDED, /* with its thread */
};

enum lane_op {
	LANE_PAD, /* nothing */
	/* what: op | kind << 4 | LANE_UNWALKED | address << 8; value: size | difference << 32, the
	 * event's number less that of the lane's event before. */
	LANE_ALLOC,
	LANE_FREE, /* value: difference << 32 */
	/* The stack of the ALLOCs from here on: keep `common` frames from the root, then add
	 * `count`, the outermost first. what: op | common << 8 | count << 32; value: the first
	 * frame; the others follow in entries of two. A frame is code | offset << 32, see struct
	 * ring_frame. */
	LANE_STACK,
	LANE_LARGE, /* value: what the next ALLOC's size has above 32 bits, in its place */
	LANE_JUMP,  /* value: a number from which differences count */
	LANE_TIME,  /* value: CLOCK_MONOTONIC of the events from here on */
};
#define LANE_OP(what) ((enum lane_op)((what)&15))
#define LANE_KIND(what) ((unsigned)((what) >> 4 & 7)) /* enum trace_heap_kind */
#define LANE_UNWALKED (1u << 7)                       /* the stack could not be read */
#define LANE_ADDRESS(what) ((what) >> 8)
#define LANE_COMMON_MAX ((1u << 24) - 1)

#endif
