/* Committing batches, and finding out what became of one whose connection was lost. The writer thread's alone. */
#include "storage/postgresql_internal.h"

#include <stdlib.h>
#include <sys/random.h>

enum { ATTEMPTS_MAX = 4 };

#define PAUSE_NS (INT64_C(100) * CLOCK_NS_PER_MS)

/* Unguessable and never used before: the outcome of a batch hangs on it. */
static int draw_batch_id(char id[static POSTGRESQL_BATCH_ID_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[(POSTGRESQL_BATCH_ID_BYTES - 1) / 2];
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return -1;
    for (size_t i = 0; i < sizeof random; i++) {
        id[2 * i] = digits[random[i] >> 4];
        id[2 * i + 1] = digits[random[i] & 0xF];
    }
    id[POSTGRESQL_BATCH_ID_BYTES - 1] = '\0';
    return 0;
}

static size_t count_published(const struct storage_write_list *writes)
{
    size_t count = 0;
    const struct storage_write *write;
    STAILQ_FOREACH (write, writes, link)
        count += write->kind == STORAGE_PUBLISH ? 1 : 0;
    return count;
}

static void fill_ids(const struct storage_write_list *writes, uint64_t last_id)
{
    uint64_t id = last_id - count_published(writes);
    struct storage_write *write;
    STAILQ_FOREACH (write, writes, link) {
        if (write->kind == STORAGE_PUBLISH)
            write->id = ++id;
    }
}

static void remember_stored(struct postgresql_writer *writer, const char id[static POSTGRESQL_BATCH_ID_BYTES])
{
    memcpy(writer->settled_id, id, POSTGRESQL_BATCH_ID_BYTES);
}

/* --- the outcome of an open batch --- */

/* Leaves a tombstone where the batch has left no row, and reads what is there then. STORAGE_UNKNOWN with a good link:
 * the lost transaction still holds the key, or the server could not write. */
static enum storage_result ask_outcome(struct postgresql_link *link, const char *id,
                                       const struct storage_write_list *writes, int64_t deadline_at,
                                       uint64_t *last_id, bool *link_is_good)
{
    const struct postgresql_parameter parameter = {.value = id};
    PGresult *result;
    enum storage_result outcome = STORAGE_UNKNOWN;
    *link_is_good = false;
    if (postgresql_link_ask(link, "tombstone", &parameter, 1, deadline_at, &result) != POSTGRESQL_DONE)
        return STORAGE_UNKNOWN;
    bool refused = postgresql_is_error(result);
    PQclear(result);
    if (postgresql_link_ask(link, "outcome", &parameter, 1, deadline_at, &result) != POSTGRESQL_DONE)
        return STORAGE_UNKNOWN;
    *link_is_good = true;
    if (PQntuples(result) == 1) {
        outcome = strcmp(PQgetvalue(result, 0, 0), "committed") == 0 ? STORAGE_OK : STORAGE_AWAY;
        *last_id = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
        postgresql_take_counted(writes, PQgetvalue(result, 0, 2));
    } else if (refused) {
        /* As after a commit: it may have become a standby. */
        *link_is_good = false;
    }
    PQclear(result);
    /* An outcome without the ids is none yet. */
    if (outcome == STORAGE_OK && !postgresql_ask_added(link, id, writes, deadline_at, link_is_good))
        outcome = STORAGE_UNKNOWN;
    return outcome;
}

enum storage_result postgresql_resolve(void *state, const struct storage_write_list *writes,
                                       int64_t deadline_at)
{
    struct postgresql *postgresql = state;
    struct postgresql_writer *writer = &postgresql->writer;
    struct postgresql_link *link;
    while ((link = postgresql_links_take(postgresql, POSTGRESQL_WRITER, deadline_at, true)) != NULL) {
        uint64_t last_id = 0;
        bool link_is_good;
        enum storage_result outcome =
            ask_outcome(link, writer->open_id, writes, deadline_at, &last_id, &link_is_good);
        postgresql_links_give_back(postgresql, link, link_is_good);
        if (outcome == STORAGE_OK) {
            fill_ids(writes, last_id);
            remember_stored(writer, writer->open_id);
        }
        if (outcome != STORAGE_UNKNOWN) {
            log_limited(postgresql->log, &postgresql->resolved, LOG_LEVEL_INFO,
                        "a commit whose connection was lost %s",
                        outcome == STORAGE_OK ? "had succeeded" : "had not succeeded");
            return outcome;
        }
        int64_t until_at = clock_monotonic_ns() + PAUSE_NS;
        if (!postgresql_pause(postgresql, until_at < deadline_at ? until_at : deadline_at))
            break;
    }
    return STORAGE_UNKNOWN;
}

/* --- commit --- */

/* One attempt under a new batch id. POSTGRESQL_NOT_SENT with `*again` false: there is no connection. */
static enum postgresql_attempt attempt_commit(struct postgresql *postgresql, struct postgresql_batch *batch,
                                              const struct storage_write_list *writes, int64_t deadline_at,
                                              bool *again)
{
    bool link_is_good;
    *again = false;
    struct postgresql_link *link = postgresql_links_take(postgresql, POSTGRESQL_WRITER, deadline_at, false);
    if (link == NULL)
        return POSTGRESQL_NOT_SENT;
    *again = true;
    enum postgresql_attempt attempt = postgresql_run_batch(link, batch, writes, deadline_at, &link_is_good);
    if (attempt == POSTGRESQL_REFUSED)
        log_limited(postgresql->log, &postgresql->unwritten, LOG_LEVEL_WARN,
                    "the database took no writes error=%s", LOG_TEXT(text_from(link->error)));
    else if (attempt == POSTGRESQL_OPEN)
        log_limited(postgresql->log, &postgresql->lost, LOG_LEVEL_WARN,
                    "the connection was lost during a commit error=%s", LOG_TEXT(text_from(link->error)));
    postgresql_links_give_back(postgresql, link, link_is_good);
    return attempt;
}

enum storage_result postgresql_commit(void *state, const struct storage_write_list *writes,
                                      int64_t deadline_at)
{
    struct postgresql *postgresql = state;
    struct postgresql_writer *writer = &postgresql->writer;
    struct postgresql_batch batch = {.published = count_published(writes),
                                     .added = postgresql_count_added(writes)};
    bool again = true;
    for (int i = 0; i < ATTEMPTS_MAX && again; i++) {
        if (draw_batch_id(batch.id) != 0)
            return STORAGE_NO_MEMORY;
        batch.settled_id = writer->settled_id[0] == '\0' ? NULL : writer->settled_id;
        enum storage_result outcome;
        switch (attempt_commit(postgresql, &batch, writes, deadline_at, &again)) {
        case POSTGRESQL_STORED:
            fill_ids(writes, batch.last_id);
            remember_stored(writer, batch.id);
            return STORAGE_OK;
        case POSTGRESQL_REFUSED:
            return STORAGE_AWAY;
        case POSTGRESQL_OUT_OF_MEMORY:
            return STORAGE_NO_MEMORY;
        case POSTGRESQL_NOT_SENT:
            break;
        case POSTGRESQL_OPEN:
            memcpy(writer->open_id, batch.id, sizeof writer->open_id);
            outcome = postgresql_resolve(postgresql, writes, deadline_at);
            if (outcome != STORAGE_AWAY)
                return outcome;
            break;
        }
    }
    return STORAGE_AWAY;
}
