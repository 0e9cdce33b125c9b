/*
 * Tables of raw bytes for the conformance tests: what is sent, which answers it must get in this order, what
 * becomes of the connection, and what may have been done by it.
 *
 * The name of a row begins with where it is written: "9112-5.1" is RFC 9112 section 5.1. Everything refused
 * is sent with KIT_WIRE_BEHIND at its end, a whole request of its own: it must be answered where the row says
 * so, and else must never have happened.
 */
#ifndef KIT_WIRE_H
#define KIT_WIRE_H

#include "kit_http.h"

struct kit_wire_row {
    const char *name;
    const char *bytes;
    size_t length;        /* of `bytes`; 0: up to the NUL */
    const char *statuses; /* of the answers, "200 H404 400"; H: of a HEAD, so without a body */
    enum kit_fate fate;
    const char *stored; /* what a consumer of key k gets afterwards; NULL: nothing */
    const char *says;   /* an extended regular expression of the last body; NULL: whatever */
};

/* Stores something that no row ever expects to be there. */
#define KIT_WIRE_BEHIND "POST /push?key=behind HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"

/* A row whose literal may have NULs in it. */
#define KIT_WIRE_ROW(name, literal, statuses, fate, stored, says)                                            \
    {                                                                                                        \
        name, literal, sizeof(literal) - 1, statuses, fate, stored, says                                     \
    }
/* Refused, the connection closed, nothing behind it read. */
#define KIT_WIRE_BAD(name, literal, status, says)                                                            \
    KIT_WIRE_ROW(name, literal KIT_WIRE_BEHIND, status, KIT_CLOSED, NULL, says)
/* Answered, and the connection goes on. */
#define KIT_WIRE_GOOD(name, literal, status, stored)                                                         \
    KIT_WIRE_ROW(name, literal, status, KIT_OPEN, stored, NULL)

struct kit_wire;

/* A fresh server for tables, with a connection to look at what it stored. */
struct kit_wire *kit_wire_start(struct kit *kit, const char *max_body);
struct kit_server *kit_wire_server(const struct kit_wire *wire);
/* Plays all rows; every answer is judged as an answer of HTTP too. The test fails at the end, so that one run
 * shows every bad row. */
void kit_wire_play_all(struct kit_wire *wire, const struct kit_wire_row *rows, size_t count);
/* The same on a server of its own. */
void kit_wire_play_table(struct kit *kit, const struct kit_wire_row *rows, size_t count);

#endif
