#include "net/message.h"

#include "net/limits.h"

#include <assert.h>
#include <string.h>

enum { SMALLEST_READ = 4096, LARGEST_READ = 256 * 1024 };

static int refuse(struct refusal *refusal, unsigned status, const char *reason)
{
    *refusal = (struct refusal){.status = status, .reason = reason};
    return -1;
}

static char *at(const struct message *message, size_t offset)
{
    return message->bytes.bytes + message->start + offset;
}

static size_t available(const struct message *message)
{
    return message->bytes.length - message->start;
}

/* One empty line before the request line is passed over (RFC 9112 section 2.2). */
static bool is_leading_empty_line(const struct message *message, size_t length)
{
    return length == 2 && message->scanned == 0 && !message->after_empty_line;
}

/* What is too long of a request line is its method, which then is none that anybody knows, or its target (RFC 9112
 * section 3). */
static int refuse_long_line(const char *line, struct refusal *refusal)
{
    size_t length = 0;
    while (length < HTTP_REQUEST_LINE_BYTES && request_is_token_byte(line[length]))
        length++;
    if (length == HTTP_REQUEST_LINE_BYTES)
        return refuse(refusal, 501, "unknown method");
    return line[length] == ' ' ? refuse(refusal, 414, "request line longer than 8192 bytes")
                               : refuse(refusal, 400, "malformed request line");
}

static int check_head_size(const char *line, size_t first_line_length, size_t head_length,
                           struct refusal *refusal)
{
    static_assert(HTTP_REQUEST_LINE_BYTES == 8192 && HTTP_HEAD_BYTES == 16384,
                  "the messages name the limits");
    if (first_line_length > HTTP_REQUEST_LINE_BYTES)
        return refuse_long_line(line, refusal);
    if (head_length > HTTP_HEAD_BYTES)
        return refuse(refusal, 431, "request head larger than 16384 bytes");
    return 0;
}

/* Looks for the empty line that ends the head. Returns 1 when it is there, 0 when not yet, -1 with a refusal.
 */
static int find_head_end(struct message *message, struct refusal *refusal)
{
    while (message->scanned < available(message)) {
        size_t length = available(message);
        size_t line_start = message->scanned;
        const char *end = memchr(at(message, line_start), '\n', length - line_start);
        size_t line_length = end == NULL ? length - line_start : (size_t)(end - at(message, line_start)) + 1;
        size_t first_line_length = message->scanned == 0 ? line_length : 0;
        if (check_head_size(at(message, line_start), first_line_length, message->scanned + line_length,
                            refusal) != 0)
            return -1;
        if (end == NULL)
            return 0;
        if (line_length < 2 || end[-1] != '\r')
            return refuse(refusal, 400, "a line of the head does not end in CRLF");
        if (is_leading_empty_line(message, line_length)) {
            message->start += 2;
            message->after_empty_line = true;
            continue;
        }
        if (line_length == 2 && message->scanned == 0)
            return refuse(refusal, 400, "empty lines instead of a request line");
        message->scanned += line_length;
        if (line_length == 2) {
            message->head_length = message->scanned;
            return 1;
        }
    }
    return 0;
}

static int parse_head(struct message *message, struct request *request, struct refusal *refusal)
{
    struct text head = {.bytes = at(message, 0), .length = message->scanned};
    return request_parse_head(request, head, refusal);
}

static void start_body(struct message *message, const struct request *request)
{
    message->framing = request->framing;
    message->body_left = request->content_length;
    message->chunked = CHUNKED_START;
    message->body_length = 0;
    message->raw = message->head_length;
    message->phase = request->framing == FRAMING_NONE ? MESSAGE_WHOLE : MESSAGE_BODY;
}

/* Brings `length` raw bytes to the end of the body, or drops them. */
static void keep(struct message *message, size_t length)
{
    size_t body_end = message->head_length + message->body_length;
    if (!message->discard) {
        if (body_end != message->raw)
            memmove(at(message, body_end), at(message, message->raw), length);
        message->body_length += length;
    }
    message->raw += length;
}

