/* The transaction of a batch: all its statements are sent without waiting for answers (pipeline mode), so that it takes
 * one round trip. */
#include "storage/postgresql_sending.h"

#include <stdio.h>
#include <stdlib.h>

enum { DRAW_PLACE = 1 }; /* of the statement's result among all */

static void free_arrays(struct postgresql_sending *sending)
{
    postgresql_array_free(&sending->channels);
    postgresql_array_free(&sending->types);
    postgresql_array_free(&sending->payloads);
    postgresql_array_free(&sending->times);
    postgresql_array_free(&sending->users);
    postgresql_array_free(&sending->generations);
    postgresql_array_free(&sending->numbers);
}

struct postgresql_parameter postgresql_number(int64_t number, char storage[static POSTGRESQL_NUMBER_BYTES])
{
    snprintf(storage, POSTGRESQL_NUMBER_BYTES, "%lld", (long long)number);
    return (struct postgresql_parameter){.value = storage};
}

enum postgresql_attempt postgresql_sending_fail(struct postgresql_sending *sending,
                                                enum postgresql_attempt attempt, const char *why)
{
    snprintf(sending->link->error, sizeof sending->link->error, "%s", why);
    return attempt;
}

enum postgresql_attempt postgresql_sending_add(struct postgresql_sending *sending, const char *statement,
                                               const struct postgresql_parameter *parameters, size_t count)
{
    sending->count++;
    if (postgresql_link_add(sending->link, statement, parameters, count) == 0)
        return POSTGRESQL_STORED;
    return PQstatus(sending->link->connection) == CONNECTION_OK ? POSTGRESQL_OUT_OF_MEMORY
                                                                : POSTGRESQL_NOT_SENT;
}

/* --- published events --- */

static const struct storage_write *next_published(const struct storage_write *write)
{
    while (write != NULL && write->kind != STORAGE_PUBLISH)
        write = STAILQ_NEXT(write, link);
    return write;
}

/* Fills the arrays with the next events. Returns the one after them. */
static const struct storage_write *fill_chunk(struct postgresql_sending *sending,
                                              const struct storage_write *write)
{
    size_t bytes = 0;
    postgresql_array_begin_texts(&sending->channels);
    postgresql_array_begin_texts(&sending->types);
    postgresql_array_begin_texts(&sending->payloads);
    postgresql_array_begin_numbers(&sending->times);
    do {
        postgresql_array_add_text(&sending->channels, write->channel);
        postgresql_array_add_text(&sending->types, write->event_type);
        postgresql_array_add_text(&sending->payloads, write->payload);
        postgresql_array_add_number(&sending->times, write->created_ms);
        bytes += write->payload.length;
        write = next_published(STAILQ_NEXT(write, link));
    } while (write != NULL && bytes < POSTGRESQL_CHUNK_BYTES &&
             write->payload.length < POSTGRESQL_CHUNK_BYTES - bytes);
    return write;
}

static enum postgresql_attempt add_chunk(struct postgresql_sending *sending, size_t before)
{
    char number[POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        {.value = sending->batch->id},
        postgresql_number((int64_t)before, number),
        postgresql_array_finish(&sending->channels),
        postgresql_array_finish(&sending->types),
        postgresql_array_finish(&sending->payloads),
        postgresql_array_finish(&sending->times),
    };
    if (sending->channels.bytes.failed || sending->types.bytes.failed || sending->payloads.bytes.failed ||
        sending->times.bytes.failed)
        return postgresql_sending_fail(sending, POSTGRESQL_OUT_OF_MEMORY, "out of memory");
    return postgresql_sending_add(sending, "publish", parameters, sizeof parameters / sizeof parameters[0]);
}

