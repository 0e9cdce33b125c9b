/* What the files share that send the transaction of a batch. */
#ifndef STORAGE_POSTGRESQL_SENDING_H
#define STORAGE_POSTGRESQL_SENDING_H

#include "storage/postgresql_internal.h"

/* A statement inserts at most so many bytes of payload, or one payload: more bytes than that are never copied at once. */
enum { POSTGRESQL_CHUNK_BYTES = 4 * 1024 * 1024 };

struct postgresql_sending {
    struct postgresql_link *link;
    struct postgresql_batch *batch;
    int64_t deadline_at;
    size_t count;       /* how many statements were added */
    size_t added_place; /* of the one among them that tells of added events; 0 for none */
    struct postgresql_array channels;
    struct postgresql_array types;
    struct postgresql_array payloads;
    struct postgresql_array times;
    struct postgresql_array users;
    struct postgresql_array generations;
    struct postgresql_array numbers;
};

/* --- postgresql_transaction.c --- */

/* Adds a statement. POSTGRESQL_STORED: nothing stands against it so far. A failure is one of memory as long as the
 * connection is good. */
enum postgresql_attempt postgresql_sending_add(struct postgresql_sending *sending, const char *statement,
                                               const struct postgresql_parameter *parameters, size_t count);

/* Notes why, and returns the attempt. */
enum postgresql_attempt postgresql_sending_fail(struct postgresql_sending *sending,
                                                enum postgresql_attempt attempt, const char *why);

/* --- postgresql_planned_write.c --- */

/* Adds the writes of planned events and their users, in their order. */
enum postgresql_attempt postgresql_send_planned(struct postgresql_sending *sending,
                                                const struct storage_write_list *writes);

/* Adds the writes of revenue, in their order. */
enum postgresql_attempt postgresql_send_revenue(struct postgresql_sending *sending,
                                                const struct storage_write_list *writes);

/* Takes the ids of added events from the answer. */
void postgresql_take_added(const struct storage_write_list *writes, const PGresult *result);

#endif
