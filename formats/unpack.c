/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of trace.proto to plain structs, see pack.h. NULL from the arena means that its cap,
 * which bounds what a hostile message can make us allocate, is reached: the item is given up.
 */
#include "formats/pack.h"

#include <string.h>

#include "formats/pack_halves.h"
#include "trace.pb-c.h"

#include "formats/base/banned.h"

/* Puts the halves of a column together. */
#define JOIN(message, field, count, bits, to)                                  \
	halves_join_##bits(arena, (message)->field.data, (message)->field.len, \
			   (message)->field##_high, (message)->n_##field##_high, count, to)

static void *capped_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void capped_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

static struct trace_text text(const ProtobufCBinaryData *data)
{
	return (struct trace_text){data->data ? (const char *)data->data : "", data->len};
}

static const struct trace_text *text_list(struct arena *arena, const ProtobufCBinaryData *data,
					  size_t count)
{
	struct trace_text *texts = arena_alloc(arena, count * sizeof(*texts));

	for (size_t i = 0; texts && i < count; i++)
		texts[i] = text(&data[i]);
	return texts;
}

static int unpack_header(const Scprof__Header *from, struct arena *arena, struct trace_header *to)
{
	*to = (struct trace_header){
		.version = from->version,
		.tool_version = from->tool_version ? from->tool_version : "",
		.start_monotonic_ns = from->start_monotonic_ns,
		.start_realtime_ns = from->start_realtime_ns,
		.host = from->host ? from->host : "",
		.system = from->system ? from->system : "",
		.cpu_count = from->cpu_count,
		.command = text_list(arena, from->command, from->n_command),
		.command_count = from->n_command,
		.directory = text(&from->directory),
		.rate_hz = from->rate_hz,
		.wall = from->wall,
		.source = from->source,
		.tick_ns = from->tick_ns,
		.options = text(&from->options),
		.memory_rate = from->memory_rate,
		.copy_rate = from->copy_rate,
	};
	return to->command ? 0 : -1;
}

static int unpack_codes(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_code *codes = arena_alloc(arena, from->n_codes * sizeof(*codes));

	to->codes = codes;
	to->code_count = from->n_codes;
	to->first_code = from->first_code;
	for (size_t i = 0; codes && i < from->n_codes; i++) {
		const Scprof__Code *code = from->codes[i];

		codes[i] = (struct trace_code){
			.filename = code->has_filename ? code->filename : TRACE_NONE,
			.name = code->has_name ? code->name : TRACE_NONE,
			.qualname = code->has_qualname ? code->qualname : TRACE_NONE,
			.first_line = code->first_line,
			.flags = code->flags,
			.python = code->python,
			.line_table = code->line_table.data,
			.line_table_size = code->line_table.len,
			.code_bytes = code->code_bytes,
		};
	}
	return codes ? 0 : -1;
}

static int unpack_nodes(const Scprof__Nodes *from, struct arena *arena, struct pack_block *to)
{
	struct trace_node *nodes;

	if (!from)
		return 0;
	if (from->n_code != from->n_parent || from->n_offset != from->n_parent ||
	    from->n_parent > UINT32_MAX - from->first)
		return -1;
	nodes = arena_alloc(arena, from->n_parent * sizeof(*nodes));
	to->nodes = nodes;
	to->node_count = from->n_parent;
	to->first_node = from->first;
	for (size_t i = 0; nodes && i < from->n_parent; i++) {
		uint32_t id = from->first + (uint32_t)i;
		uint32_t back = from->parent[i];

		nodes[i] = (struct trace_node){
			.parent = back && back <= id ? id - back : TRACE_NONE,
			.code = from->code[i],
			.offset = from->offset[i],
		};
	}
	return nodes ? 0 : -1;
}

static int unpack_modules(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_module *modules = arena_alloc(arena, from->n_modules * sizeof(*modules));

	to->modules = modules;
	to->module_count = from->n_modules;
	to->first_module = from->first_module;
	for (size_t i = 0; modules && i < from->n_modules; i++) {
		const Scprof__Module *module = from->modules[i];

		modules[i] = (struct trace_module){
			.path = text(&module->path),
			.build_id = module->build_id.data,
			.build_id_size = module->build_id.len,
			.role = module->role <= TRACE_MODULE_AGENT ? module->role
								   : TRACE_MODULE_OTHER,
		};
	}
	return modules ? 0 : -1;
}