static enum postgresql_attempt add_published(struct postgresql_sending *sending,
                                             const struct storage_write *first)
{
    size_t before = 0;
    const struct storage_write *write = next_published(first);
    while (write != NULL) {
        write = fill_chunk(sending, write);
        enum postgresql_attempt attempt = add_chunk(sending, before);
        before += sending->payloads.count;
        if (attempt != POSTGRESQL_STORED)
            return attempt;
        /* The library's buffer holds one chunk at a time. */
        if (write != NULL && postgresql_link_flush(sending->link, sending->deadline_at) != POSTGRESQL_DONE)
            return POSTGRESQL_NOT_SENT;
    }
    return before == 0 ? POSTGRESQL_STORED : postgresql_sending_add(sending, "notify", NULL, 0);
}

/* --- subscriptions --- */

static const struct storage_write *next_subscription(const struct storage_write *write)
{
    while (write != NULL && write->kind != STORAGE_SUBSCRIBE && write->kind != STORAGE_UNSUBSCRIBE)
        write = STAILQ_NEXT(write, link);
    return write;
}

/* Adds one statement for each run of writes of the same kind. */
static enum postgresql_attempt add_subscriptions(struct postgresql_sending *sending,
                                                 const struct storage_write *first)
{
    const struct storage_write *write = next_subscription(first);
    while (write != NULL) {
        enum storage_write_kind kind = write->kind;
        postgresql_array_begin_texts(&sending->users);
        postgresql_array_begin_texts(&sending->channels);
        for (; write != NULL && write->kind == kind; write = next_subscription(STAILQ_NEXT(write, link))) {
            postgresql_array_add_text(&sending->users, write->user);
            postgresql_array_add_text(&sending->channels, write->channel);
        }
        const struct postgresql_parameter parameters[] = {
            postgresql_array_finish(&sending->users),
            postgresql_array_finish(&sending->channels),
        };
        if (sending->users.bytes.failed || sending->channels.bytes.failed)
            return postgresql_sending_fail(sending, POSTGRESQL_OUT_OF_MEMORY, "out of memory");
        enum postgresql_attempt attempt = postgresql_sending_add(
            sending, kind == STORAGE_SUBSCRIBE ? "subscribe" : "unsubscribe", parameters, 2);
        if (attempt != POSTGRESQL_STORED)
            return attempt;
    }
    return POSTGRESQL_STORED;
}

/* --- the reference table: its writes in their order, since a purge spares what a switch before it made the current one,
 * and nothing else in the transaction depends on them --- */

static struct storage_write *next_of_reference(struct storage_write *write)
{
    while (write != NULL && write->kind != STORAGE_REFERENCE_PIECE &&
           write->kind != STORAGE_REFERENCE_SWITCH && write->kind != STORAGE_REFERENCE_PURGE)
        write = STAILQ_NEXT(write, link);
    return write;
}

static struct storage_write *next_purge(struct storage_write *write)
{
    while (write != NULL && write->kind != STORAGE_REFERENCE_PURGE)
        write = STAILQ_NEXT(write, link);
    return write;
}

/* As fill_chunk, with the pieces that stand in a row. */
static struct storage_write *fill_pieces(struct postgresql_sending *sending, struct storage_write *write)
{
    size_t bytes = 0;
    postgresql_array_begin_numbers(&sending->generations);
    postgresql_array_begin_numbers(&sending->numbers);
    postgresql_array_begin_texts(&sending->payloads);
    postgresql_array_begin_numbers(&sending->times);
    do {
        postgresql_array_add_number(&sending->generations, (int64_t)write->generation);
        postgresql_array_add_number(&sending->numbers, write->number);
        postgresql_array_add_text(&sending->payloads, write->payload);
        postgresql_array_add_number(&sending->times, write->created_ms);
        bytes += write->payload.length;
        write = next_of_reference(STAILQ_NEXT(write, link));
    } while (write != NULL && write->kind == STORAGE_REFERENCE_PIECE && bytes < POSTGRESQL_CHUNK_BYTES &&
             write->payload.length < POSTGRESQL_CHUNK_BYTES - bytes);
    return write;
}

