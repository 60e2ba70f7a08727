/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line table: values, errors, operands, and the help.
 */
#include "formats/base/opt.h"
#include "tests/unit/unit.h"

struct options {
	bool flag;
	bool on;
	int verbose;
	const char *output;
	struct opt_list files;
	uint64_t rate;
	uint64_t size;
	uint64_t duration;
	double share;
	int format;
	int color;
	const char *called;
};

static int call(void *options, const char *arg, struct err *err)
{
	if (!strcmp(arg, "bad"))
		return err_set(err, ERR_FAILED, "'%s' will not do", arg);
	((struct options *)options)->called = arg;
	return 0;
}

static const char *const formats[] = {"text", "json", "html", NULL};
static const char *const colors[] = {"always", "never", NULL};

#define AT(member) .offset = offsetof(struct options, member)

static const struct opt table_options[] = {
	{.group = "Output",
	 .name = "output",
	 .letter = 'o',
	 .arg = "FILE",
	 .kind = OPT_KIND_TEXT,
	 .help = "write to FILE, which is made when it does not exist and replaced when it does",
	 AT(output)},
	{.name = "format",
	 .letter = 'f',
	 .arg = "FORMAT",
	 .kind = OPT_KIND_CHOICE,
	 .choices = formats,
	 .help = "text, json or html",
	 AT(format)},
	{.name = "color",
	 .arg = "WHEN",
	 .optional = true,
	 .kind = OPT_KIND_CHOICE,
	 .choices = colors,
	 .help = "always or never",
	 AT(color)},
	{.group = "Choice",
	 .name = "file",
	 .arg = "GLOB",
	 .kind = OPT_KIND_LIST,
	 .help = "only these files; may be given several times",
	 AT(files)},
	{.name = "rate",
	 .letter = 'r',
	 .arg = "HZ",
	 .kind = OPT_KIND_UINT,
	 .min = 1,
	 .max = 10000,
	 .help = "samples a second",
	 AT(rate)},
	{.name = "max-size", .arg = "SIZE", .kind = OPT_KIND_SIZE, .help = "stop there", AT(size)},
	{.name = "duration",
	 .letter = 'd',
	 .arg = "TIME",
	 .kind = OPT_KIND_DURATION,
	 .help = "stop then",
	 AT(duration)},
	{.name = "share", .arg = "X", .kind = OPT_KIND_DOUBLE, .help = "a number", AT(share)},
	{.name = "call", .arg = "X", .kind = OPT_KIND_CALL, .set = call, .help = "a function"},
	{.name = "a-rather-long-option-name", .kind = OPT_KIND_FLAG, .help = "a flag", AT(flag)},
	{.name = "no-on", .kind = OPT_KIND_NO_FLAG, .help = "off", AT(on)},
	{.name = "verbose", .letter = 'v', .kind = OPT_KIND_COUNT, .help = "more", AT(verbose)},
	{.name = "quiet", .letter = 'q', .kind = OPT_KIND_LESS, .help = "less", AT(verbose)},
};

static const struct opt_table table = {
	.tool = "scprof-unit",
	.synopsis = "[OPTION...] FILE...\n--other",
	.about = "Does what unit tests want, in a paragraph that is long enough to be wrapped at "
		 "the eightieth column of the terminal.",
	.options = table_options,
	.count = sizeof(table_options) / sizeof(table_options[0]),
};

static int parse(const struct opt_table *t, const char *line, struct options *o, int *operand,
		 char **argv, int *argc, struct err *err)
{
	static char words[512];
	char *at = words;

	snprintf(words, sizeof(words), "scprof-unit %s", line);
	for (*argc = 0; at; (*argc)++)
		argv[*argc] = strsep(&at, " ");
	argv[*argc] = NULL;
	*o = (struct options){.on = true};
	return opt_parse(t, *argc, argv, o, operand, err);
}

START_TEST(every_kind_is_set)
{
	struct err err = {0};
	struct options o;
	char *argv[64];
	int operand;
	int argc;

	ck_assert_int_eq(parse(&table,
			       "one -o out --format=json --color --file a --file=b -r 99 two "
			       "--max-size 1.5K -d200ms --share -0.5 --call x "
			       "--a-rather-long-option-name --no-on -vvq -- -v",
			       &o, &operand, argv, &argc, &err),
			 0);
	ck_assert_str_eq(o.output, "out");
	ck_assert_int_eq(o.format, 1);
	ck_assert_int_eq(o.color, 0);
	ck_assert_uint_eq(o.files.count, 2);
	ck_assert_str_eq(o.files.items[1], "b");
	ck_assert_uint_eq(o.rate, 99);
	ck_assert_uint_eq(o.size, 1536);
	ck_assert_uint_eq(o.duration, 200000000);
	ck_assert(o.share == -0.5);
	ck_assert_str_eq(o.called, "x");
	ck_assert(o.flag && !o.on);
	ck_assert_int_eq(o.verbose, 1);
	ck_assert_int_eq(argc - operand, 3);
	ck_assert_str_eq(argv[operand], "one");
	ck_assert_str_eq(argv[operand + 1], "two");
	ck_assert_str_eq(argv[operand + 2], "-v");
	opt_list_release(&o.files);
}
END_TEST

