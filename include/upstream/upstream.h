/* A client of one fragile HTTP service, the upstream: bounded calls behind a circuit breaker.
 *
 * What it is
 *   upstream_post and upstream_get make one call each, on libcurl, in the caller's thread, which they block for at most
 *   `call_ns`, names looked up included. Around each call are
 *     the circuit breaker (upstream/breaker.h): while the upstream fails nothing is sent to it, but for one probe at a
 *       time;
 *     the bulkhead (Nygard, "Release It!", 2nd edition, chapter 5): at most `most_calls` calls are under way at once, so
 *       that an upstream that hangs holds that many threads and no more. Further ones are refused at once, not queued.
 *   The breaker is asked first: while it is open, that is the answer, whether or not there is room.
 *
 * What is a failure, what is not
 *   An answer of 2xx that the caller's judge finds good, and any 4xx (it is an answer; the request was wrong): a success
 *   for the breaker. No connection, time-out, 1xx without an answer, 3xx (redirects are not followed), 5xx, an answer that
 *   breaks off, is no HTTP, is too large (head: UPSTREAM_HEAD_BYTES; body: the options) or that the judge finds bad: a
 *   failure. A call that was stopped, ran out of memory or found no room says nothing.
 *   An answer with neither Content-Length nor chunks ends with its connection (RFC 9112 section 6.3), so that only the
 *   judge can tell whether it is whole.
 *
 * One call is one request
 *   libcurl (this is about 7.88.1) sends a request again by itself in some cases: when a connection that it had kept
 *   turns out dead before the first byte of the answer (lib/transfer.c, Curl_retry_request), at a 417, for some ways of
 *   authentication, over HTTP/2. A POST that the upstream has acted on must not come twice. All of these go back through
 *   libcurl's state DO (lib/multi.c, MSTATE_DO), which calls CURLOPT_PREREQFUNCTION right before each request that is
 *   sent, the first one too: that callback lets one request through and aborts the call at the second. So a POST that
 *   got no answer may or may not have been acted on, but it has been sent once at most. A GET is let through twice.
 *   Beside that: HTTP/1.1 only, no `Expect: 100-continue`, Basic authentication only (sent with the first request), and
 *   connections idle for 2 s or more are not used again, as servers tend to close them just then.
 *
 * Decisions
 *   Proxies: http_proxy and the like in the environment are ignored; a call that is meant for an internal service shall
 *     not silently go elsewhere.
 *   TLS: 1.2 or later; certificates and names are verified against the system's store (package ca-certificates), or
 *     the file that the options name.
 *   Credentials: user:password in the URL are sent as Basic authentication (RFC 7617) and never shown or logged.
 *   Off: .netrc, cookies, caches for HSTS and Alt-Svc. Compressed answers are not asked for, and not unpacked.
 *   Names: Debian's libcurl looks names up in a thread (glibc's getaddrinfo). A call whose time runs out meanwhile leaves
 *     that thread behind (CURLOPT_QUICK_EXIT; without it libcurl would wait for it, however long), to end when glibc gives
 *     up (resolv.conf's time-out times its attempts); the breaker sees to it that there are few. Addresses are remembered
 *     for 5 s. A libcurl that looks names up in the caller's thread is refused.
 *
 * Who owns what
 *   The upstream owns its breaker and its easy handles: as many as calls were ever under way at once, made when first
 *   needed, each with at most one kept connection and used by one call at a time; the one used last is taken first.
 *   An answer is the caller's, who frees it. libcurl's global state is counted by libcurl: upstream_create enters it
 *   (curl_global_init, thread-safe from 7.84 on, which is checked), upstream_free leaves it.
 *   The process must ignore SIGPIPE. A call takes 15 KB of stack, TLS included.
 *
 * Locks: upstream->mutex guards the list of idle handles and their number; a leaf, held for a few instructions. The
 *   breaker has its own, also a leaf. No lock is held while a call is made, judged or logged.
 *
 * Logged: one line for each change of the breaker's state (warn when it opens, else info); failed calls at debug level.
 */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "upstream/breaker.h"