static int unpack_pcs(const Scprof__Pcs *from, struct arena *arena, struct pack_block *to)
{
	struct trace_pc *pcs;

	if (!from)
		return 0;
	if (from->n_module != from->n_offset || from->n_module > UINT32_MAX - from->first)
		return -1;
	pcs = arena_alloc(arena, from->n_module * sizeof(*pcs));
	to->pcs = pcs;
	to->pc_count = from->n_module;
	to->first_pc = from->first;
	for (size_t i = 0; pcs && i < from->n_module; i++)
		pcs[i] = (struct trace_pc){from->module[i], from->offset[i]};
	return pcs ? 0 : -1;
}

static int unpack_processes(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_process *processes =
		arena_alloc(arena, from->n_processes * sizeof(*processes));

	to->processes = processes;
	to->process_count = from->n_processes;
	for (size_t i = 0; processes && i < from->n_processes; i++) {
		const Scprof__Process *process = from->processes[i];

		processes[i] = (struct trace_process){
			.index = process->has_index ? process->index : TRACE_NONE,
			.pid = process->pid,
			.parent_pid = process->parent_pid,
			.parent = process->has_parent ? process->parent : TRACE_NONE,
			.start_ns = process->start_ns,
			.command = text_list(arena, process->command, process->n_command),
			.command_count = process->n_command,
			.executable = text(&process->executable),
			.python_hex = process->python_hex,
			.python_build = text(&process->python_build),
			.free_threaded = process->free_threaded,
			.origin = process->origin <= TRACE_ORIGIN_ATTACH ? process->origin
									 : TRACE_ORIGIN_LAUNCH,
			.prefix = text(&process->prefix),
		};
		if (!processes[i].command)
			return -1;
	}
	return processes ? 0 : -1;
}

static int unpack_threads(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_thread *threads = arena_alloc(arena, from->n_threads * sizeof(*threads));

	to->threads = threads;
	to->thread_count = from->n_threads;
	for (size_t i = 0; threads && i < from->n_threads; i++) {
		const Scprof__Thread *thread = from->threads[i];

		threads[i] = (struct trace_thread){
			.index = thread->has_index ? thread->index : TRACE_NONE,
			.process = thread->process,
			.tid = thread->tid,
			.start_ns = thread->start_ns,
			.main = thread->main,
			.name = text(&thread->name),
		};
	}
	return threads ? 0 : -1;
}

/* Whether the columns have count values each or none. */
static bool all_fit(const size_t *lengths, size_t columns, size_t count)
{
	for (size_t i = 0; i < columns; i++) {
		if (lengths[i] && lengths[i] != count)
			return false;
	}
	return true;
}

static int unpack_columns(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	const Scprof__Samples *samples = from->samples;
	const Scprof__Waits *waits = from->waits;

	if (samples) {
		const size_t n = samples->time.len;
		const size_t lengths[] = {samples->n_thread, samples->n_wall, samples->n_off_cpu,
					  samples->n_flags, samples->n_ready};

		to->samples = (struct pack_samples){
			.count = n,
			.thread = samples->thread,
			.wall = samples->wall,
			.off_cpu = samples->off_cpu,
			.flags = samples->flags,
			.ready = samples->ready,
		};
		if (!all_fit(lengths, sizeof(lengths) / sizeof(lengths[0]), n) ||
		    JOIN(samples, time, n, 64, &to->samples.time) < 0 ||
		    JOIN(samples, node, n, 32, &to->samples.node) < 0 ||
		    JOIN(samples, pc, n, 32, &to->samples.pc) < 0)
			return -1;
	}
	if (waits) {
		const size_t n = waits->n_time;
		const size_t lengths[] = {waits->n_thread, waits->n_wall, waits->n_cpu,
					  waits->n_node,   waits->n_kind, waits->n_ready};

		if (!all_fit(lengths, sizeof(lengths) / sizeof(lengths[0]), n))
			return -1;
		to->waits =
			(struct pack_waits){n,          waits->thread, waits->time, waits->wall,
					    waits->cpu, waits->node,   waits->kind, waits->ready};
	}
	return 0;
}

