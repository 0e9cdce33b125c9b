/* Revenue in SQLite: the writes, in the transaction of a batch, and the reads. The transaction keeps all other writers
 * away, so that a sum may be read, added to and set. */
#include "storage/sqlite_internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* --- writes --- */

int sqlite_revenue_writer_open(struct sqlite_writer *writer)
{
    struct sqlite_revenue_writer *revenue = &writer->revenue;
    const struct sqlite_statement statements[] = {
        {&revenue->find_position, "SELECT position FROM journal_checkpoints WHERE file = ?1"},
        {&revenue->move_checkpoint, "REPLACE INTO journal_checkpoints VALUES (?1, ?2, ?3, ?4)"},
        {&revenue->find_sum, "SELECT revenue FROM users_revenue WHERE user_id = ?1"},
        {&revenue->set_sum, "REPLACE INTO users_revenue VALUES (?1, ?2)"},
    };
    return sqlite_prepare(writer->database, statements, sizeof statements / sizeof statements[0]);
}

void sqlite_revenue_writer_close(struct sqlite_writer *writer)
{
    struct sqlite_revenue_writer *revenue = &writer->revenue;
    sqlite3_finalize(revenue->find_position);
    sqlite3_finalize(revenue->move_checkpoint);
    sqlite3_finalize(revenue->find_sum);
    sqlite3_finalize(revenue->set_sum);
}

static int find_position(sqlite3_stmt *statement, struct text file, uint64_t *position)
{
    int result = sqlite_look_up(statement, file);
    *position = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

static int move_checkpoint(sqlite3_stmt *statement, const struct storage_write *write)
{
    int result = sqlite_bind(statement, 1, write->file);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 2, (sqlite3_int64)write->position_after);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 3, (sqlite3_int64)write->lines_after);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 4, clock_wall_ms());
    return result == SQLITE_OK ? sqlite_run(statement) : result;
}