static void read_plain_body(struct message *message)
{
    size_t length = available(message) - message->raw;
    if (length > message->body_left)
        length = (size_t)message->body_left;
    keep(message, length);
    message->body_left -= length;
    if (message->body_left == 0)
        message->phase = MESSAGE_WHOLE;
}

static int refuse_chunks(const struct message *message, enum chunked_result result, struct refusal *refusal)
{
    enum chunked_state state = message->chunked.state;
    if (result == CHUNKED_RESULT_LARGE)
        return refuse(refusal, 413, "the body is larger than what is taken here");
    if (result == CHUNKED_RESULT_EXTRA)
        return refuse(refusal, 431, "chunk extensions and trailers of more than 8192 bytes");
    if (state >= CHUNKED_LINE)
        return refuse(refusal, 400, "malformed trailer behind the last chunk");
    if (state >= CHUNKED_DATA)
        return refuse(refusal, 400, "no line break where the data of a chunk must end by its size");
    if (state == CHUNKED_SIZE || state == CHUNKED_SIZE_END)
        return refuse(refusal, 400, "malformed chunk size: hexadecimal digits and CRLF");
    return refuse(refusal, 400, "malformed chunk extension behind the size");
}

static int read_chunked_body(struct message *message, struct refusal *refusal)
{
    size_t consumed;
    size_t written;
    char *output = at(message, message->head_length + message->body_length);
    enum chunked_result result =
        chunked_decode(&message->chunked, at(message, message->raw), available(message) - message->raw,
                       &consumed, output, &written);
    message->raw += consumed;
    if (!message->discard)
        message->body_length += written;
    if (result == CHUNKED_RESULT_DONE)
        message->phase = MESSAGE_WHOLE;
    return result == CHUNKED_RESULT_MORE || result == CHUNKED_RESULT_DONE
               ? 0
               : refuse_chunks(message, result, refusal);
}

/* Closes the gap that decoding or discarding has left before the unread bytes. */
static void close_gap(struct message *message)
{
    size_t body_end = message->head_length + message->body_length;
    size_t gap = message->raw - body_end;
    if (gap == 0)
        return;
    memmove(at(message, body_end), at(message, message->raw), available(message) - message->raw);
    message->bytes.length -= gap;
    message->raw = body_end;
}

static int read_body(struct message *message, struct refusal *refusal)
{
    if (message->framing == FRAMING_CHUNKED) {
        if (read_chunked_body(message, refusal) != 0)
            return -1;
    } else {
        read_plain_body(message);
    }
    close_gap(message);
    return 0;
}

static struct text body_of(const struct message *message)
{
    return (struct text){.bytes = at(message, message->head_length), .length = message->body_length};
}

enum message_result message_next(struct message *message, struct request *request, struct refusal *refusal)
{
    if (message->phase == MESSAGE_HEAD) {
        int found = find_head_end(message, refusal);
        if (found == 0)
            return MESSAGE_MORE;
        if (found < 0 || parse_head(message, request, refusal) != 0)
            return MESSAGE_REFUSED;
        start_body(message, request);
        if (message->phase == MESSAGE_WHOLE)
            return MESSAGE_REQUEST;
        if (message->framing != FRAMING_LENGTH || message->body_left > available(message) - message->raw)
            return MESSAGE_STARTED;
        /* The usual case: the body came along, so the head need not be split a second time. */
        read_plain_body(message);
        request->body = body_of(message);
        return MESSAGE_REQUEST;
    }
    if (message->phase == MESSAGE_BODY && read_body(message, refusal) != 0)
        return MESSAGE_REFUSED;
    if (message->phase != MESSAGE_WHOLE)
        return MESSAGE_MORE;
    if (parse_head(message, request, refusal) != 0)
        return MESSAGE_REFUSED;
    request->body = body_of(message);
    return MESSAGE_REQUEST;
}

void message_expect_body(struct message *message, uint64_t limit, bool discard)
{
    message->chunked.room = limit;
    message->discard = discard;
}

void message_done(struct message *message)
{
    size_t end = message->start + message->raw;
    struct buffer bytes = message->bytes;
    if (end == bytes.length)
        bytes.length = end = 0;
    *message = (struct message){
        .bytes = bytes, .budget = message->budget, .counted = message->counted, .start = end};
}

