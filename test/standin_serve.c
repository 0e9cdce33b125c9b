/* The stand-in's inside: one connection, from its requests to what is done with them. */
#include "standin_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    HEAD_MOST = 64 * 1024,
    BODY_MOST = 16 * 1024 * 1024,
    ANSWER_HEAD_BYTES = 512,
    PIECE_BYTES = 16 * 1024,
};

struct input {
    char *bytes;
    size_t length;
    size_t capacity;
};

/* --- reading --- */

/* Reads more; makes room first. Returns false when the connection has ended. */
static bool read_more(struct standin_connection *connection, struct input *input)
{
    if (input->capacity - input->length < PIECE_BYTES) {
        size_t capacity = input->capacity * 2 + PIECE_BYTES * 2;
        char *bytes = realloc(input->bytes, capacity);
        if (bytes == NULL)
            return false;
        input->bytes = bytes;
        input->capacity = capacity;
    }
    ssize_t got = recv(connection->descriptor, input->bytes + input->length, PIECE_BYTES - 1, 0);
    if (got <= 0)
        return false;
    input->length += (size_t)got;
    input->bytes[input->length] = '\0';
    pthread_mutex_lock(&connection->standin->mutex);
    connection->idle = false;
    pthread_mutex_unlock(&connection->standin->mutex);
    return true;
}

/* The value of Content-Length; 0 when there is none. `head` ends with a NUL. */
static size_t content_length(const char *head)
{
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0)
            return (size_t)strtoull(line + 17, NULL, 10);
    }
    return 0;
}

static char *copy_bytes(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, bytes, length);
        copy[length] = '\0';
    }
    return copy;
}

/* Cuts the front of the input off as a request, of which the whole is there. */
static bool cut_request(struct input *input, size_t head_length, size_t body_length,
                        struct standin_request *request)
{
    *request = (struct standin_request){.body_length = body_length};
    request->head = copy_bytes(input->bytes, head_length);
    request->body = copy_bytes(input->bytes + head_length, body_length);
    input->length -= head_length + body_length;
    memmove(input->bytes, input->bytes + head_length + body_length, input->length + 1);
    if (request->head != NULL && request->body != NULL &&
        sscanf(request->head, "%15s %127[^? ]", request->method, request->path) == 2)
        return true;
    standin_request_free(request);
    return false;
}

/* Waits for a whole request. */
static bool read_request(struct standin_connection *connection, struct input *input,
                         struct standin_request *request)
{
    for (;;) {
        const char *end = input->length == 0 ? NULL : strstr(input->bytes, "\r\n\r\n");
        if (end != NULL) {
            size_t head_length = (size_t)(end - input->bytes) + 4;
            char *head = copy_bytes(input->bytes, head_length);
            size_t body_length = head == NULL ? BODY_MOST + 1 : content_length(head);
            free(head);
            if (body_length > BODY_MOST)
                return false;
            if (input->length >= head_length + body_length)
                return cut_request(input, head_length, body_length, request);
        } else if (input->length > HEAD_MOST) {
            return false;
        }
        if (!read_more(connection, input))
            return false;
    }
}

/* --- answering --- */

