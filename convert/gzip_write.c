/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/gzip_write.h"

#include <stdlib.h>

#include <zlib.h>

#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define GZIP_WINDOW (15 + 16) /* zlib's way to ask for gzip's header and trailer */
#define MEMORY_LEVEL 8
#define CHUNK ((size_t)1 << 30) /* zlib counts in 32 bits */

struct gzip {
	FILE *to;
	z_stream stream;
	unsigned char out[1 << 16];
};

struct gzip *gzip_new(FILE *to)
{
	struct gzip *z = xcalloc(1, sizeof(*z));

	z->to = to;
	if (deflateInit2(&z->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		xalloc_die(sizeof(z->out)); /* the one way in which it fails */
	return z;
}

static void deflate_all(struct gzip *z, int flush)
{
	int ret;

	do {
		z->stream.next_out = z->out;
		z->stream.avail_out = sizeof(z->out);
		ret = deflate(&z->stream, flush);
		fwrite(z->out, 1, sizeof(z->out) - z->stream.avail_out, z->to);
	} while (z->stream.avail_out == 0 && ret == Z_OK);
}

void gzip_write(struct gzip *z, const void *data, size_t size)
{
	const unsigned char *at = data;

	while (size > 0) {
		size_t part = size < CHUNK ? size : CHUNK;

		z->stream.next_in = (unsigned char *)at; /* zlib only reads it */
		z->stream.avail_in = (unsigned int)part;
		deflate_all(z, Z_NO_FLUSH);
		at += part;
		size -= part;
	}
}

void gzip_finish(struct gzip *z)
{
	deflate_all(z, Z_FINISH);
	deflateEnd(&z->stream);
	free(z);
}
