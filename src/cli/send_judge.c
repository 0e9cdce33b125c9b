#include "cli/send_judge.h"

#include "base/buffer.h"
#include "base/json.h"
#include "base/json_read.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>

enum { DEEPEST_JSON = 100, LONGEST_RETRY_AFTER_S = 3600 };

/* The string member `name` of the answer's JSON; decoded into `storage` where it must be. Empty when there is none. */
static struct text read_member(struct text body, struct text name, struct buffer *storage)
{
    struct json_error error;
    struct text value = {.length = 0}, decoded = {.length = 0};
    if (json_check(body, DEEPEST_JSON, &error) != JSON_VALID || json_type_of(body) != JSON_OBJECT)
        return decoded;
    json_members(body, &name, &value, 1);
    if (json_type_of(value) != JSON_STRING || json_string(value, storage, &decoded) != JSON_STRING_OK)
        decoded.length = 0;
    return decoded;
}

static bool begins_with(struct text text, struct text front)
{
    return text.length >= front.length &&
           text_equals((struct text){.bytes = text.bytes, .length = front.length}, front);
}

static enum send_verdict judge_status(unsigned status, struct text message, struct text error)
{
    switch (status) {
    case 200:
        return text_equals(message, TEXT("Event received")) ? SEND_TAKEN : SEND_UNKNOWN;
    case 401:
    case 403:
        return SEND_FORBIDDEN;
    case 408:
    case 429:
        return SEND_AGAIN;
    case 501:
    case 505:
        return SEND_REFUSED;
    case 503:
        return begins_with(error, TEXT("outcome unknown")) ? SEND_UNKNOWN : SEND_AGAIN;
    default:
        return status >= 300 && status <= 499 ? SEND_REFUSED : SEND_UNKNOWN;
    }
}

enum send_verdict send_judge(const struct client_answer *answer, char reason[static SEND_REASON_BYTES])
{
    if (answer->status == 0) {
        snprintf(reason, SEND_REASON_BYTES, "%s", answer->failure);
        return answer->was_sent ? SEND_UNKNOWN : SEND_AGAIN;
    }
    struct buffer message_storage = BUFFER_EMPTY, error_storage = BUFFER_EMPTY;
    struct text message = read_member(answer->body, TEXT("message"), &message_storage);
    struct text error = read_member(answer->body, TEXT("error"), &error_storage);
    enum send_verdict verdict = judge_status(answer->status, message, error);
    if (error.length > 0)
        snprintf(reason, SEND_REASON_BYTES, "%u %.200s", answer->status, LOG_TEXT(error));
    else if (answer->status >= 200 && answer->status <= 299)
        snprintf(reason, SEND_REASON_BYTES, "%u without \"Event received\"", answer->status);
    else
        snprintf(reason, SEND_REASON_BYTES, "%u", answer->status);
    buffer_free(&message_storage);
    buffer_free(&error_storage);
    return verdict;
}

int64_t send_backoff_ns(unsigned tries, int64_t retry_after_s, uint64_t random)
{
    int64_t backoff_ns = SEND_BACKOFF_FIRST_NS;
    for (unsigned i = 1; i < tries && backoff_ns < SEND_BACKOFF_MOST_NS; i++)
        backoff_ns *= 2;
    if (backoff_ns > SEND_BACKOFF_MOST_NS)
        backoff_ns = SEND_BACKOFF_MOST_NS;
    int64_t less_ns = (int64_t)(random % (uint64_t)(backoff_ns / 2 + 1));
    if (retry_after_s <= 0)
        return backoff_ns - less_ns;
    if (retry_after_s > LONGEST_RETRY_AFTER_S)
        retry_after_s = LONGEST_RETRY_AFTER_S;
    /* Spread too, but never earlier than was asked for. */
    int64_t asked_ns = retry_after_s * CLOCK_NS_PER_SECOND + less_ns;
    return asked_ns > backoff_ns ? asked_ns : backoff_ns;
}