/* Whether the groups of columns agree with each other; the ops decide the rest. */
static bool heap_fits(const Scprof__Heap *heap, size_t allocs, size_t named, size_t resizes)
{
	const size_t by_site[] = {heap->n_site_kind, heap->n_site_flags};

	return heap->n_thread == heap->n_thread_rows && heap->n_time == heap->n_time_rows &&
	       all_fit(by_site, sizeof(by_site) / sizeof(by_site[0]), heap->n_site_node) &&
	       all_fit(&heap->n_left, 1, resizes) && heap->site.len == allocs &&
	       heap->size.len == allocs && heap->block.len == named;
}

static int unpack_heap(const Scprof__Heap *heap, struct arena *arena, struct pack_heap *to)
{
	size_t ops[PACK_HEAP_FREE_RECENT + 1] = {0};
	size_t named;

	if (!heap)
		return 0;
	for (size_t i = 0; i < heap->op.len; i++) {
		uint8_t op = heap->op.data[i];

		ops[op < PACK_HEAP_FREE_RECENT ? op : PACK_HEAP_FREE_RECENT]++;
	}
	named = ops[PACK_HEAP_RESIZE] + ops[PACK_HEAP_FREE];
	*to = (struct pack_heap){
		.first_block = heap->first_block,
		.count = heap->op.len,
		.op = heap->op.data,
		.thread_runs = heap->n_thread,
		.thread = heap->thread,
		.thread_rows = heap->thread_rows,
		.time_runs = heap->n_time,
		.time = heap->time,
		.time_rows = heap->time_rows,
		.site_count = heap->n_site_node,
		.site_node = heap->site_node,
		.site_kind = heap->n_site_kind ? heap->site_kind : NULL,
		.site_flags = heap->n_site_flags ? heap->site_flags : NULL,
		.alloc_count = ops[PACK_HEAP_ALLOC],
		.named_count = named,
		.resize_count = ops[PACK_HEAP_RESIZE],
		.left = heap->n_left ? heap->left : NULL,
	};
	if (!heap_fits(heap, to->alloc_count, named, to->resize_count) ||
	    JOIN(heap, site, to->alloc_count, 32, &to->site) < 0 ||
	    JOIN(heap, size, to->alloc_count, 64, &to->size) < 0 ||
	    JOIN(heap, block, named, 64, &to->block) < 0)
		return -1;
	return 0;
}

static int unpack_copies(const Scprof__Copies *copies, struct arena *arena, struct pack_copies *to)
{
	const size_t n = copies ? copies->time.len : 0;
	const size_t lengths[] = {copies ? copies->n_thread : 0, copies ? copies->n_kind : 0,
				  copies ? copies->n_flags : 0};

	if (!copies)
		return 0;
	*to = (struct pack_copies){
		.count = n,
		.thread = copies->thread,
		.kind = copies->kind,
		.flags = copies->flags,
	};
	if (!all_fit(lengths, sizeof(lengths) / sizeof(lengths[0]), n) ||
	    JOIN(copies, time, n, 64, &to->time) < 0 || JOIN(copies, node, n, 32, &to->node) < 0 ||
	    JOIN(copies, size, n, 64, &to->size) < 0)
		return -1;
	return 0;
}

static int unpack_memory(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	const Scprof__Footprints *rows = from->footprints;

	if (unpack_heap(from->heap, arena, &to->heap) < 0 ||
	    unpack_copies(from->copies, arena, &to->copies) < 0)
		return -1;
	if (rows) {
		const size_t lengths[] = {rows->n_rss_bytes,    rows->n_file_bytes,
					  rows->n_pss_bytes,    rows->n_swap_bytes,
					  rows->n_minor_faults, rows->n_major_faults};

		if (!all_fit(lengths, sizeof(lengths) / sizeof(lengths[0]), rows->n_time))
			return -1;
		to->footprints = (struct pack_footprints){
			rows->n_time,    rows->time,       rows->rss_bytes,    rows->file_bytes,
			rows->pss_bytes, rows->swap_bytes, rows->minor_faults, rows->major_faults,
		};
	}
	return 0;
}

