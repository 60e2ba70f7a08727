/* SPDX-License-Identifier: Apache-2.0
 *
 * What --children=PATTERN means: asked by the agent of itself, and by scprof-record of the children
 * of a program that runs already.
 */
#ifndef SCPROF_CHILD_PATTERN_H
#define SCPROF_CHILD_PATTERN_H

#include <fnmatch.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define CHILD_PATTERN_MAX 256u
#define CHILD_PATTERN_ALL "*"
#define CHILD_PATTERN_NONE ""

/* More of a command line is not looked at. */
#define CHILD_COMMAND_MAX (64u << 10)

static inline const char *child_pattern_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A command line matches with its words joined by blanks, the program with or without its folder;
 * with one of its words, or with what follows the word's last slash. So does the name of the
 * program file. words: size bytes, each word ends in 0 and so does words[size]; program may be "";
 * space: size + 1 bytes to work in. */
static inline bool child_pattern_matches(const char *pattern, const char *words, size_t size,
					 const char *program, char *space)
{
	size_t joined = size;

	if (fnmatch(pattern, child_pattern_base(program), 0) == 0)
		return true;
	for (size_t i = 0; i <= size; i++)
		space[i] = words[i] ? words[i] : ' ';
	while (joined && space[joined - 1] == ' ')
		joined--;
	space[joined] = '\0';
	if (fnmatch(pattern, space, 0) == 0 ||
	    fnmatch(pattern, space + (child_pattern_base(words) - words), 0) == 0)
		return true;
	for (const char *word = words; word < words + size; word += strlen(word) + 1)
		if (fnmatch(pattern, word, 0) == 0 ||
		    fnmatch(pattern, child_pattern_base(word), 0) == 0)
			return true;
	return false;
}

#endif
