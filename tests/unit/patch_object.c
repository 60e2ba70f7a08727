/* SPDX-License-Identifier: Apache-2.0
 *
 * An object for test_patch.c to patch: it is built twice, bound at the first call and when it is
 * loaded. What it calls is in the program that loads it.
 */
int patch_called(int n);
int patch_pointed_to(int n);
int patch_never(int n);

int object_calls(int n);
int object_calls_by_pointer(int n);
int object_calls_by_table(int n);
int object_calls_another(int n);

static int (*const table[])(int) = {patch_pointed_to};

int object_calls(int n)
{
	return patch_called(n);
}

/* By the address, which is in a slot of its own. */
int object_calls_by_pointer(int n)
{
	int (*volatile function)(int) = patch_called;

	return function(n);
}

int object_calls_by_table(int n)
{
	int (*const *volatile at)(int) = table;

	return (*at)(n);
}

int object_calls_another(int n)
{
	return patch_never(n);
}
