/* The queue under the soak: who pushes knows which ids are stored, and each group must be given all of them, once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soak.h"

enum {
    KEYS = 8,
    IDS_A_SECOND = 400, /* of a key: more than its producers can push */
    IDS_MORE = 10000,
    BATCH = 5,
    PADDING = 2000,
};

/* In ALL, one consumer sees 1, 2, 3, ...; in SHARED, each id is seen once in some order; in CUT, none twice. */
enum group { GROUP_ALL, GROUP_SHARED, GROUP_CUT, GROUPS };

static const char *const group_names[] = {"all", "shared", "cut"};

struct key {
    pthread_mutex_t mutex; /* guards all below */
    unsigned char *told;   /* by id: its producer had it acknowledged */
    unsigned char *seen[GROUPS];
    int64_t last_id[GROUPS];
    int64_t acknowledged;
};

struct soak_queue {
    int64_t ids;
    struct key keys[KEYS];
};

void soak_queue_create(struct soak *soak)
{
    struct soak_queue *queue = kit_allocate(soak->kit, sizeof *queue);
    queue->ids = (int64_t)soak->seconds * IDS_A_SECOND + IDS_MORE;
    for (int i = 0; i < KEYS; i++) {
        struct key *key = &queue->keys[i];
        pthread_mutex_init(&key->mutex, NULL);
        key->told = kit_allocate(soak->kit, (size_t)queue->ids);
        for (int group = 0; group < GROUPS; group++)
            key->seen[group] = kit_allocate(soak->kit, (size_t)queue->ids);
    }
    soak->queue = queue;
}

/* ---- pushing ---- */

/* The ids of a batch are its last one and those before it. */
static void note_told(struct soak *soak, int number, int64_t last_id, int count)
{
    struct key *key = &soak->queue->keys[number];
    pthread_mutex_lock(&key->mutex);
    for (int64_t id = last_id - count + 1; id <= last_id; id++) {
        if (id < 1 || id >= soak->queue->ids)
            soak_fail(soak, "key%d: a push was told id %lld", number, (long long)id);
        else if (key->told[id]++ > 0)
            soak_fail(soak, "key%d: two pushes were told id %lld", number, (long long)id);
    }
    key->acknowledged += count;
    pthread_mutex_unlock(&key->mutex);
}

void soak_push(struct actor *actor)
{
    char target[64], body[BATCH * (PADDING + 100)];
    int number = soak_draw(actor, KEYS), count = soak_draw(actor, 4) == 0 ? 1 + soak_draw(actor, BATCH) : 1;
    size_t length = 0;
    bool lines = count > 1 || soak_draw(actor, 10) == 0;
    for (int i = 0; i < count; i++) {
        int padding = soak_draw(actor, 20) == 0 ? soak_draw(actor, PADDING) : soak_draw(actor, 100);
        length += (size_t)sprintf(body + length, "{\"p\":%d,\"x\":\"%0*d\"}%s", actor->number, padding + 1, 0,
                                  lines ? "\n" : "");
    }
    snprintf(target, sizeof target, "/push?key=key%d", number);
    struct kit_response response;
    int64_t id;
    if (soak_exchange(actor, "POST", target, lines ? "application/x-ndjson" : NULL, body, "200", &response) ==
        0)
        return;
    if (kit_json_number(response.body, "id", &id))
        note_told(actor->soak, number, id, count);
    else
        soak_fail(actor->soak, "a push was answered %.200s", response.body);
    kit_response_clear(&response);
}

/* ---- getting ---- */

/* Notes the ids of an answer that was received whole. Returns how many. */
static int note_seen(struct soak *soak, int number, enum group group, const char *body)
{
    static const char mark[] = "{\"id\":";
    struct key *key = &soak->queue->keys[number];
    int count = 0;
    pthread_mutex_lock(&key->mutex);
    for (const char *next = body; (next = strstr(next, mark)) != NULL; count++) {
        next += sizeof mark - 1;
        int64_t id = strtoll(next, NULL, 10);
        if (id < 1 || id >= soak->queue->ids)
            soak_fail(soak, "key%d: id %lld can't be", number, (long long)id);
        else if (key->seen[group][id]++ > 0)
            soak_fail(soak, "key%d: group %s has seen id %lld twice", number, group_names[group],
                      (long long)id);
        if (group == GROUP_ALL && id != key->last_id[group] + 1)
            soak_fail(soak, "key%d: group all has seen id %lld behind %lld", number, (long long)id,
                      (long long)key->last_id[group]);
        if (id > key->last_id[group])
            key->last_id[group] = id;
    }
    pthread_mutex_unlock(&key->mutex);
    return count;
}

