/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks the frames of one Python thread, leaf first. One walker for everybody: the caller brings
 * the function that reads memory (plain loads inside the agent, process_vm_readv from outside) and
 * the one that takes a frame. Both are inlined, so in the agent a frame costs a few loads.
 *
 * What is known of transient states (measured by single-stepping every instruction): up to 3.10 and
 * from 3.13 on the chain can be walked at any moment. 3.11 and 3.12 publish a new C frame before
 * its current_frame is stored, and a new Python frame before its back link: there the walk has to
 * pass through the frame that was current when the interpreter was last entered from C ("anchor"),
 * and in 3.12 it has to end at a shim frame; when it does not, the stack from the anchor on is
 * still right.
 */
#ifndef SCPROF_WALK_H
#define SCPROF_WALK_H

#include "record/python/layout.h"

#define WALK_MAX_FRAMES (1u << 22)
#define WALK_INLINE static inline __attribute__((always_inline))

/* Copies size bytes at address to `to`: 0, or -1 when the memory cannot be read. */
typedef int (*walk_read_fn)(void *arg, uint64_t address, void *to, size_t size);

/* Takes a frame whose code object is at `code`. instr is f_lasti in bytes (<= 3.10) or the address
 * of the instruction. tlbc is the index of the thread's own copy of the bytecode, 0 for the main
 * one. check_started: the frame counts only when it has reached its first traceable instruction.
 * Returns 0, or -1 when this cannot be a frame. */
typedef int (*walk_frame_fn)(void *arg, uint64_t frame, uint64_t code, int64_t instr, int32_t tlbc,
			     int check_started);

WALK_INLINE int walk_pointer_ok(uint64_t p)
{
	return p >= 4096 && p < (1ull << 56) && (p & 7) == 0;
}

WALK_INLINE int walk_load(walk_read_fn read, void *arg, uint64_t address, uint64_t *to)
{
	return read(arg, address, to, sizeof(*to));
}

/* The frame objects of 3.9 and 3.10. */
WALK_INLINE int walk_frame_objects(const struct py_layout *layout, uint64_t frame,
				   walk_read_fn read, walk_frame_fn take, void *arg)
{
	for (uint32_t n = 0; frame && n < WALK_MAX_FRAMES; n++) {
		uint64_t code, back;
		int32_t lasti;

		if (!walk_pointer_ok(frame) ||
		    walk_load(read, arg, frame + layout->frame_code, &code) ||
		    walk_load(read, arg, frame + layout->frame_previous, &back) ||
		    read(arg, frame + layout->frame_instr, &lasti, sizeof(lasti)))
			return -1;
		if (layout->version >= 0x30a)
			lasti *= 2;
		if (!walk_pointer_ok(code) || take(arg, frame, code, lasti, 0, 0))
			return -1;
		frame = back;
	}
	return 0;
}

/* The interpreter frames of 3.11 on, from `frame` to the thread's first. When `anchor` is not 0 the
 * walk has to meet it; with need_shim it has to end at a shim frame. */
WALK_INLINE int walk_interpreter_frames(const struct py_layout *layout, uint64_t frame,
					uint64_t anchor, int need_shim, walk_read_fn read,
					walk_frame_fn take, void *arg)
{
	int last_was_shim = 0;

	for (uint32_t n = 0; frame && n < WALK_MAX_FRAMES; n++) {
		uint64_t code, instr, previous;
		uint8_t owner;
		int32_t tlbc = 0;

		if (!walk_pointer_ok(frame) ||
		    walk_load(read, arg, frame + layout->frame_previous, &previous) ||
		    walk_load(read, arg, frame + layout->frame_code, &code) ||
		    walk_load(read, arg, frame + layout->frame_instr, &instr) ||
		    read(arg, frame + layout->frame_owner, &owner, sizeof(owner)))
			return -1;
		if (frame == anchor)
			anchor = 0;
		last_was_shim = owner >= layout->owner_shim;
		if (!last_was_shim) {
			code &= ~(uint64_t)7; /* 3.14 on: tagged */
			if (layout->frame_tlbc_index != PY_NO_OFFSET &&
			    read(arg, frame + layout->frame_tlbc_index, &tlbc, sizeof(tlbc)))
				return -1;
			if (!walk_pointer_ok(code) || take(arg, frame, code, (int64_t)instr, tlbc,
							   owner != layout->owner_generator))
				return -1;
		}
		frame = previous;
	}
	if (anchor || frame || (need_shim && !last_was_shim))
		return -1;
	return 0;
}

/* Walks the stack of the thread state at ts. restart(arg) is called when a walk failed and another
 * one is tried: what was taken so far has to be forgotten. Returns 0, or -1 when no stack could be
 * read; a thread without Python frames is a success without a frame. */
WALK_INLINE int walk_thread(const struct py_layout *layout, uint64_t ts, walk_read_fn read,
			    walk_frame_fn take, void (*restart)(void *arg), void *arg)
{
	uint64_t frame, cframe, previous = 0, anchor = 0;
	int need_shim = layout->version == 0x30c;

	if (layout->ts_frame != PY_NO_OFFSET) {
		if (walk_load(read, arg, ts + layout->ts_frame, &frame))
			return -1;
		return walk_frame_objects(layout, frame, read, take, arg);
	}
	if (layout->ts_cframe == PY_NO_OFFSET) {
		if (walk_load(read, arg, ts + layout->ts_current_frame, &frame))
			return -1;
		return walk_interpreter_frames(layout, frame, 0, 0, read, take, arg);
	}

	if (walk_load(read, arg, ts + layout->ts_cframe, &cframe) || !walk_pointer_ok(cframe) ||
	    walk_load(read, arg, cframe + layout->cframe_current_frame, &frame) ||
	    walk_load(read, arg, cframe + layout->cframe_previous, &previous))
		return -1;
	if (previous && (!walk_pointer_ok(previous) ||
			 walk_load(read, arg, previous + layout->cframe_current_frame, &anchor)))
		return -1;
	if (!frame && !anchor)
		return 0;
	if (frame && !walk_interpreter_frames(layout, frame, anchor, need_shim, read, take, arg))
		return 0;
	restart(arg);
	if (!anchor)
		return -1;
	return walk_interpreter_frames(layout, anchor, 0, need_shim, read, take, arg);
}

#endif