static int unpack_marks(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_mark *marks = arena_alloc(arena, from->n_marks * sizeof(*marks));

	to->marks = marks;
	to->mark_count = 0;
	for (size_t i = 0; marks && i < from->n_marks; i++) {
		const Scprof__Mark *mark = from->marks[i];

		if (mark->kind >= TRACE_MARK_KINDS)
			continue;
		marks[to->mark_count++] = (struct trace_mark){
			.process = to->process,
			.kind = mark->kind,
			.time_ns = mark->time_ns,
			.label = text(&mark->label),
		};
	}
	return marks ? 0 : -1;
}

static int unpack_losses(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_loss *losses = arena_alloc(arena, from->n_losses * sizeof(*losses));

	to->losses = losses;
	to->loss_count = 0;
	for (size_t i = 0; losses && i < from->n_losses; i++) {
		const Scprof__Loss *loss = from->losses[i];

		if (loss->kind >= TRACE_LOSS_KINDS)
			continue;
		losses[to->loss_count++] = (struct trace_loss){
			.kind = loss->kind,
			.process = to->process,
			.thread = loss->has_thread ? loss->thread : TRACE_NONE,
			.time_ns = loss->time_ns,
			.count = loss->count,
		};
	}
	return losses ? 0 : -1;
}

static int unpack_process_ends(const Scprof__Block *from, struct arena *arena,
			       struct pack_block *to)
{
	struct trace_process_end *ends = arena_alloc(arena, from->n_process_ends * sizeof(*ends));

	to->process_ends = ends;
	to->process_end_count = from->n_process_ends;
	for (size_t i = 0; ends && i < from->n_process_ends; i++) {
		const Scprof__ProcessEnd *end = from->process_ends[i];

		ends[i] = (struct trace_process_end){
			.process = end->process,
			.time_ns = end->time_ns,
			.how = end->how <= TRACE_END_EXEC ? end->how : TRACE_END_UNKNOWN,
			.status = end->status,
			.cpu_ns = end->cpu_ns,
			.user_ns = end->user_ns,
			.system_ns = end->system_ns,
			.peak_rss_bytes = end->peak_rss_bytes,
			.exit_cpu_ns =
				end->exit_cpu_ns < end->cpu_ns ? end->exit_cpu_ns : end->cpu_ns,
		};
	}
	return ends ? 0 : -1;
}

static int unpack_symbols(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_symbol *symbols = arena_alloc(arena, from->n_symbols * sizeof(*symbols));

	to->symbols = symbols;
	to->symbol_count = from->n_symbols;
	for (size_t i = 0; symbols && i < from->n_symbols; i++) {
		const Scprof__Symbol *symbol = from->symbols[i];

		symbols[i] = (struct trace_symbol){
			.module = symbol->module,
			.start = symbol->start,
			.size = symbol->size,
			.name = text(&symbol->name),
			.kind = symbol->kind == TRACE_SYMBOL_EVAL ? TRACE_SYMBOL_EVAL
								  : TRACE_SYMBOL_FUNCTION,
		};
	}
	return symbols ? 0 : -1;
}

static int unpack_refusals(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_refusal *refusals = arena_alloc(arena, from->n_refusals * sizeof(*refusals));

	to->refusals = refusals;
	to->refusal_count = from->n_refusals;
	for (size_t i = 0; refusals && i < from->n_refusals; i++) {
		const Scprof__Refusal *refusal = from->refusals[i];

		refusals[i] = (struct trace_refusal){
			.pid = refusal->pid,
			.parent_pid = refusal->parent_pid,
			.python = refusal->python,
			.time_ns = refusal->time_ns,
			.command = text(&refusal->command),
			.why = text(&refusal->why),
		};
	}
	return refusals ? 0 : -1;
}