static enum postgresql_attempt add_pieces(struct postgresql_sending *sending)
{
    const struct postgresql_parameter parameters[] = {
        postgresql_array_finish(&sending->generations),
        postgresql_array_finish(&sending->numbers),
        postgresql_array_finish(&sending->payloads),
        postgresql_array_finish(&sending->times),
    };
    if (sending->generations.bytes.failed || sending->numbers.bytes.failed ||
        sending->payloads.bytes.failed || sending->times.bytes.failed)
        return postgresql_sending_fail(sending, POSTGRESQL_OUT_OF_MEMORY, "out of memory");
    /* As with published events: one chunk at a time, also behind theirs. */
    if (postgresql_link_flush(sending->link, sending->deadline_at) != POSTGRESQL_DONE)
        return POSTGRESQL_NOT_SENT;
    return postgresql_sending_add(sending, "store_pieces", parameters,
                                  sizeof parameters / sizeof parameters[0]);
}

static enum postgresql_attempt add_switch(struct postgresql_sending *sending,
                                          const struct storage_write *write)
{
    char numbers[3][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        postgresql_number((int64_t)write->generation, numbers[0]),
        postgresql_number(write->number, numbers[1]),
        postgresql_number(write->created_ms, numbers[2]),
    };
    return postgresql_sending_add(sending, "switch_table", parameters,
                                  sizeof parameters / sizeof parameters[0]);
}

static enum postgresql_attempt add_purge(struct postgresql_sending *sending, struct storage_write *write)
{
    char numbers[3][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        postgresql_number((int64_t)write->generation, numbers[0]),
        postgresql_number(write->created_ms, numbers[1]),
        postgresql_number(STORAGE_PURGE_PIECES, numbers[2]),
    };
    /* The answer tells, if it comes. */
    write->purged = 0;
    return postgresql_sending_add(sending, "purge_pieces", parameters,
                                  sizeof parameters / sizeof parameters[0]);
}

static enum postgresql_attempt add_reference(struct postgresql_sending *sending, struct storage_write *first)
{
    enum postgresql_attempt attempt = POSTGRESQL_STORED;
    struct storage_write *write = next_of_reference(first);
    while (write != NULL && attempt == POSTGRESQL_STORED) {
        if (write->kind == STORAGE_REFERENCE_PIECE) {
            write = fill_pieces(sending, write);
            attempt = add_pieces(sending);
            continue;
        }
        attempt =
            write->kind == STORAGE_REFERENCE_SWITCH ? add_switch(sending, write) : add_purge(sending, write);
        write = next_of_reference(STAILQ_NEXT(write, link));
    }
    return attempt;
}

/* --- the whole --- */

/* Sends all but the commit. */
static enum postgresql_attempt send_work(struct postgresql_sending *sending,
                                         const struct storage_write_list *writes)
{
    struct postgresql_batch *batch = sending->batch;
    char numbers[2][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        {.value = batch->id},
        postgresql_number((int64_t)batch->published, numbers[0]),
        {.value = batch->settled_id},
        postgresql_number((int64_t)batch->added, numbers[1])};
    enum postgresql_attempt attempt = postgresql_sending_add(sending, "begin", NULL, 0);
    if (attempt == POSTGRESQL_STORED)
        attempt = postgresql_sending_add(sending, "draw", parameters, 4);
    if (attempt == POSTGRESQL_STORED)
        attempt = add_published(sending, STAILQ_FIRST(writes));
    if (attempt == POSTGRESQL_STORED)
        attempt = add_subscriptions(sending, STAILQ_FIRST(writes));
    if (attempt == POSTGRESQL_STORED)
        attempt = add_reference(sending, STAILQ_FIRST(writes));
    if (attempt == POSTGRESQL_STORED)
        attempt = postgresql_send_planned(sending, writes);
    if (attempt == POSTGRESQL_STORED)
        attempt = postgresql_send_revenue(sending, writes);
    if (attempt == POSTGRESQL_STORED && clock_monotonic_ns() >= sending->deadline_at)
        attempt = postgresql_sending_fail(sending, POSTGRESQL_NOT_SENT, "too late for a commit");
    return attempt;
}

/* What the results told so far. */
struct answers {
    size_t count;
    bool committed;
    bool refused;
    bool read_only;
    struct storage_write *purge; /* whose answer is the next to come; NULL for none */
    const struct storage_write_list *writes;
};

