/* SPDX-License-Identifier: Apache-2.0
 *
 * Between plain structs and the messages of trace.proto. pack.c and unpack.c alone see
 * protobuf. A pack_block is a Block as it stands in the file: columns still hold ticks and
 * differences, ids are not checked; trace_columns.c and trace_reader.c see to that.
 */
#ifndef SCPROF_PACK_H
#define SCPROF_PACK_H

#include "formats/base/arena.h"
#include "formats/base/buf.h"
#include "formats/base/err.h"
#include "formats/trace_event.h"

/* Columns of Samples and Waits; a column without values is NULL and reads as zeros. */
struct pack_samples {
	size_t count;
	uint32_t *thread;
	uint64_t *time;
	int64_t *wall;
	int64_t *off_cpu;
	uint32_t *node;
	uint32_t *pc;
	uint32_t *flags;
	uint64_t *ready;
};

struct pack_waits {
	size_t count;
	uint32_t *thread;
	uint64_t *time;
	int64_t *wall;
	uint64_t *cpu;
	uint32_t *node;
	uint32_t *kind;
	uint64_t *ready;
};

/* The values of Heap.op. */
enum pack_heap_op {
	PACK_HEAP_ALLOC,
	PACK_HEAP_RESIZE,
	PACK_HEAP_FREE,        /* of a block that is named */
	PACK_HEAP_FREE_RECENT, /* plus n: of the n-th newest of the live recent ones */
};

/* The columns of Heap: every group has a number of values of its own. */
struct pack_heap {
	uint64_t first_block;
	size_t count; /* rows */
	uint8_t *op;
	size_t thread_runs;
	uint32_t *thread;
	uint32_t *thread_rows;
	size_t time_runs;
	uint64_t *time;
	uint32_t *time_rows;
	size_t site_count;
	uint32_t *site_node;
	uint32_t *site_kind;  /* NULL: zeros */
	uint32_t *site_flags; /* the same */
	size_t alloc_count;
	uint32_t *site; /* NULL: zeros, as are the following */
	uint64_t *size;
	size_t named_count;
	uint64_t *block;
	size_t resize_count;
	uint64_t *left;
};

struct pack_copies {
	size_t count;
	uint32_t *thread;
	uint64_t *time;
	uint32_t *node;
	uint64_t *size;
	uint32_t *kind;
	uint32_t *flags;
};

struct pack_footprints {
	size_t count;
	uint64_t *time;
	int64_t *rss_bytes;
	int64_t *file_bytes;
	uint64_t *pss_bytes;
	uint64_t *swap_bytes;
	int64_t *minor_faults;
	int64_t *major_faults;
};

struct pack_block {
	uint64_t sequence;
	uint32_t process; /* TRACE_NONE: the block has definitions only */
	uint64_t first_time_ns;
	uint64_t last_time_ns;
	uint32_t first_string;
	const struct trace_text *strings;
	size_t string_count;
	uint32_t first_code;
	const struct trace_code *codes;
	size_t code_count;
	uint32_t first_node;
	const struct trace_node *nodes; /* unpacked: a parent that cannot be is TRACE_NONE */
	size_t node_count;
	uint32_t first_module;
	const struct trace_module *modules;
	size_t module_count;
	uint32_t first_pc;
	const struct trace_pc *pcs;
	size_t pc_count;
	const struct trace_process *processes;
	size_t process_count;
	const struct trace_thread *threads;
	size_t thread_count;
	struct pack_samples samples;
	struct pack_waits waits;
	const struct trace_loss *losses;
	size_t loss_count;
	const struct trace_process_end *process_ends;
	size_t process_end_count;
	const struct trace_symbol *symbols;
	size_t symbol_count;
	const struct trace_source *sources;
	size_t source_count;
	const struct trace_refusal *refusals;
	size_t refusal_count;
	struct pack_heap heap;
	struct pack_copies copies;
	struct pack_footprints footprints;
	const struct trace_mark *marks;
	size_t mark_count;
};

/* One line of the index: where a Block's frame is and what is in it. */
struct pack_index_entry {
	uint64_t offset;
	uint64_t size;
	uint64_t first_time_ns;
	uint64_t last_time_ns;
	uint32_t process; /* TRACE_NONE: definitions only */
	uint32_t kinds;   /* bit n: Block field n + 30 is present */
};

enum pack_kind {
	PACK_UNKNOWN, /* from a newer version: to be skipped */
	PACK_HEADER,
	PACK_BLOCK,
	PACK_END,
};

struct pack_item {
	enum pack_kind kind;
	struct trace_header header;
	struct pack_block block;
	struct trace_end end;
};

/* Each adds one Item, its length in front, to out. */
void pack_header(const struct trace_header *header, struct buf *out);
void pack_block(const struct pack_block *block, struct buf *out);
void pack_end(const struct trace_end *end, struct buf *out);
/* Adds an Index message without a length. */
void pack_index(const struct pack_index_entry *entries, size_t count, struct buf *out);

/* Unpacks one Item of size bytes (without its length). What item points to lives in the arena; byte
 * strings have no 0 behind them yet. Returns 0, or -1 with ERR_CORRUPT; the arena's cap counts. */
int pack_unpack(const void *data, size_t size, struct arena *arena, struct pack_item *item,
		struct err *err);
int pack_unpack_index(const void *data, size_t size, struct arena *arena,
		      struct pack_index_entry **entries, size_t *count, struct err *err);

/* The offsets in a packed Item (its length included) at which a large column or list starts: data
 * changes its nature there. Fills at most max offsets in rising order and returns their number. */
size_t pack_boundaries(const void *data, size_t size, size_t *offsets, size_t max);

#endif
