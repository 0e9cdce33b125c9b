/* What the files of the HTTP server share: connections, workers, the server itself.
 *
 * Who may touch a connection
 *   Several can come across one at a time: the worker that serves it, a worker that gets an event for it, a thread
 *   that delivers an answer, the timekeeper. At any moment it has at most one owner, which its state tells; all
 *   others only leave a mark (`events`, `hung_up`, `timed_out`) or shut the socket down, under its mutex. Only the
 *   owner reads, writes and closes.
 *
 *   All sockets are in one epoll set, edge-triggered, from accept to close: EPOLLIN | EPOLLRDHUP, and EPOLLOUT from
 *   the first poke on. One-shot registrations would need one more system call a request to arm them again; instead,
 *   an event for a connection that has an owner is marked in `events`, and an owner that lets go looks there first.
 *   epoll carries slot and generation; slots are never unmapped, so a late event finds a connection that says "not
 *   me". EPOLL_CTL_MOD reports what is ready now, and so serves to send a connection to some worker (the poke).
 *
 * States and who moves them
 *   FREE       no socket. The listener: to PARKED.
 *   PARKED     no owner; waits for bytes. A worker with an event: to SERVED.
 *   SERVED     a worker owns it, or a thread that serves a stream. To PARKED, WRITING, LINGERING, WAITING, STREAMING,
 *              DEFERRED or FREE, all by that thread.
 *   WAITING    its request waits in a worker thread (net/waiting.h). A delivering thread: to ANSWERED. The waiting
 *              thread: back to SERVED.
 *   ANSWERED   the delivering thread owns it. To SERVED (the waiting thread's again) or WRITING.
 *   DEFERRED   a struct deferred owns it (net/deferred.h), and no thread. Who answers: to ANSWERED, and from there to
 *              PARKED, WRITING, LINGERING or FREE.
 *   WRITING    no owner; the rest of an answer waits for room in the socket. A worker with an event: to SERVED.
 *   LINGERING  no owner; the answer is out, what still comes is read and dropped. A worker with an event: to SERVED.
 *   STREAMING  no owner; an endless answer that has nothing to send, or waits for room in the socket. A worker with an
 *              event, or any thread that has something for it (net/streaming.h): to SERVED.
 *
 * Locks, outermost first
 *   1  connection->mutex    the fields named so below; a waiter's mutex is taken inside (waiting->interrupt)
 *   2  server->slots_mutex  the free slots and the number of open connections (leaf)
 *   2  the pool's mutex     (leaf)
 */
#ifndef NET_CONNECTION_INTERNAL_H
#define NET_CONNECTION_INTERNAL_H

#include "base/periodic.h"
#include "net/http_server.h"
#include "net/message.h"
#include "net/outgoing.h"
#include "net/waiting.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/epoll.h>

enum { CACHE_LINE_BYTES = 64 };

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_PARKED,
    CONNECTION_SERVED,
    CONNECTION_WAITING,
    CONNECTION_ANSWERED,
    CONNECTION_DEFERRED,
    CONNECTION_WRITING,
    CONNECTION_LINGERING,
    CONNECTION_STREAMING,
};

/* Two workers serve neighbours at the same time: no cache line belongs to both. */
struct connection {
    alignas(CACHE_LINE_BYTES) pthread_mutex_t mutex;
    /* Guarded by `mutex`. */
    enum connection_state state;
    uint32_t generation;
    uint32_t events;         /* that came while it had an owner */
    bool hung_up;            /* the client has closed its sending side, or the connection is broken */
    bool timed_out;          /* said by the timekeeper */
    int64_t deadline_at;     /* in the states without an owner */
    int unsent;              /* in WRITING and STREAMING: what the client had left to take at the last look */
    struct waiting *waiting; /* in WAITING */
    /* Changed by the owner under `mutex`, so that others may shut it down; -1 when FREE. */
    int descriptor;
    /* The owner's. */
    enum connection_state before; /* the state from which it was claimed */
    bool was_hung_up;             /* `hung_up` and `timed_out` at that moment */
    bool was_timed_out;
    bool after_empty_line;        /* before the next request, which has not begun; as in net/message.h */
    bool drained;                 /* nothing was left to read at the last look: more will make an event */
    int64_t request_deadline_at;  /* for the head or body under way; 0: none */
    struct message *message;      /* bytes of an unfinished request, or NULL */
    struct outgoing *outgoing;    /* the rest of an answer, or NULL */
    struct connection *next_free; /* slots_mutex */
};

