/* Revenue in PostgreSQL: the writes, in the transaction of a batch, and the reads. */
#include "storage/postgresql_sending.h"

/* --- writes --- */

static const struct storage_write *next_counting(const struct storage_write *write)
{
    while (write != NULL && write->kind != STORAGE_COUNT_REVENUE)
        write = STAILQ_NEXT(write, link);
    return write;
}

/* As decimal_format writes them: the server takes fewer notations, and one it does not take would refuse the batch. */
static void fill_arrays(struct postgresql_array *users, struct postgresql_array *amounts,
                        const struct storage_write *write)
{
    postgresql_array_begin_texts(users);
    postgresql_array_begin_texts(amounts);
    for (size_t i = 0; i < write->count; i++) {
        struct decimal amount = {.whole = 0};
        char text[DECIMAL_BYTES];
        if (decimal_parse(write->revenues[i].amount, &amount) != DECIMAL_OK)
            continue;
        postgresql_array_add_text(users, write->revenues[i].user);
        postgresql_array_add_text(amounts, decimal_format(&amount, text));
    }
}

static enum postgresql_attempt count_revenue(struct postgresql_sending *sending,
                                             const struct storage_write *write)
{
    char numbers[3][POSTGRESQL_NUMBER_BYTES];
    struct postgresql_array users = {.bytes = BUFFER_EMPTY}, amounts = {.bytes = BUFFER_EMPTY};
    fill_arrays(&users, &amounts, write);
    const struct postgresql_parameter parameters[] = {
        {.value = sending->batch->id},
        postgresql_text_parameter(write->file),
        postgresql_number((int64_t)write->position_before, numbers[0]),
        postgresql_number((int64_t)write->position_after, numbers[1]),
        postgresql_number((int64_t)write->lines_after, numbers[2]),
        postgresql_array_finish(&users),
        postgresql_array_finish(&amounts),
    };
    enum postgresql_attempt attempt;
    /* As with published events: one chunk at a time, also behind theirs. */
    if (users.bytes.failed || amounts.bytes.failed)
        attempt = postgresql_sending_fail(sending, POSTGRESQL_OUT_OF_MEMORY, "out of memory");
    else if (postgresql_link_flush(sending->link, sending->deadline_at) != POSTGRESQL_DONE)
        attempt = POSTGRESQL_NOT_SENT;
    else
        attempt = postgresql_sending_add(sending, "count_revenue", parameters,
                                         sizeof parameters / sizeof parameters[0]);
    postgresql_array_free(&users);
    postgresql_array_free(&amounts);
    return attempt;
}

enum postgresql_attempt postgresql_send_revenue(struct postgresql_sending *sending,
                                                const struct storage_write_list *writes)
{
    enum postgresql_attempt attempt = POSTGRESQL_STORED;
    const struct storage_write *write = next_counting(STAILQ_FIRST(writes));
    while (write != NULL && attempt == POSTGRESQL_STORED) {
        attempt = count_revenue(sending, write);
        write = next_counting(STAILQ_NEXT(write, link));
    }
    return attempt;
}

void postgresql_take_counted(const struct storage_write_list *writes, const char *counted)
{
    struct storage_write *write;
    STAILQ_FOREACH (write, writes, link) {
        if (write->kind != STORAGE_COUNT_REVENUE || *counted == '\0')
            continue;
        write->overtaken = *counted == 't';
        write->overflowed = *counted == 'o';
        counted++;
    }
}

/* --- reads --- */

enum storage_result postgresql_revenue(void *state, struct text user,
                                       char amount[static STORAGE_REVENUE_BYTES], bool *found,
                                       int64_t deadline_at)
{
    const struct postgresql_parameter parameter = postgresql_text_parameter(user);
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "revenue", &parameter, 1, deadline_at, &rows);
    *found = result == STORAGE_OK && PQntuples(rows) == 1;
    if (*found && storage_revenue_format(postgresql_field(rows, 0, 0), amount) != 0) {
        *found = false;
        result = STORAGE_AWAY;
    }
    PQclear(rows);
    return result;
}

static struct storage_checkpoint checkpoint_of(const PGresult *result, int row)
{
    return (struct storage_checkpoint){
        .position = postgresql_number_field(result, row, 1),
        .lines = postgresql_number_field(result, row, 2),
    };
}

enum storage_result postgresql_checkpoint(void *state, struct text file,
                                          struct storage_checkpoint *checkpoint, bool *found,
                                          int64_t deadline_at)
{
    const struct postgresql_parameter parameter = postgresql_text_parameter(file);
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "checkpoint", &parameter, 1, deadline_at, &rows);
    *found = result == STORAGE_OK && PQntuples(rows) == 1;
    *checkpoint = *found ? checkpoint_of(rows, 0) : (struct storage_checkpoint){.position = 0};
    PQclear(rows);
    return result;
}

enum storage_result postgresql_checkpoints(void *state,
                                           bool (*visit)(void *context, struct text file,
                                                         const struct storage_checkpoint *checkpoint),
                                           void *context, int64_t deadline_at)
{
    char number[POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter limit = postgresql_bound(STORAGE_CHECKPOINTS_MAX, number);
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "checkpoints", &limit, 1, deadline_at, &rows);
    bool wanted = result == STORAGE_OK;
    for (int row = 0; wanted && row < PQntuples(rows); row++) {
        const struct storage_checkpoint checkpoint = checkpoint_of(rows, row);
        wanted = visit(context, postgresql_field(rows, row, 0), &checkpoint);
    }
    PQclear(rows);
    return result;
}
