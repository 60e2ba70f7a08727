/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes snapshots of a growing model, see live_snapshot.h. What goes through the pipe is in the
 * layout of this very process: both ends are one program.
 */
#include "analyze/live_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analyze/report.h"
#include "analyze/report_memory.h"
#include "formats/base/io.h"
#include "formats/base/xalloc.h"

#include "formats/base/banned.h"

#define ROWS_MAX 20000u /* of a list: the largest ones */
#define LONG_WORD 24    /* of a command */
#define READ_STEP ((size_t)256 * 1024)

/* In front of the rows and the texts. */
struct preamble {
	struct live_totals totals;
	size_t counts[LIVE_LISTS];
	size_t text_size;
};

struct picture {
	const struct model_view *view;
	struct report report;
	struct buf rows[LIVE_LISTS];
	struct buf texts;
	struct source_index *sources; /* by file */
	bool *indexed;
};

/* ---- the child: from the model to rows ------------------------------------------------------ */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* Model ids differ from one snapshot to the next: names and numbers do not. */
static uint64_t key_of(const char *path, const char *name, int64_t number)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = hash_bytes(hash, path, strlen(path) + 1);
	hash = hash_bytes(hash, name, strlen(name) + 1);
	return hash_bytes(hash, &number, sizeof(number));
}

static uint32_t add_text(struct picture *p, const char *text, size_t size)
{
	uint32_t at = (uint32_t)p->texts.size;

	report_clean(&p->texts, text, size);
	buf_add_byte(&p->texts, 0);
	return at;
}

static void fill_values(const struct picture *p, struct live_row *row, const struct metrics *self,
			const struct metrics *total)
{
	const struct memory *m = &self->memory;

	row->values[LIVE_OWN] = (double)metrics_weight(self, p->view->weight);
	row->values[LIVE_CUMULATIVE] = (double)metrics_weight(total, p->view->weight);
	row->values[LIVE_CPU] = (double)self->cpu_ns;
	row->values[LIVE_NATIVE] = (double)self->native_ns;
	row->values[LIVE_SYSTEM] = (double)self->system_ns;
	row->values[LIVE_WALL] = (double)self->wall_ns;
	row->values[LIVE_WAIT_IO] = (double)self->wait_ns[TRACE_WAIT_IO];
	row->values[LIVE_WAIT_LOCK] = (double)self->wait_ns[TRACE_WAIT_LOCK];
	row->values[LIVE_WAIT_SLEEP] = (double)self->wait_ns[TRACE_WAIT_SLEEP];
	row->values[LIVE_WAIT_GIL] = (double)self->wait_ns[TRACE_WAIT_GIL];
	row->values[LIVE_HELD] = m->final_bytes;
	row->values[LIVE_ALLOCATED] = m->malloc_bytes;
	row->values[LIVE_PEAK] = m->peak_bytes;
	row->values[LIVE_COPIED] = m->copy_bytes;
}

static void add_row(struct picture *p, enum live_list list, const struct live_row *row)
{
	buf_add(&p->rows[list], row, sizeof(*row));
}

static struct trace_text source_line(struct picture *p, const struct model_file *file, int32_t line)
{
	size_t id = (size_t)(file - p->view->files);

	if (!p->indexed[id]) {
		source_index_init(&p->sources[id], file);
		p->indexed[id] = true;
	}
	return source_index_line(&p->sources[id], line);
}

static uint32_t add_place(struct picture *p, const struct model_file *file, const char *name,
			  int32_t line)
{
	struct buf place = {0};
	uint32_t at;

	if (file->origin == MODEL_NONE)
		buf_add_text(&place, name);
	else
		report_add_place(&place, &p->report, file, line);
	at = add_text(p, buf_text(&place), place.size);
	buf_release(&place);
	return at;
}

