/* One connection, driven without blocking. */
#include "storage/postgresql_internal.h"

#include <poll.h>
#include <stdio.h>

enum {
    /* The longest sleep with TLS: bytes that it has taken from the socket already wake nobody. */
    TLS_SLICE_MS = 100,
    SLICE_MS = 60 * 1000,
    EMPTY_RESULTS_MAX = 3,
    PARAMETERS_MAX = 8,
};

enum readiness { READY, SLICE_OVER, TOO_LATE, INTERRUPTED };

/* --- errors --- */

/* Keeps the first line of a message. */
static void blame(struct postgresql_link *link, const char *message)
{
    int length = (int)strcspn(message, "\n");
    snprintf(link->error, sizeof link->error, "%.*s", length, message);
}

void postgresql_link_blame(struct postgresql_link *link, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (message == NULL)
        blame(link, PQresultErrorMessage(result));
    else
        snprintf(link->error, sizeof link->error, "%.200s (SQLSTATE %.5s)", message,
                 state == NULL ? "?" : state);
}

bool postgresql_is_error(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return PQresultStatus(result) == PGRES_FATAL_ERROR && severity != NULL && strcmp(severity, "ERROR") == 0;
}

static enum postgresql_flow lost(struct postgresql_link *link)
{
    blame(link, PQerrorMessage(link->connection));
    return POSTGRESQL_LOST;
}

/* --- waiting --- */

