/* What an engine of the storage is: a const table of functions over a state of its own.
 *
 * All functions but `commit` and `close` may be called by many threads at once; `commit` by the writer thread alone.
 * Every function that takes a deadline returns by then (CLOCK_MONOTONIC), give or take some 100 ms.
 */
#ifndef STORAGE_ENGINE_H
#define STORAGE_ENGINE_H

#include "storage/storage.h"

STAILQ_HEAD(storage_write_list, storage_write);

enum { STORAGE_SCHEMA_VERSION = 4 };

struct storage_engine {
    const char *name;

    /* `options->url` is one of this engine's. Returns its state, or NULL and a reason. */
    void *(*open)(const struct storage_options *options, char reason[static STORAGE_REASON_BYTES]);
    void (*close)(void *state);

    /* Whether the last word from the database was a good one. */
    bool (*is_available)(void *state);

    /* Runs all writes of the list, in their order, in one durable transaction, and fills the ids of the published
     * and the added ones, which spare ids were used, what purges deleted, and what became of revenue.
     * STORAGE_OK: all are durable. STORAGE_AWAY, _NO_MEMORY: none is, and none will be.
     * STORAGE_UNKNOWN: nobody knows yet. The list then must be given to `resolve`, and to nothing else, before the next
     * commit. */
    enum storage_result (*commit)(void *state, const struct storage_write_list *writes, int64_t deadline_at);

    /* Goes on to find out what became of the last commit, whose result was STORAGE_UNKNOWN. The same results. */
    enum storage_result (*resolve)(void *state, const struct storage_write_list *writes, int64_t deadline_at);

    /* As in storage.h. */
    enum storage_result (*events)(void *state, const struct storage_range *range,
                                  bool (*visit)(void *context, const struct storage_event *event),
                                  void *context, int64_t deadline_at);
    enum storage_result (*newest_id)(void *state, uint64_t *id, int64_t deadline_at);
    enum storage_result (*subscriptions)(void *state, struct text user,
                                         bool (*visit)(void *context, struct text channel), void *context,
                                         int64_t deadline_at);
    enum storage_result (*reference)(void *state, struct storage_reference *reference, int64_t deadline_at);
    enum storage_result (*reference_piece)(void *state, uint64_t generation, uint32_t number,
                                           void (*visit)(void *context, struct text content), void *context,
                                           bool *found, int64_t deadline_at);
    enum storage_result (*planned_events)(void *state, const struct storage_planned_range *range,
                                          bool (*visit)(void *context,
                                                        const struct storage_planned_event *event),
                                          void *context, int64_t deadline_at);
    enum storage_result (*planned_position)(void *state, struct text event_id, uint64_t *position,
                                            bool *found, int64_t deadline_at);
    enum storage_result (*planned_users_named)(void *state, const struct text *users, size_t count,
                                               void (*visit)(void *context, size_t index,
                                                             struct text attributes),
                                               void *context, int64_t deadline_at);
    enum storage_result (*planned_users)(void *state, struct text after, size_t limit, uint64_t most_bytes,
                                         bool (*visit)(void *context,
                                                       const struct storage_planned_user *user),
                                         void *context, int64_t deadline_at);
    enum storage_result (*planned_event_ids)(void *state, const struct storage_event_ids_range *range,
                                             bool (*visit)(void *context, size_t index, uint64_t position,
                                                           struct text id),
                                             void *context, int64_t deadline_at);
    enum storage_result (*revenue)(void *state, struct text user, char amount[static STORAGE_REVENUE_BYTES],
                                   bool *found, int64_t deadline_at);
    enum storage_result (*checkpoint)(void *state, struct text file, struct storage_checkpoint *checkpoint,
                                      bool *found, int64_t deadline_at);
    enum storage_result (*checkpoints)(void *state,
                                       bool (*visit)(void *context, struct text file,
                                                     const struct storage_checkpoint *checkpoint),
                                       void *context, int64_t deadline_at);
};

extern const struct storage_engine storage_sqlite;
extern const struct storage_engine storage_postgresql;

/* --- merge.c --- */

/* Of the users or events of a merge, the last one of each id, in the order in which the ids come first: fills `order` with
 * their places and returns how many they are. */
size_t storage_merge_order(const struct storage_write *write, size_t order[static STORAGE_MERGE_MAX]);

/* --- revenue.c --- */

/* Whether a STORAGE_COUNT_REVENUE is one that an engine can take. */
bool storage_revenue_is_valid(const struct storage_write *write);

/* Brings a sum as it is stored into the notation of decimal_format. Returns 0, or -1 when it is none. */
int storage_revenue_format(struct text stored, char amount[static STORAGE_REVENUE_BYTES]);

#endif
