/* The lines that have been read and not been settled yet, and which of them may be sent now.
 *
 * Lines of one user leave one at a time, in the order of the file: the next one only when the one before is settled.
 * Lines of different users, and lines without a user, wait for nobody. Of all lines that may leave, the first one of the
 * file does: so lines leave nearly in its order, however busy one user is, and little is in doubt when a run is stopped.
 *
 * Invariants
 *   1. `lines` holds every line that was added and not settled, by rising number.
 *   2. A user's `waiting` holds those of its lines that were not taken, by rising number.
 *   3. A user is in `ready` exactly when it is not busy and has a waiting line (of at most `last_number`, once limited).
 *      `ready` is a heap by the number of that line: that of no user is higher than those of the two below it.
 *   4. A user is busy exactly while one of its lines is taken.
 *   5. A user exists exactly as long as it has a line.
 *
 * The queue owns lines and users; a line that was taken is lent until it is settled or put back. Bounded: the caller
 * asks send_queue_has_room before it adds. One thread.
 */
#ifndef CLI_SEND_QUEUE_H
#define CLI_SEND_QUEUE_H

#include "base/hash.h"
#include "base/table.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum { SEND_QUEUE_LINES = 4096, SEND_QUEUE_BYTES = 16 * 1024 * 1024 };

struct send_user;

struct send_line {
    TAILQ_ENTRY(send_line) link;    /* in the queue's lines */
    TAILQ_ENTRY(send_line) waiting; /* in its user's */
    struct send_user *user;
    uint64_t number;
    uint64_t file_bytes; /* what it takes in the file */
    struct text text;    /* behind the struct */
};
TAILQ_HEAD(send_line_list, send_line);

struct send_queue {
    struct send_line_list lines;
    struct send_user *ready[SEND_QUEUE_LINES]; /* each has a line */
    size_t ready_count;
    struct table users; /* by name; lines without a user have one of their own, which is not in here */
    struct hash_seed seed;
    size_t count;
    size_t bytes;
    uint64_t last_number; /* nothing behind it is taken any more */
};

/* Returns 0, or -1 with errno. */
int send_queue_begin(struct send_queue *queue);
void send_queue_free(struct send_queue *queue);

bool send_queue_has_room(const struct send_queue *queue);

/* Adds a line, whose number is higher than all before. Its user is the userId of its JSON, an integer or a string (1 and
 * "1" are one). Returns 0, or -1 without memory or room. */
int send_queue_add(struct send_queue *queue, struct text text, uint64_t number, uint64_t file_bytes);

/* The next line that may be sent now; NULL when there is none. */
struct send_line *send_queue_take(struct send_queue *queue);

/* Ends a line that was taken, and frees it. */
void send_queue_settle(struct send_queue *queue, struct send_line *line);

/* A line that was taken, and not sent, waits again, before the others of its user. */
void send_queue_put_back(struct send_queue *queue, struct send_line *line);

/* From now on only lines up to this number are taken. */
void send_queue_limit(struct send_queue *queue, uint64_t last_number);

#endif
