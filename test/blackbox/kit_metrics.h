/*
 * What the tests of the enrichment add to the kit: events in, the reference table, metrics, all judged by their
 * exact form.
 *
 * As in kit.h, functions named kit_try_... and kit_parse_... may be used by any thread; the others fail the
 * test and belong to its own thread.
 */
#ifndef KIT_METRICS_H
#define KIT_METRICS_H

#include "kit_events.h"
#include "kit_http.h"

#define KIT_EVENTS  "/events"
#define KIT_METRICS "/metrics"
#define KIT_USERS   "/reference/users"

#define KIT_NDJSON "application/x-ndjson"
#define KIT_JSON   "application/json"

#define KIT_ACCEPTED "Event accepted"
#define KIT_REPLACED "{\"message\":\"Reference table updated successfully\"}"

/* For requests that carry many megabytes. */
#define KIT_LONG_MS 30000

/* ---- requests ---- */

/* A request and its answer over a connection of its own; `type` NULL: no Content-Type. */
const struct kit_response *kit_exchange_long(struct kit_server *server, const char *method,
                                             const char *target, const char *type, const void *body,
                                             size_t length);
/* The same over an open connection: 0 and a response that kit_response_clear() frees, or -1 with errno. */
int kit_try_exchange(struct kit_connection *connection, const char *method, const char *target,
                     const char *type, const void *body, size_t length, struct kit_response *response);
/* The error, and a Retry-After of whole seconds. */
#define kit_assert_retry_later(response) kit_assert_retry_later_at(response, __FILE__, __LINE__)
void kit_assert_retry_later_at(const struct kit_response *response, const char *file, int line);

/* ---- instants ---- */

/* "2026-01-02T03:04:05.678Z" of now and that much. */
char *kit_instant(struct kit *kit, int64_t offset_ms);
/* The same for milliseconds since 1970. */
char *kit_instant_at(struct kit *kit, int64_t wall_clock_ms);

/* ---- events ---- */

/* An event as JSON; all go between quotes as they are. */
char *kit_click(struct kit *kit, const char *id, const char *user, const char *type, const char *ts);

struct kit_result {
    const char *id; /* without escapes; NULL: null */
    const char *status, *message;
};

struct kit_results {
    struct kit_result *results;
    size_t count;
};

/* POST of one body; `type` NULL: no Content-Type. */
const struct kit_response *kit_post_events(struct kit_server *server, const char *type, const char *body);
/* Judges the form of an answer to POST /events, and that status and message of each result go together. */
#define kit_results(response) kit_results_at(response, __FILE__, __LINE__)
const struct kit_results *kit_results_at(const struct kit_response *response, const char *file, int line);
/* The answer has exactly one result, and it says that. */
#define kit_assert_result(response, id, message)                                                             \
    kit_assert_result_at(response, id, message, __FILE__, __LINE__)
void kit_assert_result_at(const struct kit_response *response, const char *id, const char *message,
                          const char *file, int line);
/* Posts one event and judges its result. `id` NULL: null. */
#define kit_assert_event(server, event, id, message)                                                         \
    kit_assert_event_at(server, event, id, message, __FILE__, __LINE__)
void kit_assert_event_at(struct kit_server *server, const char *event, const char *id, const char *message,
                         const char *file, int line);
/* Posts so many events with ids of their own at now and `offset_ms`; each must be accepted. `user` and `type`
 * go between quotes as they are. */
#define kit_add_events(server, count, user, type, offset_ms)                                                 \
    kit_add_events_at(server, count, user, type, offset_ms, __FILE__, __LINE__)
void kit_add_events_at(struct kit_server *server, size_t count, const char *user, const char *type,
                       int64_t offset_ms, const char *file, int line);

/* ---- the reference table ---- */

/* The object of users PREFIX0 to PREFIX<count - 1>, each with these attributes: "\"plan\":\"a\"". */
char *kit_users(struct kit *kit, const char *prefix, size_t count, const char *attributes);
/* The body of an update; `users` is JSON, `ts` goes between quotes. */
char *kit_table(struct kit *kit, const char *users, const char *ts);
/* A ts of tables that rises with the number. */
char *kit_table_instant(struct kit *kit, int number);
/* The body of table number n, which the caller frees: users u0 to u<users - 1> have plan pn and region rn, and user
 * only<n> has neither. Its ts rises with the number. */
char *kit_try_numbered_table(int number, int users);
const struct kit_response *kit_put(struct kit_server *server, const char *body);
/* Replaces the table, which must work. */
#define kit_put_users(server, users, ts) kit_put_users_at(server, users, ts, __FILE__, __LINE__)
void kit_put_users_at(struct kit_server *server, const char *users, const char *ts, const char *file,
                      int line);

/* ---- metrics ---- */

struct kit_metrics {
    int64_t window_sec, unique_users, unknown;
    int64_t events; /* the sum of by_type: every event has one */
    double events_per_sec;
    struct kit_slice by_plan, by_region, by_type; /* the objects */
};

/* Judges the form, that events_per_sec is what it must be, and that no event counts for two plans or regions.
 * NULL, or what is wrong. */
const char *kit_parse_metrics(const char *json, struct kit_metrics *metrics);
/* The sum of such an object's numbers. */
int64_t kit_parse_sum(struct kit_slice counts);
/* A count by its name, which has no escapes; -1 when it is not listed. */
int64_t kit_parse_count(struct kit_slice counts, const char *name);
/* "free=2 pro=0", by name, names without escapes. */
const char *kit_counts(struct kit *kit, struct kit_slice counts);

#define kit_metrics(server, window) kit_metrics_at(server, window, __FILE__, __LINE__)
const struct kit_metrics *kit_metrics_at(struct kit_server *server, int window, const char *file, int line);

/* What metrics must be: plans, regions and types as "free=2 pro=0". Types that count nothing may be left out
 * or not. */
struct kit_wanted {
    int64_t unique_users, unknown;
    const char *plans, *regions, *types;
};
#define kit_assert_metrics(server, window, ...)                                                              \
    kit_assert_metrics_at(server, window, &(struct kit_wanted){__VA_ARGS__}, __FILE__, __LINE__)
void kit_assert_metrics_at(struct kit_server *server, int window, const struct kit_wanted *wanted,
                           const char *file, int line);
/* Asks until they are that; fails the test after `milliseconds`. */
#define kit_wait_until_metrics(server, window, milliseconds, ...)                                            \
    kit_wait_until_metrics_at(server, window, milliseconds, &(struct kit_wanted){__VA_ARGS__}, __FILE__,     \
                              __LINE__)
void kit_wait_until_metrics_at(struct kit_server *server, int window, int64_t milliseconds,
                               const struct kit_wanted *wanted, const char *file, int line);

#endif
