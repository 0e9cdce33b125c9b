#include "api/reference.h"

#include "api/api.h"
#include "api/database.h"
#include "api/json_body.h"
#include "api/reference_users.h"
#include "api/shortage.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/timestamp.h"
#include "net/blocking.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TURN_NS  (INT64_C(10) * CLOCK_NS_PER_SECOND) /* for the turn */
#define STORE_NS (INT64_C(60) * CLOCK_NS_PER_SECOND) /* for all pieces */

enum { ABANDONED_AFTER_MS = 3600 * 1000, RESTORE_TRIES = 5 };

/* The update that a request brings. */
struct update {
    struct text users; /* user_metadata */
    int64_t wall_ms;
};

/* --- the body --- */

static int read_update(const struct request *request, struct update *update, struct response *response)
{
    const struct text names[] = {TEXT("user_metadata"), TEXT("ts")};
    struct text values[2], decoded;
    if (json_body_object(request, response) != 0)
        return -1;
    json_members(request->body, names, values, 2);
    if (json_type_of(values[0]) != JSON_OBJECT) {
        response_error(response, 400, "user_metadata must be an object of users");
        return -1;
    }
    struct buffer strings = BUFFER_EMPTY;
    bool good = json_type_of(values[1]) == JSON_STRING &&
                json_string(values[1], &strings, &decoded) == JSON_STRING_OK &&
                timestamp_parse(decoded, &update->wall_ms) == 0;
    buffer_free(&strings);
    update->users = values[0];
    if (!good)
        response_error(response, 400,
                       "ts must be a timestamp as in RFC 3339, such as 2025-10-08T12:34:56.789Z");
    return good ? 0 : -1;
}

static struct reference *make_table(struct server *server, const struct update *update,
                                    struct response *response)
{
    struct buffer reason = BUFFER_EMPTY;
    struct reference *reference = NULL;
    struct reference_builder *builder = metrics_reference_begin(server->metrics, update->wall_ms);
    enum reference_users_result result =
        builder == NULL ? REFERENCE_USERS_FULL : reference_users_add(builder, update->users, &reason);
    switch (result) {
    case REFERENCE_USERS_OK:
        reference = reference_finish(builder);
        break;
    case REFERENCE_USERS_BAD:
        response_error(response, 400, "%.*s", (int)reason.length, reason.bytes);
        break;
    case REFERENCE_USERS_FULL:
        answer_metrics_full(server, "the table does not fit into the memory for metrics", response);
        break;
    }
    if (reference == NULL)
        reference_abandon(builder);
    buffer_free(&reason);
    return reference;
}

/* --- storing --- */

/* Writes live on the heap, as their outcome may come later than a request can wait. */
struct piece_write {
    struct storage_write write; /* the first member; freed by the storage when it is abandoned */
    char bytes[];
};

static enum storage_result store_piece(struct server *server, uint64_t generation, uint32_t number,
                                       const struct buffer *piece)
{
    struct piece_write *write = piece->failed ? NULL : malloc(sizeof *write + piece->length);
    if (write == NULL)
        return STORAGE_NO_MEMORY;
    memcpy(write->bytes, piece->bytes, piece->length);
    write->write = (struct storage_write){
        .kind = STORAGE_REFERENCE_PIECE,
        .generation = generation,
        .number = number,
        .payload = {.bytes = write->bytes, .length = piece->length},
        .created_ms = clock_wall_ms(),
    };
    enum storage_result result = storage_write(server->storage, &write->write, database_deadline());
    if (result != STORAGE_UNKNOWN)
        free(write);
    /* Whether it is there or not: nobody uses its generation. */
    return result == STORAGE_UNKNOWN ? STORAGE_AWAY : result;
}

