/* What the tests of the HTTP layer add to the kit. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit_http.h"
#include "kit_internal.h"

static bool is_among(struct kit *kit, int status, const char *statuses)
{
    return kit_matches(kit_format(kit, "%d", status), kit_format(kit, "^(%s)$", statuses));
}

bool kit_is_error_shape(const struct kit_response *response)
{
    const char *type = kit_header(response, "Content-Type");
    return type != NULL && kit_matches(type, "^application/json(;.*)?$") &&
           kit_matches(response->body, "^\\{\"error\":\"([^\"\\]|\\\\.)+\"\\}$");
}

const char *kit_why_not_closed(struct kit_connection *connection)
{
    char byte;
    ssize_t count = kit_try_read(connection, &byte, 1);
    if (count > 0)
        return kit_format(connection->kit, "another answer instead of the end: %c%.300s", byte,
                          connection->buffer == NULL ? "" : connection->buffer);
    if (count < 0 && errno != ECONNRESET)
        return kit_format(connection->kit, "the connection stays open (%s)", strerror(errno));
    return NULL;
}

const char *kit_why_not_open(struct kit_connection *connection)
{
    struct kit_response response;
    if (kit_try_send_request(connection, "GET", "/healthz", NULL, NULL, 0) != 0 ||
        kit_try_receive(connection, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        return kit_format(connection->kit, "the connection takes no further request (%s)", strerror(errno));
    bool right = response.status == 200 && strcmp(response.body, "{\"ok\":true}") == 0;
    const char *problem =
        right ? NULL
              : kit_format(connection->kit, "the next answer is %d %.300s", response.status, response.body);
    kit_response_clear(&response);
    return problem;
}

static const char *judge(struct kit_connection *connection, const struct kit_exchange *exchange)
{
    struct kit_response response;
    struct kit *kit = connection->kit;
    bool is_head = strncmp(exchange->bytes, "HEAD ", 5) == 0;
    if (kit_try_receive(connection, is_head ? "HEAD" : "GET", kit_deadline_at_ms(KIT_DEADLINE_MS),
                        &response) != 0)
        return kit_format(kit, "no answer instead of %s (%s)", exchange->statuses, strerror(errno));
    const char *problem = NULL;
    if (!is_among(kit, response.status, exchange->statuses))
        problem = kit_format(kit, "status %d instead of %s, body %.300s", response.status, exchange->statuses,
                             response.body);
    else if (response.status >= 400 && !is_head && !kit_is_error_shape(&response))
        problem = kit_format(kit, "not the shape of an error: %.300s\n%.300s", response.head, response.body);
    kit_response_clear(&response);
    if (problem == NULL && exchange->fate == KIT_CLOSED)
        problem = kit_why_not_closed(connection);
    if (problem == NULL && exchange->fate == KIT_OPEN)
        problem = kit_why_not_open(connection);
    return problem;
}

bool kit_play(struct kit_server *server, const struct kit_exchange *exchange)
{
    struct kit_connection *connection = kit_connect(server);
    size_t length = exchange->length > 0 ? exchange->length : strlen(exchange->bytes);
    /* A server may close before it has read all of a bad request; the answer tells. */
    (void)kit_try_send(connection, exchange->bytes, length);
    const char *problem = judge(connection, exchange);
    if (problem != NULL)
        print_error("%s: %s\n", exchange->name, problem);
    kit_close(connection);
    return problem == NULL;
}

void kit_play_all(struct kit_server *server, const struct kit_exchange *exchanges, size_t count)
{
    size_t bad = 0;
    for (size_t i = 0; i < count; i++)
        bad += !kit_play(server, &exchanges[i]);
    if (bad > 0)
        kit_fail(server->kit, "%zu of %zu rows are wrong", bad, count);
}

void kit_assert_status_among_at(const struct kit_response *response, struct kit *kit, const char *statuses,
                                const char *file, int line)
{
    if (!is_among(kit, response->status, statuses))
        kit_fail_at(kit, file, line, "status %d instead of %s\n%.2000s\n\n%.2000s", response->status,
                    statuses, response->head, response->body);
}

void kit_assert_header_matches_at(const struct kit_response *response, struct kit *kit, const char *name,
                                  const char *pattern, const char *file, int line)
{
    const char *value = kit_header(response, name);
    if (value == NULL || !kit_matches(value, pattern))
        kit_fail_at(kit, file, line, "header %s is \"%s\", which does not match %s\n%.2000s", name,
                    value == NULL ? "(missing)" : value, pattern, response->head);
}

void kit_send_at_once(struct kit_connection *connection)
{
    int on = 1;
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void kit_let_read(struct kit_connection *witness)
{
    const char *problem = kit_why_not_open(witness);
    if (problem != NULL)
        kit_fail(witness->kit, "the witness: %s", problem);
}

/* The child's side of the fork: only what is safe in it. */
_Noreturn static void become(char *const *arguments, const char *directory, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || setpgid(0, 0) != 0 || chdir(directory) != 0)
        _exit(127);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int output = open("stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int errors = open("stderr", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(errors, 2) >= 0)
        execv(arguments[0], arguments);
    _exit(127);
}

struct kit_server *kit_start_with_port_file(struct kit *kit, const char *path)
{
    char *arguments[] = {kit_format(kit, "%s", kit->binary),
                         kit_format(kit, "serve"),
                         kit_format(kit, "--listen"),
                         kit_format(kit, "127.0.0.1:0"),
                         kit_format(kit, "--port-file"),
                         kit_format(kit, "%s", path),
                         NULL};
    const char *directory = kit_make_directory(kit);
    struct kit_server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->kit = kit;
    server->directory = directory;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(arguments, directory, parent);
    if (child < 0) {
        free(server);
        kit_fail(kit, "fork: %s", strerror(errno));
    }
    setpgid(child, child);
    server->process = child;
    LIST_INSERT_HEAD(&kit->servers, server, link);
    return server;
}

size_t kit_line_count(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n' || text[1] == '\0';
    return count;
}

size_t kit_matching_lines(struct kit *kit, const char *text, const char *pattern)
{
    size_t count = 0;
    char *rest = kit_format(kit, "%s", text), *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        count += kit_matches(line, pattern);
    return count;
}

const char *kit_last_line(struct kit *kit, const char *text)
{
    const char *last = "";
    char *rest = kit_format(kit, "%s", text), *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (*line != '\0')
            last = line;
    return last;
}
