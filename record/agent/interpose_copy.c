/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that copy memory. They are called for a few bytes at a time, from everywhere and at
 * any time: by the loader before this library is ready, in signal handlers, in children of vfork.
 * So the way of nearly every call is a subtraction and a jump to the C library's own function, and
 * until our constructor has looked that up the countdown is below zero and a plain loop does it.
 *
 * What the compiler turned into moves, and what the C library copies within itself, is not seen.
 */
#include "record/agent/agent.h"

#include <wchar.h>

#include "record/agent/copy.h"
#include "record/agent/own_copy.h"

#undef memcpy

#define COLD __attribute__((noinline, cold))

/* Ends the program: a fortified function found that the destination is too small. */
extern void __chk_fail(void) __attribute__((noreturn));

static void *(*real_memcpy)(void *, const void *, size_t);
static void *(*real_memmove)(void *, const void *, size_t);

/* Only some variants of the agent have this file: nobody else knows it. */
__attribute__((constructor(101))) static void look_up(void)
{
	*(void **)&real_memmove = agent_real("memmove");
	*(void **)&real_memcpy = agent_real("memcpy");
}

static COLD void *copy_slowly(void *to, const void *from, size_t size)
{
	copy_used_up(size, TRACE_COPY_MEMORY, __builtin_return_address(0));
	return real_memcpy ? real_memcpy(to, from, size) : __wrap_memmove(to, from, size);
}

static COLD void *move_slowly(void *to, const void *from, size_t size)
{
	copy_used_up(size, TRACE_COPY_MEMORY, __builtin_return_address(0));
	return real_memmove ? real_memmove(to, from, size) : __wrap_memmove(to, from, size);
}

static inline __attribute__((always_inline)) void *copy(void *to, const void *from, size_t size)
{
	return copy_count(size) ? copy_slowly(to, from, size) : real_memcpy(to, from, size);
}

static inline __attribute__((always_inline)) void *move(void *to, const void *from, size_t size)
{
	return copy_count(size) ? move_slowly(to, from, size) : real_memmove(to, from, size);
}

static inline void check_room(size_t size, size_t room)
{
	if (__builtin_expect(size > room, 0))
		__chk_fail();
}

AGENT_EXPORT void *memcpy(void *to, const void *from, size_t size)
{
	return copy(to, from, size);
}

AGENT_EXPORT void *memmove(void *to, const void *from, size_t size)
{
	return move(to, from, size);
}

AGENT_EXPORT void *mempcpy(void *to, const void *from, size_t size)
{
	return (char *)copy(to, from, size) + size;
}

AGENT_EXPORT void bcopy(const void *from, void *to, size_t size)
{
	move(to, from, size);
}

AGENT_EXPORT wchar_t *wmemcpy(wchar_t *to, const wchar_t *from, size_t count)
{
	return copy(to, from, count * sizeof(wchar_t));
}

AGENT_EXPORT wchar_t *wmemmove(wchar_t *to, const wchar_t *from, size_t count)
{
	return move(to, from, count * sizeof(wchar_t));
}

AGENT_EXPORT wchar_t *wmempcpy(wchar_t *to, const wchar_t *from, size_t count)
{
	return (wchar_t *)copy(to, from, count * sizeof(wchar_t)) + count;
}

AGENT_EXPORT char *strcpy(char *to, const char *from)
{
	return copy(to, from, strlen(from) + 1);
}

AGENT_EXPORT char *stpcpy(char *to, const char *from)
{
	size_t length = strlen(from);

	return (char *)copy(to, from, length + 1) + length;
}

AGENT_EXPORT char *strcat(char *to, const char *from)
{
	copy(to + strlen(to), from, strlen(from) + 1);
	return to;
}

/* Returns the end of what came from `from`. What fills the rest up is not a copy. */
static inline char *copy_text(char *to, const char *from, size_t size)
{
	size_t length = strnlen(from, size);

	copy(to, from, length);
	(memset)(to + length, 0, size - length);
	return to + length;
}

AGENT_EXPORT char *stpncpy(char *to, const char *from, size_t size)
{
	return copy_text(to, from, size);
}

AGENT_EXPORT char *strncpy(char *to, const char *from, size_t size)
{
	copy_text(to, from, size);
	return to;
}

AGENT_EXPORT char *strncat(char *to, const char *from, size_t size)
{
	size_t length = strnlen(from, size);
	char *end = to + strlen(to);

	copy(end, from, length);
	end[length] = '\0';
	return to;
}

/* What the compiler calls instead when it knows how much room there is (_FORTIFY_SOURCE). */

void *__memcpy_chk(void *to, const void *from, size_t size, size_t room);
void *__memmove_chk(void *to, const void *from, size_t size, size_t room);
void *__mempcpy_chk(void *to, const void *from, size_t size, size_t room);
wchar_t *__wmemcpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room);
wchar_t *__wmemmove_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room);
wchar_t *__wmempcpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room);
char *__strcpy_chk(char *to, const char *from, size_t room);
char *__stpcpy_chk(char *to, const char *from, size_t room);
char *__strcat_chk(char *to, const char *from, size_t room);
char *__strncpy_chk(char *to, const char *from, size_t size, size_t room);
char *__stpncpy_chk(char *to, const char *from, size_t size, size_t room);
char *__strncat_chk(char *to, const char *from, size_t size, size_t room);

AGENT_EXPORT void *__memcpy_chk(void *to, const void *from, size_t size, size_t room)
{
	check_room(size, room);
	return copy(to, from, size);
}

AGENT_EXPORT void *__memmove_chk(void *to, const void *from, size_t size, size_t room)
{
	check_room(size, room);
	return move(to, from, size);
}

AGENT_EXPORT void *__mempcpy_chk(void *to, const void *from, size_t size, size_t room)
{
	check_room(size, room);
	return mempcpy(to, from, size);
}

AGENT_EXPORT wchar_t *__wmemcpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room)
{
	check_room(count, room);
	return wmemcpy(to, from, count);
}

AGENT_EXPORT wchar_t *__wmemmove_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room)
{
	check_room(count, room);
	return wmemmove(to, from, count);
}

AGENT_EXPORT wchar_t *__wmempcpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room)
{
	check_room(count, room);
	return wmempcpy(to, from, count);
}

AGENT_EXPORT char *__strcpy_chk(char *to, const char *from, size_t room)
{
	size_t size = strlen(from) + 1;

	check_room(size, room);
	return copy(to, from, size);
}

AGENT_EXPORT char *__stpcpy_chk(char *to, const char *from, size_t room)
{
	size_t length = strlen(from);

	check_room(length + 1, room);
	return (char *)copy(to, from, length + 1) + length;
}

AGENT_EXPORT char *__strcat_chk(char *to, const char *from, size_t room)
{
	size_t before = strlen(to), size = strlen(from) + 1;

	check_room(before + size, room);
	copy(to + before, from, size);
	return to;
}

AGENT_EXPORT char *__strncpy_chk(char *to, const char *from, size_t size, size_t room)
{
	check_room(size, room);
	copy_text(to, from, size);
	return to;
}

AGENT_EXPORT char *__stpncpy_chk(char *to, const char *from, size_t size, size_t room)
{
	check_room(size, room);
	return copy_text(to, from, size);
}

AGENT_EXPORT char *__strncat_chk(char *to, const char *from, size_t size, size_t room)
{
	size_t length = strnlen(from, size), before = strlen(to);

	check_room(before + length + 1, room);
	copy(to + before, from, length);
	to[before + length] = '\0';
	return to;
}
