/* One statement over a connection of its own, with a deadline. */
#include "postgres.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUERY_MS = 30 * 1000 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until the connection has a result to read. */
static int wait_result(PGconn *connection, int64_t deadline_at)
{
    while (PQisBusy(connection) != 0) {
        struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN};
        int64_t left = deadline_at - now_ms();
        if (left <= 0 || poll(&socket, 1, (int)left) < 0 || PQconsumeInput(connection) == 0)
            return -1;
    }
    return 0;
}

char *postgres_query(struct postgres *postgres, const char *url, const char *sql)
{
    static const char *const names[] = {"dbname", "connect_timeout", "application_name", NULL};
    const char *const values[] = {url, "10", "test", NULL};
    (void)postgres;
    char *answer = NULL;
    PGresult *result = NULL;
    int64_t deadline_at = now_ms() + QUERY_MS;
    PGconn *connection = PQconnectdbParams(names, values, 1);
    if (PQstatus(connection) != CONNECTION_OK || PQsendQuery(connection, sql) == 0)
        goto finish;
    for (;;) {
        if (wait_result(connection, deadline_at) != 0)
            goto finish;
        PGresult *next = PQgetResult(connection);
        if (next == NULL)
            break;
        PQclear(result);
        result = next;
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK && PQntuples(result) > 0 && PQnfields(result) > 0)
        answer = strdup(PQgetvalue(result, 0, 0));
    else if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        answer = strdup("");
finish:
    if (answer == NULL)
        fprintf(stderr, "postgres: %s: %s\n", sql, PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return answer;
}