static void add_lines(struct picture *p)
{
	struct report_rows rows = report_pick_lines(&p->report, ROWS_MAX, 0);

	for (size_t i = 0; i < rows.count; i++) {
		const struct model_line *line = &p->view->lines[rows.ids[i]];
		const struct model_function *f = &p->view->functions[line->function];
		const struct model_file *file = &p->view->files[f->file];
		struct trace_text source = source_line(p, file, line->line);
		struct live_row row = {.key = key_of(file->path, f->name,
						     (int64_t)f->first_line << 32 ^ line->line)};
		size_t indent = 0;

		while (indent < source.size &&
		       (source.data[indent] == ' ' || source.data[indent] == '\t'))
			indent++;
		row.place = add_place(p, file, f->name, line->line);
		if (file->origin == MODEL_NONE)
			row.text = 0;
		else if (source.size > indent)
			row.text = add_text(p, source.data + indent, source.size - indent);
		else
			row.text = add_text(p, f->name, strlen(f->name));
		fill_values(p, &row, report_line_metrics(&p->report, line), &line->cumulative);
		add_row(p, LIVE_LINES, &row);
	}
	free(rows.ids);
}

static void add_functions(struct picture *p)
{
	struct report_rows rows = report_pick_functions(&p->report, ROWS_MAX, 0);

	for (size_t i = 0; i < rows.count; i++) {
		const struct model_function *f = &p->view->functions[rows.ids[i]];
		const struct model_file *file = &p->view->files[f->file];
		struct live_row row = {.key = key_of(file->path, f->name, f->first_line)};

		row.place = add_text(p, f->name, strlen(f->name));
		row.text = file->origin == MODEL_NONE ? add_text(p, "", 0)
						      : add_place(p, file, "", f->first_line);
		fill_values(p, &row, &f->self, &f->cumulative);
		add_row(p, LIVE_FUNCTIONS, &row);
	}
	free(rows.ids);
}

static void add_threads(struct picture *p)
{
	struct report_rows rows = report_pick_threads(&p->report, ROWS_MAX);
	char number[32];

	for (size_t i = 0; i < rows.count; i++) {
		const struct model_thread *t = &p->view->threads[rows.ids[i]];
		int32_t pid = p->view->processes[t->process].pid;
		struct live_row row = {
			.key = key_of("", "",
				      (int64_t)pid << 32 ^ t->tid ^ (int64_t)t->start_ns << 8)};

		snprintf(number, sizeof(number), "%d in %d", t->tid, pid);
		row.place = add_text(p, t->name, strlen(t->name));
		row.text = add_text(p, number, strlen(number));
		fill_values(p, &row, &t->total, &t->total);
		add_row(p, LIVE_THREADS, &row);
	}
	free(rows.ids);
}

void live_short_command(struct buf *to, const char *command)
{
	struct buf text = {0};

	while (*command) {
		size_t size = strcspn(command, " ");
		size_t folder = size;

		while (folder && command[folder - 1] != '/')
			folder--;
		if (text.size)
			buf_add_byte(&text, ' ');
		if (text.size && size > LONG_WORD && folder)
			buf_add_text(&text, ".../");
		else if (text.size)
			folder = 0;
		buf_add(&text, command + folder, size - folder);
		command += size + (command[size] == ' ');
	}
	report_clean(to, buf_text(&text), text.size);
	buf_release(&text);
}

static void add_processes(struct picture *p)
{
	struct report_rows rows = report_pick_processes(&p->report, ROWS_MAX);
	char number[32];

	for (size_t i = 0; i < rows.count; i++) {
		const struct model_process *process = &p->view->processes[rows.ids[i]];
		struct buf command = {0};
		struct live_row row = {
			.key = key_of(process->command, "",
				      process->pid ^ (int64_t)process->start_ns << 8)};

		snprintf(number, sizeof(number), "%d", process->pid);
		row.place = add_text(p, number, strlen(number));
		live_short_command(&command, process->command);
		row.text = add_text(p, buf_text(&command), command.size);
		buf_release(&command);
		fill_values(p, &row, &process->total, &process->total);
		add_row(p, LIVE_PROCESSES, &row);
	}
	free(rows.ids);
}