/* A user without one has 0. */
static int find_sum(sqlite3_stmt *statement, struct text user, struct decimal *sum)
{
    *sum = (struct decimal){.whole = 0};
    int result = sqlite_look_up(statement, user);
    if (result == SQLITE_ROW) {
        struct text stored = sqlite_text(statement, 0);
        if (stored.bytes == NULL)
            result = SQLITE_NOMEM;
        else if (decimal_parse(stored, sum) != DECIMAL_OK)
            result = SQLITE_CORRUPT;
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

static int set_sum(sqlite3_stmt *statement, struct text user, const struct decimal *sum)
{
    char text[DECIMAL_BYTES];
    int result = sqlite_bind(statement, 1, user);
    if (result == SQLITE_OK)
        result = sqlite_bind(statement, 2, decimal_format(sum, text));
    return result == SQLITE_OK ? sqlite_run(statement) : result;
}

struct user_sum {
    const struct storage_revenue *revenue;
    struct decimal sum;
};

static int compare_by_user(const void *a, const void *b)
{
    struct text first = ((const struct user_sum *)a)->revenue->user;
    struct text second = ((const struct user_sum *)b)->revenue->user;
    size_t shorter = first.length < second.length ? first.length : second.length;
    int order = shorter == 0 ? 0 : memcmp(first.bytes, second.bytes, shorter);
    return order != 0 ? order : first.length < second.length ? -1 : first.length > second.length;
}

/* Works out all sums before the first is set. They come in the order of the table, so that no page of it is visited again
 * when it has left the cache. */
static int find_sums(struct sqlite_writer *writer, struct storage_write *write, struct user_sum *sums)
{
    int result = SQLITE_OK;
    for (size_t i = 0; i < write->count; i++)
        sums[i].revenue = &write->revenues[i];
    qsort(sums, write->count, sizeof *sums, compare_by_user);
    for (size_t i = 0; i < write->count && result == SQLITE_OK && !write->overflowed; i++) {
        struct decimal amount;
        result = find_sum(writer->revenue.find_sum, sums[i].revenue->user, &sums[i].sum);
        if (result == SQLITE_OK)
            write->overflowed = decimal_parse(sums[i].revenue->amount, &amount) != DECIMAL_OK ||
                                decimal_add(&sums[i].sum, &amount) != 0;
    }
    return result;
}

int sqlite_count_revenue(struct sqlite_writer *writer, struct storage_write *write)
{
    uint64_t position;
    write->overflowed = false;
    int result = find_position(writer->revenue.find_position, write->file, &position);
    write->overtaken = result == SQLITE_OK && position != write->position_before;
    if (result != SQLITE_OK || write->overtaken)
        return result;
    struct user_sum *sums = calloc(write->count + 1, sizeof *sums);
    if (sums == NULL)
        return SQLITE_NOMEM;
    result = find_sums(writer, write, sums);
    bool counts = !write->overflowed;
    for (size_t i = 0; counts && i < write->count && result == SQLITE_OK; i++)
        result = set_sum(writer->revenue.set_sum, sums[i].revenue->user, &sums[i].sum);
    if (counts && result == SQLITE_OK)
        result = move_checkpoint(writer->revenue.move_checkpoint, write);
    free(sums);
    return result;
}

/* --- reads --- */

int sqlite_revenue_reader_open(struct sqlite_reader *reader)
{
    struct sqlite_revenue_reader *revenue = &reader->revenue;
    const struct sqlite_statement statements[] = {
        {&revenue->revenue, "SELECT revenue FROM users_revenue WHERE user_id = ?1"},
        {&revenue->checkpoint, "SELECT file, position, lines FROM journal_checkpoints WHERE file = ?1"},
        {&revenue->checkpoints,
         "SELECT file, position, lines FROM journal_checkpoints ORDER BY updated_at DESC LIMIT ?1"},
    };
    return sqlite_prepare(reader->database, statements, sizeof statements / sizeof statements[0]);
}

void sqlite_revenue_reader_close(struct sqlite_reader *reader)
{
    sqlite3_finalize(reader->revenue.revenue);
    sqlite3_finalize(reader->revenue.checkpoint);
    sqlite3_finalize(reader->revenue.checkpoints);
}

enum storage_result sqlite_revenue(void *state, struct text user, char amount[static STORAGE_REVENUE_BYTES],
                                   bool *found, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    *found = false;
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->revenue.revenue;
    int result = sqlite_look_up(statement, user);
    if (result == SQLITE_ROW) {
        struct text stored = sqlite_text(statement, 0);
        *found = stored.bytes != NULL && storage_revenue_format(stored, amount) == 0;
        if (!*found)
            result = stored.bytes == NULL ? SQLITE_NOMEM : SQLITE_CORRUPT;
    }
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}

static struct storage_checkpoint checkpoint_of(sqlite3_stmt *statement)
{
    return (struct storage_checkpoint){
        .position = (uint64_t)sqlite3_column_int64(statement, 1),
        .lines = (uint64_t)sqlite3_column_int64(statement, 2),
    };
}

enum storage_result sqlite_checkpoint(void *state, struct text file, struct storage_checkpoint *checkpoint,
                                      bool *found, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    *found = false;
    *checkpoint = (struct storage_checkpoint){.position = 0};
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->revenue.checkpoint;
    int result = sqlite_look_up(statement, file);
    *found = result == SQLITE_ROW;
    if (*found)
        *checkpoint = checkpoint_of(statement);
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_checkpoints(void *state,
                                       bool (*visit)(void *context, struct text file,
                                                     const struct storage_checkpoint *checkpoint),
                                       void *context, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->revenue.checkpoints;
    int result = sqlite3_bind_int64(statement, 1, STORAGE_CHECKPOINTS_MAX);
    bool wanted = result == SQLITE_OK;
    while (wanted && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        const struct storage_checkpoint checkpoint = checkpoint_of(statement);
        struct text file = sqlite_text(statement, 0);
        if (file.bytes == NULL)
            result = SQLITE_NOMEM;
        wanted = result == SQLITE_ROW && visit(context, file, &checkpoint);
    }
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}
