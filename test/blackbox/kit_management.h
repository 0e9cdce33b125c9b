/*
 * What the tests of event management add to the kit: events that are added, the three lists taken apart, and an
 * upstream (a stand-in, test/standin.h) with what the server says of it.
 *
 * Tests with an upstream are listed with kit_test_upstream(function): their stand-ins go before their servers, so
 * that nothing hangs at the end, also after a failure. As in kit.h, functions named kit_try_... may be used by any
 * thread; the others fail the test and belong to its own thread.
 */
#ifndef KIT_MANAGEMENT_H
#define KIT_MANAGEMENT_H

#include "../standin.h"
#include "kit_events.h"

#define KIT_ADD_EVENT  "/addEvent"
#define KIT_GET_USERS  "/getUsers"
#define KIT_GET_EVENTS "/getEvents"
#define KIT_EVENTS_OF  "/getEventsByUserId/"
#define KIT_REFERENCE  "/reference/users"
#define KIT_MISSING    "{\"error\":\"Missing required fields\"}"

/* ---- adding ---- */

/* The body of an addEvent. `name` goes between quotes as it is; `user` is JSON; so is `details`, NULL: without. */
char *kit_planned_body(struct kit *kit, const char *name, const char *user, const char *details);
/* Adds an event, which must be taken; its id. */
#define kit_add(server, name, user, details) kit_add_at(server, name, user, details, __FILE__, __LINE__)
const char *kit_add_at(struct kit_server *server, const char *name, const char *user, const char *details,
                       const char *file, int line);
/* The id of an answer {"success":true,"id":"..."}, which must be exactly this. */
#define kit_added_id(response) kit_added_id_at(response, __FILE__, __LINE__)
const char *kit_added_id_at(const struct kit_response *response, const char *file, int line);
/* Sends an addEvent on a connection of its own and returns at once. */
struct kit_connection *kit_add_later(struct kit_server *server, const char *body);
/* Adds over an open connection: the status of the answer, or -1 with errno. `id` is "" unless it is 200. */
int kit_try_add(struct kit_connection *connection, const char *body, int64_t deadline_at_ms, char id[64]);
/* Adds events "n<first>" to "n<first + count - 1>" over several connections at once, number n for the user
 * "u<n % users>", both with four digits at least. In which order they come is open. */
void kit_add_many(struct kit_server *server, int first, int count, int users);

/* Replaces the reference table; `users` is the JSON of user_metadata. */
#define kit_put_table(server, users) kit_put_table_at(server, users, __FILE__, __LINE__)
void kit_put_table_at(struct kit_server *server, const char *users, const char *file, int line);

/* ---- the three lists ---- */

struct kit_entry {
    struct kit_slice json; /* the whole object */
    struct kit_slice id;   /* its id, without the quotes */
};

struct kit_entries {
    const struct kit_response *response;
    struct kit_entry *items;
    size_t count;
};

/* A list: 200, application/json, an array of objects that each begin with an id of text. */
#define kit_entries(server, target) kit_entries_at(server, target, __FILE__, __LINE__)
const struct kit_entries *kit_entries_at(struct kit_server *server, const char *target, const char *file,
                                         int line);
/* The same of an answer that is there already. */
const struct kit_entries *kit_parse_entries(const struct kit_response *response, const char *file, int line);
/* The ids of a list with blanks between them: "1 2 3". */
#define kit_ids(server, target) kit_ids_at(server, target, __FILE__, __LINE__)
const char *kit_ids_at(struct kit_server *server, const char *target, const char *file, int line);
/* The whole answer of a list. */
#define kit_assert_list(server, target, wanted) kit_assert_list_at(server, target, wanted, __FILE__, __LINE__)
void kit_assert_list_at(struct kit_server *server, const char *target, const char *wanted, const char *file,
                        int line);
/* How many members of that name an object has; `value` is the JSON of the last one. */
size_t kit_member(struct kit_slice object, const char *name, struct kit_slice *value);
bool kit_slice_is(struct kit_slice slice, const char *text);
/* A text of the kit. */
const char *kit_slice_text(struct kit *kit, struct kit_slice slice);
/* One valid JSON value, by SQLite's judgement. */
bool kit_is_json(const char *text);
/* Asks until the list answers `wanted` exactly; fails the test after 5 s. */
#define kit_wait_until_list(server, target, wanted)                                                          \
    kit_wait_until_list_at(server, target, wanted, __FILE__, __LINE__)
