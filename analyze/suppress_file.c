/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads suppressions.
 */
#include "analyze/suppress_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define MAX_SIZE (16u << 20)
#define PREFIX "leak:"

/* Takes the blanks from both ends. */
static char *strip(char *text)
{
	char *end;

	while (*text == ' ' || *text == '\t')
		text++;
	end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		*--end = 0;
	return text;
}

static int add_line(struct suppress_file *s, char *line, size_t *capacity, const char *path,
		    size_t number, struct err *err)
{
	line = strip(line);
	if (!*line || *line == '#')
		return 0;
	if (strncmp(line, PREFIX, strlen(PREFIX)) != 0 || !line[strlen(PREFIX)])
		return err_set(err, ERR_USAGE,
			       "%s: line %zu: \"leak:PATTERN\" is needed, not \"%.60s\"", path,
			       number, line);
	s->patterns = xgrow(s->patterns, capacity, s->count + 1, sizeof(*s->patterns));
	s->patterns[s->count++] = strip(line + strlen(PREFIX));
	return 0;
}

int suppress_file_read(struct suppress_file *s, const char *path, struct err *err)
{
	struct buf content = {0};
	size_t capacity = 0;
	size_t number = 0;
	int ret = io_read_file(path, MAX_SIZE, &content, err);

	if (ret == 0) {
		if (content.size && memchr(content.data, 0, content.size))
			ret = err_set(err, ERR_USAGE, "%s: this is not text", path);
		s->text = xstrdup(buf_text(&content));
	}
	buf_release(&content);
	for (char *line = s->text; ret == 0 && line;) {
		char *end = strchr(line, '\n');

		if (end)
			*end = 0;
		ret = add_line(s, line, &capacity, path, ++number, err);
		line = end ? end + 1 : NULL;
	}
	if (ret != 0)
		suppress_file_release(s);
	return ret;
}

void suppress_file_release(struct suppress_file *s)
{
	free(s->patterns);
	free(s->text);
	*s = (struct suppress_file){0};
}
