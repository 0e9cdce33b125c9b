/* Bodies, in requests that are well-formed: what is accepted is what can be had back, and nothing else. The first byte of the input
 * is the route; the second says how long pieces, and chunks, are. */
#include "api/lines.h"
#include "base/json.h"
#include "base/json_read.h"
#include "fuzz.h"
#include "kit_server.h"
#include "live/line.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH = 1000 };

static const char json_type[] = "application/json", lines_type[] = "application/x-ndjson";

static struct buffer sent, answers;

static struct text text_of(const struct buffer *buffer)
{
    return (struct text){.bytes = buffer->bytes, .length = buffer->length};
}

/* The one answer to a request that was sent in pieces of `piece` bytes (0: whole). */
static struct kit_answer exchange(struct text request, size_t piece)
{
    struct kit_answer answer;
    buffer_clear(&answers);
    kit_server_connect();
    while (request.length > 0) {
        size_t length = piece == 0 || piece > request.length ? request.length : piece;
        kit_server_send((struct text){.bytes = request.bytes, .length = length}, &answers);
        request.bytes += length;
        request.length -= length;
    }
    kit_server_disconnect(&answers);
    struct text rest = text_of(&answers);
    FUZZ_REQUIRE(kit_next_answer(&rest, &answer) && rest.length == 0);
    return answer;
}