/* The slot number in the tokens of the descriptors that are no connection. */
#define CONTROL_SLOT UINT32_MAX

enum { EVENTS_AT_ONCE = 16 };

/* What a running worker has for itself. A request that waits gives the read buffer away. */
struct worker {
    struct http_server *server;
    struct epoll_event events[EVENTS_AT_ONCE];
    int event_count;
    int next_event;
    struct message message;
    struct buffer body;
    struct buffer headers;
    struct buffer head;
    bool computing; /* in a section of long work (BLOCK_COMPUTE) */
};

struct http_server {
    struct http_server_options options;
    struct pool *pool;
    int listen_descriptor;
    int epoll_descriptor;
    int wake_descriptor; /* eventfd, edge-triggered in the set: one worker a write */
    int stop_descriptor; /* eventfd, level-triggered: readable from http_server_stop on */
    uint16_t port;
    atomic_bool stopping;
    struct budget request_memory;
    struct log_limit memory_shortage, descriptor_shortage, turned_away;
    struct connection *slots;
    /* Guarded by slots_mutex. */
    pthread_mutex_t slots_mutex;
    pthread_cond_t all_closed;
    struct connection *free_slots;
    unsigned open_count;
    unsigned peak_count;      /* of open ones, since memory was given back to the system */
    unsigned used_slot_count; /* slots from here on were never used */
    pthread_t listener;
    int accept_stop_descriptor;
    bool listener_runs;
    struct periodic *timekeeper;
};

/* --- connection.c --- */

int connections_create(struct http_server *server);
void connections_destroy(struct http_server *server);

/* Gives the socket a slot and puts it into the set. Returns 0, or -1 when there is no slot, or no room in the
 * set; the socket then stays the caller's. */
int connection_open(struct http_server *server, int descriptor);

/* Finds the connection of an event and makes the caller its owner, unless it has one: then the event is
 * marked. */
struct connection *connection_claim(struct http_server *server, uint64_t token, uint32_t events);

/* Passes the event on to another worker. */
void connection_pass_on(struct http_server *server, uint64_t token, uint32_t events);

/* Names a connection as long as it is open. */
uint64_t connection_token(const struct http_server *server, const struct connection *connection);

/* Lets go: the state becomes `state`, until `deadline_at`. Returns false when something has happened
 * meanwhile; the caller then is still the owner and must look again. */
bool connection_release(struct connection *connection, enum connection_state state, int64_t deadline_at);

/* Lets go and has some worker look at it at once, after the others that are ready. */
void connection_yield(struct http_server *server, struct connection *connection, enum connection_state state,
                      int64_t deadline_at);

/* From now on, room in the socket makes an event too. Only the owner; it is marked if there is room now. */
void connection_watch_room(struct http_server *server, struct connection *connection);

/* Makes an event for a connection that is in no one's hands. Its mutex is held. */
void connection_poke_locked(struct http_server *server, struct connection *connection);

/* The bytes that the kernel holds for the client and the client has not taken. */
int connection_unsent(const struct connection *connection);

/* Closes the socket and frees the slot. Only the owner. */
void connection_close(struct http_server *server, struct connection *connection);

/* Looks at every open connection. */
void connections_each(struct http_server *server, void (*look)(void *context, struct connection *connection),
                      void *context);

/* --- serve.c --- */

/* What each worker does for its life. */
void worker_run(void *context, struct pool *pool);

