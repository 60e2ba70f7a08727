/* SPDX-License-Identifier: Apache-2.0
 *
 * A module's data is what is mapped writable from its file, and the nameless memory right behind
 * that. From 3.13 on the runtime begins with a cookie. Before, it is recognised by what it points
 * to: the newest and the first of the interpreters (head and main), each with a thread that points
 * back to it.
 */
#include "record/find_runtime.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/xalloc.h"
#include "record/python/walk.h"
#include "record/remote_memory.h"

#define PIECE (1u << 20)
#define OVERLAP 512u
#define NUMBER_MAX ((1u << 22) + 1) /* of threads, and plenty for interpreters */
#define DATA_MAX (256u << 20)       /* of one module */

/* Calls look(arg, address, bytes, size) for the data, piece by piece, each overlapping the next,
 * until it returns true. */
static bool scan_data(const struct process_maps *maps, const struct process_map *code,
		      bool (*look)(void *arg, uint64_t address, const uint8_t *bytes, size_t size),
		      void *arg)
{
	uint8_t *bytes = xmalloc(PIECE + OVERLAP);
	uint64_t before_end = 0, total = 0;
	bool inside = false, found = false;

	for (size_t i = 0; i < maps->count && !found; i++) {
		const struct process_map *map = &maps->at[i];

		if (map->inode)
			inside = map->inode == code->inode && map->device == code->device;
		else
			inside = inside && map->start == before_end && !map->path[0];
		before_end = map->end;
		if (!inside || !map->writable || !map->readable)
			continue;
		for (uint64_t at = map->start; at < map->end && !found && total < DATA_MAX;
		     at += PIECE) {
			size_t size = map->end - at < PIECE + OVERLAP ? (size_t)(map->end - at)
								      : PIECE + OVERLAP;

			total += size;
			if (remote_read(maps->pid, at, bytes, size) == 0)
				found = look(arg, at, bytes, size);
		}
	}
	free(bytes);
	return found;
}

struct version_search {
	char *text;
	size_t size;
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* Length of "3.12.1 (" and the like at the start, 0 when it is something else. */
static size_t version_head(const uint8_t *at, size_t size)
{
	size_t n = 2;

	if (size < 16 || at[0] != '3' || at[1] != '.')
		return 0;
	while (n < 4 && is_digit(at[n]))
		n++;
	if (n == 2 || at[n] != '.')
		return 0;
	n++;
	if (!is_digit(at[n]))
		return 0;
	while (n < 14 && (is_digit(at[n]) || (at[n] >= 'a' && at[n] <= 'z') || at[n] == '+'))
		n++;
	return at[n] == ' ' && at[n + 1] == '(' ? n : 0;
}

static bool look_for_version(void *arg, uint64_t address, const uint8_t *bytes, size_t size)
{
	struct version_search *search = arg;

	(void)address;
	for (const uint8_t *at = bytes; (at = memchr(at, '3', size - (size_t)(at - bytes))); at++) {
		size_t left = size - (size_t)(at - bytes), n;

		if ((at > bytes && at[-1]) || !version_head(at, left))
			continue;
		for (n = 0; n < left && n < search->size - 1 && at[n]; n++)
			search->text[n] = (char)at[n];
		search->text[n] = '\0';
		if (strchr(search->text, '['))
			return true;
	}
	search->text[0] = '\0';
	return false;
}

void find_version_text(const struct process_maps *maps, const struct process_map *code, char *text,
		       size_t size)
{
	struct version_search search = {text, size};

	text[0] = '\0';
	scan_data(maps, code, look_for_version, &search);
}

static bool look_for_cookie(void *arg, uint64_t address, const uint8_t *bytes, size_t size)
{
	struct found_python *python = arg;

	for (size_t i = 0; i + 24 <= size; i += 8) {
		uint64_t words[2];

		if (memcmp(bytes + i, "xdebugpy", 8) != 0)
			continue;
		memcpy(words, bytes + i + 8, sizeof(words));
		if (words[0] >> 24 != 3 || words[1] > 1)
			continue;
		python->runtime = address + i;
		return true;
	}
	return false;
}

struct runtime_search {
	pid_t pid;
	const struct py_layout *layout;
	uint64_t runtime;
};

static bool read_u64(const struct runtime_search *search, uint64_t address, uint64_t *value)
{
	return remote_read(search->pid, address, value, sizeof(*value)) == 0;
}

/* Whether an interpreter can be at this address: it has a number, and its newest thread belongs to
 * it and has an id. */
static bool is_interpreter(const struct runtime_search *search, uint64_t interp)
{
	const struct py_layout *l = search->layout;
	uint64_t thread, back, number, descriptor, native = 1;

	return walk_pointer_ok(interp) &&
	       read_u64(search, interp + l->interp_threads_head, &thread) &&
	       walk_pointer_ok(thread) && thread != interp &&
	       read_u64(search, thread + l->ts_interp, &back) && back == interp &&
	       read_u64(search, interp + l->interp_id, &number) && number < NUMBER_MAX &&
	       read_u64(search, thread + l->ts_thread_id, &descriptor) &&
	       walk_pointer_ok(descriptor) &&
	       (l->ts_native_thread_id == PY_NO_OFFSET ||
		read_u64(search, thread + l->ts_native_thread_id, &native)) &&
	       native > 0 && native < NUMBER_MAX;
}

static bool look_for_interpreter(void *arg, uint64_t address, const uint8_t *bytes, size_t size)
{
	struct runtime_search *search = arg;

	for (size_t i = 0; i + 16 <= size; i += 8) {
		uint64_t words[2];

		memcpy(words, bytes + i, sizeof(words));
		/* The newest and the first: of most data neither can be, and costs no more. */
		if (!walk_pointer_ok(words[0]) || !walk_pointer_ok(words[1]) ||
		    !is_interpreter(search, words[1]) ||
		    (words[0] != words[1] && !is_interpreter(search, words[0])))
			continue;
		search->runtime = address + i - search->layout->runtime_interpreters_head;
		return true;
	}
	return false;
}

void find_runtime(const struct process_maps *maps, const struct process_map *code,
		  struct found_python *python)
{
	struct runtime_search search = {.pid = maps->pid};
	struct py_layout layout;
	const char *why;
	unsigned minor;
	char text[64];

	if (scan_data(maps, code, look_for_cookie, python))
		return;
	find_version_text(maps, code, text, sizeof(text));
	if (strncmp(text, "3.", 2) != 0)
		return;
	minor = (unsigned)strtoul(text + 2, NULL, 10);
	if (py_layout_find(&layout, 3u << 24 | minor << 16 | 0xf0, false, NULL, 0, &why))
		return;
	search.layout = &layout;
	if (scan_data(maps, code, look_for_interpreter, &search))
		python->runtime = search.runtime;
}
