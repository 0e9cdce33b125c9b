/*
 * What the tests of the notifications add to the kit: a server on either database, and the requests under
 * /api/events with what their answers must be.
 *
 * A test runs on both engines when its table lists it with kit_test_engines(function); the names of the two,
 * "function on sqlite" and "function on postgresql", tell them apart in the output. Every test has a database
 * of its own, which all the servers that it starts one after the other share. PostgreSQL is a throw-away
 * cluster, one for a test program, started when its first test asks for it and ended by kit_run_event_tests().
 *
 * As in kit.h, functions named kit_try_... and kit_parse_... may be used by any thread; the others fail the
 * test and belong to its own thread.
 */
#ifndef KIT_EVENTS_H
#define KIT_EVENTS_H

#include "kit.h"

struct postgres;

#define KIT_PUBLISH            "/api/events/publish"
#define KIT_SUBSCRIBE          "/api/events/channels/subscribe"
#define KIT_UNSUBSCRIBE        "/api/events/channels/unsubscribe"
#define KIT_LIST               "/api/events/channels/list"
#define KIT_STREAM             "/api/events/stream"
#define KIT_HISTORY            "/api/events/history"
#define KIT_ACTIVE_CONNECTIONS "/api/events/active-connections"

/* ---- engines and servers (kit_engine.c) ---- */

enum kit_engine { KIT_SQLITE, KIT_POSTGRESQL };

#define kit_test_sqlite(function)                                                                            \
    {                                                                                                        \
#function " on sqlite", function, kit_setup_sqlite, kit_teardown, NULL                               \
    }
#define kit_test_postgresql(function)                                                                        \
    {                                                                                                        \
#function " on postgresql", function, kit_setup_postgresql, kit_teardown, NULL                       \
    }
#define kit_test_engines(function) kit_test_sqlite(function), kit_test_postgresql(function)
#define kit_run_event_tests(tests) cmocka_run_group_tests(tests, NULL, kit_end_postgres)
int kit_setup_sqlite(void **state);
int kit_setup_postgresql(void **state);
int kit_end_postgres(void **state);

/* The engine of the running test. */
enum kit_engine kit_engine(void);
/* The URL of the running test's own database, on its engine; always the same one. */
const char *kit_database(struct kit *kit);
/* The program's PostgreSQL: to stop, to freeze, to ask (test/postgres.h). */
struct postgres *kit_postgres(struct kit *kit);

/* Starts a server on the test's database, with extra options: kit_serve_events(*state, "--heartbeat", "1"). */
#define kit_serve_events(...)      KIT_SERVE_EVENTS(__VA_ARGS__, NULL)
#define KIT_SERVE_EVENTS(kit, ...) kit_start_events(kit, (const char *const[]){__VA_ARGS__})
struct kit_server *kit_start_events(struct kit *kit, const char *const *arguments);

/* ---- requests (kit_events.c) ---- */

/* POST of JSON text (NULL: no body at all) to one of the paths above. */
const struct kit_response *kit_post_json(struct kit_server *server, const char *path, const char *json);
/* GET of a path with its query. */
const struct kit_response *kit_get_path(struct kit_server *server, const char *target);

/* The body of a publish. `channel` and `type` go between quotes as they are, `payload` is JSON. */
char *kit_envelope(struct kit *kit, const char *channel, const char *type, const char *payload);
/* Publishes an event, which must be taken: 202 and an empty body. */
#define kit_publish(server, channel, type, payload)                                                          \
    kit_publish_at(server, channel, type, payload, __FILE__, __LINE__)
void kit_publish_at(struct kit_server *server, const char *channel, const char *type, const char *payload,
                    const char *file, int line);
/* Publishes over an open connection: the status of the answer, or -1 with errno. */
int kit_try_publish(struct kit_connection *connection, const char *channel, const char *type,
                    const char *payload, int64_t deadline_at_ms);
/* Publishes the numbers `first` to `first + count - 1` as payloads, type "number", over several connections
 * at once: quick, and the ids need not follow the numbers. */