/* Gives the events that the worker has taken and not begun with to the others, because it is about to take
 * its time. */
void worker_pass_events_on(struct worker *worker);
/* Ends the section of long work that the worker may be in: it is in one section of the pool at a time. */
void worker_end_computing(struct worker *worker);

/* Frees the worker's buffers; they come again when they are needed. */
void worker_free_scratch(struct worker *worker);

/* Serves a connection that the caller owns until nothing is left to do for now; the caller does not own it
 * afterwards. */
void connection_serve(struct worker *worker, struct connection *connection);

/* Keeps the bytes that follow the present request with the connection, and frees the worker's read buffer.
 * Returns 0, or -1 without memory; those bytes are then lost, and the connection must end. */
int connection_keep_message(struct worker *worker, struct connection *connection);

/* Frees the bytes that are kept with a connection, if there are any. */
void connection_drop_message(struct connection *connection);

/* How long a client that may still be sending is listened to after its last answer. */
int64_t connection_linger_ns(const struct http_server *server);

/* Logs a request that has been answered, where that is wanted. */
void log_access(const struct http_server *server, const struct request *request,
                const struct response *response, int64_t started_at);

/* --- answer.c --- */

enum answer_progress {
    ANSWER_OUT,     /* all of it is written; the connection is still the caller's */
    ANSWER_PENDING, /* the caller does not own the connection any more */
};

/* Tries to write an answer for the first time, from borrowed memory. What is left over goes to the
 * connection, unless the result is OUTGOING_FAILED: then the source is still open, and the connection good
 * for closing only. */
enum outgoing_result answer_try(struct http_server *server, struct connection *connection,
                                struct outgoing *outgoing);

/* Lets go of a connection with an answer that did not fit; some worker goes on with it when the socket takes
 * more. Nothing is written here, so a thread that delivers to many clients can't get from the failure of one
 * into the delivery to the next. */
void answer_leave_rest(struct http_server *server, struct connection *connection);

/* Goes on with connection->outgoing, in the worker that has claimed the connection for that. */
enum answer_progress answer_continue(struct http_server *server, struct connection *connection);

/* Fills `head` with everything of the response but its source, and `outgoing` to match. Returns 0, or -1
 * without memory. */
int answer_prepare(struct http_server *server, const struct response *response, unsigned minor_version,
                   bool keep_alive, struct buffer *head, struct outgoing *outgoing);

/* May the response wait for its client, if that is slow? Large ones may not while others hold too much already. */
bool answer_may_be_kept(struct http_server *server, const struct response *response);

/* What a client is told when there was no memory for its answer: 503, with "outcome unknown" where the request may have
 * changed something. The connection must end behind it. */
void answer_without_memory(struct http_server *server, const struct connection *connection,
                           bool nothing_changed);

/* --- streaming.c --- */

/* Turns a request into a stream. The caller does not own the connection afterwards. */
void stream_begin(struct worker *worker, struct connection *connection, struct outgoing *outgoing);

/* Goes on with a stream that the caller has claimed; `worker` is NULL when it is none. The caller does not own the
 * connection afterwards. */
void stream_serve(struct http_server *server, struct connection *connection, struct worker *worker);

/* --- router.c --- */

/* Judges a request by its head. Sets request->route, or leaves it NULL and fills the response with the
 * refusal. */
void router_check(const struct http_server *server, struct request *request, struct response *response);

/* The most bytes that the body of a request with a route may have. */
uint64_t router_body_limit(const struct http_server *server, const struct route *route);

/* --- listener.c, timekeeper.c --- */

/* Binds and listens. Returns 0, or -1 with errno. */
int listener_open(struct http_server *server);
int listener_start(struct http_server *server);
/* Ends the thread and closes the listening socket. Does nothing the second time. */
void listener_stop(struct http_server *server);

/* Ends what takes too long: a round of the timekeeper's thread. `context` is the server. */
int64_t timekeeper_round(void *context, struct periodic *thread);

#endif
