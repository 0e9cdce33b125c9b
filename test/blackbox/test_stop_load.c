/* The end of the server under load: a thousand clients push, a thousand wait, some never read. What was acknowledged was
 * stored, each group has seen a beginning of its key without a gap and nothing twice, and the port is free at once. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_drive.h"
#include "kit_http.h"

enum {
    PUSHERS = 1000,
    WAITERS = 1000,
    KEYS = 20,
    GROUPS = 10,
    MOST_PUSHES = 200, /* of one client */
    IDS = PUSHERS / KEYS * MOST_PUSHES + 1,
    STOP_AFTER = 20000, /* acknowledged pushes */
    STALLED = 20,
    LARGE_EVENTS = 24,
    LARGE_BYTES = 1000000,
    EXIT_MS = 10000,
    DESCRIPTORS = PUSHERS + WAITERS + 200,
};

struct key {
    int64_t acknowledged, unanswered;
    unsigned char told[IDS];         /* by an answer to a push */
    unsigned char seen[GROUPS][IDS]; /* in answers that were received whole */
};

struct load {
    struct kit *kit;
    struct kit_server *server;
    struct kit_drive *drive;
    int64_t acknowledged;
    int sent[PUSHERS];
    struct key keys[KEYS];
};

/* ---- those who push ---- */

static size_t ask_push(void *context, size_t client, char *request)
{
    struct load *load = context;
    char body[64];
    if (load->sent[client] == MOST_PUSHES)
        return 0;
    int length = snprintf(body, sizeof body, "{\"p\":%zu,\"n\":%d}", client, load->sent[client]++);
    return (size_t)snprintf(request, KIT_DRIVE_REQUEST_BYTES,
                            "POST /push?key=k%zu HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s",
                            client % KEYS, length, body);
}

static void take_push(void *context, size_t client, int status, const char *body, size_t length)
{
    struct load *load = context;
    struct key *key = &load->keys[client % KEYS];
    int64_t id;
    (void)length;
    if (status != 200 || !kit_json_number(body, "id", &id) || id < 1 || id >= IDS)
        kit_fail(load->kit, "a push was answered %d %s", status, body);
    if (key->told[id]++ > 0)
        kit_fail(load->kit, "two pushes were told id %lld", (long long)id);
    key->acknowledged++;
    load->acknowledged++;
}

static void lose_push(void *context, size_t client)
{
    struct load *load = context;
    load->keys[client % KEYS].unanswered++;
}

/* ---- those who wait ---- */

static size_t ask_get(void *context, size_t client, char *request)
{
    (void)context;
    return (size_t)snprintf(request, KIT_DRIVE_REQUEST_BYTES,
                            "GET /blocking-get?key=k%zu&groupId=g%zu&meta=1 HTTP/1.1\r\nHost: h\r\n\r\n",
                            client % KEYS, client / KEYS % GROUPS);
}

static void take_batch(void *context, size_t client, int status, const char *body, size_t length)
{
    static const char mark[] = "{\"id\":";
    struct load *load = context;
    (void)length;
    if (status != 200)
        kit_fail(load->kit, "a get was answered %d %.200s", status, body);
    for (const char *next = body; (next = strstr(next, mark)) != NULL;) {
        next += sizeof mark - 1;
        long id = strtol(next, NULL, 10);
        if (id < 1 || id >= IDS || load->keys[client % KEYS].seen[client / KEYS % GROUPS][id]++ > 0)
            kit_fail(load->kit, "id %ld was seen twice, or can't be", id);
    }
}

/* At the stop: what it asked for was not begun with. */
static void lose_get(void *context, size_t client)
{
    (void)context, (void)client;
}

/* ---- those who never read ---- */

static void stall(struct kit_server *server)
{
    char *event = kit_repeat(kit_of(server), "a", LARGE_BYTES), byte = 0;
    event[0] = event[LARGE_BYTES - 1] = '"';
    for (int i = 0; i < LARGE_EVENTS; i++)
        kit_push(server, "large", event);
    for (int i = 0; i < STALLED; i++) {
        struct kit_connection *reader = kit_connect_small(server, 4096);
        const char *target = kit_format(kit_of(server), "/blocking-get?key=large&groupId=g%d", i);
        kit_send_request(reader, "GET", target, NULL, NULL, 0);
        if (kit_try_read(reader, &byte, 1) != 1 || byte != 'H')
            kit_fail(kit_of(server), "no beginning of the answer");
    }
}

/* ---- the test ---- */

static bool enough(void *context)
{
    const struct load *load = context;
    return load->acknowledged >= STOP_AFTER / (int64_t)kit_time_scale();
}

static struct load *start_load(struct kit *kit)
{
    struct load *load = kit_allocate(kit, sizeof *load);
    struct kit_drive_role *roles = kit_allocate(kit, 2 * sizeof *roles);
    kit_raise_file_limit(kit, DESCRIPTORS);
    load->kit = kit;
    load->server = kit_serve(kit);
    stall(load->server);
    roles[0] = (struct kit_drive_role){ask_get, take_batch, lose_get, load};
    roles[1] = (struct kit_drive_role){ask_push, take_push, lose_push, load};
    load->drive = kit_drive_create(load->server);
    kit_drive_add(load->drive, WAITERS, &roles[0]);
    kit_wait_until_health(load->server, "queue.waiting", WAITERS);
    kit_drive_add(load->drive, PUSHERS, &roles[1]);
    kit_drive_run(load->drive, enough, load, 30000);
    return load;
}

