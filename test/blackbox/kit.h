/*
 * The kit of the black-box tests: starts the real binary, speaks HTTP to it over plain sockets, and cleans
 * up.
 *
 * A test program lists its tests with kit_test(function); each gets a `struct kit` of its own in *state.
 * Everything that a test takes from the kit (servers, connections, responses, strings) belongs to that kit
 * and is closed, reaped or freed after the test, also after a failed one. The teardown itself fails the test
 * when a server that still runs does not leave with status 0 on SIGTERM.
 *
 * Functions named kit_try_... report failure to the caller and may be used by any thread. All others fail the
 * running test themselves, so only the test's own thread may call them.
 */
#ifndef KIT_H
#define KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

struct kit;
struct kit_server;
struct kit_connection;

/* One entry of a test table: `function` between a fresh kit and its teardown. */
#define kit_test(function)   cmocka_unit_test_setup_teardown(function, kit_setup, kit_teardown)
#define kit_run_tests(tests) cmocka_run_group_tests(tests, NULL, NULL)
int kit_setup(void **state);
int kit_teardown(void **state);

/* ---- failing, time, text (kit.c) ---- */

/* Fails the test: prints the message and what the servers wrote to stderr. Does not return. */
#define kit_fail(kit, ...) kit_fail_at(kit, __FILE__, __LINE__, __VA_ARGS__)
_Noreturn void kit_fail_at(struct kit *kit, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What the test is doing now, for the message if it fails: rows of a table need it. */
void kit_note(struct kit *kit, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define KIT_DEADLINE_MS 5000
int64_t kit_now_ms(void); /* monotonic */
/* How much slower than usual everything may be: the environment's TEST_TIME_SCALE, 1 or more. */
double kit_time_scale(void);
/* The instant `milliseconds` from now, times TEST_TIME_SCALE. Every deadline of the tests comes from here. */
int64_t kit_deadline_at_ms(int64_t milliseconds);
/* A few milliseconds between two looks at something that tells nobody when it changes. Never instead of a
 * look. */
void kit_pause(void);

/* Text that lives as long as the kit. */
char *kit_format(struct kit *kit, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *kit_repeat(struct kit *kit, const char *text, size_t count);
/* `length` zeroed bytes that live as long as the kit. */
void *kit_allocate(struct kit *kit, size_t length);
/* A whole file as text ("" when there is none); a relative path is taken as it is. */
char *kit_read_file(struct kit *kit, const char *path);
/* A new directory that goes with the kit, contents included. */
const char *kit_make_directory(struct kit *kit);

/* ---- the server as a process (kit_server.c) ---- */

struct kit_start {
    const char *const *arguments;   /* ended by NULL; after `serve --listen 127.0.0.1:0 --port-file port` */
    const char *const *environment; /* "NAME=value", ended by NULL; added to what the test itself has */
    bool exact; /* only `arguments`, which must then bring `--port-file port` themselves */
};

/* Starts the binary in a new directory of its own (its working directory) and waits until it accepts
 * connections. */
struct kit_server *kit_start(struct kit *kit, const struct kit_start *start);
/* The same with extra options: kit_serve(*state, "--ttl", "1"). */
#define kit_serve(...) KIT_SERVE(__VA_ARGS__, NULL)
#define KIT_SERVE(kit, ...)                                                                                  \
    kit_start(kit, &(struct kit_start){.arguments = (const char *const[]){__VA_ARGS__}})

int kit_port(const struct kit_server *server);
pid_t kit_process(const struct kit_server *server);
const char *kit_directory(const struct kit_server *server);
struct kit *kit_of(const struct kit_server *server);
/* All that the server has written to stderr so far. */
const char *kit_log(struct kit_server *server);
void kit_signal(struct kit_server *server, int signal_number);
/* Waits up to 10 s for the process to end; its exit status, or 128 + the signal that killed it. */
int kit_wait_exit(struct kit_server *server);
/* SIGTERM, and the process must end with status 0. */
void kit_stop(struct kit_server *server);
/* SIGKILL to its process group, reaped. */
void kit_kill(struct kit_server *server);

/* Starts the binary with exactly these arguments, ended by NULL, and does not wait. */
struct kit_server *kit_launch(struct kit *kit, const char *const *arguments);

struct kit_run {
    int exit_status; /* or 128 + the signal that killed it */
    const char *output, *errors;
    const char *directory;
};
/* Runs the binary with exactly these arguments until it ends (10 s at most), stdin empty. */
const struct kit_run *kit_run(struct kit *kit, const char *const *arguments, const char *const *environment);
#define kit_command(kit, ...) kit_run(kit, (const char *const[]){__VA_ARGS__, NULL}, NULL)

/* ---- connections (kit_client.c) ---- */

struct kit_connection *kit_connect(struct kit_server *server);
/* A connection whose kernel takes in about `receive_buffer` bytes that nobody reads. */
struct kit_connection *kit_connect_small(struct kit_server *server, int receive_buffer);
struct kit_connection *kit_try_connect(struct kit_server *server);
/* A connection to any numeric address of the machine, "::1" too; NULL when refused. */
struct kit_connection *kit_try_connect_to(struct kit *kit, const char *address, int port);

void kit_send(struct kit_connection *connection, const void *bytes, size_t length);
void kit_send_text(struct kit_connection *connection, const char *text);
/* 0, or -1 with errno (ETIMEDOUT after 5 s without progress). */
int kit_try_send(struct kit_connection *connection, const void *bytes, size_t length);
void kit_shutdown_sending(struct kit_connection *connection);
/* Both end the connection and free it: with FIN, or at once with RST. */
void kit_close(struct kit_connection *connection);
void kit_reset(struct kit_connection *connection);
/* Reads up to `length` bytes: their count, 0 at the end, -1 with errno (ETIMEDOUT after 5 s). */
ssize_t kit_try_read(struct kit_connection *connection, void *bytes, size_t length);
/* Something to read, or the end, has arrived already. */
bool kit_has_input(struct kit_connection *connection);
/* All bytes up to the end of the connection, by FIN or RST, as text. */
const char *kit_read_to_end(struct kit_connection *connection);
/* The server must close the connection now, by FIN or RST, without another byte. */
#define kit_expect_end(connection) kit_expect_end_at(connection, __FILE__, __LINE__)
void kit_expect_end_at(struct kit_connection *connection, const char *file, int line);
/* No byte and no end has arrived. Proves something only when order says that it would have arrived by now. */
#define kit_expect_silence(connection) kit_expect_silence_at(connection, __FILE__, __LINE__)
void kit_expect_silence_at(struct kit_connection *connection, const char *file, int line);

/* ---- responses (kit_response.c) ---- */

struct kit_header {
    const char *name, *value;
};

struct kit_response {
    struct kit *kit; /* NULL from kit_try_receive() */
    int status;
    char *head; /* as received, status line included, the blank line not */
    struct kit_header *headers;
    size_t header_count;
    char *body; /* decoded; ends with a NUL that does not count */
    size_t body_length;
    bool chunked, until_end; /* how the body was framed */
};

/* The first header of that name in any case, or NULL. */
const char *kit_header(const struct kit_response *response, const char *name);
/* The next whole response; `method` is what was asked with (HEAD has no body). 1xx are responses of their
 * own. */
#define kit_receive(connection)      kit_receive_at(connection, "GET", KIT_DEADLINE_MS, __FILE__, __LINE__)
#define kit_receive_head(connection) kit_receive_at(connection, "HEAD", KIT_DEADLINE_MS, __FILE__, __LINE__)
const struct kit_response *kit_receive_at(struct kit_connection *connection, const char *method,
                                          int64_t milliseconds, const char *file, int line);
/* 0 and a response that kit_response_clear() frees, or -1 with errno: ETIMEDOUT, EPIPE (ended before the
 * first byte), ECONNRESET, EPROTO (ended in the middle, or not HTTP). */
int kit_try_receive(struct kit_connection *connection, const char *method, int64_t deadline_at_ms,
                    struct kit_response *response);
void kit_response_clear(struct kit_response *response);

/* Sends a request. `headers` is NULL or lines that each end in \r\n; Host comes first unless they bring one.
 * `body` NULL: none and no Content-Length. */
void kit_send_request(struct kit_connection *connection, const char *method, const char *target,
                      const char *headers, const void *body, size_t length);
int kit_try_send_request(struct kit_connection *connection, const char *method, const char *target,
                         const char *headers, const void *body, size_t length);
/* Request and response over a connection of its own, which is closed after it. */
const struct kit_response *kit_request(struct kit_server *server, const char *method, const char *target,
                                       const char *headers, const void *body, size_t length);

#define kit_assert_status(response, wanted) kit_assert_status_at(response, wanted, __FILE__, __LINE__)
#define kit_assert_body(response, wanted)   kit_assert_body_at(response, wanted, __FILE__, __LINE__)
/* The body matches an extended regular expression. */
#define kit_assert_body_matches(response, pattern)                                                           \
    kit_assert_body_matches_at(response, pattern, __FILE__, __LINE__)
#define kit_assert_header(response, name, wanted)                                                            \
    kit_assert_header_at(response, name, wanted, __FILE__, __LINE__)
/* The status, application/json, and {"error":"..."} whose text matches the extended regular expression. */
#define kit_assert_error(response, status, pattern)                                                          \
    kit_assert_error_at(response, status, pattern, __FILE__, __LINE__)
void kit_assert_status_at(const struct kit_response *response, int wanted, const char *file, int line);
void kit_assert_body_at(const struct kit_response *response, const char *wanted, const char *file, int line);
void kit_assert_body_matches_at(const struct kit_response *response, const char *pattern, const char *file,
                                int line);
/* `wanted` NULL: the header must be missing; "": any value will do. */
void kit_assert_header_at(const struct kit_response *response, const char *name, const char *wanted,
                          const char *file, int line);
void kit_assert_error_at(const struct kit_response *response, int status, const char *pattern,
                         const char *file, int line);
bool kit_matches(const char *text, const char *pattern);

/* ---- the queue and the server's health (kit_queue.c) ---- */

/* POST /push of any body; `key` and `content_type` (NULL: application/json) are sent as they are. */
const struct kit_response *kit_post(struct kit_server *server, const char *key, const char *content_type,
                                    const void *body, size_t length);
/* Pushes JSON, which must be taken; the event's id. */
#define kit_push(server, key, json) kit_push_at(server, key, json, __FILE__, __LINE__)
int64_t kit_push_at(struct kit_server *server, const char *key, const char *json, const char *file, int line);
/* GET /blocking-get; `parameters` is NULL or more of the query, "timeout=0&limit=1". */
const struct kit_response *kit_get(struct kit_server *server, const char *key, const char *group,
                                   const char *parameters);
/* The group is given exactly this array, or has nothing ("[]"), without waiting. */
#define kit_assert_get(server, key, group, wanted)                                                           \
    kit_assert_get_at(server, key, group, wanted, __FILE__, __LINE__)
void kit_assert_get_at(struct kit_server *server, const char *key, const char *group, const char *wanted,
                       const char *file, int line);
/* Sends a blocking-get on a connection of its own and returns at once. */
struct kit_connection *kit_get_later(struct kit_server *server, const char *key, const char *group,
                                     const char *parameters);

/* A whole number of /health by its path, "queue.waiting". */
int64_t kit_health(struct kit_server *server, const char *path);
/* Asks /health until the number is `wanted`; fails the test after 5 s. */
#define kit_wait_until_health(server, path, wanted)                                                          \
    kit_wait_until_health_at(server, path, wanted, __FILE__, __LINE__)
void kit_wait_until_health_at(struct kit_server *server, const char *path, int64_t wanted, const char *file,
                              int line);
/* The whole number at a dotted path of a JSON object; false when there is none. */
bool kit_json_number(const char *json, const char *path, int64_t *number);

#endif
