/*
 * Proves that a request comes to the same over the network however it is cut into pieces: every message of
 * http_messages.h, cut at every position and sent byte by byte, gets the answers, bodies and end of the
 * connection that it gets as a whole, and what it stored is the same. (All pairs of cuts are tried on the parser itself, in
 * test/unit/test_message_splits.c.)
 *
 * Each piece is sent when the server has read the one before: when nothing is left in the sockets of either side.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../http_messages.h"
#include "kit_http.h"
#include "kit_internal.h"

/* One message on its way, over a connection of its own. */
struct sending {
    const struct http_message *message;
    struct kit_connection *connection;
    char *bytes; /* with a key of its own */
    const char *key;
    size_t length, sent;
};

/* A server, and who looks at what it has stored. */
struct fragments {
    struct kit *kit;
    struct kit_server *server;
    struct kit_connection *witness;
    unsigned key_number; /* of the last one */
};

static struct fragments start(struct kit *kit)
{
    struct fragments fragments = {.kit = kit};
    fragments.server = kit_serve(kit, "--max-body", kit_format(kit, "%d", HTTP_MESSAGES_BODY_BYTES));
    fragments.witness = kit_connect(fragments.server);
    return fragments;
}

static bool has_unsent(const struct sending *sendings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int unsent = 0;
        if (ioctl(sendings[i].connection->socket, SIOCOUTQ, &unsent) == 0 && unsent > 0)
            return true;
    }
    return false;
}

/* In this order: what is not on its way any more has arrived, and what has arrived is read. */
static void wait_until_read(struct fragments *fragments, const struct sending *sendings, size_t count)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (has_unsent(sendings, count) || kit_has_unread(fragments->server)) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(fragments->kit, "the server does not read");
        kit_pause();
    }
}

static struct sending begin(struct fragments *fragments, const struct http_message *message)
{
    static const char key[] = HTTP_MESSAGES_KEY;
    struct sending sending = {.message = message, .length = strlen(message->bytes)};
    sending.connection = kit_connect(fragments->server);
    sending.key = kit_format(fragments->kit, "k%06u", ++fragments->key_number);
    sending.bytes = kit_format(fragments->kit, "%s", message->bytes);
    for (char *place = sending.bytes; (place = strstr(place, key)) != NULL;)
        memcpy(place, sending.key, sizeof key - 1);
    return sending;
}

static void send_up_to(struct sending *sending, size_t end)
{
    if (end > sending->length)
        end = sending->length;
    /* The answer to a refused piece may have ended the connection already. */
    (void)kit_try_send(sending->connection, sending->bytes + sending->sent, end - sending->sent);
    sending->sent = end;
}

/* The answers up to the end, as one text. Nothing more is sent, so the server ends a connection that goes on too: which
 * one it is, the answers say. */
static const char *read_answers(struct kit *kit, struct sending *sending)
{
    struct kit_response response;
    const char *answers = "", *method = strncmp(sending->bytes, "HEAD", 4) == 0 ? "HEAD" : "GET";
    kit_shutdown_sending(sending->connection);
    while (kit_try_receive(sending->connection, method, kit_deadline_at_ms(KIT_DEADLINE_MS), &response) ==
           0) {
        const char *connection = kit_header(&response, "Connection");
        if (response.status >= 200) { /* an interim one is left out when its body is there already */
            answers = kit_format(kit, "%s%d (%s) %s\n", answers, response.status,
                                 connection == NULL ? "" : connection, response.body);
            method = "GET";
        }
        kit_response_clear(&response);
    }
    answers = kit_format(kit, "%s%s\n", answers, errno == EPIPE ? "end" : strerror(errno));
    kit_close(sending->connection);
    return answers;
}

/* The answers and what is stored then. */
static const char *read_outcome(struct fragments *fragments, struct sending *sending)
{
    struct kit *kit = fragments->kit;
    struct kit_response response;
    const char *answers = read_answers(kit, sending);
    const char *target = kit_format(kit, "/blocking-get?key=%s&groupId=g&timeout=0", sending->key);
    if (kit_try_send_request(fragments->witness, "GET", target, NULL, NULL, 0) != 0 ||
        kit_try_receive(fragments->witness, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        kit_fail(kit, "what is stored can't be read");
    const char *outcome = kit_format(kit, "%sstored: %s\n", answers, response.body);
    kit_response_clear(&response);
    return outcome;
}

/* What the message comes to when it arrives as a whole. */
static const char *play_whole(struct fragments *fragments, const struct http_message *message)
{
    struct sending whole = begin(fragments, message);
    send_up_to(&whole, whole.length);
    const char *outcome = read_outcome(fragments, &whole);
    if (strncmp(outcome, "end", 3) == 0)
        kit_fail(fragments->kit, "%s: no answer", message->name);
    return outcome;
}

static void check(struct fragments *fragments, struct sending *sending, const char *wanted, size_t cut)
{
    const char *outcome = read_outcome(fragments, sending);
    if (strcmp(outcome, wanted) != 0)
        kit_fail(fragments->kit, "%s, cut at %zu:\n%sinstead of\n%s", sending->message->name, cut, outcome,
                 wanted);
}

/* All cuts of a message at once. */
static void check_cuts(struct fragments *fragments, const struct http_message *message)
{
    const char *wanted = play_whole(fragments, message);
    size_t cuts = strlen(message->bytes) - 1;
    struct sending *sendings = kit_allocate(fragments->kit, cuts * sizeof *sendings);
    for (size_t i = 0; i < cuts; i++) {
        sendings[i] = begin(fragments, message);
        send_up_to(&sendings[i], i + 1);
    }
    wait_until_read(fragments, sendings, cuts);
    for (size_t i = 0; i < cuts; i++)
        send_up_to(&sendings[i], sendings[i].length);
    for (size_t i = 0; i < cuts; i++)
        check(fragments, &sendings[i], wanted, i + 1);
}

static void every_cut_comes_to_the_same(void **state)
{
    struct fragments fragments = start(*state);
    for (size_t i = 0; i < http_message_count; i++)
        check_cuts(&fragments, &http_messages[i]);
}

/* A byte of all messages at a time. */
static void single_bytes_come_to_the_same(void **state)
{
    struct fragments fragments = start(*state);
    struct sending *sendings = kit_allocate(*state, http_message_count * sizeof *sendings);
    size_t longest = 0;
    for (size_t i = 0; i < http_message_count; i++) {
        sendings[i] = begin(&fragments, &http_messages[i]);
        if (sendings[i].length > longest)
            longest = sendings[i].length;
    }
    for (size_t end = 1; end <= longest; end++) {
        for (size_t i = 0; i < http_message_count; i++)
            send_up_to(&sendings[i], end);
        wait_until_read(&fragments, sendings, http_message_count);
    }
    for (size_t i = 0; i < http_message_count; i++)
        check(&fragments, &sendings[i], play_whole(&fragments, &http_messages[i]), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(every_cut_comes_to_the_same),
        kit_test(single_bytes_come_to_the_same),
    };
    return kit_run_tests(tests);
}
