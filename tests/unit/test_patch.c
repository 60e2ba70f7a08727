/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots of loaded objects, filled and put back.
 */
#include <dlfcn.h>
#include <limits.h>

#include "record/agent/agent.h"
#include "record/agent/patch.h"

#undef memcpy
#undef memset

#include "tests/unit/unit.h"

int patch_called(int n);
int patch_pointed_to(int n);
int patch_never(int n);

void *agent_map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int agent_peek(uint64_t address, void *to, size_t size)
{
	int ends[2], ret = -1;

	/* The kernel refuses to read from what is not there. */
	if (pipe(ends))
		return -1;
	if (write(ends[1], (const void *)(uintptr_t)address, size) == (ssize_t)size)
		ret = read(ends[0], to, size) == (ssize_t)size ? 0 : -1;
	close(ends[0]);
	close(ends[1]);
	return ret;
}

int patch_called(int n)
{
	return n + 1;
}

int patch_pointed_to(int n)
{
	return n + 2;
}

int patch_never(int n)
{
	return n + 3;
}

static int in_place(int n)
{
	return n + 1000;
}

typedef int (*function)(int);

struct object {
	void *handle;
	function calls, by_pointer, by_table, another;
};

static const char *const names[] = {"patch_object_lazy.so", "patch_object_now.so"};

/* It lies where this program does. */
static struct object load(int which)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	struct object o;

	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	snprintf(strrchr(path, '/') + 1, 64, "%s", names[which]);
	o.handle = dlopen(path, which ? RTLD_NOW : RTLD_LAZY);
	ck_assert_msg(o.handle != NULL, "%s", dlerror());
	*(void **)&o.calls = dlsym(o.handle, "object_calls");
	*(void **)&o.by_pointer = dlsym(o.handle, "object_calls_by_pointer");
	*(void **)&o.by_table = dlsym(o.handle, "object_calls_by_table");
	*(void **)&o.another = dlsym(o.handle, "object_calls_another");
	ck_assert(o.calls && o.by_pointer && o.by_table && o.another);
	return o;
}

static void add(const char *name, function real)
{
	struct patch patch = {.name = name};

	*(function *)&patch.ours = in_place;
	*(function *)&patch.real = real;
	ck_assert(patch_add(&patch));
}

static void add_both(void)
{
	patch_clear();
	add("patch_called", patch_called);
	add("patch_pointed_to", patch_pointed_to);
}

static bool skip_all_but_ours(const char *path)
{
	return !strstr(path, "patch_object_");
}

static void check_patched(const struct object *o)
{
	ck_assert_int_eq(o->calls(5), 1005);
	ck_assert_int_eq(o->by_pointer(5), 1005);
	ck_assert_int_eq(o->by_table(5), 1005);
	ck_assert_int_eq(o->another(5), 8);
}

static void check_real(const struct object *o)
{
	ck_assert_int_eq(o->calls(5), 6);
	ck_assert_int_eq(o->by_pointer(5), 6);
	ck_assert_int_eq(o->by_table(5), 7);
	ck_assert_int_eq(o->another(5), 8);
}

/* Called before, so bound, or not. */
START_TEST(filled_and_put_back)
{
	struct object o = load(_i / 2);

	if (_i % 2)
		check_real(&o);
	add_both();
	for (int round = 0; round < 3; round++) {
		ck_assert_uint_ge(patch_objects(skip_all_but_ours), 2);
		ck_assert_uint_eq(patch_objects(skip_all_but_ours), 0);
		check_patched(&o);
		patch_undo();
		check_real(&o);
	}
}
END_TEST

/* What is read-only for good is read-only again. */
START_TEST(protection_is_kept)
{
	struct object o = load(1);
	struct buf maps[2] = {{0}};
	char line[512];

	add_both();
	for (int round = 0; round < 2; round++) {
		FILE *f = fopen("/proc/self/maps", "r");

		ck_assert_ptr_nonnull(f);
		while (fgets(line, sizeof(line), f))
			if (strstr(line, names[1]))
				buf_printf(&maps[round], "%s", line);
		fclose(f);
		patch_objects(skip_all_but_ours);
		check_patched(&o);
	}
	ck_assert_str_ne(buf_text(&maps[0]), "");
	ck_assert_str_eq(buf_text(&maps[0]), buf_text(&maps[1]));
	patch_undo();
	buf_release(&maps[0]);
	buf_release(&maps[1]);
}
END_TEST

START_TEST(objects_that_come_and_go)
{
	struct object o = load(0), other;

	add_both();
	patch_objects(skip_all_but_ours);
	ck_assert(!patch_is_stale());
	other = load(1);
	ck_assert(patch_is_stale());
	check_real(&other);
	patch_objects(skip_all_but_ours);
	check_patched(&other);
	dlclose(o.handle);
	ck_assert(patch_is_stale());
	/* Perhaps where it was before. */
	o = load(0);
	check_real(&o);
	dlclose(other.handle);
	patch_undo();
	check_real(&o);
	patch_objects(skip_all_but_ours);
	check_patched(&o);
	patch_undo();
	check_real(&o);
}
END_TEST

/* Somebody else has put something there meanwhile, or was there before. */
START_TEST(what_others_did_stays)
{
	struct object o = load(1);

	check_real(&o);
	add_both();
	patch_objects(skip_all_but_ours);
	patch_clear();
	/* They take what we put there for the real one. */
	add("patch_called", in_place);
	ck_assert_uint_eq(patch_objects(skip_all_but_ours), 0);
	patch_undo();
	check_real(&o);
	patch_clear();
	add("patch_called", patch_never); /* in this program, as what the slots hold is */
	ck_assert_uint_ge(patch_objects(skip_all_but_ours), 1);
	patch_undo();
	patch_clear();
	*(void **)&o.by_table = dlsym(RTLD_DEFAULT, "getpid");
	add("patch_called", o.by_table);
	ck_assert_uint_eq(patch_objects(skip_all_but_ours), 0);
	ck_assert_int_eq(o.calls(5), 6);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("patch");

	tcase_add_loop_test(tests, filled_and_put_back, 0, 4);
	tcase_add_test(tests, protection_is_kept);
	tcase_add_test(tests, objects_that_come_and_go);
	tcase_add_test(tests, what_others_did_stays);
	return unit_run("patch", tests);
}
