/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON writer, read back by cJSON.
 */
#include <cjson/cJSON.h>
#include <math.h>

#include "formats/base/json_write.h"
#include "tests/unit/unit.h"

/* Each value goes through an array and comes back from cJSON. */
static char *write_bytes(const char *data, size_t size, unsigned int flags)
{
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);
	struct json j;

	json_init(&j, to, flags);
	json_begin_array(&j);
	json_bytes(&j, data, size);
	json_end_array(&j);
	fclose(to);
	return text;
}

static const struct {
	const char *in;
	const char *out;
} texts[] = {
	{"plain", "plain"},
	{"", ""},
	{"\"\\/\b\f\n\r\t\x01\x1f\x7f", "\"\\/\b\f\n\r\t\x01\x1f\x7f"},
	{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d"},
	{"\xff", "\xef\xbf\xbd"},
	{"a\xc3", "a\xef\xbf\xbd"},
	{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
	{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
	{"\xf4\x90\x80\x80!", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!"},
	{"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
	{"</script><!--", "</script><!--"},
	{"\xe2\x80\xa8\xe2\x80\xa9", "\xe2\x80\xa8\xe2\x80\xa9"},
};

START_TEST(texts_come_back)
{
	for (unsigned int flags = 0; flags < 4; flags++) {
		char *text = write_bytes(texts[_i].in, strlen(texts[_i].in), flags);
		cJSON *parsed = cJSON_ParseWithOpts(text, NULL, 1);

		ck_assert_ptr_nonnull(parsed);
		ck_assert_str_eq(cJSON_GetArrayItem(parsed, 0)->valuestring, texts[_i].out);
		if (flags & JSON_HTML) {
			ck_assert_ptr_null(strchr(text, '<'));
			ck_assert_ptr_null(strstr(text, "\xe2\x80\xa8"));
		}
		cJSON_Delete(parsed);
		free(text);
	}
}
END_TEST

START_TEST(zero_bytes_are_escaped)
{
	char *text = write_bytes("a\0b", 3, 0);

	ck_assert_str_eq(text, "[\"a\\u0000b\"]");
	free(text);
}
END_TEST

START_TEST(structure_and_numbers)
{
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);
	struct json j;

	json_init(&j, to, 0);
	json_begin_object(&j);
	json_key_uint(&j, "big", UINT64_MAX);
	json_key_int(&j, "small", INT64_MIN);
	json_key_double(&j, "tenth", 0.1);
	json_key_double(&j, "third", 1.0 / 3);
	json_key_double(&j, "nan", NAN);
	json_key_bool(&j, "yes", true);
	json_key_text(&j, "k\"ey", "v");
	json_key(&j, "list");
	json_begin_array(&j);
	json_begin_object(&j);
	json_end_object(&j);
	json_begin_array(&j);
	json_end_array(&j);
	json_null(&j);
	json_end_array(&j);
	json_end_object(&j);
	fclose(to);
	ck_assert_str_eq(text, "{\"big\":18446744073709551615,\"small\":-9223372036854775808,"
			       "\"tenth\":0.1,\"third\":0.3333333333333333,\"nan\":null,"
			       "\"yes\":true,\"k\\\"ey\":\"v\",\"list\":[{},[],null]}");
	free(text);
}
END_TEST

START_TEST(indented_form_is_the_same_json)
{
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);
	cJSON *parsed;
	struct json j;

	json_init(&j, to, JSON_INDENT);
	json_begin_object(&j);
	json_key(&j, "a");
	json_begin_array(&j);
	json_uint(&j, 1);
	json_uint(&j, 2);
	json_end_array(&j);
	json_end_object(&j);
	fclose(to);
	ck_assert_str_eq(text, "{\n\t\"a\": [\n\t\t1,\n\t\t2\n\t]\n}\n");
	parsed = cJSON_ParseWithOpts(text, NULL, 1);
	ck_assert_ptr_nonnull(parsed);
	cJSON_Delete(parsed);
	free(text);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("json");

	tcase_add_loop_test(tests, texts_come_back, 0, sizeof(texts) / sizeof(texts[0]));
	tcase_add_test(tests, zero_bytes_are_escaped);
	tcase_add_test(tests, structure_and_numbers);
	tcase_add_test(tests, indented_form_is_the_same_json);
	return unit_run("json", tests);
}