void kit_wait_until_list_at(struct kit_server *server, const char *target, const char *wanted,
                            const char *file, int line);

/* ---- the upstream ---- */

#define kit_test_upstream(function)                                                                          \
    {                                                                                                        \
#function, function, kit_setup_sqlite, kit_teardown_upstream, NULL                                   \
    }
#define kit_test_upstream_postgresql(function)                                                               \
    {                                                                                                        \
#function " on postgresql", function, kit_setup_postgresql, kit_teardown_upstream, NULL              \
    }
#define kit_test_upstream_engines(function)                                                                  \
    {#function " on sqlite", function, kit_setup_sqlite, kit_teardown_upstream, NULL},                       \
        kit_test_upstream_postgresql(function)
int kit_teardown_upstream(void **state);

/* A new stand-in, which ends with the test: its lists are empty, and it takes every event. */
struct standin *kit_standin(struct kit *kit);
/* What it does with an addEvent, or another path, from now on. */
void kit_set_answer(struct standin *standin, const char *path, unsigned status, const char *body);
void kit_set_kind(struct standin *standin, const char *path, enum standin_kind kind);
/* So many requests to the path have come, or the test fails. */
#define kit_await_calls(kit, standin, path, count)                                                           \
    kit_await_calls_at(kit, standin, path, count, __FILE__, __LINE__)
void kit_await_calls_at(struct kit *kit, struct standin *standin, const char *path, uint64_t count,
                        const char *file, int line);
/* The body of the `number`th request to the path, from 0; NULL when there is none. */
const char *kit_call_body(struct kit *kit, struct standin *standin, const char *path, size_t number);

/* A server on the test's database with the stand-in as its upstream and extra options, once its first refresh is
 * over; the next one comes in an hour, unless an option says otherwise. */
#define kit_serve_upstream(...) KIT_SERVE_UPSTREAM(__VA_ARGS__, NULL)
#define KIT_SERVE_UPSTREAM(kit, standin, ...)                                                                \
    kit_start_upstream(kit, standin, (const char *const[]){__VA_ARGS__})
struct kit_server *kit_start_upstream(struct kit *kit, struct standin *standin, const char *const *arguments);

/* The answer of a failed (502) or refused (503, with Retry-After) call, in its exact shape. */
#define kit_assert_unavailable(response, status)                                                             \
    kit_assert_unavailable_at(response, status, __FILE__, __LINE__)
void kit_assert_unavailable_at(const struct kit_response *response, int status, const char *file, int line);

/* The breaker's state in /health: "closed", "open" or "half-open". */
const char *kit_breaker(struct kit_server *server);
#define kit_wait_until_breaker(server, wanted) kit_wait_until_breaker_at(server, wanted, __FILE__, __LINE__)
void kit_wait_until_breaker_at(struct kit_server *server, const char *wanted, const char *file, int line);
/* Asks /health until the number is `wanted` or more; fails the test after 20 s. */
#define kit_wait_at_least(server, path, wanted) kit_wait_at_least_at(server, path, wanted, __FILE__, __LINE__)
void kit_wait_at_least_at(struct kit_server *server, const char *path, int64_t wanted, const char *file,
                          int line);
/* A whole number of /health, whatever its status. */
int64_t kit_number(struct kit_server *server, const char *path);
/* A whole refresh, both lists, begins and ends after this call. */
#define kit_wait_for_refresh(server)                                                                         \
    kit_wait_at_least(server, "upstream.refreshes", kit_number(server, "upstream.refreshes") + 2)
/* Opens a closed breaker by three events that the upstream fails; it fails from now on. */
void kit_open_breaker(struct kit_server *server, struct standin *standin);

/* Freezes the test's PostgreSQL, until it is thawed or the test ends. */
void kit_freeze_database(struct kit *kit);
void kit_thaw_database(struct kit *kit);

#endif
