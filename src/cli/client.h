/* A client that posts to one path of an event server, over several kept connections at once, on libcurl's multi interface.
 *
 * What it is
 *   A fixed number of slots, each with at most one POST under way. client_begin starts one, client_wait waits for
 *   something to happen, client_next hands out what has ended. One thread, which does nothing else meanwhile.
 *
 * One POST is one request
 *   As in upstream/upstream.h: CURLOPT_PREREQFUNCTION lets one request through and aborts the transfer at the second one,
 *   so that libcurl never repeats by itself what it has sent. HTTP/1.1, no redirects, no proxies, no `Expect`; a
 *   connection idle for 2 s or more is not used again, as servers tend to close them just then.
 *
 * What was not sent
 *   `was_sent` is false only when no byte of the request was handed to a connection: either libcurl never came to the
 *   point right before sending (no name, no connection, no TLS, time-out up to there: the callback was not called), or it
 *   came there and the connection did not take a byte (CURLINFO_REQUEST_SIZE is 0), as when a kept connection turns out
 *   dead. Any number of bytes counts as sent, even if the kernel still had them when the connection broke.
 *
 * Who owns what: the client owns all but the body of a POST, which must stay as it is until the answer has been handed
 * out, and the token, which it copies. The process must ignore SIGPIPE.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "base/text.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLIENT_REASON_BYTES = 256, CLIENT_BODY_BYTES = 64 * 1024, CLIENT_MOST_SLOTS = 256 };

struct client;

struct client_options {
    const char *url;    /* http://[USER:PASSWORD@]HOST[:PORT][/PATH], or https */
    const char *path;   /* appended to it, with a slash in front */
    struct text token;  /* sent as Authorization: Bearer; empty: none */
    unsigned slots;     /* 1 to CLIENT_MOST_SLOTS */
    int64_t timeout_ns; /* for one answer, connecting included */
};

struct client_answer {
    unsigned slot;
    unsigned status;                   /* of a whole answer; 0 when none came */
    bool was_sent;                     /* some of the request was */
    int64_t retry_after_s;             /* 0: not said */
    struct text body;                  /* valid until the slot begins again */
    char failure[CLIENT_REASON_BYTES]; /* why there is no whole answer */
};

/* Returns NULL with a reason of one line for the command line. Connects nowhere yet. */
struct client *client_create(const struct client_options *options, char reason[static CLIENT_REASON_BYTES]);

/* Takes NULL. Cuts what is under way. */
void client_free(struct client *client);

/* Starts a POST in the slot of that number, from 0, which has nothing under way. Returns 0, or -1 without memory. */
int client_begin(struct client *client, unsigned number, struct text body);

/* Moves everything on without waiting. */
void client_run(struct client *client);

/* Hands out a POST that has ended; false when there is none. */
bool client_next(struct client *client, struct client_answer *answer);

/* Ends what is under way in a slot, for which nothing is handed out then. Returns whether some of it was sent. */
bool client_cut(struct client *client, unsigned number);

/* Waits until client_run has something to do, one of the descriptors is readable, or the time is over. */
void client_wait(struct client *client, const int *descriptors, size_t count, int64_t wait_ns);

/* The URL without credentials and path. Lives as long as the client. */
const char *client_url(const struct client *client);

/* Whether a connection has ever come about. */
bool client_has_connected(const struct client *client);

#endif
