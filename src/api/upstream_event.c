#include "api/upstream_event.h"

#include "api/json_body.h"
#include "api/upstream_answer.h"
#include "api/user_id.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int uuid_draw(struct name *uuid)
{
    unsigned char bytes[16];
    char text[UUID_BYTES + 1];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return -1;
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
    size_t length = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%02x",
                                   i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
    memcpy(uuid->bytes, text, UUID_BYTES);
    uuid->text = (struct text){.bytes = uuid->bytes, .length = UUID_BYTES};
    return 0;
}

void answer_failed(struct response *response, unsigned status, const char *error, const char *message)
{
    response_json(response, status);
    buffer_clear(response->body);
    buffer_append_text(response->body, "{\"success\":false,\"error\":");
    json_append_string(response->body, text_from(error));
    buffer_append_text(response->body, ",\"message\":");
    json_append_string(response->body, text_from(message));
    buffer_append_text(response->body, "}");
}

static void append_body(struct buffer *buffer, struct text body, struct text id)
{
    struct json_walk walk;
    struct text name, value;
    buffer_append_text(buffer, "{\"id\":");
    json_append_string(buffer, id);
    json_walk_begin(&walk, body);
    while (json_walk_member(&walk, &name, &value)) {
        if (json_name_is(name, TEXT("id")))
            continue;
        buffer_append_text(buffer, ",");
        buffer_append(buffer, name.bytes, name.length);
        buffer_append_text(buffer, ":");
        buffer_append(buffer, value.bytes, value.length);
    }
    buffer_append_text(buffer, "}");
}

/* An object that does not say that it has failed. */
static enum upstream_verdict judge(void *context, struct text body)
{
    (void)context;
    const struct text names[] = {TEXT("success")};
    struct text success;
    enum upstream_verdict verdict = upstream_answer_judge(body, JSON_OBJECT);
    if (verdict != UPSTREAM_GOOD)
        return verdict;
    json_members(body, names, &success, 1);
    return text_equals(success, TEXT("false")) ? UPSTREAM_BAD : UPSTREAM_GOOD;
}

static void take_id(struct text body, struct name *id)
{
    const struct text names[] = {TEXT("id")};
    struct text value;
    struct name better;
    json_members(body, names, &value, 1);
    if (!id_read(value, &better))
        return;
    memcpy(id->bytes, better.bytes, better.text.length);
    id->text.length = better.text.length;
}

/* A 4xx: the client's to mend, with the upstream's own words where they are JSON. */
static void pass_on(const struct upstream_answer *answer, struct response *response)
{
    struct json_error error;
    struct text body = {.bytes = answer->body.bytes, .length = answer->body.length};
    if (json_check(body, JSON_DEPTH, &error) != JSON_VALID) {
        answer_failed(response, answer->status, "The upstream refused the event", "its answer says no more");
        return;
    }
    response_json(response, answer->status);
    buffer_append(response->body, body.bytes, body.length);
}

static void answer_refused(const struct upstream_answer *answer, enum upstream_result result,
                           struct response *response)
{
    static const char unavailable[] = "Service temporarily unavailable";
    switch (result) {
    case UPSTREAM_REFUSED:
        pass_on(answer, response);
        break;
    case UPSTREAM_OPEN:
        answer_failed(response, 503, unavailable, "the upstream has failed; it will be tried again later");
        buffer_printf(response->headers, "Retry-After: %u\r\n", (unsigned)answer->retry_after_s);
        break;
    case UPSTREAM_BUSY:
        answer_failed(response, 503, unavailable, "too many calls of the upstream are under way");
        response_header(response, "Retry-After", TEXT("1"));
        break;
    case UPSTREAM_FAILED:
        answer_failed(response, 502, unavailable, answer->reason);
        break;
    case UPSTREAM_NO_MEMORY:
        answer_failed(response, 502, unavailable,
                      "outcome unknown: out of memory during the call of the upstream");
        response->out_of_memory = true;
        break;
    case UPSTREAM_ANSWERED:
        break;
    }
}

int upstream_event_post(struct upstream *upstream, struct text body, struct name *id,
                        struct response *response)
{
    struct buffer sent = BUFFER_EMPTY;
    struct upstream_answer answer;
    append_body(&sent, body, id->text);
    if (sent.failed) {
        buffer_free(&sent);
        response_out_of_memory(response);
        return -1;
    }
    struct text text = {.bytes = sent.bytes, .length = sent.length};
    enum upstream_result result =
        upstream_post(upstream, "/addEvent", text, (struct upstream_judge){.judge = judge}, &answer);
    if (result == UPSTREAM_ANSWERED)
        take_id((struct text){.bytes = answer.body.bytes, .length = answer.body.length}, id);
    else
        answer_refused(&answer, result, response);
    upstream_answer_free(&answer);
    buffer_free(&sent);
    return result == UPSTREAM_ANSWERED ? 0 : -1;
}
