/* Query strings, segments of paths, media types and numbers, as they come in a request. The first line of the input is a
 * capacity and a name, the rest the query. */
#include "fuzz.h"

#include "base/clock.h"
#include "net/media_type.h"
#include "net/query.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_CAPACITY = 16, TEXT_CAPACITY = 64 * 1024 };

static const char *const names[] = {"key", "groupId", "a", "", "x y", "timeout"};

/* Decodes as the standards say, into `decoded`. Returns the length, or -1 for a malformed escape. */
static int model_decode(struct text encoded, bool plus_is_space, char decoded[static TEXT_CAPACITY])
{
    int length = 0;
    for (size_t i = 0; i < encoded.length; i++) {
        char c = encoded.bytes[i];
        if (c == '%') {
            char digits[3] = {0};
            if (encoded.length - i < 3)
                return -1;
            memcpy(digits, encoded.bytes + i + 1, 2);
            if (strspn(digits, "0123456789abcdefABCDEF") != 2)
                return -1;
            c = (char)strtol(digits, NULL, 16);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        decoded[length++] = c;
    }
    return length;
}

static enum query_result model_find(struct text query, const char *name, char decoded[static TEXT_CAPACITY],
                                    size_t capacity, int *length)
{
    while (query.length > 0) {
        struct text value = text_cut(&query, '&');
        struct text encoded_name = text_cut(&value, '=');
        *length = model_decode(encoded_name, true, decoded);
        if (*length == (int)strlen(name) && memcmp(decoded, name, (size_t)*length) == 0) {
            *length = model_decode(value, true, decoded);
            return (size_t)*length > capacity ? QUERY_TOO_LONG : QUERY_FOUND;
        }
    }
    return QUERY_MISSING;
}

static void check_find(struct text query, const char *name, size_t capacity)
{
    static char decoded[TEXT_CAPACITY];
    char *value = malloc(capacity);
    size_t length = 0;
    int model_length = 0;
    FUZZ_REQUIRE(value != NULL);
    enum query_result result = query_find(query, name, value, capacity, &length);
    FUZZ_REQUIRE(result == model_find(query, name, decoded, capacity, &model_length));
    if (result == QUERY_FOUND)
        FUZZ_REQUIRE(length == (size_t)model_length && memcmp(value, decoded, length) == 0);
    free(value);
}

static void check_segment(struct text segment, size_t capacity)
{
    static char decoded[TEXT_CAPACITY];
    char *value = malloc(capacity);
    size_t length = 0;
    FUZZ_REQUIRE(value != NULL);
    int model_length = model_decode(segment, false, decoded);
    int result = query_decode_segment(segment, value, capacity, &length);
    FUZZ_REQUIRE((result == 0) == ((size_t)model_length <= capacity));
    if (result == 0)
        FUZZ_REQUIRE(length == (size_t)model_length && memcmp(value, decoded, length) == 0);
    free(value);
}

static bool lies_in(struct text part, struct text whole)
{
    return part.length == 0 ||
           (part.bytes >= whole.bytes && part.bytes + part.length <= whole.bytes + whole.length);
}

static void check_numbers(struct text text)
{
    char written[32] = {0};
    uint64_t number;
    int64_t ns;
    bool digits = text.length > 0;
    for (size_t i = 0; i < text.length; i++)
        digits = digits && text.bytes[i] >= '0' && text.bytes[i] <= '9';
    bool read = text_parse_number(text, 0, UINT64_MAX, &number) == 0;
    FUZZ_REQUIRE(digits || !read);
    if (digits && text.length < 20) {
        memcpy(written, text.bytes, text.length);
        FUZZ_REQUIRE(read && number == strtoull(written, NULL, 10));
        FUZZ_REQUIRE(text_parse_number(text, number, number, &number) == 0);
    }
    if (text_parse_seconds(text, INT64_MAX / 2, &ns) == 0) {
        FUZZ_REQUIRE(ns >= 0 && ns <= INT64_MAX / 2);
        FUZZ_REQUIRE(ns == 0 || text_parse_seconds(text, ns - 1, &ns) != 0);
    }
}

static void check_text(struct text text)
{
    size_t valid = text_utf8_length(text);
    FUZZ_REQUIRE(valid <= text.length && text_is_utf8(text) == (valid == text.length));
    if (valid == text.length)
        text_has_control(text);
    struct media_type type = media_type_parse(text);
    FUZZ_REQUIRE(lies_in(type.type, text) && lies_in(type.charset, text));
    FUZZ_REQUIRE(text_equals_ignoring_case(text, text) && text_equals_in_constant_time(text, text));
    check_numbers(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= TEXT_CAPACITY)
        return -1;
    size_t capacity = fuzz_take_byte(&data, &size);
    static char decoded[TEXT_CAPACITY];
    struct text text = fuzz_copy(data, size);
    bool valid = query_is_valid(text);
    FUZZ_REQUIRE(valid == (model_decode(text, true, decoded) >= 0));
    for (size_t i = 0; i < sizeof names / sizeof names[0] && valid; i++)
        check_find(text, names[i], capacity);
    if (valid)
        check_segment(text, capacity);
    check_text(text);
    fuzz_free(text);
    return 0;
}
