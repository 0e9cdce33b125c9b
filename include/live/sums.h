/* Sums of a batch: what each user's revenue changes by, for at most SUMS_USERS users at a time.
 *
 * The struct is the caller's; what is in it is freed by sums_clear. One thread.
 */
#ifndef LIVE_SUMS_H
#define LIVE_SUMS_H

#include "base/hash.h"
#include "base/table.h"
#include "live/line.h"
#include "storage/storage.h"

enum { SUMS_USERS = STORAGE_REVENUES_MAX };

struct sums {
    struct hash_seed seed;
    struct table users; /* of struct sum */
};

enum sums_result {
    SUMS_OK,
    SUMS_FULL,     /* a further user: the batch must be stored first */
    SUMS_OVERFLOW, /* the sum would leave the range of decimals */
    SUMS_NO_MEMORY,
};

/* Returns 0, or -1 with errno. */
int sums_init(struct sums *sums);

/* Adds what a line says. Anything but SUMS_OK has changed nothing. */
enum sums_result sums_add(struct sums *sums, const struct live_line *line);

size_t sums_count(const struct sums *sums);

/* Makes a write of STORAGE_COUNT_REVENUE, on the heap, with copies of everything. NULL: no memory. free() ends it, unless it
 * stays with the storage. */
struct storage_write *sums_write(const struct sums *sums, struct text file);

void sums_clear(struct sums *sums);

#endif
