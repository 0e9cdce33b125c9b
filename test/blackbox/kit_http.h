/*
 * What the tests of the HTTP layer add to the kit: tables of raw bytes with the answer that they must get,
 * answers judged by a set of statuses, and a server with a port file of the test's own.
 */
#ifndef KIT_HTTP_H
#define KIT_HTTP_H

#include "kit.h"

#define KIT_COUNT(table) (sizeof(table) / sizeof *(table))

/* What must become of the connection after the answer. */
enum kit_fate {
    KIT_OPEN,   /* takes another request */
    KIT_CLOSED, /* ends without another byte */
    KIT_EITHER, /* the contract leaves it open */
};

struct kit_exchange {
    const char *name;     /* in messages */
    const char *bytes;    /* sent as they are */
    size_t length;        /* of `bytes`; 0: up to the NUL */
    const char *statuses; /* what the answer may have: "400|501" */
    enum kit_fate fate;
};

/* Sends the bytes over a connection of their own and judges the answer, errors by their JSON shape too.
 * Prints what is wrong and returns false. */
bool kit_play(struct kit_server *server, const struct kit_exchange *exchange);
/* All of a table; the test fails at its end, so that one run shows every bad row. */
void kit_play_all(struct kit_server *server, const struct kit_exchange *exchanges, size_t count);

/* What the tables are judged by. The body is {"error":"..."} and says so in its type. */
bool kit_is_error_shape(const struct kit_response *response);
/* NULL when the connection ends now without another byte, or takes another request and answers it; else what
 * happened instead. */
const char *kit_why_not_closed(struct kit_connection *connection);
const char *kit_why_not_open(struct kit_connection *connection);

/* The status is one of "400|501". */
#define kit_assert_status_among(response, kit, statuses)                                                     \
    kit_assert_status_among_at(response, kit, statuses, __FILE__, __LINE__)
void kit_assert_status_among_at(const struct kit_response *response, struct kit *kit, const char *statuses,
                                const char *file, int line);
/* The header is there and its value matches the extended regular expression. */
#define kit_assert_header_matches(response, kit, name, pattern)                                              \
    kit_assert_header_matches_at(response, kit, name, pattern, __FILE__, __LINE__)
void kit_assert_header_matches_at(const struct kit_response *response, struct kit *kit, const char *name,
                                  const char *pattern, const char *file, int line);

/* Small pieces leave at once, also while earlier ones are not acknowledged. */
void kit_send_at_once(struct kit_connection *connection);
/* A request and its answer over `witness`, another connection to the same server: what was sent before it
 * over other connections has arrived, and a server that reads what has arrived has read it by then. */
void kit_let_read(struct kit_connection *witness);
/* Something that has arrived at the server, a connection or bytes of one, is not taken yet. */
bool kit_has_unread(struct kit_server *server);

/* Starts `serve --listen 127.0.0.1:0` with a port file at any path, also where a file is already; does not
 * wait. */
struct kit_server *kit_start_with_port_file(struct kit *kit, const char *path);

/* How many lines the text has. */
size_t kit_line_count(const char *text);
/* How many lines match the extended regular expression. */
size_t kit_matching_lines(struct kit *kit, const char *text, const char *pattern);
/* The last line that is not empty; "" when there is none. */
const char *kit_last_line(struct kit *kit, const char *text);

#endif
