/* POST /push takes one valid JSON value, at most 1,000 deep, and names line and column of a bad one. */
#include <string.h>

#include "kit.h"

struct row {
    const char *body;
    size_t length;     /* 0: strlen(body) */
    const char *where; /* what the message must match besides naming a line and a column; NULL: nothing */
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A position is one of the first byte that can't belong to a valid value, both counted from 1. */
#define AT(line, column) "[Ll]ine " #line "([^0-9].*)?[Cc]olumn " #column "([^0-9]|$)"

static const struct row bad_structure[] = {
    {"x", 0, AT(1, 1)},
    {"{", 0, NULL},
    {"[", 0, NULL},
    {"}", 0, AT(1, 1)},
    {"]", 0, AT(1, 1)},
    {"[1,]", 0, AT(1, 4)},
    {"[,1]", 0, AT(1, 2)},
    {"[1,,2]", 0, AT(1, 4)},
    {"[1 2]", 0, AT(1, 4)},
    {"[1}", 0, AT(1, 3)},
    {"{\"a\":1]", 0, AT(1, 7)},
    {"{\"a\"}", 0, AT(1, 5)},
    {"{\"a\":}", 0, AT(1, 6)},
    {"{\"a\" 1}", 0, AT(1, 6)},
    {"{\"a\":1,}", 0, AT(1, 8)},
    {"{,}", 0, AT(1, 2)},
    {"{a:1}", 0, AT(1, 2)},
    {"{'a':1}", 0, AT(1, 2)},
    {"{1:1}", 0, AT(1, 2)},
    {"{\"a\":1 \"b\":2}", 0, AT(1, 8)},
    {"1 2", 0, AT(1, 3)},
    {"{} {}", 0, AT(1, 4)},
    {"{}x", 0, AT(1, 3)},
    {"[1]]", 0, AT(1, 4)},
    {"// comment\n1", 0, AT(1, 1)},
    {"1 /* comment */", 0, AT(1, 3)},
    {"{\n  \"a\": 1,\n  \"b\": x\n}", 0, AT(3, 8)},
    {"[\r\n1,\r\n?]", 0, AT(3, 1)},
    {"1\n\n\n2", 0, AT(4, 1)},
    {" ", 0, NULL},
    {"\n\t\r ", 0, NULL},
};

static const struct row bad_literals[] = {
    {"tru", 0, NULL},   {"True", 0, NULL},         {"TRUE", 0, NULL},
    {"nul", 0, NULL},   {"nulll", 0, NULL},        {"undefined", 0, NULL},
    {"NaN", 0, NULL},   {"Infinity", 0, NULL},     {"-Infinity", 0, NULL},
    {"01", 0, NULL},    {"-01", 0, NULL},          {"1.", 0, NULL},
    {".5", 0, NULL},    {"+1", 0, NULL},           {"-", 0, NULL},
    {"--1", 0, NULL},   {"1e", 0, NULL},           {"1e+", 0, NULL},
    {"1e1.5", 0, NULL}, {"0x10", 0, NULL},         {"1_000", 0, NULL},
    {"1,000", 0, NULL}, {"[true false]", 0, NULL}, {"[1.]", 0, NULL},
    {"[-]", 0, NULL},   {"[01]", 0, NULL},         {"{\"a\":truth}", 0, NULL},
};

static const struct row bad_strings[] = {
    {"\"", 0, NULL},          {"\"abc", 0, NULL},        {"'abc'", 0, AT(1, 1)},     {"\"\\\"", 0, NULL},
    {"\"\\x41\"", 0, NULL},   {"\"\\'\"", 0, NULL},      {"\"\\u12\"", 0, NULL},     {"\"\\u12g4\"", 0, NULL},
    {"\"\\U0041\"", 0, NULL}, {"\"a\nb\"", 0, NULL},     {"\"a\tb\"", 0, NULL},      {"\"a\x1f\"", 0, NULL},
    {"\"a\0b\"", 5, NULL},    {"{\"a\nb\":1}", 0, NULL}, {"[\"a\",\n\"b]", 0, NULL},
};

static const struct row other_white_space[] = {
    {"\f1", 0, AT(1, 1)},
    {"1\f", 0, AT(1, 2)},
    {"[\f1]", 0, AT(1, 2)},
    {"{\"a\":\f1}", 0, AT(1, 6)},
    {"\"a\fb\"", 0, NULL},
    {"\v1", 0, AT(1, 1)},
    {"1\0", 2, AT(1, 2)},
    {"\0", 1, AT(1, 1)},
    {"[1,\0]", 5, AT(1, 4)},
    {"\xc2\xa0"
     "1",
     0, AT(1, 1)},
    {"\xef\xbb\xbf"
     "1",
     0, AT(1, 1)},
    {"[1\xe2\x80\xa8]", 0, AT(1, 3)},
};

static const struct row bad_utf8[] = {
    {"\"\xff\"", 0, NULL},
    {"\"\x80\"", 0, NULL},
    {"\"\xc3\"", 0, NULL},
    {"\"\xc0\x80\"", 0, NULL},
    {"\"\xe0\x80\x80\"", 0, NULL},
    {"\"\xed\xa0\x80\"", 0, NULL},
    {"\"\xe6\xbc\"", 0, NULL},
    {"\"\xf4\x90\x80\x80\"", 0, NULL},
    {"\"\xf0\x80\x80\x80\"", 0, NULL},
    {"\"\xf8\x88\x80\x80\x80\"", 0, NULL},
    {"{\"\xe9\":1}", 0, NULL},
    {"\"caf\xe9", 0, NULL},
};

static void check_refused(struct kit_server *server, const struct row *row)
{
    size_t length = row->length > 0 ? row->length : strlen(row->body);
    kit_note(kit_of(server), "body \"%s\"", row->body);
    const struct kit_response *response = kit_post(server, "a", NULL, row->body, length);
    kit_assert_error(response, 400, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+");
}

static void check_all_refused(void **state, const struct row *rows, size_t count)
{
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < count; i++)
        check_refused(server, &rows[i]);
    kit_assert_get(server, "a", "g", "[]");
}

static void bad_structure_is_refused(void **state)
{
    check_all_refused(state, bad_structure, COUNT(bad_structure));
}

static void bad_literals_are_refused(void **state)
{
    check_all_refused(state, bad_literals, COUNT(bad_literals));
}

static void bad_strings_are_refused(void **state)
{
    check_all_refused(state, bad_strings, COUNT(bad_strings));
}

static void other_white_space_is_refused(void **state)
{
    check_all_refused(state, other_white_space, COUNT(other_white_space));
}

static void bad_utf8_is_refused(void **state)
{
    check_all_refused(state, bad_utf8, COUNT(bad_utf8));
}

/* Apart from the tests above: a wrong position does not hide a body that is wrongly taken. */
static void check_positions(struct kit_server *server, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = rows[i].length > 0 ? rows[i].length : strlen(rows[i].body);
        kit_note(kit_of(server), "body \"%s\"", rows[i].body);
        if (rows[i].where != NULL)
            kit_assert_error(kit_post(server, "a", NULL, rows[i].body, length), 400, rows[i].where);
    }
}

