/* The mark in a journal: the lock that its writer holds from the end of what is durable on (see journal/journal.h). */
#ifndef JOURNAL_MARK_H
#define JOURNAL_MARK_H

#include <stdbool.h>
#include <stdint.h>

/* Locks the whole file. Returns 0, or -1 with errno: EAGAIN when somebody else writes to it. */
int mark_take(int descriptor);

/* Moves the mark of the one who holds it, in any direction. Returns 0, or -1 with errno. */
int mark_move(int descriptor, int64_t offset);

/* Tells whether anybody else holds a mark, and where. Returns 0, or -1 with errno. */
int mark_find(int descriptor, bool *held, int64_t *offset);

#endif
