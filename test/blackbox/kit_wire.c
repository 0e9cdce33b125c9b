/* Plays the tables of the conformance tests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kit_internal.h"
#include "kit_wire.h"

struct kit_wire {
    struct kit *kit;
    struct kit_server *server;
    struct kit_connection *witness;
};

struct kit_wire *kit_wire_start(struct kit *kit, const char *max_body)
{
    struct kit_wire *wire = kit_allocate(kit, sizeof *wire);
    wire->kit = kit;
    wire->server = max_body == NULL ? kit_serve(kit) : kit_serve(kit, "--max-body", max_body);
    wire->witness = kit_connect(wire->server);
    return wire;
}

struct kit_server *kit_wire_server(const struct kit_wire *wire)
{
    return wire->server;
}

/* NULL when what every answer must have is there (RFC 9110 and RFC 9112), else what is wrong. */
static const char *why_not_http(const struct kit_response *response, bool is_head, bool is_end)
{
    const char *connection = kit_header(response, "Connection");
    bool says_close = connection != NULL && strcasecmp(connection, "close") == 0;
    if (strncmp(response->head, "HTTP/1.1 ", 9) != 0)
        return "not the version of this server"; /* 9112-2.3 */
    if (kit_header(response, "Date") == NULL)
        return "no Date"; /* 9110-6.6.1 */
    if (response->status == 405 && kit_header(response, "Allow") == NULL)
        return "no Allow"; /* 9110-15.5.6 */
    if (kit_header(response, "Upgrade") != NULL)
        return "an upgrade is offered";
    if (says_close != is_end)
        return is_end ? "no Connection: close" : "Connection: close"; /* 9112-9.6 */
    if (response->status >= 400 && !is_head && !kit_is_error_shape(response))
        return "not the shape of an error";
    return NULL;
}

/* Receives the next final answer; interim ones are left out or not, as the pieces happened to arrive. */
static int receive_final(struct kit_connection *connection, bool is_head, struct kit_response *response)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_try_receive(connection, is_head ? "HEAD" : "GET", deadline_at_ms, response) == 0) {
        if (response->status >= 200)
            return 0;
        kit_response_clear(response);
    }
    return -1;
}

/* One answer; `wanted` is "404" or "H404", `says` NULL for all but the last. */
static const char *judge(struct kit_connection *connection, const char *wanted, bool is_end, const char *says)
{
    struct kit *kit = connection->kit;
    struct kit_response response;
    bool is_head = wanted[0] == 'H';
    if (receive_final(connection, is_head, &response) != 0)
        return kit_format(kit, "no answer instead of %s (%s)", wanted, strerror(errno));
    const char *problem = NULL;
    if (response.status != atoi(wanted + is_head))
        problem = kit_format(kit, "status %d instead of %s", response.status, wanted);
    else
        problem = why_not_http(&response, is_head, is_end);
    if (problem == NULL && says != NULL && !kit_matches(response.body, says))
        problem = kit_format(kit, "the body does not say %s", says);
    if (problem != NULL)
        problem = kit_format(kit, "%s\n%.500s\n\n%.300s", problem, response.head, response.body);
    kit_response_clear(&response);
    return problem;
}

/* What a consumer gets of the key must be `wanted`. */
static const char *judge_stored(struct kit_wire *wire, const char *key, const char *wanted)
{
    struct kit_response response;
    const char *target = kit_format(wire->kit, "/blocking-get?key=%s&groupId=g&timeout=0", key);
    if (kit_try_send_request(wire->witness, "GET", target, NULL, NULL, 0) != 0 ||
        kit_try_receive(wire->witness, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        return kit_format(wire->kit, "what is stored can't be read (%s)", strerror(errno));
    const char *problem = NULL;
    if (strcmp(response.body, wanted) != 0)
        problem = kit_format(wire->kit, "key %s holds %.300s instead of %s", key, response.body, wanted);
    kit_response_clear(&response);
    return problem;
}

static const char *judge_answers(struct kit_connection *connection, const struct kit_wire_row *row)
{
    const char *problem = NULL;
    char *rest = kit_format(connection->kit, "%s", row->statuses);
    while (rest != NULL && problem == NULL) {
        const char *wanted = strsep(&rest, " ");
        bool last = rest == NULL;
        problem = judge(connection, wanted, last && row->fate == KIT_CLOSED, last ? row->says : NULL);
    }
    if (problem == NULL)
        problem = row->fate == KIT_CLOSED ? kit_why_not_closed(connection) : kit_why_not_open(connection);
    return problem;
}

static bool play(struct kit_wire *wire, const struct kit_wire_row *row)
{
    struct kit_connection *connection = kit_connect(wire->server);
    size_t length = row->length > 0 ? row->length : strlen(row->bytes);
    /* A server may close before it has read all of a bad request; the answer tells. */
    (void)kit_try_send(connection, row->bytes, length);
    const char *problem = judge_answers(connection, row);
    kit_close(connection);
    /* In any case, so that nothing is left for the next row. */
    const char *kept = judge_stored(wire, "k", row->stored == NULL ? "[]" : row->stored);
    const char *behind = judge_stored(wire, "behind", "[]");
    if (problem == NULL)
        problem = kept != NULL ? kept : behind;
    if (problem != NULL)
        print_error("%s: %s\n", row->name, problem);
    return problem == NULL;
}

void kit_wire_play_all(struct kit_wire *wire, const struct kit_wire_row *rows, size_t count)
{
    size_t bad = 0;
    for (size_t i = 0; i < count; i++)
        bad += !play(wire, &rows[i]);
    if (bad > 0)
        kit_fail(wire->kit, "%zu of %zu rows are wrong", bad, count);
}

void kit_wire_play_table(struct kit *kit, const struct kit_wire_row *rows, size_t count)
{
    kit_wire_play_all(kit_wire_start(kit, NULL), rows, count);
}