static void take_answer(struct postgresql_sending *sending, struct answers *answers, PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (postgresql_is_error(result)) {
        postgresql_link_blame(sending->link, result);
        answers->refused = true;
        answers->read_only = state != NULL && strcmp(state, "25006") == 0;
    } else if (answers->count == DRAW_PLACE && PQntuples(result) == 1) {
        sending->batch->last_id = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    } else if (sending->added_place != 0 && answers->count == sending->added_place) {
        postgresql_take_added(answers->writes, result);
    } else if (answers->purge != NULL && strncmp(PQcmdStatus(result), "DELETE ", strlen("DELETE ")) == 0) {
        /* No other statement of the transaction is a plain DELETE. */
        answers->purge->purged = (uint32_t)strtoul(PQcmdTuples(result), NULL, 10);
        answers->purge = next_purge(STAILQ_NEXT(answers->purge, link));
    } else if (strncmp(PQcmdStatus(result), "UPDATE ", strlen("UPDATE ")) == 0 && PQntuples(result) == 1) {
        /* Nor is another one a plain UPDATE. */
        postgresql_take_counted(answers->writes, PQgetvalue(result, 0, 0));
    } else if (strcmp(PQcmdStatus(result), "COMMIT") == 0) {
        answers->committed = true;
    }
    answers->count++;
}

/* Reads up to the synchronization point behind the commit. */
static enum postgresql_flow read_answers(struct postgresql_sending *sending, struct answers *answers)
{
    for (;;) {
        PGresult *result;
        enum postgresql_flow flow = postgresql_link_next(sending->link, sending->deadline_at, &result);
        if (flow != POSTGRESQL_DONE)
            return flow;
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_PIPELINE_ABORTED)
            take_answer(sending, answers, result);
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC)
            return POSTGRESQL_DONE;
    }
}

/* Leaves the transaction that an error has ended, so that the link can be used again. */
static bool roll_back(struct postgresql_sending *sending)
{
    char error[STORAGE_REASON_BYTES];
    memcpy(error, sending->link->error, sizeof error);
    PGresult *result;
    bool good = postgresql_link_ask(sending->link, "rollback", NULL, 0, sending->deadline_at, &result) ==
                    POSTGRESQL_DONE &&
                PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    memcpy(sending->link->error, error, sizeof error);
    return good;
}

static enum postgresql_attempt run(struct postgresql_sending *sending,
                                   const struct storage_write_list *writes, bool *link_is_good)
{
    struct postgresql_link *link = sending->link;
    enum postgresql_attempt attempt = send_work(sending, writes);
    if (attempt != POSTGRESQL_STORED)
        return attempt;
    struct answers answers = {.purge = next_purge(STAILQ_FIRST(writes)), .writes = writes};
    enum postgresql_flow flow = POSTGRESQL_LOST;
    if (postgresql_link_add(link, "commit", NULL, 0) == 0 && postgresql_link_add_sync(link) == 0)
        flow = read_answers(sending, &answers);
    /* Behind a statement that failed, the server has skipped the commit. */
    if (answers.refused) {
        /* A server that has become a standby may stay one: look for the primary again. */
        *link_is_good = flow == POSTGRESQL_DONE && !answers.read_only && roll_back(sending);
        return POSTGRESQL_REFUSED;
    }
    *link_is_good = flow == POSTGRESQL_DONE && answers.committed;
    return answers.committed ? POSTGRESQL_STORED : POSTGRESQL_OPEN;
}

enum postgresql_attempt postgresql_run_batch(struct postgresql_link *link, struct postgresql_batch *batch,
                                             const struct storage_write_list *writes, int64_t deadline_at,
                                             bool *link_is_good)
{
    struct postgresql_sending sending = {.link = link, .batch = batch, .deadline_at = deadline_at};
    *link_is_good = false;
    enum postgresql_attempt attempt = run(&sending, writes, link_is_good);
    free_arrays(&sending);
    return attempt;
}
