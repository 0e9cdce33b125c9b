/*
 * What the tests of slow and dead clients add to the kit: crowds of connections, clients that vanish from the network,
 * how well others are served meanwhile, and what of the server a crowd has used up.
 */
#ifndef KIT_SLOW_H
#define KIT_SLOW_H

#include "kit.h"

/* Connections of one kind, opened one after the other. */
struct kit_crowd {
    struct kit_server *server;
    size_t count;
    struct kit_connection **connections; /* NULL: that one has gone */
};

/* Opens so many connections; `receive_buffer` as in kit_connect_small(), 0 for the usual one. Each sends the text (NULL:
 * nothing), in which an optional %zu is the connection's number. */
struct kit_crowd *kit_gather(struct kit_server *server, size_t count, int receive_buffer, const char *format);
/* The members send one more byte, again and again, until the server has answered each with 408 and ended the connection.
 * Fails the test when one gets anything else, or when it takes longer than `milliseconds`. */
void kit_trickle_until_408(struct kit_crowd *crowd, int64_t milliseconds);
/* The server ends every connection without a byte. Fails the test when that takes longer than `milliseconds`. */
void kit_expect_ends(struct kit_crowd *crowd, int64_t milliseconds);
/* All of them leave: with FIN, with RST, or by closing their sending side and, when `crowd` is ended, with FIN. */
enum kit_leave { KIT_LEAVE_FIN, KIT_LEAVE_RST, KIT_LEAVE_HALF };
void kit_leave(struct kit_crowd *crowd, enum kit_leave how);

/* From now on nothing that the server sends arrives, and nothing is acknowledged: the client has vanished from the network,
 * without FIN or RST. It must not send anything any more. */
void kit_vanish(struct kit_connection *connection);

/* A push and a get over a fresh connection each and a kept one, many times. Their median must be below 50 ms, and each be
 * answered as ever. */
#define kit_assert_served(server) kit_assert_served_at(server, __FILE__, __LINE__)
void kit_assert_served_at(struct kit_server *server, const char *file, int line);

/* What the server uses of the system, as the system sees it. */
struct kit_usage {
    int64_t descriptors, resident_kb;
    int64_t busy_threads; /* of /health: running and waiting ones; spare ones end by themselves, 10 s later */
    int64_t connections;
};
struct kit_usage kit_usage(struct kit_server *server);
/* Servers that are started from now on give back what they free: a sanitizer's quarantine is not theirs. Before any thread. */
void kit_free_at_once(void);
/* Waits until the server uses what it used before, and resident memory not more than `margin_kb` (times TEST_TIME_SCALE, as
 * sanitizers keep what is freed) above that. Fails the test after `milliseconds`. */
#define kit_wait_until_usage(server, before, margin_kb, milliseconds)                                        \
    kit_wait_until_usage_at(server, before, margin_kb, milliseconds, __FILE__, __LINE__)
void kit_wait_until_usage_at(struct kit_server *server, const struct kit_usage *before, int64_t margin_kb,
                             int64_t milliseconds, const char *file, int line);

#endif
