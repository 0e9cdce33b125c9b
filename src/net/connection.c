/* The slots of all connections: opening, claiming, letting go, closing. */
#include "net/connection_internal.h"

#include "base/sync.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALWAYS = EPOLLIN | EPOLLRDHUP, GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR };

const struct http_deadlines http_deadlines_default = {
    .head_ns = 10 * CLOCK_NS_PER_SECOND,
    .body_ns = 30 * CLOCK_NS_PER_SECOND,
    .idle_ns = 75 * CLOCK_NS_PER_SECOND,
    .stalled_ns = 30 * CLOCK_NS_PER_SECOND,
    .answer_ns = 30 * CLOCK_NS_PER_SECOND,
    .answer_bytes_rate = INT64_C(16) * 1024,
    .linger_ns = 5 * CLOCK_NS_PER_SECOND,
    .peer_ns = 45 * CLOCK_NS_PER_SECOND,
};

static size_t slots_bytes(const struct http_server *server)
{
    return (size_t)server->options.max_connections * sizeof(struct connection);
}

int connections_create(struct http_server *server)
{
    /* Mapped, not allocated: pages of slots that are never used cost nothing. */
    void *slots = mmap(NULL, slots_bytes(server), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED)
        return -1;
    if (sync_condition_init(&server->all_closed) != 0) {
        munmap(slots, slots_bytes(server));
        return -1;
    }
    pthread_mutex_init(&server->slots_mutex, NULL);
    server->slots = slots;
    return 0;
}

void connections_destroy(struct http_server *server)
{
    for (unsigned i = 0; i < server->used_slot_count; i++)
        pthread_mutex_destroy(&server->slots[i].mutex);
    pthread_mutex_destroy(&server->slots_mutex);
    pthread_cond_destroy(&server->all_closed);
    munmap(server->slots, slots_bytes(server));
}

static struct connection *take_slot(struct http_server *server)
{
    pthread_mutex_lock(&server->slots_mutex);
    struct connection *connection = server->free_slots;
    if (connection != NULL) {
        server->free_slots = connection->next_free;
    } else if (server->used_slot_count < server->options.max_connections) {
        connection = &server->slots[server->used_slot_count++];
        pthread_mutex_init(&connection->mutex, NULL);
        connection->descriptor = -1;
    }
    if (connection != NULL && ++server->open_count > server->peak_count)
        server->peak_count = server->open_count;
    pthread_mutex_unlock(&server->slots_mutex);
    return connection;
}

static void give_slot_back(struct http_server *server, struct connection *connection)
{
    pthread_mutex_lock(&server->slots_mutex);
    connection->next_free = server->free_slots;
    server->free_slots = connection;
    if (--server->open_count == 0)
        pthread_cond_signal(&server->all_closed);
    pthread_mutex_unlock(&server->slots_mutex);
}

uint64_t connection_token(const struct http_server *server, const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | (uint64_t)(connection - server->slots);
}

static int control(const struct http_server *server, struct connection *connection, int operation,
                   uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = connection_token(server, connection)};
    return epoll_ctl(server->epoll_descriptor, operation, connection->descriptor, &event);
}

int connection_open(struct http_server *server, int descriptor)
{
    struct connection *connection = take_slot(server);
    if (connection == NULL)
        return -1;
    pthread_mutex_lock(&connection->mutex);
    connection->state = CONNECTION_PARKED;
    connection->events = 0;
    connection->hung_up = false;
    connection->timed_out = false;
    connection->after_empty_line = false;
    connection->descriptor = descriptor;
    connection->request_deadline_at = 0;
    connection->deadline_at = clock_monotonic_ns() + server->options.deadlines.idle_ns;
    int result = control(server, connection, EPOLL_CTL_ADD, ALWAYS);
    if (result != 0) {
        connection->state = CONNECTION_FREE;
        connection->descriptor = -1;
    }
    pthread_mutex_unlock(&connection->mutex);
    if (result != 0)
        give_slot_back(server, connection);
    return result;
}

static bool has_no_owner(enum connection_state state)
{
    return state == CONNECTION_PARKED || state == CONNECTION_WRITING || state == CONNECTION_LINGERING ||
           state == CONNECTION_STREAMING;
}

