/* Which file a journal is (see journal/reader.h). */
#ifndef JOURNAL_IDENTITY_H
#define JOURNAL_IDENTITY_H

#include "journal/reader.h"

/* Reads who the open file is; the first line only if it lies in the first `limit` bytes. Returns 0, or -1 with errno. */
int identity_read(int descriptor, uint64_t limit, struct journal_identity *identity);

bool identity_has_line(const struct journal_identity *identity);

bool identity_same_inode(const struct journal_identity *a, const struct journal_identity *b);

/* Whether `now` can be the file that `before` was: one without a whole line may have got one. */
bool identity_fits(const struct journal_identity *before, const struct journal_identity *now);

#endif
