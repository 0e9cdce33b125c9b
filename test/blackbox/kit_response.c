/* HTTP responses: read whole and strictly, and judged. */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kit_internal.h"

#define HEAD_MAX 65536

const char *kit_header(const struct kit_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++)
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    return NULL;
}

void kit_response_clear(struct kit_response *response)
{
    for (size_t i = 0; i < response->header_count; i++) {
        free((char *)(uintptr_t)response->headers[i].name);
        free((char *)(uintptr_t)response->headers[i].value);
    }
    free(response->headers);
    free(response->head);
    free(response->body);
    *response = (struct kit_response){0};
}

static int malformed(void)
{
    errno = EPROTO;
    return -1;
}

/* Reads until `length` bytes are buffered. */
static int need(struct kit_connection *connection, size_t length, int64_t deadline_at_ms)
{
    while (connection->used < length) {
        ssize_t count = kit_fill(connection, deadline_at_ms);
        if (count < 0)
            return -1;
        if (count == 0)
            return malformed();
    }
    return 0;
}

/* Reads until `mark` is buffered within the first HEAD_MAX bytes; the length up to its end, or -1. */
static ssize_t need_mark(struct kit_connection *connection, const char *mark, int64_t deadline_at_ms)
{
    for (;;) {
        const char *found =
            connection->used == 0 ? NULL : memmem(connection->buffer, connection->used, mark, strlen(mark));
        if (found != NULL)
            return found - connection->buffer + (ssize_t)strlen(mark);
        if (connection->used > HEAD_MAX)
            return malformed();
        ssize_t count = kit_fill(connection, deadline_at_ms);
        if (count < 0)
            return -1;
        if (count == 0 && connection->used == 0) {
            errno = EPIPE;
            return -1;
        }
        if (count == 0)
            return malformed();
    }
}

static int add_header(struct kit_response *response, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || colon == line || colon[-1] == ' ')
        return malformed();
    struct kit_header *more = realloc(response->headers, (response->header_count + 1) * sizeof *more);
    if (more == NULL)
        return -1;
    response->headers = more;
    const char *value = colon + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    more += response->header_count++;
    more->name = strndup(line, (size_t)(colon - line));
    more->value = strndup(value, (size_t)(end - value));
    return more->name != NULL && more->value != NULL ? 0 : -1;
}

static int parse_head(struct kit_response *response, const char *bytes, size_t length)
{
    response->head = strndup(bytes, length);
    if (response->head == NULL)
        return -1;
    if (strlen(response->head) != length || !kit_matches(response->head, "^HTTP/1\\.[01] [1-5][0-9][0-9] "))
        return malformed();
    response->status = atoi(response->head + strlen("HTTP/1.1 "));
    const char *line = strstr(response->head, "\r\n");
    while (line != NULL) {
        line += 2;
        const char *end = strstr(line, "\r\n");
        if (add_header(response, line, end == NULL ? strlen(line) : (size_t)(end - line)) != 0)
            return -1;
        line = end;
    }
    return 0;
}

static int append_body(struct kit_response *response, const char *bytes, size_t length)
{
    char *body = realloc(response->body, response->body_length + length + 1);
    if (body == NULL)
        return -1;
    memcpy(body + response->body_length, bytes, length);
    response->body = body;
    response->body_length += length;
    body[response->body_length] = '\0';
    return 0;
}

static int take_body(struct kit_connection *connection, struct kit_response *response, size_t length,
                     int64_t deadline_at_ms)
{
    if (need(connection, length, deadline_at_ms) != 0 ||
        append_body(response, length > 0 ? connection->buffer : "", length) != 0)
        return -1;
    if (length > 0)
        kit_consume(connection, length);
    return 0;
}

static int take_chunks(struct kit_connection *connection, struct kit_response *response,
                       int64_t deadline_at_ms)
{
    response->chunked = true;
    for (;;) {
        char *end;
        ssize_t length = need_mark(connection, "\r\n", deadline_at_ms);
        if (length < 0)
            return errno == EPIPE ? malformed() : -1;
        size_t size = strtoul(connection->buffer, &end, 16);
        if (end == connection->buffer || (*end != '\r' && *end != ';'))
            return malformed();
        kit_consume(connection, (size_t)length);
        if (size == 0)
            break;
        if (take_body(connection, response, size, deadline_at_ms) != 0 ||
            need(connection, 2, deadline_at_ms) != 0)
            return -1;
        if (memcmp(connection->buffer, "\r\n", 2) != 0)
            return malformed();
        kit_consume(connection, 2);
    }
    ssize_t length;
    do { /* trailers, up to the empty line */
        length = need_mark(connection, "\r\n", deadline_at_ms);
        if (length < 0)
            return errno == EPIPE ? malformed() : -1;
        kit_consume(connection, (size_t)length);
    } while (length > 2);
    return 0;
}