static void own_locked(struct connection *connection)
{
    connection->before = connection->state;
    connection->was_hung_up = connection->hung_up;
    connection->was_timed_out = connection->timed_out;
    connection->state = CONNECTION_SERVED;
    connection->events = 0;
}

/* Notes what has happened to a connection that the caller does not own. */
static void mark_locked(struct connection *connection, uint32_t events)
{
    if ((events & GONE) != 0)
        connection->hung_up = true;
    connection->events |= events;
    if (connection->state == CONNECTION_WAITING && connection->hung_up)
        connection->waiting->interrupt(connection->waiting->context);
}

struct connection *connection_claim(struct http_server *server, uint64_t token, uint32_t events)
{
    struct connection *connection = &server->slots[token & UINT32_MAX];
    bool claimed = false;
    pthread_mutex_lock(&connection->mutex);
    if (connection->generation == token >> 32) {
        claimed = has_no_owner(connection->state);
        mark_locked(connection, events);
        if (claimed)
            own_locked(connection);
    }
    pthread_mutex_unlock(&connection->mutex);
    return claimed ? connection : NULL;
}

void connection_pass_on(struct http_server *server, uint64_t token, uint32_t events)
{
    struct connection *connection = &server->slots[token & UINT32_MAX];
    pthread_mutex_lock(&connection->mutex);
    if (connection->generation == token >> 32) {
        if (has_no_owner(connection->state))
            connection_poke_locked(server, connection);
        else
            mark_locked(connection, events);
    }
    pthread_mutex_unlock(&connection->mutex);
}

bool connection_release(struct connection *connection, enum connection_state state, int64_t deadline_at)
{
    pthread_mutex_lock(&connection->mutex);
    bool quiet = connection->events == 0;
    connection->state = state;
    connection->deadline_at = deadline_at;
    if (!quiet)
        own_locked(connection);
    pthread_mutex_unlock(&connection->mutex);
    return quiet;
}

void connection_yield(struct http_server *server, struct connection *connection, enum connection_state state,
                      int64_t deadline_at)
{
    pthread_mutex_lock(&connection->mutex);
    connection->state = state;
    connection->deadline_at = deadline_at;
    connection->events = 0;
    connection_poke_locked(server, connection);
    pthread_mutex_unlock(&connection->mutex);
}

void connection_watch_room(struct http_server *server, struct connection *connection)
{
    control(server, connection, EPOLL_CTL_MOD, ALWAYS | EPOLLOUT);
}

void connection_poke_locked(struct http_server *server, struct connection *connection)
{
    /* A socket that takes bytes is ready to be written to, so this makes an event in any case but a full one,
     * and then the shutdown of who wants it closed does. */
    control(server, connection, EPOLL_CTL_MOD, ALWAYS | EPOLLOUT);
}

int connection_unsent(const struct connection *connection)
{
    int unsent = 0;
    return ioctl(connection->descriptor, SIOCOUTQ, &unsent) == 0 ? unsent : 0;
}

void connection_drop_message(struct connection *connection)
{
    if (connection->message == NULL)
        return;
    message_free(connection->message);
    free(connection->message);
    connection->message = NULL;
}

void connection_close(struct http_server *server, struct connection *connection)
{
    struct outgoing *outgoing = connection->outgoing;
    connection->outgoing = NULL;
    pthread_mutex_lock(&connection->mutex);
    int descriptor = connection->descriptor;
    connection->descriptor = -1;
    connection->state = CONNECTION_FREE;
    connection->generation++;
    pthread_mutex_unlock(&connection->mutex);
    close(descriptor);
    connection_drop_message(connection);
    if (outgoing != NULL) {
        outgoing_abandon(outgoing);
        outgoing_free(outgoing);
    }
    /* Last, so that who sees one connection less can rely on what it held having been given back. */
    give_slot_back(server, connection);
}

void connections_each(struct http_server *server, void (*look)(void *context, struct connection *connection),
                      void *context)
{
    pthread_mutex_lock(&server->slots_mutex);
    unsigned count = server->used_slot_count;
    pthread_mutex_unlock(&server->slots_mutex);
    for (unsigned i = 0; i < count; i++) {
        struct connection *connection = &server->slots[i];
        pthread_mutex_lock(&connection->mutex);
        if (connection->state != CONNECTION_FREE)
            look(context, connection);
        pthread_mutex_unlock(&connection->mutex);
    }
}