void kit_publish_numbers(struct kit_server *server, const char *channel, int first, int count);

/* Both check the whole answer. `user` is JSON: "1" or "\"anna\"". `channel` goes between quotes as it is. */
#define kit_subscribe(server, user, channel)   kit_subscribe_at(server, user, channel, __FILE__, __LINE__)
#define kit_unsubscribe(server, user, channel) kit_unsubscribe_at(server, user, channel, __FILE__, __LINE__)
void kit_subscribe_at(struct kit_server *server, const char *user, const char *channel, const char *file,
                      int line);
void kit_unsubscribe_at(struct kit_server *server, const char *user, const char *channel, const char *file,
                        int line);
/* The user's channels are exactly these, in any order: kit_assert_channels(server, "1", "a", "b"). `user` is
 * sent as it is, percent-encoded where it needs it. */
#define kit_assert_channels(...) KIT_ASSERT_CHANNELS(__VA_ARGS__, NULL)
#define KIT_ASSERT_CHANNELS(server, user, ...)                                                               \
    kit_assert_channels_at(server, user, (const char *const[]){__VA_ARGS__}, __FILE__, __LINE__)
void kit_assert_channels_at(struct kit_server *server, const char *user, const char *const *channels,
                            const char *file, int line);

/* The count of open streams. */
int64_t kit_streams(struct kit_server *server);
/* Asks until that many streams are open; fails the test after 5 s. */
#define kit_wait_until_streams(server, wanted) kit_wait_until_streams_at(server, wanted, __FILE__, __LINE__)
void kit_wait_until_streams_at(struct kit_server *server, int64_t wanted, const char *file, int line);

/* ---- history (kit_history.c) ---- */

/* Strings are the text between the quotes, escapes as they came; all live as long as the kit. */
struct kit_event {
    int64_t id;
    const char *channel, *type, *payload, *created_at;
    const char *json; /* the whole object */
};

struct kit_history {
    struct kit_event *events;
    size_t count;
    int64_t next_after_id; /* 0: null */
};

/* One page; `parameters` is NULL or more of the query, "afterId=7&limit=2". Judges the form of the answer, and
 * that every event is of the channel, with ids that rise and createdAt in RFC 3339. */
#define kit_history(server, channel, parameters)                                                             \
    kit_history_at(server, channel, parameters, __FILE__, __LINE__)
const struct kit_history *kit_history_at(struct kit_server *server, const char *channel,
                                         const char *parameters, const char *file, int line);
/* All events of the channel, by pages of `limit`. */
#define kit_whole_history(server, channel, limit)                                                            \
    kit_whole_history_at(server, channel, limit, __FILE__, __LINE__)
const struct kit_history *kit_whole_history_at(struct kit_server *server, const char *channel, int limit,
                                               const char *file, int line);
/* The channel's payloads are exactly those, in this order: kit_assert_history(server, "c", "[1,{}]"). */
#define kit_assert_history(server, channel, payloads)                                                        \
    kit_assert_history_at(server, channel, payloads, __FILE__, __LINE__)
void kit_assert_history_at(struct kit_server *server, const char *channel, const char *payloads,
                           const char *file, int line);

struct kit_slice {
    const char *text;
    size_t length;
};

struct kit_event_slices {
    int64_t id;
    struct kit_slice json, channel, type, payload, created_at;
};

/* Parses {"id":1,"channel":"c","eventType":"t","payload":1,"createdAt":"..."} in exactly this form. Just behind
 * it, or NULL. */
const char *kit_parse_event(const char *text, struct kit_event_slices *event);
/* Just behind the JSON value at `text`, which is taken to be valid; NULL when it does not end. */
const char *kit_parse_value(const char *text);
/* Milliseconds since 1970 of "2026-01-02T03:04:05.678Z", in exactly this form; -1 when it is not. */
int64_t kit_parse_instant_ms(const char *text, size_t length);
int64_t kit_wall_clock_ms(void);

#endif