static int unpack_sources(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	struct trace_source *sources = arena_alloc(arena, from->n_sources * sizeof(*sources));

	to->sources = sources;
	to->source_count = from->n_sources;
	for (size_t i = 0; sources && i < from->n_sources; i++)
		sources[i] = (struct trace_source){text(&from->sources[i]->path),
						   text(&from->sources[i]->text)};
	return sources ? 0 : -1;
}

static int unpack_block(const Scprof__Block *from, struct arena *arena, struct pack_block *to)
{
	*to = (struct pack_block){
		.sequence = from->sequence,
		.process = from->has_process ? from->process : TRACE_NONE,
		.first_time_ns = from->first_time_ns,
		.last_time_ns = from->last_time_ns,
		.first_string = from->first_string,
		.strings = text_list(arena, from->strings, from->n_strings),
		.string_count = from->n_strings,
	};
	if (!to->strings || unpack_codes(from, arena, to) < 0 ||
	    unpack_nodes(from->nodes, arena, to) < 0 || unpack_modules(from, arena, to) < 0 ||
	    unpack_pcs(from->pcs, arena, to) < 0 || unpack_processes(from, arena, to) < 0 ||
	    unpack_threads(from, arena, to) < 0 || unpack_columns(from, arena, to) < 0 ||
	    unpack_losses(from, arena, to) < 0 || unpack_process_ends(from, arena, to) < 0 ||
	    unpack_symbols(from, arena, to) < 0 || unpack_sources(from, arena, to) < 0 ||
	    unpack_refusals(from, arena, to) < 0 || unpack_memory(from, arena, to) < 0 ||
	    unpack_marks(from, arena, to) < 0)
		return -1;
	return 0;
}

int pack_unpack(const void *data, size_t size, struct arena *arena, struct pack_item *item,
		struct err *err)
{
	ProtobufCAllocator allocator = {capped_alloc, capped_free, arena};
	const Scprof__Item *message = scprof__item__unpack(&allocator, size, data);
	const Scprof__End *end = message ? message->end : NULL;

	*item = (struct pack_item){.kind = PACK_UNKNOWN};
	if (!message)
		return err_set(err, ERR_CORRUPT, "its content is not a message");
	if (message->header) {
		item->kind = PACK_HEADER;
		if (unpack_header(message->header, arena, &item->header) < 0)
			return err_set(err, ERR_CORRUPT, "its header does not fit into memory");
	} else if (message->block) {
		item->kind = PACK_BLOCK;
		if (unpack_block(message->block, arena, &item->block) < 0)
			return err_set(err, ERR_CORRUPT, "its columns do not match");
	} else if (end) {
		item->kind = PACK_END;
		item->end = (struct trace_end){
			.time_ns = end->time_ns,
			.reason = end->reason <= TRACE_REASON_WRITE_ERROR ? end->reason
									  : TRACE_REASON_FINISHED,
			.samples = end->samples,
			.blocks = end->blocks,
			.command_status = end->command_status,
		};
	}
	return 0;
}

int pack_unpack_index(const void *data, size_t size, struct arena *arena,
		      struct pack_index_entry **entries, size_t *count, struct err *err)
{
	ProtobufCAllocator allocator = {capped_alloc, capped_free, arena};
	const Scprof__Index *index = scprof__index__unpack(&allocator, size, data);
	size_t n = index ? index->n_offset : 0;

	if (!index)
		return err_set(err, ERR_CORRUPT, "the index is not a message");
	if (index->n_size != n || index->n_first_time_ns != n || index->n_last_time_ns != n ||
	    index->n_process != n || index->n_kinds != n)
		return err_set(err, ERR_CORRUPT, "the columns of the index do not match");
	*entries = arena_alloc(arena, n * sizeof(**entries));
	if (!*entries)
		return err_set(err, ERR_CORRUPT, "the index is too large");
	*count = n;
	for (size_t i = 0; i < n; i++)
		(*entries)[i] = (struct pack_index_entry){
			index->offset[i],       index->size[i],    index->first_time_ns[i],
			index->last_time_ns[i], index->process[i], index->kinds[i],
		};
	return 0;
}