START_TEST(a_command_keeps_its_own_options)
{
	struct opt_table command = table;
	struct err err = {0};
	struct options o;
	char *argv[64];
	int operand;
	int argc;

	command.command_follows = true;
	ck_assert_int_eq(parse(&command, "-v python3 -v -o x", &o, &operand, argv, &argc, &err), 0);
	ck_assert_int_eq(o.verbose, 1);
	ck_assert_int_eq(operand, 2);
	ck_assert_str_eq(argv[3], "-v");
	ck_assert_int_eq(parse(&command, "-v -- -v", &o, &operand, argv, &argc, &err), 0);
	ck_assert_int_eq(operand, 3);
}
END_TEST

static const struct {
	const char *line;
	const char *message;
} mistakes[] = {
	{"--nonsense", "unknown or ambiguous option '--nonsense'"},
	{"-x", "unknown or ambiguous option '-x'"},
	{"-vx", "unknown or ambiguous option '-x'"},
	{"--ra", NULL}, /* abbreviations work */
	{"--f", "unknown or ambiguous option '--f'"},
	{"--output", "option '--output' needs an argument (FILE)"},
	{"-o", "option '--output' needs an argument (FILE)"},
	{"--verbose=3", "option '--verbose=3': --verbose takes no argument"},
	{"--help=me", "option '--help=me': --help takes no argument"},
	{"--rate 0", "--rate: 0 is not between 1 and 10000"},
	{"--format xml", "--format: 'xml' is not one of text, json or html"},
	{"--max-size big", "--max-size: 'big' is not a size such as 512, 64K, 10M or 1G"},
	{"--call bad", "--call: 'bad' will not do"},
};

START_TEST(mistakes_are_named)
{
	struct err err = {0};
	struct options o;
	char *argv[64];
	int operand;
	int argc;

	if (!mistakes[_i].message) {
		ck_assert_int_eq(parse(&table, "--ra 7", &o, &operand, argv, &argc, &err), 0);
		ck_assert_uint_eq(o.rate, 7);
		return;
	}
	ck_assert_int_eq(parse(&table, mistakes[_i].line, &o, &operand, argv, &argc, &err), -1);
	ck_assert_str_eq(err.text, mistakes[_i].message);
	ck_assert_int_eq(err.code, ERR_USAGE);
}
END_TEST

START_TEST(help_fits_and_names_every_option)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	opt_print_help(&table, to);
	fclose(to);
	for (size_t i = 0; i < table.count; i++) {
		char name[64];

		snprintf(name, sizeof(name), "--%s", table.options[i].name);
		ck_assert_ptr_nonnull(strstr(text, name));
	}
	ck_assert_ptr_nonnull(strstr(text, "usage: scprof-unit [OPTION...] FILE...\n"
					   "       scprof-unit --other\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nChoice:\n"));
	ck_assert_ptr_nonnull(strstr(text, "-h, --help"));
	ck_assert_ptr_nonnull(strstr(text, "--color[=WHEN]"));
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		ck_assert_uint_le(strcspn(line, "\n"), 80);
	free(text);
}
END_TEST

START_TEST(help_and_version_are_answered)
{
	struct err err = {0};
	struct options o;
	char *argv[64];
	int operand;
	int argc;

	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));
	ck_assert_int_eq(parse(&table, "--help", &o, &operand, argv, &argc, &err), 1);
	ck_assert_int_eq(parse(&table, "-h", &o, &operand, argv, &argc, &err), 1);
	ck_assert_int_eq(parse(&table, "--version --nonsense", &o, &operand, argv, &argc, &err), 1);
	ck_assert_int_eq(parse(&table, "-V", &o, &operand, argv, &argc, &err), 1);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("opt");

	tcase_add_test(tests, every_kind_is_set);
	tcase_add_test(tests, a_command_keeps_its_own_options);
	tcase_add_loop_test(tests, mistakes_are_named, 0, sizeof(mistakes) / sizeof(mistakes[0]));
	tcase_add_test(tests, help_fits_and_names_every_option);
	tcase_add_test(tests, help_and_version_are_answered);
	return unit_run("opt", tests);
}
