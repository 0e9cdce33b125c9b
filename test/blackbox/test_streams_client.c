/* A client of the browsers' kind (Debian's node-eventsource) follows a stream through restarts of the server: it comes
 * back by itself and has every event exactly once, in order. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit_sse.h"
#include "kit_streams.h"

#define SCRIPT "test/blackbox/eventsource.js" /* tests run in the top folder */

enum { LINE_MAX_BYTES = 4096, COME_BACK_MS = 10000, EVENTS_MAX = 100 };

/* Of the test that runs. */
static struct {
    struct kit *kit;
    pid_t process; /* 0: none */
    int input, output;
    char text[LINE_MAX_BYTES];
    size_t used;
    int published, taken;
    int64_t ids[EVENTS_MAX + 1]; /* by number, as the client got them */
} client;

static int tear_down(void **state)
{
    if (client.process != 0) {
        close(client.input);
        close(client.output);
        kill(client.process, SIGKILL);
        waitpid(client.process, NULL, 0);
        client.process = 0;
    }
    return kit_teardown(state);
}

static void start_client(struct kit *kit, const char *url)
{
    const char *const arguments[] = {"node", SCRIPT, url, "number", NULL};
    int input[2], output[2];
    posix_spawn_file_actions_t actions;
    memset(&client, 0, sizeof client);
    client.kit = kit;
    assert_int_equal(access(SCRIPT, R_OK), 0);
    assert_int_equal(pipe2(input, O_CLOEXEC) | pipe2(output, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    setenv("NODE_PATH", "/usr/share/nodejs", 1);
    int problem = posix_spawnp(&client.process, "node", &actions, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(output[1]);
    client.input = input[1]; /* the client ends when this does, also with the test program */
    client.output = output[0];
    if (problem != 0) {
        client.process = 0;
        kit_fail(kit, "node: %s", strerror(problem));
    }
}

/* The next line that the client prints, without its end; it lives as long as the kit. */
static const char *read_line(void)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(COME_BACK_MS);
    char *end;
    while ((end = memchr(client.text, '\n', client.used)) == NULL) {
        struct pollfd entry = {.fd = client.output, .events = POLLIN};
        int64_t left_ms = deadline_at_ms - kit_now_ms();
        if (left_ms <= 0 || (poll(&entry, 1, (int)left_ms) < 0 && errno != EINTR))
            kit_fail(client.kit, "the client is silent after %d of %d events", client.taken,
                     client.published);
        if (entry.revents == 0)
            continue;
        ssize_t count = read(client.output, client.text + client.used, sizeof client.text - client.used);
        if (count <= 0)
            kit_fail(client.kit, "the client has ended, or says too much");
        client.used += (size_t)count;
    }
    size_t length = (size_t)(end - client.text);
    const char *line = kit_format(client.kit, "%.*s", (int)length, client.text);
    client.used -= length + 1;
    memmove(client.text, end + 1, client.used);
    return line;
}

static void publish(struct kit_server *server)
{
    assert_true(client.published < EVENTS_MAX);
    kit_publish(server, "c", "number", kit_format(client.kit, "{\"n\":%d}", ++client.published));
}

/* The client gets all that was published, each event once and in order. In between its connection may open and break. */
static void expect_all(void)
{
    while (client.taken < client.published) {
        const char *line = read_line();
        char *behind_id;
        if (strcmp(line, "open") == 0 || strncmp(line, "error ", strlen("error ")) == 0)
            continue;
        const char *wanted = kit_format(client.kit, " number {\"n\":%d}", client.taken + 1);
        if (strncmp(line, "event ", strlen("event ")) != 0)
            kit_fail(client.kit, "the client says: %s", line);
        int64_t id = strtoll(line + strlen("event "), &behind_id, 10);
        if (strcmp(behind_id, wanted) != 0 || id <= client.ids[client.taken])
            kit_fail(client.kit, "the client has got \"%s\" instead of%s behind id %lld", line, wanted,
                     (long long)client.ids[client.taken]);
        client.ids[++client.taken] = id;
    }
}

static void check_ids(struct kit_server *server)
{
    const struct kit_history *history = kit_whole_history(server, "c", 1000);
    assert_int_equal(history->count, client.taken);
    for (size_t i = 0; i < history->count; i++)
        assert_int_equal(history->events[i].id, client.ids[i + 1]);
}

/* Events are published while the client is connected, while its server is away, and as soon as that is back. */
static void a_browsers_client_misses_nothing(void **state)
{
    struct kit *kit = *state;
    const char *address = streams_free_address(kit);
    struct kit_server *server = kit_serve_events(kit, "--listen", address);
    kit_subscribe(server, "1", "c");
    start_client(kit, kit_format(kit, "http://%s%s", address, kit_sse_target(server, "1", "c")));
    assert_string_equal(read_line(), "open");
    for (int round = 0; round < 2; round++) {
        kit_note(kit, "round %d", round);
        for (int i = 0; i < 3; i++) {
            publish(server);
            expect_all();
        }
        publish(server); /* it may be on its way when the server goes */
        (round == 0 ? kit_stop : kit_kill)(server);
        struct kit_server *other = kit_serve_events(kit);
        publish(other);
        publish(other);
        if (kit_engine() == KIT_SQLITE) /* which has one server at a time */
            kit_stop(other);
        server = kit_serve_events(kit, "--listen", address);
        publish(server);
        publish(kit_engine() == KIT_SQLITE ? server : other);
        expect_all();
        if (kit_engine() == KIT_POSTGRESQL) {
            publish(other);
            expect_all();
            kit_stop(other);
        }
    }
    publish(server);
    expect_all();
    kit_wait_until_streams(server, 1);
    check_ids(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"a_browsers_client_misses_nothing on sqlite", a_browsers_client_misses_nothing, kit_setup_sqlite,
         tear_down, NULL},
        {"a_browsers_client_misses_nothing on postgresql", a_browsers_client_misses_nothing,
         kit_setup_postgresql, tear_down, NULL},
    };
    return kit_run_event_tests(tests);
}
