/* SPDX-License-Identifier: Apache-2.0
 *
 * Source text that a trace does not hold is read from disk, if this is the machine it was recorded
 * on and the file has not changed since. A trace is untrusted and names the files: only ordinary
 * Python files are opened.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyze/model_state.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define SOURCE_MAX_BYTES (UINT64_C(16) << 20)
#define NS_PER_SECOND UINT64_C(1000000000)

static bool is_python_file(const char *path)
{
	size_t size = strlen(path);

	return path[0] == '/' && size > 3 && strcmp(path + size - 3, ".py") == 0;
}

static bool recorded_here(const struct model *m)
{
	char host[256];

	if (gethostname(host, sizeof(host)) != 0)
		return false;
	host[sizeof(host) - 1] = 0;
	return strcmp(host, m->header.host) == 0;
}

static void load_source(const struct model *m, struct model_file_state *f)
{
	struct stat st;
	char *text = NULL;
	ssize_t n;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > SOURCE_MAX_BYTES)
		goto out;
	if ((uint64_t)st.st_mtim.tv_sec >= m->header.start_realtime_ns / NS_PER_SECOND)
		goto out;
	text = xmalloc((size_t)st.st_size + 1);
	n = io_read_all(fd, text, (size_t)st.st_size);
	if (n < 0)
		goto out;
	text[n] = 0;
	f->source = text;
	f->source_size = (size_t)n;
	text = NULL;
out:
	free(text);
	close(fd);
}

void model_load_sources(struct model *m)
{
	if (!m->has_header || !recorded_here(m))
		return;
	for (size_t i = 0; i < m->file_table.count; i++) {
		if (!m->files[i].source && is_python_file(m->files[i].path))
			load_source(m, &m->files[i]);
	}
}