static void make_target(struct actor *actor, char target[100], int number, enum group group)
{
    char limit[32] = "";
    if (soak_draw(actor, 2) == 0)
        snprintf(limit, sizeof limit, "&limit=%d", 1 + soak_draw(actor, 40));
    snprintf(target, 100, "/blocking-get?key=key%d&groupId=%s&meta=1&timeout=%s%s", number,
             group_names[group], soak_draw(actor, 5) == 0 ? "0" : "0.5", limit);
}

static void get_whole(struct actor *actor, int number, enum group group)
{
    char target[100];
    struct kit_response response;
    make_target(actor, target, number, group);
    if (soak_exchange(actor, "GET", target, NULL, NULL, "200", &response) == 0)
        return;
    note_seen(actor->soak, number, group, response.body);
    kit_response_clear(&response);
}

void soak_get_all(struct actor *actor)
{
    get_whole(actor, actor->number % KEYS, GROUP_ALL);
}

/* Closes its sending side at once, and reads on: it gets a whole answer, or nothing. */
static void get_half_closed(struct actor *actor, int number)
{
    char target[100];
    struct kit_response response;
    make_target(actor, target, number, GROUP_SHARED);
    if (!soak_connect(actor))
        return;
    if (kit_try_send_request(actor->connection, "GET", target, NULL, NULL, 0) != 0) {
        soak_fail(actor->soak, "sending a get: %s", strerror(errno));
        return;
    }
    kit_shutdown_sending(actor->connection);
    if (kit_try_receive(actor->connection, "GET", kit_deadline_at_ms(SOAK_DEADLINE_MS), &response) == 0) {
        note_seen(actor->soak, number, GROUP_SHARED, response.body);
        kit_response_clear(&response);
    } else if (errno != EPIPE) {
        soak_fail(actor->soak, "a get of a client that has closed its sending side: %s", strerror(errno));
    }
    soak_disconnect(actor, false);
}

void soak_get_shared(struct actor *actor)
{
    int number = soak_draw(actor, KEYS);
    if (soak_draw(actor, 8) == 0)
        get_half_closed(actor, number);
    else
        get_whole(actor, number, GROUP_SHARED);
    if (soak_draw(actor, 10) == 0)
        soak_disconnect(actor, true); /* behind a whole answer */
}

void soak_get_and_cut(struct actor *actor)
{
    char target[100], bytes[500];
    int number = soak_draw(actor, KEYS);
    if (soak_draw(actor, 2) == 0) {
        get_whole(actor, number, GROUP_CUT);
        return;
    }
    make_target(actor, target, number, GROUP_CUT);
    if (!soak_connect(actor))
        return;
    if (kit_try_send_request(actor->connection, "GET", target, NULL, NULL, 0) == 0) {
        if (soak_draw(actor, 2) == 0)
            kit_try_read(actor->connection, bytes, (size_t)(1 + soak_draw(actor, sizeof bytes)));
        else if (soak_draw(actor, 2) == 0)
            kit_pause();
    }
    soak_disconnect(actor, soak_draw(actor, 2) == 0);
}

/* ---- the check ---- */

static void drain(struct soak *soak, int number, enum group group)
{
    int count;
    do {
        const struct kit_response *response = kit_get(soak->server, kit_format(soak->kit, "key%d", number),
                                                      group_names[group], "meta=1&timeout=0");
        kit_assert_status(response, 200);
        count = note_seen(soak, number, group, response->body);
    } while (count > 0);
}

void soak_queue_check(struct soak *soak)
{
    long long events = 0, acknowledged = 0, cut = 0;
    for (int i = 0; i < KEYS; i++) {
        struct key *key = &soak->queue->keys[i];
        for (enum group group = GROUP_ALL; group < GROUPS; group++)
            drain(soak, i, group);
        for (int64_t id = 1; id < soak->queue->ids; id++) {
            bool all = key->seen[GROUP_ALL][id] > 0, shared = key->seen[GROUP_SHARED][id] > 0;
            if (key->told[id] > 0 && !all)
                soak_fail(soak, "key%d: id %lld was acknowledged and is lost", i, (long long)id);
            if (all != shared)
                soak_fail(soak, "key%d: one group has seen id %lld, the other has not", i, (long long)id);
            cut += all && key->seen[GROUP_CUT][id] == 0;
        }
        events += key->last_id[GROUP_ALL];
        acknowledged += key->acknowledged;
    }
    print_message("queue: %lld events, %lld of them acknowledged; each seen once by two groups, %lld lost to "
                  "the hang-ups of the third\n",
                  events, acknowledged, cut);
}