static void add_leaks(struct picture *p)
{
	for (size_t i = 0; i < p->view->leak_count && i < ROWS_MAX; i++) {
		const struct model_leak *leak = &p->view->leaks[i];
		const struct model_line *line = &p->view->lines[leak->line];
		const struct model_function *f = &p->view->functions[line->function];
		const struct model_file *file = &p->view->files[f->file];
		struct live_row row = {
			.key = key_of(file->path, f->name, (int64_t)leak->node << 32 ^ line->line)};

		if (leak->verdict != MODEL_LEAK_GROWING)
			continue;
		row.place = add_place(p, file, f->name, line->line);
		row.text = add_text(p, f->name, strlen(f->name));
		row.values[LIVE_HELD] = leak->live_bytes;
		row.values[LIVE_ALLOCATED] = leak->allocated_bytes;
		row.values[LIVE_GROWTH] = leak->growth_bytes_per_s;
		row.values[LIVE_LIKELIHOOD] = leak->likelihood;
		add_row(p, LIVE_LEAKS, &row);
	}
}

static bool is_paused(const struct model_view *v)
{
	for (size_t i = v->mark_count; i > 0; i--) {
		if (v->marks[i - 1].kind == TRACE_MARK_STOP)
			return true;
		if (v->marks[i - 1].kind == TRACE_MARK_START)
			return false;
	}
	return false;
}

static void fill_points(const struct model_view *v, struct live_totals *totals)
{
	const struct model_memory *m = &v->memory;
	float *heap = xcalloc(m->point_count + 1, sizeof(*heap));
	float *cores = xcalloc(m->point_count + 1, sizeof(*cores));

	for (size_t i = 0; i < m->point_count; i++) {
		heap[i] = (float)m->points[i].peak_bytes;
		cores[i] = (float)(m->points[i].cpu_ns / (double)m->point_step_ns);
	}
	spark_shrink(totals->heap, LIVE_POINTS, heap, m->point_count);
	spark_shrink(totals->cores, LIVE_POINTS, cores, m->point_count);
	free(heap);
	free(cores);
}

static void fill_totals(const struct picture *p, struct live_totals *totals)
{
	const struct model_view *v = p->view;
	const struct model_quality *q = &v->quality;
	struct live_row row = {0};

	fill_values(p, &row, &v->total, &v->total);
	*totals = (struct live_totals){
		.time_ns = v->start_ns + v->duration_ns,
		.gil_ns = (double)v->gil_ns,
		.max_rss_bytes = v->memory.max_rss_bytes,
		.samples = v->total.samples,
		.lost = q->missed + q->failed + q->lost_events + v->memory.lost,
		.has_memory = report_has_memory(&p->report),
		.paused = is_paused(v),
	};
	memcpy(totals->values, row.values, sizeof(row.values));
	for (size_t i = 0; i < v->process_count; i++)
		totals->processes += v->processes[i].how == TRACE_END_UNKNOWN;
	if (v->memory.point_count)
		totals->rss_bytes = v->memory.points[v->memory.point_count - 1].rss_bytes;
	fill_points(v, totals);
}