static int take_rest(struct kit_connection *connection, struct kit_response *response, int64_t deadline_at_ms)
{
    ssize_t count;
    response->until_end = true;
    while ((count = kit_fill(connection, deadline_at_ms)) > 0)
        ;
    return count < 0 ? -1 : take_body(connection, response, connection->used, deadline_at_ms);
}

int kit_try_receive(struct kit_connection *connection, const char *method, int64_t deadline_at_ms,
                    struct kit_response *response)
{
    *response = (struct kit_response){0};
    ssize_t length = need_mark(connection, "\r\n\r\n", deadline_at_ms);
    if (length < 0)
        return -1;
    int result = parse_head(response, connection->buffer, (size_t)length - 4);
    kit_consume(connection, (size_t)length);
    if (result == 0)
        result = append_body(response, "", 0);
    const char *coding = kit_header(response, "Transfer-Encoding");
    const char *size = kit_header(response, "Content-Length");
    if (result != 0 || strcmp(method, "HEAD") == 0 || response->status < 200 || response->status == 204 ||
        response->status == 304)
        ;
    else if (coding != NULL)
        result = size == NULL && strcasecmp(coding, "chunked") == 0
                     ? take_chunks(connection, response, deadline_at_ms)
                     : malformed();
    else if (size != NULL)
        result = kit_matches(size, "^[0-9]{1,12}$")
                     ? take_body(connection, response, strtoul(size, NULL, 10), deadline_at_ms)
                     : malformed();
    else
        result = take_rest(connection, response, deadline_at_ms);
    if (result != 0) {
        int problem = errno;
        kit_response_clear(response);
        errno = problem;
    }
    return result;
}

const struct kit_response *kit_receive_at(struct kit_connection *connection, const char *method,
                                          int64_t milliseconds, const char *file, int line)
{
    struct kit *kit = connection->kit;
    struct kit_owned_response *owned = calloc(1, sizeof *owned);
    assert_non_null(owned);
    SLIST_INSERT_HEAD(&kit->responses, owned, link);
    if (kit_try_receive(connection, method, kit_deadline_at_ms(milliseconds), &owned->response) != 0)
        kit_fail_at(kit, file, line, "no whole response: %s; left unread: \"%.1000s\"", strerror(errno),
                    connection->buffer == NULL ? "" : connection->buffer);
    owned->response.kit = kit;
    return &owned->response;
}

int kit_try_send_request(struct kit_connection *connection, const char *method, const char *target,
                         const char *headers, const void *body, size_t length)
{
    char *head = NULL, size[64] = "";
    if (headers == NULL)
        headers = "";
    bool has_host = strncasecmp(headers, "Host:", 5) == 0 || strcasestr(headers, "\r\nHost:") != NULL;
    if (body != NULL)
        snprintf(size, sizeof size, "Content-Length: %zu\r\n", length);
    int head_length = asprintf(&head, "%s %s HTTP/1.1\r\n%s%s%s\r\n", method, target,
                               has_host ? "" : "Host: localhost\r\n", headers, size);
    if (head_length < 0)
        return -1;
    /* One piece: a server must not need more than one read for a small request. */
    char *whole = realloc(head, (size_t)head_length + length + 1);
    if (whole == NULL) {
        free(head);
        return -1;
    }
    if (body != NULL)
        memcpy(whole + head_length, body, length);
    int result = kit_try_send(connection, whole, (size_t)head_length + (body == NULL ? 0 : length));
    free(whole);
    return result;
}

void kit_send_request(struct kit_connection *connection, const char *method, const char *target,
                      const char *headers, const void *body, size_t length)
{
    if (kit_try_send_request(connection, method, target, headers, body, length) != 0)
        kit_fail(connection->kit, "sending %s %s: %s", method, target, strerror(errno));
}

const struct kit_response *kit_request(struct kit_server *server, const char *method, const char *target,
                                       const char *headers, const void *body, size_t length)
{
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, method, target, headers, body, length);
    const struct kit_response *response =
        kit_receive_at(connection, method, KIT_DEADLINE_MS, __FILE__, __LINE__);
    kit_close(connection);
    return response;
}
