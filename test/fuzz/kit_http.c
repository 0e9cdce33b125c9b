#include "base/json.h"
#include "base/json_read.h"
#include "fuzz.h"
#include "kit_server.h"

#include <string.h>
#include <strings.h>

static const char end_of_head[] = "\r\n\r\n";
static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";

static bool begins_with(struct text text, const char *front)
{
    return text.length >= strlen(front) && memcmp(text.bytes, front, strlen(front)) == 0;
}

static void drop(struct text *text, size_t length)
{
    text->bytes += length;
    text->length -= length;
}

/* The value of a field of the head, once at most; empty when it is not there. */
static struct text field(struct text head, const char *name)
{
    struct text value = {.length = 0};
    bool found = false;
    while (head.length > 0) {
        struct text line = text_cut(&head, '\n');
        FUZZ_REQUIRE(line.length > 0 && line.bytes[line.length - 1] == '\r');
        line.length--;
        struct text rest = line;
        struct text left = text_cut(&rest, ':');
        if (left.length != strlen(name) || strncasecmp(left.bytes, name, left.length) != 0)
            continue;
        FUZZ_REQUIRE(!found);
        found = true;
        value = text_trim(rest);
    }
    return value;
}

/* What is neither a token and a colon nor visible text has no place in a head (RFC 9112 section 5). */
static void check_fields(struct text head)
{
    while (head.length > 2) {
        struct text line = text_cut(&head, '\n');
        FUZZ_REQUIRE(line.length > 1 && line.bytes[line.length - 1] == '\r');
        line.length--;
        FUZZ_REQUIRE(memchr(line.bytes, ':', line.length) != NULL && line.bytes[0] != ' ');
        for (size_t i = 0; i < line.length; i++)
            FUZZ_REQUIRE((unsigned char)line.bytes[i] >= 0x20 && line.bytes[i] != 0x7F);
    }
    FUZZ_REQUIRE(text_equals(head, TEXT("\r\n")));
}

static void check_error(const struct kit_answer *answer)
{
    static const struct text name = {.bytes = "error", .length = 5};
    struct text value;
    FUZZ_REQUIRE(answer->is_json && json_type_of(answer->body) == JSON_OBJECT);
    json_members(answer->body, &name, &value, 1);
    FUZZ_REQUIRE(json_type_of(value) == JSON_STRING && value.length > 2);
    if (answer->status == 503)
        FUZZ_REQUIRE(field(answer->head, "Retry-After").length > 0);
    if (answer->status == 405)
        FUZZ_REQUIRE(field(answer->head, "Allow").length > 0);
    if (answer->status == 401)
        FUZZ_REQUIRE(text_equals(field(answer->head, "WWW-Authenticate"), TEXT("Bearer")));
}

/* Cuts the body off. An answer to HEAD has none, whatever its Content-Length; then another answer or the end follows. */
static void cut_body(struct text *rest, struct kit_answer *answer)
{
    struct json_error error;
    struct text announced = field(answer->head, "Content-Length");
    uint64_t length = 0;
    bool has_length = text_parse_number(announced, 0, INT64_MAX, &length) == 0;
    bool to_head = length > 0 && (rest->length == 0 || begins_with(*rest, "HTTP/1.1 "));
    FUZZ_REQUIRE(has_length != (answer->is_stream || answer->status == 204));
    FUZZ_REQUIRE(field(answer->head, "Transfer-Encoding").length == 0);
    if (to_head)
        length = 0;
    if (answer->is_stream)
        length = rest->length;
    FUZZ_REQUIRE(length <= rest->length);
    answer->body = (struct text){.bytes = rest->bytes, .length = (size_t)length};
    drop(rest, (size_t)length);
    if (answer->is_json && !to_head)
        FUZZ_REQUIRE(json_check(answer->body, 1002, &error) == JSON_VALID);
    if (answer->status >= 400 && !to_head)
        check_error(answer);
}

bool kit_next_answer(struct text *rest, struct kit_answer *answer)
{
    while (begins_with(*rest, interim))
        drop(rest, sizeof interim - 1);
    if (rest->length == 0)
        return false;
    const char *end = memmem(rest->bytes, rest->length, end_of_head, sizeof end_of_head - 1);
    FUZZ_REQUIRE(end != NULL && begins_with(*rest, "HTTP/1.1 ") && end - rest->bytes >= 14);
    *answer = (struct kit_answer){.head = {.bytes = rest->bytes, .length = (size_t)(end - rest->bytes) + 4}};
    drop(rest, answer->head.length);
    struct text fields = answer->head;
    struct text status_line = text_cut(&fields, '\n');
    uint64_t status;
    FUZZ_REQUIRE(text_parse_number((struct text){.bytes = status_line.bytes + 9, .length = 3}, 200, 599,
                                   &status) == 0);
    FUZZ_REQUIRE(status_line.bytes[12] == ' ');
    answer->status = (unsigned)status;
    check_fields(fields);
    struct text type = field(fields, "Content-Type");
    answer->is_json = text_equals(type, TEXT("application/json"));
    answer->is_stream = begins_with(type, "text/event-stream");
    answer->closes = text_equals_ignoring_case(field(fields, "Connection"), TEXT("close"));
    cut_body(rest, answer);
    return true;
}