static bool send_all(struct standin_connection *connection, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(connection->descriptor, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Pauses, unless the stand-in goes away meanwhile. */
static bool pause_for(struct standin *standin, int pause_ms)
{
    struct timespec deadline = standin_in_ms(pause_ms);
    pthread_mutex_lock(&standin->mutex);
    while (!standin->away && standin_wait_locked(standin, &deadline))
        continue;
    bool away = standin->away;
    pthread_mutex_unlock(&standin->mutex);
    return !away;
}

static bool wait_for_release(struct standin *standin, uint64_t seen)
{
    struct timespec deadline = standin_in_ms(STANDIN_PATIENCE_MS);
    pthread_mutex_lock(&standin->mutex);
    while (!standin->away && standin->releases == seen && standin_wait_locked(standin, &deadline))
        continue;
    bool released = standin->releases != seen;
    pthread_mutex_unlock(&standin->mutex);
    return released;
}

static void wait_for_client_to_go(struct standin_connection *connection)
{
    char ignored[PIECE_BYTES];
    while (recv(connection->descriptor, ignored, sizeof ignored, 0) > 0)
        continue;
}

static size_t format_head(char head[static ANSWER_HEAD_BYTES], const struct standin_plan *plan)
{
    const struct standin_behaviour *behaviour = &plan->behaviour;
    if (behaviour->kind == STANDIN_REDIRECT)
        return (size_t)snprintf(head, ANSWER_HEAD_BYTES,
                                "HTTP/1.1 %u Elsewhere\r\nLocation: %.300s\r\nContent-Length: 0\r\n\r\n",
                                behaviour->status, plan->body);
    size_t length = behaviour->kind == STANDIN_LARGE ? behaviour->bytes : strlen(plan->body);
    return (size_t)snprintf(head, ANSWER_HEAD_BYTES,
                            "HTTP/1.1 %u Scripted\r\nContent-Type: application/json\r\nContent-Length: "
                            "%zu\r\n%s\r\n",
                            behaviour->status, length, behaviour->closing ? "Connection: close\r\n" : "");
}

static bool send_answer(struct standin_connection *connection, const struct standin_plan *plan)
{
    char head[ANSWER_HEAD_BYTES];
    size_t length = format_head(head, plan);
    size_t body_length = plan->behaviour.kind == STANDIN_REDIRECT ? 0 : strlen(plan->body);
    char *answer = malloc(length + body_length);
    if (answer == NULL)
        return false;
    memcpy(answer, head, length);
    memcpy(answer + length, plan->body, body_length);
    length += body_length;
    bool good = true;
    if (plan->behaviour.kind == STANDIN_SLOW) {
        for (size_t i = 0; i < length && good; i++)
            good = send_all(connection, answer + i, 1) &&
                   pause_for(connection->standin, plan->behaviour.pause_ms);
    } else if (plan->behaviour.kind == STANDIN_DROP_HALF) {
        send_all(connection, answer, length - (body_length + 1) / 2);
        good = false;
    } else {
        good = send_all(connection, answer, length);
    }
    free(answer);
    return good && !plan->behaviour.closing;
}

static bool send_large(struct standin_connection *connection, const struct standin_plan *plan)
{
    char piece[PIECE_BYTES];
    char head[ANSWER_HEAD_BYTES];
    bool chunked = plan->behaviour.kind == STANDIN_LARGE_CHUNKED;
    size_t length = chunked ? (size_t)snprintf(head, sizeof head,
                                               "HTTP/1.1 200 Large\r\nTransfer-Encoding: chunked\r\n\r\n")
                            : format_head(head, plan);
    bool good = send_all(connection, head, length);
    memset(piece, ' ', sizeof piece);
    for (size_t left = plan->behaviour.bytes; left > 0 && good;) {
        size_t part = left < sizeof piece ? left : sizeof piece;
        int chunk = snprintf(head, sizeof head, "%zx\r\n", part);
        good = (!chunked || send_all(connection, head, (size_t)chunk)) && send_all(connection, piece, part) &&
               (!chunked || send_all(connection, "\r\n", 2));
        left -= part;
    }
    return good && (!chunked || send_all(connection, "0\r\n\r\n", 5));
}

static bool send_large_head(struct standin_connection *connection, const struct standin_plan *plan)
{
    static const char field[] = "X-Filler: 0123456789012345678901234567890123456789012345678901\r\n";
    bool good = send_all(connection, "HTTP/1.1 200 Large\r\n", 20);
    for (size_t sent = 0; sent < plan->behaviour.bytes && good; sent += sizeof field - 1)
        good = send_all(connection, field, sizeof field - 1);
    return good && send_all(connection, "Content-Length: 0\r\n\r\n", 21);
}

/* Does what was planned. Returns whether the connection lives on. */
static bool act(struct standin_connection *connection, const struct standin_plan *plan)
{
    static const char garbage[] = "\x7f\x45LF what is this?\r\n\r\nno HTTP";
    static const char hints[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    switch (plan->behaviour.kind) {
    case STANDIN_HANG:
        wait_for_client_to_go(connection);
        return false;
    case STANDIN_HOLD:
        return wait_for_release(connection->standin, plan->releases) && send_answer(connection, plan);
    case STANDIN_DROP:
    case STANDIN_DROP_UNREAD:
        return false;
    case STANDIN_GARBAGE:
        send_all(connection, garbage, sizeof garbage - 1);
        return false;
    case STANDIN_RAW:
        send_all(connection, plan->body, strlen(plan->body));
        return false;
    case STANDIN_LARGE:
    case STANDIN_LARGE_CHUNKED:
        return send_large(connection, plan);
    case STANDIN_LARGE_HEAD:
        return send_large_head(connection, plan);
    case STANDIN_INTERIM:
        while (send_all(connection, hints, sizeof hints - 1) &&
               pause_for(connection->standin, plan->behaviour.pause_ms))
            continue;
        return false;
    case STANDIN_ANSWER:
    case STANDIN_DROP_HALF:
    case STANDIN_SLOW:
    case STANDIN_REDIRECT:
        break;
    }
    return send_answer(connection, plan);
}

/* Waits for the first byte of a request and leaves it unread: closing then resets the connection. */
static bool must_drop_unread(struct standin_connection *connection)
{
    char first;
    if (recv(connection->descriptor, &first, 1, MSG_PEEK) <= 0)
        return true;
    return standin_general(connection->standin).kind == STANDIN_DROP_UNREAD;
}

void standin_serve(struct standin_connection *connection)
{
    struct input input = {.bytes = NULL};
    bool alive = true;
    while (alive) {
        struct standin_request request;
        if (input.length == 0 && must_drop_unread(connection))
            break;
        if (!read_request(connection, &input, &request))
            break;
        request.connection = connection->number;
        struct standin_plan plan = standin_note(connection->standin, &request);
        alive = plan.body != NULL && act(connection, &plan);
        free(plan.body);
        pthread_mutex_lock(&connection->standin->mutex);
        connection->idle = input.length == 0;
        pthread_mutex_unlock(&connection->standin->mutex);
    }
    free(input.bytes);
}