static struct kit_answer get(const char *target)
{
    buffer_clear(&sent);
    buffer_printf(&sent, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    return exchange(text_of(&sent), 0);
}

static void append_chunks(struct text body, size_t chunk)
{
    while (body.length > 0) {
        size_t length = chunk > body.length ? body.length : chunk;
        buffer_printf(&sent, "%zx\r\n", length);
        buffer_append(&sent, body.bytes, length);
        buffer_append_text(&sent, "\r\n");
        body.bytes += length;
        body.length -= length;
    }
    buffer_append_text(&sent, "0\r\n\r\n");
}

/* `how`: the lower half says how long chunks are (0: Content-Length), the upper one how long pieces. */
static struct kit_answer post(const char *method, const char *target, const char *type, struct text body,
                              uint8_t how)
{
    size_t chunk = how & 15, piece = (size_t)(how >> 4) * 7;
    buffer_clear(&sent);
    buffer_printf(&sent, "%s %s HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\n", method, target, type);
    if (chunk == 0) {
        buffer_printf(&sent, "Content-Length: %zu\r\n\r\n", body.length);
        buffer_append(&sent, body.bytes, body.length);
    } else {
        buffer_append_text(&sent, "Transfer-Encoding: chunked\r\n\r\n");
        append_chunks(body, chunk * chunk);
    }
    return exchange(text_of(&sent), piece);
}

static bool is_json(struct text text)
{
    return model_json_is_valid(text, DEPTH);
}

/* --- push --- */

/* What a group gets: `expected` as the elements of an array. */
static void require_stored(struct text expected)
{
    struct text stored = get("/blocking-get?key=k&groupId=g&timeout=0").body;
    FUZZ_REQUIRE(stored.length == expected.length + 2 && stored.bytes[0] == '[' &&
                 stored.bytes[stored.length - 1] == ']');
    FUZZ_REQUIRE(text_equals((struct text){.bytes = stored.bytes + 1, .length = expected.length}, expected));
}

static void push_json(struct text body, uint8_t how)
{
    struct kit_answer answer = post("POST", "/push?key=k", json_type, body, how);
    FUZZ_REQUIRE(answer.status == (is_json(body) ? 200 : 400));
    require_stored(answer.status == 200 ? body : TEXT(""));
}

static void push_lines(struct text body, uint8_t how)
{
    struct buffer expected = BUFFER_EMPTY;
    struct text line;
    bool good = true;
    for (struct lines lines = {.rest = body}; lines_next(&lines, &line);) {
        good = good && is_json(line);
        buffer_append_text(&expected, expected.length == 0 ? "" : ",");
        buffer_append(&expected, line.bytes, line.length);
    }
    struct kit_answer answer = post("POST", "/push?key=k", lines_type, body, how);
    good = good && expected.length > 0;
    FUZZ_REQUIRE(answer.status == (good ? 200 : 400) || answer.status == 503);
    require_stored(answer.status == 200 ? text_of(&expected) : TEXT(""));
    buffer_free(&expected);
}

static void push_text(struct text body, uint8_t how)
{
    struct buffer expected = BUFFER_EMPTY, decoded_storage = BUFFER_EMPTY;
    struct text decoded;
    bool good = body.length > 0 && text_is_utf8(body);
    if (good) {
        json_append_string(&expected, body);
        FUZZ_REQUIRE(is_json(text_of(&expected)));
        FUZZ_REQUIRE(json_string(text_of(&expected), &decoded_storage, &decoded) == JSON_STRING_OK &&
                     text_equals(decoded, body));
    }
    struct kit_answer answer = post("POST", "/push?key=k", "text/plain", body, how);
    FUZZ_REQUIRE(answer.status == (good ? 200 : 400));
    require_stored(text_of(&expected));
    buffer_free(&expected);
    buffer_free(&decoded_storage);
}

/* --- what is read out of an object --- */

static bool strings_are_equal(struct text a, struct text b)
{
    struct buffer storage_a = BUFFER_EMPTY, storage_b = BUFFER_EMPTY;
    struct text text_a, text_b;
    bool equal = json_type_of(a) == JSON_STRING && json_type_of(b) == JSON_STRING &&
                 json_string(a, &storage_a, &text_a) == JSON_STRING_OK &&
                 json_string(b, &storage_b, &text_b) == JSON_STRING_OK && text_equals(text_a, text_b);
    buffer_free(&storage_a);
    buffer_free(&storage_b);
    return equal;
}

static bool is_compact_of(struct text compact, struct text value)
{
    struct buffer expected = BUFFER_EMPTY;
    json_append_compact(&expected, value);
    bool equal = text_equals(text_of(&expected), compact);
    buffer_free(&expected);
    return equal;
}

/* The element of an array that has one. */
static struct text only_element(struct text array)
{
    struct json_walk walk;
    struct text element, second;
    FUZZ_REQUIRE(json_type_of(array) == JSON_ARRAY);
    json_walk_begin(&walk, array);
    FUZZ_REQUIRE(json_walk_element(&walk, &element) && !json_walk_element(&walk, &second));
    return element;
}

static struct text member(struct text object, const char *name)
{
    struct text wanted = text_from(name), value;
    json_members(object, &wanted, &value, 1);
    return value;
}

/* A refused body has changed nothing; here: the list has no element. */
static void require_status(unsigned status, unsigned good, struct text list)
{
    FUZZ_REQUIRE(status == good || status == 400);
    if (status == 400)
        FUZZ_REQUIRE(text_equals(list, TEXT("[]")));
}

static void publish(struct text body, uint8_t how)
{
    unsigned status = post("POST", "/api/events/publish", json_type, body, how).status;
    struct text channel = status == 202 ? member(body, "channel") : TEXT("\"c\"");
    struct buffer decoded_storage = BUFFER_EMPTY, target = BUFFER_EMPTY;
    struct text decoded;
    FUZZ_REQUIRE(json_string(channel, &decoded_storage, &decoded) == JSON_STRING_OK);
    buffer_append_text(&target, "/api/events/history?channel=");
    for (size_t i = 0; i < decoded.length; i++)
        buffer_printf(&target, "%%%02x", (unsigned char)decoded.bytes[i]);
    buffer_append(&target, "", 1);
    struct text events = member(get(target.bytes).body, "events");
    require_status(status, 202, events);
    if (status == 202) {
        struct text event = only_element(events);
        FUZZ_REQUIRE(strings_are_equal(member(event, "channel"), channel));
        FUZZ_REQUIRE(strings_are_equal(member(event, "eventType"), member(body, "eventType")));
        FUZZ_REQUIRE(is_compact_of(member(event, "payload"), member(body, "payload")));
    }
    buffer_free(&decoded_storage);
    buffer_free(&target);
}

static void subscribe(struct text body, uint8_t how)
{
    unsigned status = post("POST", "/api/events/channels/subscribe", json_type, body, how).status;
    FUZZ_REQUIRE(status == 201 || status == 400);
    FUZZ_REQUIRE(post("POST", "/api/events/channels/unsubscribe", json_type, body, how).status ==
                 (status == 201 ? 200 : 400));
}

static void add_event(struct text body, uint8_t how)
{
    unsigned status = post("POST", "/addEvent", json_type, body, how).status;
    struct text events = get("/getEvents").body;
    require_status(status, 200, events);
    if (status != 200)
        return;
    struct text event = only_element(events);
    FUZZ_REQUIRE(strings_are_equal(member(event, "name"), member(body, "name")));
    struct text details = member(body, "details");
    if (json_type_of(details) != JSON_NULL)
        FUZZ_REQUIRE(is_compact_of(member(event, "details"), details));
}

static void replace_table(struct text body, uint8_t how)
{
    unsigned status = post("PUT", "/reference/users", json_type, body, how).status;
    struct text users = get("/getUsers").body;
    require_status(status, 200, users);
    FUZZ_REQUIRE(get("/metrics?window=60").status == 200);
}

/* --- events and live events --- */

static size_t count_elements(struct text array)
{
    struct json_walk walk;
    struct text element;
    size_t count = 0;
    json_walk_begin(&walk, array);
    while (json_walk_element(&walk, &element))
        count++;
    return count;
}

static void post_events(struct text body, uint8_t how, bool are_lines)
{
    size_t count = 0;
    struct text line;
    if (are_lines) {
        for (struct lines lines = {.rest = body}; lines_next(&lines, &line);)
            count++;
    } else if (is_json(body)) {
        count = json_type_of(body) == JSON_ARRAY ? count_elements(body) : 1;
    }
    struct kit_answer answer = post("POST", "/events", are_lines ? lines_type : json_type, body, how);
    FUZZ_REQUIRE(answer.status == 200 || answer.status == 400 || answer.status == 503);
    if (answer.status == 200)
        FUZZ_REQUIRE(count_elements(member(answer.body, "results")) == count);
    FUZZ_REQUIRE(get("/metrics?window=60").status == 200);
}

/* What the journal must get. */
static bool live_lines(struct text body, bool are_lines, struct buffer *expected)
{
    struct text line = body;
    struct lines lines = {.rest = body};
    bool good = true;
    while (good && (are_lines ? lines_next(&lines, &line) : expected->length == 0)) {
        struct live_line read;
        good = is_json(line) && live_line_read(line, &read) == NULL;
        if (good)
            live_line_append(expected, &read);
    }
    return good && expected->length > 0;
}

static void post_live(struct text body, uint8_t how, bool are_lines)
{
    struct buffer expected = BUFFER_EMPTY, found = BUFFER_EMPTY;
    size_t before = kit_server_journal_bytes();
    bool good = live_lines(body, are_lines, &expected);
    unsigned status = post("POST", "/liveEvent", are_lines ? lines_type : json_type, body, how).status;
    FUZZ_REQUIRE(status == (good ? 200 : 400));
    kit_server_read_journal(before, &found);
    FUZZ_REQUIRE(text_equals(text_of(&found), good ? text_of(&expected) : TEXT("")));
    buffer_free(&expected);
    buffer_free(&found);
}

static void run(unsigned route, struct text body, uint8_t how)
{
    switch (route) {
    case 0:
        push_json(body, how);
        break;
    case 1:
        push_lines(body, how);
        break;
    case 2:
        push_text(body, how);
        break;
    case 3:
        publish(body, how);
        break;
    case 4:
        subscribe(body, how);
        break;
    case 5:
        add_event(body, how);
        break;
    case 6:
        replace_table(body, how);
        break;
    case 7:
    case 8:
        post_events(body, how, route == 8);
        break;
    default:
        post_live(body, how, route == 10);
        break;
    }
}

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count, (void)arguments;
    kit_server_start();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { ROUTES = 11 };
    unsigned route = fuzz_take_byte(&data, &size) % ROUTES;
    uint8_t how = fuzz_take_byte(&data, &size);
    if (size > KIT_MAX_BODY)
        size = KIT_MAX_BODY;
    struct text body = fuzz_copy(data, size);
    kit_server_reset();
    run(route, body, how);
    kit_server_check();
    fuzz_free(body);
    return 0;
}
