/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a trace block by block from a file or a pipe, in bounded memory. A trace is untrusted:
 * every length is checked before anything is allocated, every id before it is handed out. A torn
 * tail, a missing index or a lost block is not an error: the reader gives what is whole and says
 * what is missing.
 */
#ifndef SCPROF_TRACE_READER_H
#define SCPROF_TRACE_READER_H

#include "formats/base/err.h"
#include "formats/trace_event.h"

struct trace_reader;

/* Everything defined by the blocks read so far; grows with trace_reader_next. Arrays are indexed by
 * id and may be moved by the next call. Definitions lost with a damaged block are placeholders:
 * string "?" and code 'lost definition'. nodes[0] and pcs[0] are the empty ones. String ids are the
 * reader's own; all other ids are those of the file. */
struct trace_defs {
	const struct trace_text *strings;
	size_t string_count;
	const struct trace_code *codes;
	size_t code_count;
	const struct trace_node *nodes;
	size_t node_count;
	const struct trace_module *modules;
	size_t module_count;
	const struct trace_pc *pcs;
	size_t pc_count;
	const struct trace_process *processes;
	size_t process_count;
	const struct trace_thread *threads;
	size_t thread_count;
	const struct trace_process_end *process_ends; /* in order of arrival, not by id */
	size_t process_end_count;
	const struct trace_symbol *symbols; /* in order of arrival */
	size_t symbol_count;
	const struct trace_source *sources;
	size_t source_count;
	const struct trace_refusal *refusals; /* in order of arrival */
	size_t refusal_count;
};

/* The events of one block, each kind in order of time, borrowed until the next trace_reader_next.
 * Every id in them is valid in trace_defs. */
struct trace_block {
	uint64_t sequence;
	uint32_t process;
	uint64_t first_time_ns;
	uint64_t last_time_ns;
	const struct trace_sample *samples;
	size_t sample_count;
	const struct trace_wait *waits;
	size_t wait_count;
	const struct trace_loss *losses;
	size_t loss_count;
	const struct trace_heap *heap; /* in the order in which they happened; of a block whose
					  ALLOC was lost with damage there is no event at all */
	size_t heap_count;
	const struct trace_copy *copies;
	size_t copy_count;
	const struct trace_footprint *footprints;
	size_t footprint_count;
	const struct trace_mark *marks;
	size_t mark_count;
};

/* Opens path, "-" for stdin, and reads the header. Errors: ERR_SYSTEM (cannot open), ERR_CORRUPT
 * (not a trace, damaged header), ERR_VERSION (made by a newer scprof). Free with
 * trace_reader_close. */
struct trace_reader *trace_reader_open(const char *path, struct err *err);
/* The same for a file that may be growing while it is read: trace_reader_next returns 0 when there
 * is nothing more yet, and a later call goes on; after trace_reader_end there is nothing more to
 * come. *early (with NULL): no trace is there yet, try again. */
struct trace_reader *trace_reader_open_follow(const char *path, bool *early, struct err *err);
/* The same from memory, for tests and fuzzing: data is borrowed. */
struct trace_reader *trace_reader_open_memory(const void *data, size_t size, struct err *err);

const struct trace_header *trace_reader_header(const struct trace_reader *r);
const struct trace_defs *trace_reader_defs(const struct trace_reader *r);

/* Reads the next block: 1 and *block, 0 at the end, -1 on an error after which nothing more can be
 * read (a system error; damage is not one, see trace_reader_damage). */
int trace_reader_next(struct trace_reader *r, struct trace_block *block, struct err *err);

/* After the end: the End message, or NULL when the recording did not finish. */
const struct trace_end *trace_reader_end(const struct trace_reader *r);

/* A sentence on what is missing or damaged ("the last block is cut off after 1234 bytes"), or NULL
 * when the trace is whole so far. */
const char *trace_reader_damage(const struct trace_reader *r);

uint64_t trace_reader_bytes(const struct trace_reader *r); /* read so far, compressed */

void trace_reader_close(struct trace_reader *r);

#endif
