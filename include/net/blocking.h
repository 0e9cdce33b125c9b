/* Calls that take their time, made by handlers: to a database, to another server.
 *
 * Between blocking_begin and blocking_end the worker is in a blocking section of the pool (BLOCK_CALL), and the events
 * that it has fetched and not begun with are given to others. Nothing else changes: the request stays valid.
 */
#ifndef NET_BLOCKING_H
#define NET_BLOCKING_H

struct worker;

/* Returns 0, or -1 when no thread may be spent on it: the caller then must not block. */
int blocking_begin(struct worker *worker);
void blocking_end(struct worker *worker);

/* The same for the next page of an answer (BLOCK_PAGE), which is made also when it can't: half an answer is worth nothing. */
int blocking_begin_page(struct worker *worker);
void blocking_end_page(struct worker *worker);

#endif