static void the_position_is_that_of_the_first_bad_byte(void **state)
{
    struct kit_server *server = kit_serve(*state);
    check_positions(server, bad_structure, COUNT(bad_structure));
    check_positions(server, bad_literals, COUNT(bad_literals));
    check_positions(server, bad_strings, COUNT(bad_strings));
    check_positions(server, other_white_space, COUNT(other_white_space));
    check_positions(server, bad_utf8, COUNT(bad_utf8));
}

/* `depth` values inside each other, the innermost an empty array or object. */
static char *nested(struct kit *kit, const char *open, const char *close, size_t depth)
{
    return kit_format(kit, "%s%s", kit_repeat(kit, open, depth), kit_repeat(kit, close, depth));
}

static void a_thousand_levels_are_taken(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const char *inner = nested(*state, "{\"a\":[", "]}", 499);
    char *const bodies[] = {
        nested(*state, "[", "]", 1000),
        nested(*state, "{\"a\":[", "]}", 500),
        kit_format(*state, "{\"a\":{\"b\":%s}}", inner),
        /* Depth is not the number of brackets. */
        kit_format(*state, "[%s[]]", kit_repeat(*state, "[[]],", 2000)),
        kit_format(*state, "[\"%s\"]", kit_repeat(*state, "[{", 2000)),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        kit_note(*state, "body %zu", i);
        kit_push(server, "a", bodies[i]);
        kit_assert_get(server, "a", "g", kit_format(*state, "[%s]", bodies[i]));
    }
}

static void a_level_more_is_refused(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const struct row rows[] = {
        {nested(*state, "[", "]", 1001), 0, NULL},
        {kit_format(*state, "{\"a\":%s}", nested(*state, "[", "]", 1000)), 0, NULL},
        {kit_format(*state, "[1,%s]", nested(*state, "{\"a\":[", "]}", 500)), 0, NULL},
        {nested(*state, "[", "]", 100000), 0, NULL},
        {kit_repeat(*state, "[", 1000000), 0, NULL},
        {kit_repeat(*state, "{\"a\":", 200000), 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_refused(server, &rows[i]);
    kit_assert_get(server, "a", "g", "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(bad_structure_is_refused),    kit_test(bad_literals_are_refused),
        kit_test(bad_strings_are_refused),     kit_test(other_white_space_is_refused),
        kit_test(bad_utf8_is_refused),         kit_test(the_position_is_that_of_the_first_bad_byte),
        kit_test(a_thousand_levels_are_taken), kit_test(a_level_more_is_refused),
    };
    return kit_run_tests(tests);
}