static enum storage_result store_pieces(struct server *server, uint64_t generation, struct text users,
                                        uint32_t *count)
{
    struct buffer piece = BUFFER_EMPTY;
    struct json_walk walk;
    enum storage_result result = STORAGE_OK;
    int64_t deadline_at = clock_monotonic_ns() + STORE_NS;
    *count = 0;
    json_walk_begin(&walk, users);
    while (result == STORAGE_OK && reference_users_next_piece(&walk, &piece)) {
        result = clock_monotonic_ns() > deadline_at ? STORAGE_AWAY
                                                    : store_piece(server, generation, *count, &piece);
        ++*count;
    }
    if (result == STORAGE_OK && piece.failed)
        result = STORAGE_NO_MEMORY;
    buffer_free(&piece);
    return result;
}

struct switch_write {
    struct storage_write write; /* the first member */
    struct server *server;
};

/* Ends the turn. */
static void conclude(struct server *server, uint64_t generation, enum storage_result result)
{
    if (result == STORAGE_OK) {
        server->reference_generation = generation;
        metrics_commit_reference(server->metrics);
    } else {
        metrics_abandon_reference(server->metrics);
    }
}

static void switch_settled(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct switch_write *change = (struct switch_write *)(void *)write;
    if (!abandoned)
        return;
    conclude(change->server, write->generation, result);
    free(change);
}

/* Makes the stored generation the table, and ends the turn, or leaves that to `switch_settled`. */
static enum storage_result switch_table(struct server *server, uint64_t generation, uint32_t count,
                                        int64_t wall_ms)
{
    struct switch_write *change = malloc(sizeof *change);
    enum storage_result result = STORAGE_NO_MEMORY;
    if (change != NULL) {
        change->server = server;
        change->write = (struct storage_write){
            .kind = STORAGE_REFERENCE_SWITCH,
            .generation = generation,
            .number = count,
            .created_ms = wall_ms,
            .settled = switch_settled,
        };
        result = storage_write(server->storage, &change->write, database_deadline());
    }
    if (result == STORAGE_UNKNOWN)
        return result;
    conclude(server, generation, result);
    free(change);
    return result;
}

/* Deletes the pieces of the former table. What fails here is done with the next replacement. */
static void purge(struct server *server, uint64_t former)
{
    uint32_t purged;
    do {
        struct storage_write *write = malloc(sizeof *write);
        if (write == NULL)
            return;
        *write = (struct storage_write){
            .kind = STORAGE_REFERENCE_PURGE,
            .generation = former,
            .created_ms = clock_wall_ms() - ABANDONED_AFTER_MS,
        };
        enum storage_result result = storage_write(server->storage, write, database_deadline());
        purged = result == STORAGE_OK ? write->purged : 0;
        if (result != STORAGE_UNKNOWN)
            free(write);
    } while (purged > 0);
}

static uint64_t draw_generation(void)
{
    uint64_t number;
    do {
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
            return 0;
        number &= INT64_MAX;
    } while (number == 0);
    return number;
}

/* Steps 3 to 5, with the turn taken. */
static enum storage_result store_table(struct server *server, const struct update *update)
{
    uint32_t count = 0;
    uint64_t former = server->reference_generation;
    uint64_t generation = draw_generation();
    enum storage_result result =
        generation == 0 ? STORAGE_NO_MEMORY : store_pieces(server, generation, update->users, &count);
    if (result != STORAGE_OK) {
        metrics_abandon_reference(server->metrics);
        return result;
    }
    result = switch_table(server, generation, count, update->wall_ms);
    if (result == STORAGE_OK)
        purge(server, former);
    return result;
}

/* --- the request --- */

/* With the turn, which ends here, or with a write whose outcome is not known. */
static void replace_table(struct server *server, const struct update *update, struct response *response)
{
    struct reference *reference = make_table(server, update, response);
    if (reference == NULL) {
        metrics_end_turn(server->metrics);
        return;
    }
    enum metrics_set_result prepared = metrics_prepare_reference(server->metrics, reference);
    reference_release(reference);
    if (prepared != METRICS_SET_OK)
        metrics_end_turn(server->metrics);
    if (prepared == METRICS_SET_STALE)
        response_error(response, 409, "Stale update: the table is of a later ts");
    if (prepared == METRICS_SET_FULL)
        answer_metrics_full(server, "the table does not fit into the memory for metrics", response);
    if (prepared != METRICS_SET_OK)
        return;
    enum storage_result result = store_table(server, update);
    if (result != STORAGE_OK) {
        answer_database_error(response, result);
        return;
    }
    response_json(response, 200);
    buffer_append_text(response->body, "{\"message\":\"Reference table updated successfully\"}");
}

