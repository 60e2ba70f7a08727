/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose code a file is: the user's, an installed package's or the standard library's. Only the path
 * and what the trace says about the process are looked at, never this machine's disk.
 */
#include "analyze/model_origin.h"

#include <ctype.h>

#include "formats/base/banned.h"

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* "python3.12/", "python3.13t/", "python312.zip/" */
static bool is_versioned_folder(const char *at)
{
	if (!starts_with(at, "python"))
		return false;
	at += strlen("python");
	if (!isdigit((unsigned char)*at))
		return false;
	while (isdigit((unsigned char)*at) || *at == '.')
		at++;
	if (*at == 't')
		at++;
	else if (starts_with(at, "zip"))
		at += strlen("zip");
	return *at == '/';
}

/* Does at, the rest of a path from a '/' on, lead into a folder like "/lib/python3.12/"? */
static bool is_library_folder(const char *at)
{
	if (starts_with(at, "/lib64/"))
		at += strlen("/lib64/");
	else if (starts_with(at, "/lib/"))
		at += strlen("/lib/");
	else
		return false;
	return is_versioned_folder(at);
}

static bool is_standard(const struct trace_process *p, const char *path)
{
	const char *at;

	if (p && p->prefix.size > 0) {
		size_t size = p->prefix.size;

		while (size > 0 && p->prefix.data[size - 1] == '/')
			size--;
		return strncmp(path, p->prefix.data, size) == 0 && is_library_folder(path + size);
	}
	for (at = strchr(path, '/'); at; at = strchr(at + 1, '/')) {
		if (is_library_folder(at))
			return true;
	}
	return false;
}

/* Is the file beside the program named by other? */
static bool same_folder(const char *path, const char *other)
{
	const char *end = strrchr(path, '/');
	const char *other_end = strrchr(other, '/');

	if (!end || !other_end || end - path != other_end - other)
		return false;
	return strncmp(path, other, (size_t)(end - path)) == 0;
}

/* An installed command such as /usr/bin/pytest or venv/bin/black: a script of two lines that lies
 * beside its interpreter and only calls a library. */
static bool is_installed_command(const struct trace_process *p, const char *path)
{
	size_t size = strlen(path);

	if (!p || path[0] != '/' || (size > 3 && strcmp(path + size - 3, ".py") == 0))
		return false;
	return same_folder(path, p->executable.data) ||
	       (p->command_count > 0 && same_folder(path, p->command[0].data));
}

/* Was the program given on the command line, as in "python3 -Ic 'print(1)'"? */
static bool is_inline_program(const struct trace_process *p)
{
	for (size_t i = 1; p && i < p->command_count; i++) {
		const char *word = p->command[i].data;

		if (word[0] != '-' || word[1] == '-')
			return false;
		/* A worker of multiprocessing is started so too, but runs nobody's program. */
		if (strchr(word, 'c') && !strpbrk(word, "WX"))
			return i + 1 < p->command_count &&
			       !starts_with(p->command[i + 1].data, "from multiprocessing");
		if (strcmp(word, "-W") == 0 || strcmp(word, "-X") == 0)
			i++;
	}
	return false;
}

/* Code without a file. What libraries generate (dataclasses, named tuples, site's .pth lines) is
 * theirs: its time belongs to the line of the user's that calls it. */
static enum model_origin pseudo_file_origin(const struct trace_process *p, const char *path)
{
	if (starts_with(path, "<frozen"))
		return MODEL_STANDARD;
	if (starts_with(path, "<stdin>") || starts_with(path, "<console>") ||
	    starts_with(path, "<ipython") || starts_with(path, "<doctest"))
		return MODEL_USER;
	if (strcmp(path, "<string>") == 0 && is_inline_program(p))
		return MODEL_USER;
	return MODEL_LIBRARY;
}

enum model_origin model_origin(const struct trace_defs *defs, uint32_t process, const char *path)
{
	const struct trace_process *p = NULL;

	if (process < defs->process_count)
		p = &defs->processes[process];
	if (path[0] == '<')
		return pseudo_file_origin(p, path);
	if (strstr(path, "/site-packages/") || strstr(path, "/dist-packages/"))
		return MODEL_LIBRARY;
	if (is_standard(p, path))
		return MODEL_STANDARD;
	if (is_installed_command(p, path))
		return MODEL_LIBRARY;
	return MODEL_USER;
}
