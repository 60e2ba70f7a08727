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

enum model_origin model_origin(const struct trace_defs *defs, uint32_t process, const char *path)
{
	const struct trace_process *p = NULL;

	if (process < defs->process_count)
		p = &defs->processes[process];
	if (starts_with(path, "<frozen"))
		return MODEL_STANDARD;
	if (strstr(path, "/site-packages/") || strstr(path, "/dist-packages/"))
		return MODEL_LIBRARY;
	if (is_standard(p, path))
		return MODEL_STANDARD;
	if (is_installed_command(p, path))
		return MODEL_LIBRARY;
	return MODEL_USER;
}
