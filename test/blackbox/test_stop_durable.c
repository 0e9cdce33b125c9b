/* The end of the server while clients publish, post live events and listen to streams: what was acknowledged is in the database
 * and in the journal, once, and streams have been told a beginning of it without a gap. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_drive.h"
#include "kit_live.h"
#include "kit_sse.h"

enum {
    CLIENTS = 60, /* of each kind */
    STREAMS = 20,
    MOST = 2000, /* requests of a client */
    STOP_AFTER = 2000,
    EXIT_MS = 10000,
    DESCRIPTORS = 2 * CLIENTS + STREAMS + 100,
};

enum fate { UNSENT, SENT, ACKNOWLEDGED };

struct writers {
    struct kit *kit;
    const char *path;
    const char *body; /* with a %d for the number */
    int good_status;
    int64_t acknowledged;
    int sent[CLIENTS];
    unsigned char fates[CLIENTS][MOST];
};

static size_t ask_write(void *context, size_t client, char *request)
{
    struct writers *writers = context;
    char body[128];
    if (writers->sent[client] == MOST)
        return 0;
    int number = writers->sent[client]++;
    writers->fates[client][number] = SENT;
    int length = snprintf(body, sizeof body, writers->body, (int)client * MOST + number);
    return (size_t)snprintf(request, KIT_DRIVE_REQUEST_BYTES,
                            "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", writers->path,
                            length, body);
}

static void take_write(void *context, size_t client, int status, const char *body, size_t length)
{
    struct writers *writers = context;
    (void)length;
    if (status == 503) /* at the stop; the text of those that may have been stored says so */
        return;
    if (status != writers->good_status)
        kit_fail(writers->kit, "%s was answered %d %s", writers->path, status, body);
    writers->fates[client][writers->sent[client] - 1] = ACKNOWLEDGED;
    writers->acknowledged++;
}

static void lose_write(void *context, size_t client)
{
    (void)context, (void)client;
}

static bool enough(void *context)
{
    struct writers *const *both = context;
    int64_t wanted = STOP_AFTER / (int64_t)kit_time_scale();
    return both[0]->acknowledged >= wanted && both[1]->acknowledged >= wanted;
}

/* Notes one of what is stored. */
static void note(struct writers *writers, unsigned char *seen, int64_t number)
{
    if (number < 0 || number >= CLIENTS * MOST)
        kit_fail(writers->kit, "%s: nobody has sent %lld", writers->path, (long long)number);
    if (seen[number]++ > 0)
        kit_fail(writers->kit, "%s: %lld is there twice", writers->path, (long long)number);
    if (writers->fates[number / MOST][number % MOST] == UNSENT)
        kit_fail(writers->kit, "%s: %lld was not sent yet", writers->path, (long long)number);
}

static void expect_acknowledged(struct writers *writers, const unsigned char *seen)
{
    int64_t more = 0;
    for (int i = 0; i < CLIENTS * MOST; i++) {
        bool acknowledged = writers->fates[i / MOST][i % MOST] == ACKNOWLEDGED;
        if (acknowledged && seen[i] == 0)
            kit_fail(writers->kit, "%s: %d was acknowledged and is lost", writers->path, i);
        more += seen[i] > 0 && !acknowledged;
    }
    print_message("%s: %lld acknowledged, %lld more stored\n", writers->path,
                  (long long)writers->acknowledged, (long long)more);
}

static void check_history(struct writers *publishers, struct kit_server *server)
{
    unsigned char *seen = kit_allocate(publishers->kit, (size_t)CLIENTS * MOST);
    const struct kit_history *history = kit_whole_history(server, "news", 1000);
    for (size_t i = 0; i < history->count; i++)
        note(publishers, seen, strtoll(history->events[i].payload, NULL, 10));
    expect_acknowledged(publishers, seen);
}

static void check_journal(struct writers *posters, const char *journal)
{
    unsigned char *seen = kit_allocate(posters->kit, (size_t)CLIENTS * MOST);
    const char *text = kit_read_file(posters->kit, journal);
    size_t length = strlen(text);
    assert_true(length > 0 && text[length - 1] == '\n');
    for (const char *next = text; (next = strstr(next, "\"value\":")) != NULL; next++)
        note(posters, seen, strtoll(next + strlen("\"value\":"), NULL, 10));
    expect_acknowledged(posters, seen);
}

/* Ids without a gap, then the end. */
static void check_stream(struct kit *kit, struct kit_sse *stream)
{
    struct kit_sse_frame frame;
    int64_t last_id = 0;
    while (kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) == 0) {
        if (last_id != 0 && frame.id != last_id + 1)
            kit_fail(kit, "a stream goes on with %lld behind %lld", (long long)frame.id, (long long)last_id);
        last_id = frame.id;
        kit_sse_frame_clear(&frame);
    }
    if (stream->problem != NULL && !stream->cut)
        kit_fail(kit, "a stream: %s", stream->problem);
    assert_true(last_id > 0);
}

static struct writers *make_writers(struct kit *kit, const char *path, const char *body, int good_status)
{
    struct writers *writers = kit_allocate(kit, sizeof *writers);
    writers->kit = kit;
    writers->path = path;
    writers->body = body;
    writers->good_status = good_status;
    return writers;
}

static void what_was_acknowledged_is_durable(void **state)
{
    struct kit *kit = *state;
    struct kit_sse *streams[STREAMS];
    struct writers *both[] = {
        make_writers(kit, KIT_PUBLISH, "{\"channel\":\"news\",\"eventType\":\"t\",\"payload\":%d}", 202),
        make_writers(kit, "/liveEvent", "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":%d}", 200)};
    struct kit_drive_role roles[2];
    kit_raise_file_limit(kit, DESCRIPTORS);
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_subscribe(server, "1", "news");
    for (int i = 0; i < STREAMS; i++)
        streams[i] = kit_sse_open(server, "1", "news");
    struct kit_drive *drive = kit_drive_create(server);
    for (int i = 0; i < 2; i++) {
        roles[i] = (struct kit_drive_role){ask_write, take_write, lose_write, both[i]};
        kit_drive_add(drive, CLIENTS, &roles[i]);
    }
    kit_drive_run(drive, enough, both, 30000);
    kit_signal(server, SIGTERM);
    kit_drive_run(drive, NULL, NULL, EXIT_MS);
    for (int i = 0; i < STREAMS; i++)
        check_stream(kit, streams[i]);
    assert_int_equal(kit_wait_exit(server), 0);
    kit_drive_free(drive);
    check_journal(both[1], journal);
    check_history(both[0], kit_serve_live(kit, journal));
}

int main(void)
{
    const struct CMUnitTest tests[] = {kit_test_engines(what_was_acknowledged_is_durable)};
    return kit_run_event_tests(tests);
}