/* Takes a larger or smaller capacity from the budget; both at once, as both may be there for a moment. */
static bool count(struct message *message, size_t capacity)
{
    if (message->budget == NULL || (message->counted == 0 && capacity <= HTTP_UNCOUNTED_BYTES))
        return true;
    if (!budget_take(message->budget, capacity))
        return false;
    if (message->counted > 0)
        budget_give_back(message->budget, message->counted);
    message->counted = capacity;
    return true;
}

static void count_nothing(struct message *message)
{
    if (message->counted > 0)
        budget_give_back(message->budget, message->counted);
    message->counted = 0;
}

/* Bytes that the message can't have more of before it is whole, or SIZE_MAX. */
static size_t most_to_come(const struct message *message)
{
    bool known = message->phase == MESSAGE_BODY && message->framing == FRAMING_LENGTH && !message->discard;
    return known && message->body_left < SIZE_MAX ? (size_t)message->body_left : SIZE_MAX;
}

/* Doubles the memory, but goes no further than a body whose end is known. */
static int grow(struct message *message)
{
    struct buffer *bytes = &message->bytes;
    size_t capacity = buffer_capacity_for(bytes, SMALLEST_READ);
    size_t left = most_to_come(message);
    if (left >= SMALLEST_READ && left < SIZE_MAX - bytes->length && capacity > bytes->length + left)
        capacity = bytes->length + left;
    return capacity > 0 && count(message, capacity) ? buffer_set_capacity(bytes, capacity) : -1;
}

char *message_room(struct message *message, size_t *length)
{
    struct buffer *bytes = &message->bytes;
    size_t left = most_to_come(message);
    size_t wanted = left > 0 && left < SMALLEST_READ ? left : SMALLEST_READ;
    if (message->start > 0) {
        buffer_drop_front(bytes, message->start);
        message->start = 0;
    }
    if (bytes->capacity - bytes->length < wanted && grow(message) != 0)
        return NULL;
    *length = bytes->capacity - bytes->length;
    if (*length > LARGEST_READ)
        *length = LARGEST_READ;
    return bytes->bytes + bytes->length;
}

void message_received(struct message *message, size_t length)
{
    message->bytes.length += length;
}

bool message_is_idle(const struct message *message)
{
    return message->phase == MESSAGE_HEAD && available(message) == 0;
}

bool message_is_head_request(const struct message *message)
{
    static const char method[] = "HEAD ";
    return available(message) >= sizeof method - 1 && memcmp(at(message, 0), method, sizeof method - 1) == 0;
}

/* Gives `to` a copy of the bytes, in memory that is counted. */
static int copy_bytes(const struct message *from, struct message *to)
{
    size_t length = available(from);
    to->bytes = BUFFER_EMPTY;
    to->start = 0;
    to->counted = 0;
    if (length == 0)
        return 0;
    if (to->budget != NULL && !budget_take(to->budget, length))
        return -1;
    to->counted = to->budget == NULL ? 0 : length;
    if (buffer_set_capacity(&to->bytes, length) != 0) {
        count_nothing(to);
        return -1;
    }
    buffer_append(&to->bytes, at(from, 0), length);
    return 0;
}

int message_move(struct message *from, struct message *to)
{
    *to = *from;
    if (from->counted > 0) {
        from->bytes = BUFFER_EMPTY;
        from->counted = 0;
    } else if (copy_bytes(from, to) != 0) {
        *to = (struct message){.budget = from->budget};
        return -1;
    }
    message_clear(from, SIZE_MAX);
    return 0;
}

void message_clear(struct message *message, size_t kept_bytes)
{
    struct buffer bytes = message->bytes;
    if (bytes.capacity > kept_bytes) {
        buffer_free(&bytes);
        count_nothing(message);
    }
    buffer_clear(&bytes);
    *message = (struct message){.bytes = bytes, .budget = message->budget, .counted = message->counted};
}

void message_free(struct message *message)
{
    message_clear(message, 0);
}