#include <stddef.h>
#include <stdint.h>

struct upstream;

enum {
    UPSTREAM_REASON_BYTES = 256,
    UPSTREAM_URL_BYTES = 2048,       /* the longest base URL, its NUL included */
    UPSTREAM_HEAD_BYTES = 64 * 1024, /* the longest head of an answer, 1xx and trailers too */
};

struct upstream_options {
    const char *url;         /* http://[USER:PASSWORD@]HOST[:PORT][/PATH], or https */
    const char *authorities; /* a PEM file of certificate authorities instead of the system's; NULL: those */
    int64_t call_ns;         /* the time of one call in all; 1 ms to an hour */
    size_t max_post_bytes;   /* the largest body of an answer to a POST */
    size_t max_get_bytes;    /* and to a GET */
    unsigned most_calls;     /* 1 to 10,000 */
    struct breaker_config breaker; /* `changed` is not used */
    struct clock clock;            /* for the breaker; the time of a call is real time */
    const struct log *log;         /* lives as long as the upstream */
};

/* All but url and log: the system's authorities; 5 s; 1 MiB and 64 MiB; 16 calls; breaker_defaults; clock_system. */
struct upstream_options upstream_defaults(void);

enum upstream_result {
    UPSTREAM_ANSWERED,  /* 2xx: status, body */
    UPSTREAM_REFUSED,   /* 4xx: status, body */
    UPSTREAM_FAILED,    /* reason */
    UPSTREAM_OPEN,      /* the breaker let nothing through: retry_after_s, reason */
    UPSTREAM_BUSY,      /* most_calls are under way; nothing was sent: reason */
    UPSTREAM_NO_MEMORY, /* reason; the request may have been sent */
};

struct upstream_answer {
    unsigned status;        /* 0: none has come */
    struct buffer body;     /* empty unless UPSTREAM_ANSWERED or UPSTREAM_REFUSED */
    uint32_t retry_after_s; /* at least 1 */
    char reason
        [UPSTREAM_REASON_BYTES]; /* "no connection": without a capital, a full stop, or anything secret */
};

enum upstream_verdict {
    UPSTREAM_GOOD,
    UPSTREAM_BAD,    /* unreadable, or it says itself that it has failed: UPSTREAM_FAILED */
    UPSTREAM_UNSURE, /* no memory to judge it: UPSTREAM_NO_MEMORY; says nothing to the breaker */
};

/* Judges the body of a 2xx answer, before the breaker is told, in the caller's thread, without a lock. NULL: all are
 * good. A probe lasts until its judge has returned. */
struct upstream_judge {
    enum upstream_verdict (*judge)(void *context, struct text body);
    void *context;
};

/* Returns NULL with a reason of one line, for the command line. Calls nobody yet. */
struct upstream *upstream_create(const struct upstream_options *options,
                                 char reason[static UPSTREAM_REASON_BYTES]);

/* No call may be under way. Takes NULL. */
void upstream_free(struct upstream *upstream);

/* POST of a JSON text to `path` (which begins with a slash, appended to that of the base URL), and GET. They fill
 * `answer`, whose content before does not matter; upstream_answer_free ends it, whatever the result. */
enum upstream_result upstream_post(struct upstream *upstream, const char *path, struct text body,
                                   struct upstream_judge judge, struct upstream_answer *answer);
enum upstream_result upstream_get(struct upstream *upstream, const char *path, struct upstream_judge judge,
                                  struct upstream_answer *answer);

void upstream_answer_free(struct upstream_answer *answer);

/* From the instant `at` (CLOCK_MONOTONIC; 0: now) on, calls fail at once, and those under way end, as failed, within some
 * 1 s. Does not wait for them. */
void upstream_stop(struct upstream *upstream, int64_t at);

struct upstream_counts {
    struct breaker_counts breaker;
    unsigned calls_under_way;
    unsigned most_calls;
};
struct upstream_counts upstream_counts(struct upstream *upstream);

/* The base URL without credentials and without a slash at its end. Lives as long as the upstream. */
const char *upstream_url(const struct upstream *upstream);

#endif
