/* SPDX-License-Identifier: Apache-2.0 */
#include "record/descendants.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/banned.h"
#include "formats/base/buf.h"
#include "formats/base/io.h"
#include "record/ring.h"

#define ENVIRONMENT_MAX (4u << 20) /* twice what Linux allows by default */

/* Whether one of the variables in text, each of which ends in 0, begins with these words. */
static bool has_variable(struct buf *text, const char *start)
{
	size_t length = strlen(start);

	for (const char *at = buf_text(text), *end = at + text->size; at < end;
	     at += strlen(at) + 1)
		if (strncmp(at, start, length) == 0)
			return true;
	return false;
}

bool descendants_live(const char *socket)
{
	DIR *processes = opendir("/proc");
	struct buf setting = {0}, text = {0};
	struct dirent *entry;
	bool found = false;

	if (!processes)
		return false;
	buf_printf(&setting, RING_ENVIRONMENT "=%s,", socket);
	while (!found && (entry = readdir(processes))) {
		char path[300];
		struct err err;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/environ", entry->d_name);
		buf_clear(&text);
		/* That of a zombie is empty. */
		found = io_read_file(path, ENVIRONMENT_MAX, &text, &err) == 0 &&
			has_variable(&text, buf_text(&setting));
	}
	closedir(processes);
	buf_release(&setting);
	buf_release(&text);
	return found;
}
