#include "live/sums.h"

#include <stdlib.h>
#include <string.h>

struct sum {
    struct table_link link;
    struct decimal amount;
    size_t user_length;
    char user[];
};

/* Lives on its own, as its outcome may come later than the processor waits. */
struct revenue_write {
    struct storage_write write; /* the first member */
    struct storage_revenue revenues[];
};

int sums_init(struct sums *sums)
{
    *sums = (struct sums){.users = TABLE_EMPTY};
    return hash_seed_draw(&sums->seed);
}

static bool is_user(const struct table_link *link, const void *wanted)
{
    const struct sum *sum = TABLE_ELEMENT(link, struct sum, link);
    const struct text *user = wanted;
    return text_equals((struct text){.bytes = sum->user, .length = sum->user_length}, *user);
}

static struct sum *sum_create(struct sums *sums, struct text user, uint64_t hash)
{
    struct sum *sum = table_reserve(&sums->users) != 0 ? NULL : calloc(1, sizeof *sum + user.length);
    if (sum == NULL)
        return NULL;
    sum->user_length = user.length;
    memcpy(sum->user, user.bytes, user.length);
    table_add(&sums->users, &sum->link, hash);
    return sum;
}

enum sums_result sums_add(struct sums *sums, const struct live_line *line)
{
    struct text user = {.bytes = line->user, .length = line->user_length};
    struct decimal amount = live_line_amount(line);
    uint64_t hash = hash_text(&sums->seed, user);
    struct table_link *link = table_find(&sums->users, hash, is_user, &user);
    struct sum *sum = link == NULL ? NULL : TABLE_ELEMENT(link, struct sum, link);
    if (sum == NULL && sums->users.count == SUMS_USERS)
        return SUMS_FULL;
    if (sum == NULL)
        sum = sum_create(sums, user, hash);
    if (sum == NULL)
        return SUMS_NO_MEMORY;
    return decimal_add(&sum->amount, &amount) == 0 ? SUMS_OK : SUMS_OVERFLOW;
}

size_t sums_count(const struct sums *sums)
{
    return sums->users.count;
}

static size_t bytes_of_texts(const struct sums *sums, struct text file)
{
    size_t bytes = file.length;
    for (struct table_link *link = table_next(&sums->users, NULL); link != NULL;
         link = table_next(&sums->users, link))
        bytes += TABLE_ELEMENT(link, struct sum, link)->user_length + DECIMAL_BYTES;
    return bytes;
}

struct storage_write *sums_write(const struct sums *sums, struct text file)
{
    size_t count = sums->users.count;
    struct revenue_write *write =
        malloc(sizeof *write + count * sizeof write->revenues[0] + bytes_of_texts(sums, file));
    if (write == NULL)
        return NULL;
    char *to = (char *)&write->revenues[count];
    size_t number = 0;
    write->write = (struct storage_write){.kind = STORAGE_COUNT_REVENUE,
                                          .revenues = write->revenues,
                                          .count = count,
                                          .file = text_put(&to, file)};
    for (struct table_link *link = table_next(&sums->users, NULL); link != NULL;
         link = table_next(&sums->users, link)) {
        const struct sum *sum = TABLE_ELEMENT(link, struct sum, link);
        char amount[DECIMAL_BYTES];
        struct storage_revenue *revenue = &write->revenues[number++];
        revenue->user = text_put(&to, (struct text){.bytes = sum->user, .length = sum->user_length});
        revenue->amount = text_put(&to, decimal_format(&sum->amount, amount));
    }
    return &write->write;
}

void sums_clear(struct sums *sums)
{
    struct table_link *link = table_next(&sums->users, NULL);
    while (link != NULL) {
        struct table_link *next = table_next(&sums->users, link);
        table_remove(&sums->users, link);
        free(TABLE_ELEMENT(link, struct sum, link));
        link = next;
    }
}