static int compare_rows(const void *a, const void *b)
{
	const struct live_row *x = a;
	const struct live_row *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* The whole life of the child. */
static int send_picture(struct model *m, struct model_trace *t, const struct live_look *look,
			int fd)
{
	const struct report_options options = {
		.all = look->all,
		.files = look->files,
		.file_count = look->file_count,
	};
	struct preamble preamble;
	struct picture p = {0};

	model_end(t);
	model_finish(m);
	p.view = model_view(m);
	p.sources = xcalloc(p.view->file_count + 1, sizeof(*p.sources));
	p.indexed = xcalloc(p.view->file_count + 1, sizeof(*p.indexed));
	report_init(&p.report, p.view, &options, NULL);
	p.report.no_frame = true;
	buf_add_byte(&p.texts, 0);
	add_lines(&p);
	add_functions(&p);
	add_threads(&p);
	add_processes(&p);
	add_leaks(&p);
	memset(&preamble, 0, sizeof(preamble));
	fill_totals(&p, &preamble.totals);
	preamble.text_size = p.texts.size;
	for (int i = 0; i < LIVE_LISTS; i++) {
		preamble.counts[i] = p.rows[i].size / sizeof(struct live_row);
		if (preamble.counts[i])
			qsort(p.rows[i].data, preamble.counts[i], sizeof(struct live_row),
			      compare_rows);
	}
	if (io_write_all(fd, &preamble, sizeof(preamble)) < 0)
		return -1;
	for (int i = 0; i < LIVE_LISTS; i++) {
		if (p.rows[i].size && io_write_all(fd, p.rows[i].data, p.rows[i].size) < 0)
			return -1;
	}
	return io_write_all(fd, p.texts.data, p.texts.size);
}

/* ---- the parent ----------------------------------------------------------------------------- */

int live_camera_start(struct live_camera *c, struct model *m, struct model_trace *t,
		      const struct live_look *look, struct err *err)
{
	int ends[2];
	pid_t parent = getpid();
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	pid = fork();
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return err_errno(err, "cannot start a process");
	}
	if (pid == 0) {
		/* The terminal is the parent's: nothing here may put it in order. */
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		signal(SIGTSTP, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		_exit(send_picture(m, t, look, ends[1]) < 0);
	}
	close(ends[1]);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	c->pid = pid;
	c->fd = ends[0];
	buf_clear(&c->taken);
	return 0;
}

static void end_child(struct live_camera *c)
{
	close(c->fd);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
	c->fd = -1;
}

void live_camera_stop(struct live_camera *c)
{
	if (c->pid) {
		kill(c->pid, SIGKILL);
		end_child(c);
	}
	buf_release(&c->taken);
}

/* Takes apart what came; false when it is not whole. */
static bool develop(const struct buf *taken, struct live_snapshot *s)
{
	struct preamble preamble;
	const uint8_t *at = taken->data + sizeof(preamble);
	size_t whole = sizeof(preamble);

	*s = (struct live_snapshot){0};
	if (taken->size < sizeof(preamble))
		return false;
	memcpy(&preamble, taken->data, sizeof(preamble));
	for (int i = 0; i < LIVE_LISTS; i++)
		whole += preamble.counts[i] * sizeof(struct live_row);
	if (taken->size != whole + preamble.text_size)
		return false;
	s->totals = preamble.totals;
	for (int i = 0; i < LIVE_LISTS; i++) {
		size_t size = preamble.counts[i] * sizeof(struct live_row);

		s->counts[i] = preamble.counts[i];
		s->rows[i] = xmemdup(at, size);
		at += size;
	}
	s->texts = xmemdup(at, preamble.text_size);
	s->text_size = preamble.text_size;
	return true;
}

int live_camera_read(struct live_camera *c, struct live_snapshot *snapshot, struct err *err)
{
	ssize_t got;

	for (;;) {
		uint8_t *to = buf_reserve(&c->taken, READ_STEP);

		got = read(c->fd, to, READ_STEP);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		c->taken.size += (size_t)got;
	}
	if (got < 0 && errno == EAGAIN)
		return 0;
	end_child(c);
	if (!develop(&c->taken, snapshot))
		return err_set(err, ERR_FAILED, "cannot take a snapshot: out of memory?");
	return 1;
}

const struct live_row *live_snapshot_find(const struct live_snapshot *s, enum live_list list,
					  uint64_t key)
{
	const struct live_row wanted = {.key = key};

	if (!s->counts[list])
		return NULL;
	return bsearch(&wanted, s->rows[list], s->counts[list], sizeof(wanted), compare_rows);
}

void live_snapshot_release(struct live_snapshot *s)
{
	for (int i = 0; i < LIVE_LISTS; i++)
		free(s->rows[i]);
	free(s->texts);
	*s = (struct live_snapshot){0};
}
