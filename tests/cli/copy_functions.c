/* SPDX-License-Identifier: Apache-2.0
 *
 * Every function that copies, called with small and awkward arguments and through pointers that the
 * compiler cannot see through. Prints what the memory looks like afterwards: the output must be the
 * same with and without the agent. "copy_functions overflow N" writes beyond the room that the
 * N-th fortified function was told of, which ends the program.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>

#define SIZE 96

void *__memcpy_chk(void *, const void *, size_t, size_t);
void *__memmove_chk(void *, const void *, size_t, size_t);
void *__mempcpy_chk(void *, const void *, size_t, size_t);
wchar_t *__wmemcpy_chk(wchar_t *, const wchar_t *, size_t, size_t);
wchar_t *__wmemmove_chk(wchar_t *, const wchar_t *, size_t, size_t);
wchar_t *__wmempcpy_chk(wchar_t *, const wchar_t *, size_t, size_t);
char *__strcpy_chk(char *, const char *, size_t);
char *__stpcpy_chk(char *, const char *, size_t);
char *__strcat_chk(char *, const char *, size_t);
char *__strncpy_chk(char *, const char *, size_t, size_t);
char *__stpncpy_chk(char *, const char *, size_t, size_t);
char *__strncat_chk(char *, const char *, size_t, size_t);

typedef void *(*block_fn)(void *, const void *, size_t);
typedef void *(*block_chk_fn)(void *, const void *, size_t, size_t);
typedef wchar_t *(*wide_fn)(wchar_t *, const wchar_t *, size_t);
typedef wchar_t *(*wide_chk_fn)(wchar_t *, const wchar_t *, size_t, size_t);
typedef char *(*text_fn)(char *, const char *);
typedef char *(*text_chk_fn)(char *, const char *, size_t);
typedef char *(*part_fn)(char *, const char *, size_t);
typedef char *(*part_chk_fn)(char *, const char *, size_t, size_t);

static block_fn volatile blocks[] = {memcpy, memmove, mempcpy};
static block_chk_fn volatile block_chks[] = {__memcpy_chk, __memmove_chk, __mempcpy_chk};
static wide_fn volatile wides[] = {wmemcpy, wmemmove, wmempcpy};
static wide_chk_fn volatile wide_chks[] = {__wmemcpy_chk, __wmemmove_chk, __wmempcpy_chk};
static text_fn volatile texts[] = {strcpy, stpcpy, strcat};
static text_chk_fn volatile text_chks[] = {__strcpy_chk, __stpcpy_chk, __strcat_chk};
static part_fn volatile parts[] = {strncpy, stpncpy, strncat};
static part_chk_fn volatile part_chks[] = {__strncpy_chk, __stpncpy_chk, __strncat_chk};
static void (*volatile backwards)(const void *, void *, size_t) = bcopy;

static union {
	char bytes[SIZE];
	wchar_t wide[SIZE / sizeof(wchar_t)];
} memory;

static void fresh(void)
{
	for (size_t i = 0; i < SIZE; i++)
		memory.bytes[i] = (char)('a' + i % 26);
}

static void show(const char *what, int which, size_t size, const void *returned)
{
	uint32_t sum = 2166136261u;

	for (size_t i = 0; i < SIZE; i++)
		sum = (sum ^ (unsigned char)memory.bytes[i]) * 16777619u;
	printf("%s %d %zu: returned %td, memory %08x\n", what, which, size,
	       returned ? (const char *)returned - memory.bytes : (ptrdiff_t)-1, (unsigned)sum);
}

static void copy_blocks(int which, size_t size)
{
	char *bytes = memory.bytes;

	fresh();
	show("block", which, size, blocks[which](bytes, bytes + 48, size));
	fresh();
	show("block_chk", which, size, block_chks[which](bytes, bytes + 48, size, 48));
	if (size <= 11) {
		fresh();
		show("wide", which, size, wides[which](memory.wide, memory.wide + 12, size));
		fresh();
		show("wide_chk", which, size,
		     wide_chks[which](memory.wide, memory.wide + 12, size, 12));
	}
}

static void copy_texts(int which, size_t size)
{
	char from[SIZE];

	memset(from, 'x', sizeof(from));
	from[size] = '\0';
	fresh();
	memory.bytes[5] = '\0';
	show("text", which, size, texts[which](memory.bytes, from));
	fresh();
	memory.bytes[5] = '\0';
	show("text_chk", which, size, text_chks[which](memory.bytes, from, SIZE));
	for (size_t limit = 0; limit < 40; limit += 13) {
		fresh();
		memory.bytes[5] = '\0';
		show("part", which, limit, parts[which](memory.bytes, from, limit));
		fresh();
		memory.bytes[5] = '\0';
		show("part_chk", which, limit, part_chks[which](memory.bytes, from, limit, SIZE));
	}
}

static void overflow(int which)
{
	memory.bytes[0] = '\0';
	if (which < 3)
		block_chks[which](memory.bytes, memory.bytes + 48, 20, 19);
	else if (which < 6)
		wide_chks[which - 3](memory.wide, memory.wide + 12, 10, 9);
	else if (which < 9)
		text_chks[which - 6](memory.bytes, "12345678", 8);
	else if (which < 11)
		part_chks[which - 9](memory.bytes, "12345678", 20, 19);
	else
		part_chks[2](memory.bytes, "12345678", 8, 8);
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		overflow((int)strtol(argv[2], NULL, 10));
		puts("went on");
		return 0;
	}
	for (int which = 0; which < 3; which++) {
		for (size_t size = 0; size < 48; size++)
			copy_blocks(which, size);
		for (size_t size = 0; size < 40; size++)
			copy_texts(which, size);
	}
	for (size_t size = 0; size < 48; size++) {
		fresh();
		show("forward", 0, size, blocks[1](memory.bytes, memory.bytes + 7, size));
		fresh();
		show("backward", 0, size, blocks[1](memory.bytes + 7, memory.bytes, size));
		fresh();
		backwards(memory.bytes, memory.bytes + 9, size);
		show("bcopy", 0, size, NULL);
	}
	return 0;
}
