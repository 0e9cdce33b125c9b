/*
 * Very many clients in one thread, over epoll: each asks, waits for the whole answer, and asks again, until it has nothing
 * more to ask or its connection ends. For tests that need thousands of connections at once.
 *
 * Only the test's own thread may use it. Answers need a Content-Length.
 */
#ifndef KIT_DRIVE_H
#define KIT_DRIVE_H

#include "kit.h"

#define KIT_DRIVE_REQUEST_BYTES 512

struct kit_drive;

struct kit_drive_role {
    /* Writes the client's next request and returns its length; 0: it has nothing more to ask, and closes. */
    size_t (*ask)(void *context, size_t client, char request[KIT_DRIVE_REQUEST_BYTES]);
    /* A whole answer; the body ends with a NUL that does not count. */
    void (*answered)(void *context, size_t client, int status, const char *body, size_t length);
    /* The server has ended the connection without (the rest of) an answer to the last request. NULL: that is a failure. */
    void (*cut)(void *context, size_t client);
    void *context;
};

/* Lifts the soft limit of open files of this process to the hard one, which must leave room for so many. */
void kit_raise_file_limit(struct kit *kit, size_t descriptors);

struct kit_drive *kit_drive_create(struct kit_server *server);
/* Adds clients, which connect and ask at once. They are numbered from 0 in each role. */
void kit_drive_add(struct kit_drive *drive, size_t count, const struct kit_drive_role *role);
/* Drives all clients until `done` (NULL: never) says so, or no client is left. Fails the test after `milliseconds`. */
void kit_drive_run(struct kit_drive *drive, bool (*done)(void *context), void *context, int64_t milliseconds);
/* Closes what is left. Must be called: the kit does not know of it. */
void kit_drive_free(struct kit_drive *drive);

#endif
