/* SPDX-License-Identifier: Apache-2.0
 *
 * A process is known by its number and by where its memory was laid out, which changes when it
 * becomes another program. Those that are no Python (yet) are looked at again for a while, and
 * whenever they become another program.
 */
#include "record/attach_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/banned.h"
#include "formats/base/io.h"
#include "formats/base/log.h"
#include "formats/base/xalloc.h"
#include "record/attach.h"
#include "record/child_pattern.h"
#include "record/process_info.h"

#define LOOK_NS 50000000u
#define COST_SHARE 20 /* looking may take 1/20 of a processor */
/* How long a program may take to become a Python, and how often it is looked at at least. */
#define START_NS 3000000000u
#define START_LOOKS 20

struct member {
	pid_t pid;
	struct process_identity identity;
	uint64_t since_ns; /* of this identity */
	unsigned looks;    /* the same */
	bool recorded;
	bool given_up; /* no Python */
	bool seen;     /* in the look under way */
};

struct attach_tree {
	struct recording *recording;
	struct attach_tree_options options;
	pid_t root;
	struct member *members;
	size_t count, capacity;
	uint64_t next_ns;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static bool is_wanted(const struct attach_tree *tree, pid_t pid)
{
	char path[64], program[4096], *words;
	ssize_t n, size = 0;
	bool ret;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, program, sizeof(program) - 1);
	if (n <= 0)
		return true; /* nobody knows: looked at again */
	program[n] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	words = xcalloc(2, CHILD_COMMAND_MAX);
	if (fd >= 0) {
		size = io_read_all(fd, words, CHILD_COMMAND_MAX - 1);
		close(fd);
	}
	ret = child_pattern_matches(tree->options.children, words, size > 0 ? (size_t)size : 0,
				    program, words + CHILD_COMMAND_MAX);
	free(words);
	return ret;
}

static struct member *find_member(struct attach_tree *tree, pid_t pid)
{
	for (size_t i = 0; i < tree->count; i++)
		if (tree->members[i].pid == pid)
			return &tree->members[i];
	return NULL;
}

static bool is_same(const struct process_identity *a, const struct process_identity *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void try_to_record(struct attach_tree *tree, struct member *member, bool became)
{
	struct target *target;
	struct err err;

	if (member->pid != tree->root && !is_wanted(tree, member->pid)) {
		member->given_up = true;
		return;
	}
	target = attach_target_now(member->pid, tree->options.holds, &err);
	if (target) {
		target->became = became;
		member->identity = target->identity;
		recording_attach(tree->recording, target);
		member->recorded = true;
	} else if (err.code == ERR_VERSION) {
		const char *why = strstr(err.text, ": ");

		/* The sentence names the process again. */
		recording_refuse(tree->recording, member->pid, why ? why + 2 : err.text);
		member->given_up = true;
	} else if (++member->looks >= START_LOOKS && now_ns() - member->since_ns > START_NS) {
		log_verbose("%s", err.text);
		member->given_up = true;
	}
}

static void look_at(struct attach_tree *tree, struct member *member)
{
	struct process_identity identity;
	bool became;

	if (process_identity_read(member->pid, &identity))
		return; /* the recording notices its end by itself */
	became = !is_same(&identity, &member->identity);
	if (became) {
		if (member->recorded)
			recording_became_other(tree->recording, member->pid);
		member->identity = identity;
		member->since_ns = now_ns();
		member->looks = 0;
		member->recorded = member->given_up = false;
	}
	if (!member->recorded && !member->given_up)
		try_to_record(tree, member, became);
}

static struct member *add_member(struct attach_tree *tree, pid_t pid)
{
	struct member *member;

	tree->members =
		xgrow(tree->members, &tree->capacity, tree->count + 1, sizeof(*tree->members));
	member = &tree->members[tree->count++];
	*member = (struct member){.pid = pid, .since_ns = now_ns(), .seen = true};
	return member;
}

static void add_child(struct attach_tree *tree, pid_t pid)
{
	struct member *member = add_member(tree, pid);

	if (process_identity_read(pid, &member->identity) == 0)
		try_to_record(tree, member, false);
}

/* Children of any of its threads; they become members, to be looked into in turn. */
static void add_children(struct attach_tree *tree, pid_t pid)
{
	struct dirent *entry;
	char path[300];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		int child;
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", (int)pid,
			 entry->d_name);
		f = fopen(path, "re");
		while (f && fscanf(f, "%d", &child) == 1) {
			struct member *known = find_member(tree, child);

			if (known)
				known->seen = true;
			else
				add_child(tree, child);
		}
		if (f)
			fclose(f);
	}
	closedir(dir);
}

static void forget_gone(struct attach_tree *tree)
{
	for (size_t i = 0; i < tree->count;) {
		struct process_identity identity;
		struct member *member = &tree->members[i];

		/* A child whose parent ended has another parent, and is still ours. */
		if (!member->seen && process_identity_read(member->pid, &identity))
			*member = tree->members[--tree->count];
		else
			i++;
	}
}

struct attach_tree *attach_tree_new(struct recording *recording, const struct target *target,
				    const struct attach_tree_options *options)
{
	struct member *member;
	struct attach_tree *tree = xcalloc(1, sizeof(*tree));

	tree->recording = recording;
	tree->options = *options;
	tree->root = target->pid;
	member = add_member(tree, target->pid);
	member->identity = target->identity;
	member->recorded = true;
	return tree;
}

void attach_tree_free(struct attach_tree *tree)
{
	if (!tree)
		return;
	free(tree->members);
	free(tree);
}

void attach_tree_step(struct attach_tree *tree)
{
	uint64_t start = now_ns(), start_cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), took;

	if (start < tree->next_ns)
		return;
	for (size_t i = 0; i < tree->count; i++)
		tree->members[i].seen = false;
	/* The list grows while it is gone through. */
	for (size_t i = 0; i < tree->count; i++) {
		look_at(tree, &tree->members[i]);
		if (*tree->options.children)
			add_children(tree, tree->members[i].pid);
	}
	forget_gone(tree);
	took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_cpu;
	tree->next_ns = start + (took * COST_SHARE > LOOK_NS ? took * COST_SHARE : LOOK_NS);
}

bool attach_tree_waits(const struct attach_tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		if (!tree->members[i].recorded && !tree->members[i].given_up)
			return true;
	return false;
}