static enum readiness await_socket(const struct postgresql_link *link, short events, int64_t deadline_at)
{
    struct pollfd polled[] = {
        {.fd = PQsocket(link->connection), .events = events},
        {.fd = link->interrupt, .events = POLLIN},
    };
    int64_t left_ms = (deadline_at - clock_monotonic_ns() + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
    if (left_ms <= 0)
        return TOO_LATE;
    int slice_ms = PQsslInUse(link->connection) != 0 ? TLS_SLICE_MS : SLICE_MS;
    int count = poll(polled, 2, left_ms < slice_ms ? (int)left_ms : slice_ms);
    if (count > 0 && polled[1].revents != 0)
        return INTERRUPTED;
    return count > 0 ? READY : SLICE_OVER;
}

/* The flow after a wait that brought nothing. */
static enum postgresql_flow judge(struct postgresql_link *link, enum readiness readiness)
{
    if (readiness == TOO_LATE) {
        blame(link, "no answer in time");
        return POSTGRESQL_LATE;
    }
    if (readiness == INTERRUPTED) {
        blame(link, "interrupted");
        return POSTGRESQL_LOST;
    }
    return POSTGRESQL_DONE;
}

enum postgresql_flow postgresql_link_wait(struct postgresql_link *link, short events, int64_t deadline_at)
{
    enum postgresql_flow flow = judge(link, await_socket(link, events, deadline_at));
    if (flow == POSTGRESQL_DONE && PQconsumeInput(link->connection) == 0)
        return lost(link);
    return flow;
}

/* --- opening and closing --- */

static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static PGconn *start_connecting(const char *url)
{
    /* What stands before the URL may be changed by it. GSS is tried only on demand: it looks for credentials in files
     * for every connection. */
    const char *const names[] = {"application_name", "gssencmode",          "keepalives_idle",
                                 "keepalives_count", "keepalives_interval", "tcp_user_timeout",
                                 "dbname",           "client_encoding",     NULL};
    const char *const values[] = {"event-syncer", "disable", "3", "3", "1", "3000", url, "UTF8", NULL};
    return PQconnectStartParams(names, values, 1);
}

enum postgresql_flow postgresql_link_open(struct postgresql_link *link, const char *url, int64_t deadline_at)
{
    link->connection = start_connecting(url);
    if (link->connection == NULL) {
        blame(link, "out of memory");
        return POSTGRESQL_LOST;
    }
    PQsetNoticeProcessor(link->connection, ignore_notice, NULL);
    PostgresPollingStatusType wanted =
        PQstatus(link->connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (wanted != PGRES_POLLING_OK && wanted != PGRES_POLLING_FAILED) {
        enum readiness readiness =
            await_socket(link, wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_at);
        enum postgresql_flow flow = judge(link, readiness);
        if (flow != POSTGRESQL_DONE)
            return flow;
        if (readiness == READY)
            wanted = PQconnectPoll(link->connection);
    }
    if (wanted == PGRES_POLLING_FAILED || PQsetnonblocking(link->connection, 1) != 0)
        return lost(link);
    return POSTGRESQL_DONE;
}

void postgresql_link_close(struct postgresql_link *link)
{
    PQfinish(link->connection);
    link->connection = NULL;
}

bool postgresql_link_is_alive(struct postgresql_link *link)
{
    struct pollfd socket = {.fd = PQsocket(link->connection), .events = POLLIN | POLLRDHUP};
    if (poll(&socket, 1, 0) == 0)
        return true;
    /* A notice, or a changed setting, is no harm. */
    bool alive = (socket.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) == 0 &&
                 PQconsumeInput(link->connection) != 0 && PQisBusy(link->connection) == 0 &&
                 PQstatus(link->connection) == CONNECTION_OK;
    if (!alive)
        blame(link, "the server closed the connection");
    return alive;
}

/* --- sending and receiving --- */

enum postgresql_flow postgresql_link_flush(struct postgresql_link *link, int64_t deadline_at)
{
    int unsent;
    while ((unsent = PQflush(link->connection)) > 0) {
        enum postgresql_flow flow = postgresql_link_wait(link, POLLIN | POLLOUT, deadline_at);
        if (flow != POSTGRESQL_DONE)
            return flow;
    }
    return unsent < 0 ? lost(link) : POSTGRESQL_DONE;
}

/* Without memory for the end of a pipeline libpq notes this and goes on waiting for it. */
static bool has_lost_result(const struct postgresql_link *link)
{
    return strstr(PQerrorMessage(link->connection), "out of memory") != NULL;
}

static enum postgresql_flow await_result(struct postgresql_link *link, int64_t deadline_at)
{
    while (PQisBusy(link->connection) != 0) {
        if (has_lost_result(link))
            return lost(link);
        int unsent = PQflush(link->connection);
        if (unsent < 0)
            return lost(link);
        short events = unsent > 0 ? POLLIN | POLLOUT : POLLIN;
        enum postgresql_flow flow = postgresql_link_wait(link, events, deadline_at);
        if (flow != POSTGRESQL_DONE)
            return flow;
    }
    return POSTGRESQL_DONE;
}

/* Keeps only results of a session that goes on. */
static enum postgresql_flow check_result(struct postgresql_link *link, PGresult **result)
{
    ExecStatusType status = PQresultStatus(*result);
    if (postgresql_is_error(*result) || status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
        status == PGRES_PIPELINE_SYNC || status == PGRES_PIPELINE_ABORTED)
        return POSTGRESQL_DONE;
    postgresql_link_blame(link, *result);
    PQclear(*result);
    *result = NULL;
    return POSTGRESQL_LOST;
}

enum postgresql_flow postgresql_link_run(struct postgresql_link *link, const char *sql, int64_t deadline_at,
                                         PGresult **result)
{
    *result = NULL;
    if (PQsendQuery(link->connection, sql) == 0)
        return lost(link);
    for (;;) {
        enum postgresql_flow flow = await_result(link, deadline_at);
        PGresult *next = flow == POSTGRESQL_DONE ? PQgetResult(link->connection) : NULL;
        if (next == NULL && flow == POSTGRESQL_DONE && *result != NULL)
            return POSTGRESQL_DONE;
        PQclear(*result);
        *result = next;
        if (next == NULL)
            return flow == POSTGRESQL_DONE ? lost(link) : flow;
        flow = check_result(link, result);
        if (flow != POSTGRESQL_DONE)
            return flow;
    }
}

int postgresql_link_add(struct postgresql_link *link, const char *statement,
                        const struct postgresql_parameter *parameters, size_t count)
{
    const char *values[PARAMETERS_MAX];
    int lengths[PARAMETERS_MAX], formats[PARAMETERS_MAX];
    for (size_t i = 0; i < count; i++) {
        if (parameters[i].length > INT32_MAX) {
            blame(link, "too much at once");
            return -1;
        }
        values[i] = parameters[i].value;
        lengths[i] = (int)parameters[i].length;
        formats[i] = parameters[i].length > 0 ? 1 : 0;
    }
    if (PQsendQueryPrepared(link->connection, statement, (int)count, values, lengths, formats, 0) != 0)
        return 0;
    lost(link);
    return -1;
}

int postgresql_link_add_sync(struct postgresql_link *link)
{
    if (PQpipelineSync(link->connection) != 0)
        return 0;
    lost(link);
    return -1;
}

enum postgresql_flow postgresql_link_next(struct postgresql_link *link, int64_t deadline_at,
                                          PGresult **result)
{
    *result = NULL;
    /* A NULL stands behind the results of each statement. */
    for (int i = 0; i < EMPTY_RESULTS_MAX && *result == NULL; i++) {
        enum postgresql_flow flow = await_result(link, deadline_at);
        if (flow != POSTGRESQL_DONE)
            return flow;
        *result = PQgetResult(link->connection);
    }
    return *result == NULL ? lost(link) : check_result(link, result);
}

enum postgresql_flow postgresql_link_ask(struct postgresql_link *link, const char *statement,
                                         const struct postgresql_parameter *parameters, size_t count,
                                         int64_t deadline_at, PGresult **result)
{
    *result = NULL;
    if (postgresql_link_add(link, statement, parameters, count) != 0 || postgresql_link_add_sync(link) != 0)
        return POSTGRESQL_LOST;
    enum postgresql_flow flow = postgresql_link_next(link, deadline_at, result);
    if (flow != POSTGRESQL_DONE)
        return flow;
    PGresult *sync;
    flow = postgresql_link_next(link, deadline_at, &sync);
    PQclear(sync);
    if (flow != POSTGRESQL_DONE) {
        PQclear(*result);
        *result = NULL;
    }
    return flow;
}

/* --- set-up --- */

/* Reads results up to the synchronization point; the first error is kept as link->error. */
static enum postgresql_flow expect_success(struct postgresql_link *link, int64_t deadline_at)
{
    bool good = true;
    for (;;) {
        PGresult *result;
        enum postgresql_flow flow = postgresql_link_next(link, deadline_at, &result);
        if (flow != POSTGRESQL_DONE)
            return flow;
        ExecStatusType status = PQresultStatus(result);
        if (postgresql_is_error(result)) {
            postgresql_link_blame(link, result);
            good = false;
        }
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC)
            return good ? POSTGRESQL_DONE : POSTGRESQL_LOST;
    }
}

enum postgresql_flow postgresql_link_set_up(struct postgresql_link *link, int64_t deadline_at)
{
    PGresult *result;
    enum postgresql_flow flow = postgresql_link_run(link, postgresql_settings, deadline_at, &result);
    if (flow != POSTGRESQL_DONE)
        return flow;
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!good)
        postgresql_link_blame(link, result);
    PQclear(result);
    if (!good)
        return POSTGRESQL_LOST;
    if (PQenterPipelineMode(link->connection) == 0)
        return lost(link);
    const struct postgresql_statement *statement = postgresql_statements(link->role);
    for (; statement->name != NULL; statement++)
        if (PQsendPrepare(link->connection, statement->name, statement->sql, 0, NULL) == 0)
            return lost(link);
    if (link->role == POSTGRESQL_WRITER && postgresql_link_add(link, "purge", NULL, 0) != 0)
        return POSTGRESQL_LOST;
    if (postgresql_link_add_sync(link) != 0)
        return POSTGRESQL_LOST;
    return expect_success(link, deadline_at);
}