void api_reference_users(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct update update;
    if (read_update(request, &update, response) != 0)
        return;
    /* Many would else wait for their turn to find that out. */
    if (!storage_is_available(server->storage)) {
        answer_database_error(response, STORAGE_AWAY);
        return;
    }
    if (database_begin(request, response) != 0)
        return;
    if (metrics_take_turn(server->metrics, clock_monotonic_ns() + TURN_NS))
        replace_table(server, &update, response);
    else
        response_error(response, 503, "the reference table is being replaced by another request");
    blocking_end(request->worker);
}

/* --- at start --- */

enum restored { RESTORED, RESTORE_AGAIN, RESTORE_AWAY, RESTORE_FULL, RESTORE_DAMAGED };

struct restoring {
    struct reference_builder *builder;
    enum restored result;
};

static void restore_piece(void *context, struct text content)
{
    struct restoring *restoring = context;
    struct buffer reason = BUFFER_EMPTY;
    struct json_error error;
    restoring->result = RESTORE_DAMAGED;
    if (json_check(content, JSON_DEPTH, &error) == JSON_VALID && json_type_of(content) == JSON_OBJECT) {
        enum reference_users_result result = reference_users_add(restoring->builder, content, &reason);
        if (result == REFERENCE_USERS_OK)
            restoring->result = RESTORED;
        if (result == REFERENCE_USERS_FULL)
            restoring->result = RESTORE_FULL;
    }
    buffer_free(&reason);
}

static enum restored restore_pieces(struct server *server, const struct storage_reference *stored,
                                    struct reference_builder *builder)
{
    struct restoring restoring = {.builder = builder, .result = RESTORED};
    for (uint32_t number = 0; number < stored->piece_count && restoring.result == RESTORED; number++) {
        bool found = false;
        if (storage_reference_piece(server->storage, stored->generation, number, restore_piece, &restoring,
                                    &found, database_deadline()) != STORAGE_OK)
            return RESTORE_AWAY;
        if (!found)
            return RESTORE_AGAIN; /* another server has just replaced it */
    }
    return restoring.result;
}

static enum restored restore(struct server *server)
{
    struct storage_reference stored;
    if (storage_reference(server->storage, &stored, database_deadline()) != STORAGE_OK)
        return RESTORE_AWAY;
    if (stored.generation == 0)
        return RESTORED;
    struct reference_builder *builder = metrics_reference_begin(server->metrics, stored.updated_ms);
    enum restored result = builder == NULL ? RESTORE_FULL : restore_pieces(server, &stored, builder);
    if (result != RESTORED) {
        reference_abandon(builder);
        return result;
    }
    struct reference *reference = reference_finish(builder);
    if (metrics_set_reference(server->metrics, reference) != METRICS_SET_OK)
        result = RESTORE_FULL;
    else
        log_info(&server->log, "reference table restored users=%u",
                 (unsigned)reference_user_count(reference));
    reference_release(reference);
    server->reference_generation = stored.generation;
    return result;
}

int reference_restore(struct server *server)
{
    enum restored result = RESTORE_AGAIN;
    for (int i = 0; i < RESTORE_TRIES && result == RESTORE_AGAIN; i++)
        result = restore(server);
    switch (result) {
    case RESTORED:
        return 0;
    case RESTORE_AGAIN:
    case RESTORE_DAMAGED:
        log_warn(&server->log,
                 "the stored reference table is damaged: send it anew; there is none until then");
        return 0;
    case RESTORE_AWAY:
        fprintf(
            stderr,
            "event-syncer: the database can't be read: check that it runs and answers, and start again\n");
        break;
    case RESTORE_FULL:
        fprintf(
            stderr,
            "event-syncer: the stored reference table does not fit into --max-metrics-memory: raise it\n");
        break;
    }
    return -1;
}
