/*
 * Proves that a request comes to the same over the network however it is cut into pieces: messages of http_messages.h, cut in
 * two or sent a few bytes at a time, get the answers and the end of the connection that they get as a whole, and what
 * they stored is the same. Where the cuts fall moves from message to message. (Every cut, every pair of cuts and single bytes
 * are tried on the parser itself, in test/unit/test_message_splits.c.)
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

enum { CUTS_APART = 3, PIECE_BYTES = 5 };

/* One message on its way, over a connection of its own. */
struct sending {
    const struct http_message *message;
    struct kit_connection *connection;
    char *bytes; /* with a key of its own */
    const char *key;
    size_t length, sent, cut;
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

/* Cuts of a message near its start, where empty lines are, and at every third position, all at once. */
static void check_cuts(struct fragments *fragments, const struct http_message *message, size_t first)
{
    const char *wanted = play_whole(fragments, message);
    size_t length = strlen(message->bytes), count = 0;
    struct sending *sendings = kit_allocate(fragments->kit, length * sizeof *sendings);
    for (size_t cut = 1; cut < length; cut += cut < CUTS_APART ? 1 : cut == CUTS_APART ? first : CUTS_APART) {
        sendings[count] = begin(fragments, message);
        sendings[count].cut = cut;
        send_up_to(&sendings[count++], cut);
    }
    wait_until_read(fragments, sendings, count);
    for (size_t i = 0; i < count; i++)
        send_up_to(&sendings[i], length);
    for (size_t i = 0; i < count; i++)
        check(fragments, &sendings[i], wanted, sendings[i].cut);
}

static void cuts_come_to_the_same(void **state)
{
    struct fragments fragments = start(*state);
    for (size_t i = 0; i < http_message_count; i++)
        check_cuts(&fragments, &http_messages[i], 1 + i % CUTS_APART);
}

/* The next few bytes of all messages at a time. */
static void small_pieces_come_to_the_same(void **state)
{
    struct fragments fragments = start(*state);
    struct sending *sendings = kit_allocate(*state, http_message_count * sizeof *sendings);
    size_t longest = 0;
    for (size_t i = 0; i < http_message_count; i++) {
        sendings[i] = begin(&fragments, &http_messages[i]);
        if (sendings[i].length > longest)
            longest = sendings[i].length;
    }
    for (size_t end = 1; end < longest + PIECE_BYTES; end += PIECE_BYTES) {
        for (size_t i = 0; i < http_message_count; i++)
            send_up_to(&sendings[i], end + i % PIECE_BYTES);
        wait_until_read(&fragments, sendings, http_message_count);
    }
    for (size_t i = 0; i < http_message_count; i++)
        check(&fragments, &sendings[i], play_whole(&fragments, &http_messages[i]), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(cuts_come_to_the_same),
        kit_test(small_pieces_come_to_the_same),
    };
    return kit_run_tests(tests);
}