/* Every group has seen the ids from 1 on, each once, and the rest not yet. Returns the last one that is known of. */
static int64_t check_key(const struct load *load, const struct key *key)
{
    int64_t last = 0;
    for (int64_t id = 1; id < IDS; id++)
        if (key->told[id] > 0)
            last = id;
    for (int group = 0; group < GROUPS; group++) {
        int64_t seen = 1;
        while (seen < IDS && key->seen[group][seen] > 0)
            seen++;
        if (last < seen - 1)
            last = seen - 1;
        for (int64_t id = seen; id < IDS; id++)
            if (key->seen[group][id] > 0)
                kit_fail(load->kit, "group g%d has seen id %lld, but not id %lld", group, (long long)id,
                         (long long)seen);
    }
    return last;
}

static void check_ledger(const struct load *load)
{
    int64_t known = LARGE_EVENTS, unanswered = 0;
    for (int i = 0; i < KEYS; i++) {
        const struct key *key = &load->keys[i];
        int64_t last = check_key(load, key);
        if (last > key->acknowledged + key->unanswered)
            kit_fail(load->kit, "key k%d holds more events than were pushed", i);
        known += last > key->acknowledged ? last : key->acknowledged;
        unanswered += key->unanswered;
    }
    const char *line = kit_last_line(load->kit, kit_log(load->server));
    const char *count = strstr(line, "stored_events=");
    int64_t stored = count == NULL ? -1 : strtoll(count + strlen("stored_events="), NULL, 10);
    print_message("%lld acknowledged, %lld unanswered, %lld stored\n", (long long)load->acknowledged,
                  (long long)unanswered, (long long)stored);
    if (stored < known || stored > load->acknowledged + LARGE_EVENTS + unanswered)
        kit_fail(load->kit, "%lld acknowledged and %lld more, %lld without an answer, but: %s",
                 (long long)load->acknowledged, (long long)(known - load->acknowledged),
                 (long long)unanswered, line);
}

static void expect_port_is_free(struct load *load)
{
    const char *address = kit_format(load->kit, "127.0.0.1:%d", kit_port(load->server));
    const char *const arguments[] = {"serve", "--listen", address, "--port-file", "port", NULL};
    struct kit_server *again =
        kit_start(load->kit, &(struct kit_start){.exact = true, .arguments = arguments});
    assert_int_equal(kit_push(again, "k0", "1"), 1);
}

/* The server closes its ends first, so its port has connections in TIME_WAIT, state 06 of /proc/net/tcp. */
static void expect_time_wait(struct load *load)
{
    const char *pattern =
        kit_format(load->kit, " 0100007F:%04X 0100007F:[0-9A-F]* 06 ", (unsigned)kit_port(load->server));
    if (!kit_matches(kit_read_file(load->kit, "/proc/net/tcp"), pattern))
        kit_fail(load->kit, "no connection is in TIME_WAIT: this shows nothing");
}

static void what_was_acknowledged_was_stored(void **state)
{
    struct load *load = start_load(*state);
    int64_t signalled_at_ms = kit_now_ms();
    kit_signal(load->server, SIGTERM);
    kit_drive_run(load->drive, NULL, NULL, EXIT_MS);
    int64_t quiet_ms = kit_now_ms() - signalled_at_ms;
    assert_int_equal(kit_wait_exit(load->server), 0);
    assert_in_range(kit_now_ms() - signalled_at_ms, 0, (int64_t)(EXIT_MS * kit_time_scale()));
    print_message("all but those who never read had their answers after %lld ms\n", (long long)quiet_ms);
    expect_time_wait(load);
    expect_port_is_free(load);
    check_ledger(load);
    kit_drive_free(load->drive);
}

/* The first signal has been taken: two that come together are one. */
static bool is_stopping(void *context)
{
    const struct load *load = context;
    return strstr(kit_log(load->server), "stopping signal=") != NULL;
}

static void a_second_signal_waits_for_nobody(void **state)
{
    struct load *load = start_load(*state);
    kit_signal(load->server, SIGTERM);
    kit_drive_run(load->drive, is_stopping, load, EXIT_MS);
    int64_t signalled_at_ms = kit_now_ms();
    kit_signal(load->server, SIGTERM);
    assert_int_equal(kit_wait_exit(load->server), 128 + SIGTERM);
    assert_in_range(kit_now_ms() - signalled_at_ms, 0, (int64_t)(3000 * kit_time_scale()));
    kit_drive_run(load->drive, NULL, NULL, EXIT_MS);
    expect_port_is_free(load);
    kit_drive_free(load->drive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(what_was_acknowledged_was_stored),
        kit_test(a_second_signal_waits_for_nobody),
    };
    return kit_run_tests(tests);
}
