/* JSON: judged as by a parser that was written anew; what is valid can be walked, decoded, compacted; what is not must not
 * lead out of the text. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_read.h"

#include <string.h>

enum { DEPTH = 40, GREAT_DEPTH = 1000 };

static struct text text_of(const struct buffer *buffer)
{
    return (struct text){.bytes = buffer->bytes, .length = buffer->length};
}

static bool is_valid(struct text text)
{
    struct json_error error;
    return json_check(text, DEPTH, &error) == JSON_VALID;
}

/* A decoded string is Unicode, and comes back when it is written. */
static void check_string(struct text string, bool valid)
{
    struct buffer storage = BUFFER_EMPTY, written = BUFFER_EMPTY, storage_again = BUFFER_EMPTY;
    struct text decoded, again;
    if (json_string(string, &storage, &decoded) == JSON_STRING_OK && valid) {
        FUZZ_REQUIRE(text_is_utf8(decoded));
        json_append_string(&written, decoded);
        FUZZ_REQUIRE(is_valid(text_of(&written)));
        FUZZ_REQUIRE(json_string(text_of(&written), &storage_again, &again) == JSON_STRING_OK &&
                     text_equals(again, decoded));
        FUZZ_REQUIRE(json_name_is(string, decoded));
    }
    buffer_free(&storage);
    buffer_free(&written);
    buffer_free(&storage_again);
}

static struct text without_space(struct text text)
{
    static const char space[] = " \t\r\n";
    while (text.length > 0 && memchr(space, text.bytes[0], 4) != NULL) {
        text.bytes++;
        text.length--;
    }
    while (text.length > 0 && memchr(space, text.bytes[text.length - 1], 4) != NULL)
        text.length--;
    return text;
}

static void walk(struct text value, bool valid, size_t depth_left);

static void walk_object(struct text object, bool valid, size_t depth_left)
{
    struct json_walk members;
    struct text name, value;
    json_walk_begin(&members, object);
    while (json_walk_member(&members, &name, &value)) {
        struct text last;
        check_string(name, valid);
        walk(value, valid, depth_left);
        if (name.length < 2)
            continue;
        /* Where it has no escapes, the name as it stands finds the last member of that name. */
        struct text wanted = {.bytes = name.bytes + 1, .length = name.length - 2};
        json_members(object, &wanted, &last, 1);
        if (valid && json_name_is(name, wanted))
            FUZZ_REQUIRE(last.length > 0 && last.bytes >= value.bytes);
    }
}

static void walk(struct text value, bool valid, size_t depth_left)
{
    struct json_walk elements;
    struct text element;
    FUZZ_REQUIRE(!valid || is_valid(value));
    if (depth_left == 0)
        return;
    switch (json_type_of(value)) {
    case JSON_ARRAY:
        json_walk_begin(&elements, value);
        while (json_walk_element(&elements, &element))
            walk(element, valid, depth_left - 1);
        break;
    case JSON_OBJECT:
        walk_object(value, valid, depth_left - 1);
        break;
    case JSON_STRING:
        check_string(value, valid);
        break;
    case JSON_NUMBER:
        FUZZ_REQUIRE(!valid || model_json_is_number(value));
        break;
    case JSON_NULL:
    case JSON_BOOLEAN:
        break;
    }
}

static void compact(struct text text, bool valid)
{
    struct buffer once = BUFFER_EMPTY, twice = BUFFER_EMPTY;
    json_append_compact(&once, text);
    if (valid) {
        struct text copy = fuzz_copy(once.bytes, once.length);
        FUZZ_REQUIRE(once.length > 0 && once.length <= text.length);
        FUZZ_REQUIRE(is_valid(copy) && json_type_of(copy) == json_type_of(text));
        json_append_compact(&twice, copy);
        FUZZ_REQUIRE(text_equals(text_of(&once), text_of(&twice)));
        fuzz_free(copy);
    }
    buffer_free(&once);
    buffer_free(&twice);
}

static void check_error(struct text text, const struct json_error *error)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.length; i++)
        lines += text.bytes[i] == '\n';
    FUZZ_REQUIRE(error->line >= 1 && error->line <= lines);
    FUZZ_REQUIRE(error->column >= 1 && error->column <= text.length + 1);
    struct text reason = {.bytes = error->reason, .length = strnlen(error->reason, sizeof error->reason)};
    FUZZ_REQUIRE(reason.length > 0 && reason.length < sizeof error->reason);
    FUZZ_REQUIRE(text_is_utf8(reason) && !text_has_control(reason));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text text = fuzz_copy(data, size);
    struct json_error error;
    enum json_result result = json_check(text, DEPTH, &error);
    FUZZ_REQUIRE(result != JSON_NO_MEMORY);
    FUZZ_REQUIRE((json_check(text, GREAT_DEPTH, &error) == JSON_VALID) ==
                 model_json_is_valid(text, GREAT_DEPTH));
    FUZZ_REQUIRE(json_check(text, DEPTH, &error) == result);
    FUZZ_REQUIRE((result == JSON_VALID) == model_json_is_valid(text, DEPTH));
    if (result == JSON_INVALID)
        check_error(text, &error);
    walk(without_space(text), result == JSON_VALID, DEPTH);
    compact(text, result == JSON_VALID);
    fuzz_free(text);
    return 0;
}
