/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/scene.h"

#include <inttypes.h>
#include <time.h>

#include "formats/base/xalloc.h"
#include "tests/unit/unit.h"

struct scene *scene_new(uint64_t memory_rate, bool forked)
{
	struct scene *s = xcalloc(1, sizeof(*s));
	uint64_t rate = memory_rate == SCENE_LANES ? 1 : memory_rate;
	size_t size = lane_region_size(memory_rate == SCENE_LANES);
	char *memory = xcalloc(1, size);
	struct trace_header header = {.memory_rate = rate, .host = "", .system = ""};
	struct timespec t;
	struct err err;

	clock_gettime(CLOCK_MONOTONIC, &t);
	/* The recording began a minute ago. */
	s->now_ns = (uint64_t)t.tv_sec * SCENE_SECOND - 60ull * SCENE_SECOND;
	s->options = (struct drain_options){
		.start_ns = s->now_ns, .memory_rate = rate, .footprint = true};
	s->fd = unit_temporary();
	s->writer = trace_writer_open(dup(s->fd), &header, 1, &err);
	ck_assert_ptr_nonnull(s->writer);
	s->target = (struct target){
		.pid = getpid(),
		.pid_fd = -1,
		.final_status = -1,
		.ring = (struct ring_header *)memory,
		.slots = (struct ring_slot *)(memory + RING_SLOTS_OFFSET),
		.data = memory + RING_DATA_OFFSET,
	};
	if (memory_rate == SCENE_LANES)
		s->target.lanes = (struct lane_area *)(memory + RING_REGION_SIZE);
	s->target.ring->pid = getpid();
	s->target.ring->start_ns = s->now_ns;
	s->target.ring->forked = forked;
	s->target.slots[0].main = 1;
	for (uint32_t i = 0; i < 4; i++) {
		s->target.slots[i].tid = (uint32_t)getpid() + i;
		s->target.slots[i].generation = SCENE_GENERATION;
		s->target.slots[i].start_ns = s->now_ns;
	}
	s->drain = drain_new(s->writer, NULL, &s->options);
	drain_add(s->drain, &s->target, !forked);
	return s;
}

void *scene_put(struct scene *s, uint16_t type, uint16_t slot, size_t size)
{
	struct ring_header *ring = s->target.ring;
	struct ring_record *record;

	size = (size + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN;
	ck_assert_uint_le((ring->head - ring->tail) + size, RING_DATA_SIZE);
	if (ring->head % RING_DATA_SIZE + size > RING_DATA_SIZE)
		ck_abort_msg("the test's ring is too small");
	record = (struct ring_record *)(s->target.data + ring->head % RING_DATA_SIZE);
	record->type = type;
	record->slot = slot;
	record->size = (uint32_t)size;
	ring->head += size;
	s->now_ns += 1000;
	return record;
}

struct ring_heap *scene_heap(struct scene *s, uint16_t type, uint64_t address, uint64_t size,
			     uint32_t flags)
{
	struct ring_heap *heap = scene_put(s, type, 0, sizeof(*heap));

	heap->generation = SCENE_GENERATION;
	heap->flags = flags;
	heap->time_ns = s->now_ns;
	heap->address = address;
	heap->size = size;
	return heap;
}

struct ring_release *scene_release(struct scene *s, uint16_t type, uint64_t address, uint64_t size)
{
	struct ring_release *release = scene_put(s, type, 0, sizeof(*release));

	release->generation = SCENE_GENERATION;
	release->time_ns = s->now_ns;
	release->address = address;
	release->size = size;
	return release;
}

void scene_remap(struct scene *s, uint64_t old, uint64_t old_size, uint64_t address, uint64_t size)
{
	struct ring_heap *heap = scene_heap(s, RING_REMAP, address, size, 0);

	heap->old_address = old;
	heap->old_size = old_size;
}

static void say(struct scene *s, const struct trace_heap *event)
{
	static const char kinds[] = "npafrA";

	if (s->text.size)
		buf_add_byte(&s->text, ' ');
	if (event->op == TRACE_HEAP_ALLOC)
		buf_printf(&s->text, "+%" PRIu64 ":%" PRIu64 "%c%s%s%s", event->block, event->size,
			   kinds[event->kind], event->flags & TRACE_HEAP_EXACT ? "!" : "",
			   event->flags & TRACE_HEAP_RESTORED ? "r" : "",
			   event->flags & TRACE_HEAP_UNWALKED ? "?" : "");
	else if (event->op == TRACE_HEAP_FREE)
		buf_printf(&s->text, "-%" PRIu64, event->block);
	else
		buf_printf(&s->text, "~%" PRIu64 ":%" PRIu64, event->block, event->size);
	s->last_thread = event->thread;
	s->last_node = event->node;
	ck_assert_uint_ge(event->time_ns, s->last_time_ns);
	s->last_time_ns = event->time_ns;
	if (s->events < SCENE_TIMES)
		s->times_ns[s->events] = event->time_ns;
	s->events++;
}

const char *scene_finish(struct scene *s)
{
	struct trace_end end = {0};
	struct trace_block block;
	struct err err;

	drain_target(s->drain, &s->target);
	drain_end(s->drain, &s->target, 0);
	drain_free(s->drain);
	ck_assert_int_eq(trace_writer_finish(s->writer, &end, &err), 0);
	trace_writer_free(s->writer);
	s->data = unit_content(s->fd);
	s->reader = trace_reader_open_memory(s->data.data, s->data.size, &err);
	ck_assert_ptr_nonnull(s->reader);
	while (trace_reader_next(s->reader, &block, &err) > 0) {
		for (size_t i = 0; i < block.heap_count; i++)
			say(s, &block.heap[i]);
		for (size_t i = 0; i < block.loss_count; i++)
			s->losses[block.losses[i].kind] += block.losses[i].count;
		s->copies += block.copy_count;
		s->marks += block.mark_count;
		if (block.mark_count)
			s->mark_ns = block.marks[block.mark_count - 1].time_ns;
		s->footprints += block.footprint_count;
	}
	ck_assert_msg(!trace_reader_damage(s->reader), "%s", trace_reader_damage(s->reader));
	return buf_text(&s->text);
}

void scene_free(struct scene *s)
{
	trace_reader_close(s->reader);
	buf_release(&s->data);
	buf_release(&s->text);
	close(s->fd);
	free(s->target.ring);
	free(s);
}
