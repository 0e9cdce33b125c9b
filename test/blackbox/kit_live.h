/*
 * What the tests of the live events add to the kit: journals to write and to read, the command `process`, users'
 * revenue, and clients that post for as long as a test wants.
 *
 * Servers and processors work on the running test's database (kit_events.h), so tests are listed with
 * kit_test_engines() or kit_test_sqlite(). As in kit.h, functions named kit_try_... may be used by any thread.
 */
#ifndef KIT_LIVE_H
#define KIT_LIVE_H

#include <pthread.h>
#include <stdatomic.h>

#include "kit_events.h"
#include "kit_http.h"

/* ---- journals ---- */

/* The path of a journal, server-events.jsonl, in a new directory; there is no file yet. */
const char *kit_new_journal(struct kit *kit);
/* Writes the text behind the file's end, which may be a new file. */
void kit_append(struct kit *kit, const char *path, const char *text);
void kit_append_bytes(struct kit *kit, const char *path, const void *bytes, size_t length);
/* The file has exactly this text now, and is the same file (inode) as before. */
void kit_overwrite(struct kit *kit, const char *path, const char *text);
void kit_rename(struct kit *kit, const char *from, const char *to);
/* A journal's line; `user` goes between quotes, `value` as it is. */
char *kit_add(struct kit *kit, const char *user, const char *value);
char *kit_subtract(struct kit *kit, const char *user, const char *value);

/* ---- servers and requests ---- */

/* A server on the test's database with this journal and extra options. */
#define kit_serve_live(...)               KIT_SERVE_LIVE(__VA_ARGS__, NULL)
#define KIT_SERVE_LIVE(kit, journal, ...) kit_start_live(kit, journal, (const char *const[]){__VA_ARGS__})
struct kit_server *kit_start_live(struct kit *kit, const char *journal, const char *const *arguments);

const struct kit_response *kit_post_live(struct kit_server *server, const char *json);
const struct kit_response *kit_post_live_lines(struct kit_server *server, const char *lines);
/* Posts one event that must be taken. */
#define kit_live(server, json) kit_live_at(server, json, __FILE__, __LINE__)
void kit_live_at(struct kit_server *server, const char *json, const char *file, int line);

/* GET /userEvents answers exactly {"userId":"USER","revenue":REVENUE}, or 404 where that is NULL. */
#define kit_assert_revenue(server, user, revenue)                                                            \
    kit_assert_revenue_at(server, user, revenue, __FILE__, __LINE__)
void kit_assert_revenue_at(struct kit_server *server, const char *user, const char *revenue, const char *file,
                           int line);
/* Asks until it does; fails the test after 5 s. */
#define kit_wait_until_revenue(server, user, revenue)                                                        \
    kit_wait_until_revenue_at(server, user, revenue, __FILE__, __LINE__)
void kit_wait_until_revenue_at(struct kit_server *server, const char *user, const char *revenue,
                               const char *file, int line);

/* ---- the command `process` ---- */

/* Starts `process JOURNAL --database URL` with extra options, and returns at once. Its end is judged and its
 * output read as that of a server (kit_wait_exit, kit_signal, kit_kill, kit_log). */
#define kit_start_processor(...) KIT_START_PROCESSOR(__VA_ARGS__, NULL)
#define KIT_START_PROCESSOR(kit, journal, ...)                                                               \
    kit_start_processor_with(kit, journal, (const char *const[]){__VA_ARGS__}, -1)
/* `terminal`: what its stdout and stderr are, -1 for files. */
struct kit_server *kit_start_processor_with(struct kit *kit, const char *journal, const char *const *options,
                                            int terminal);
/* Whether it has ended; then kit_wait_exit() returns at once. */
bool kit_processor_has_ended(struct kit_server *processor);
/* Waits for its end and tells what became of it. */
const struct kit_run *kit_finish_processor(struct kit_server *processor);
const struct kit_run *kit_run_processor(struct kit *kit, const char *journal);

/* What the summary on stdout must say. */
struct kit_summary {
    int64_t lines, users;           /* users -1: any number */
    const char *added, *subtracted; /* patterns; NULL: anything */
    int64_t skipped;
};
/* The exit status, and a summary that says exactly this on stdout and nothing else there. */
#define kit_expect_summary(kit, run, status, ...)                                                            \
    kit_expect_summary_at(kit, run, status, &(struct kit_summary){__VA_ARGS__}, __FILE__, __LINE__)
void kit_expect_summary_at(struct kit *kit, const struct kit_run *run, int status,
                           const struct kit_summary *wanted, const char *file, int line);
/* Runs it now; nothing but this is counted, with exit status 0. */
#define kit_process_all(kit, journal, ...)                                                                   \
    kit_expect_summary(kit, kit_run_processor(kit, journal), 0, __VA_ARGS__)
/* How many lines a summary says were counted. */
int64_t kit_counted(struct kit *kit, const struct kit_run *run);
/* Exit status 2, one line on stderr that matches the pattern, and no summary. */
void kit_expect_refusal(struct kit *kit, const struct kit_run *run, const char *pattern);

/* ---- many lines with known sums ---- */

enum { KIT_REVENUE_USERS_MAX = 1000 };

struct kit_revenues {
    size_t users; /* "user0", "user1", ... */
    int64_t lines;
    int64_t thousandths[KIT_REVENUE_USERS_MAX]; /* what each user's revenue must be */
};

/* Appends events of random users and values, added and subtracted, and keeps the books. */
void kit_append_events(struct kit *kit, const char *path, struct kit_revenues *revenues, int64_t lines);
/* Every user's revenue is as in the books. */
void kit_check_revenues(struct kit_server *server, const struct kit_revenues *revenues);

/* ---- clients that post ---- */

enum { KIT_LIVE_CLIENTS_MAX = 50, KIT_LIVE_EVENTS_MAX = 20000 };

enum kit_live_fate {
    KIT_LIVE_UNSENT,
    KIT_LIVE_UNKNOWN, /* sent, and no answer came, or one that leaves it open */
    KIT_LIVE_TAKEN,
    KIT_LIVE_REFUSED, /* 503 */
};

struct kit_live_load;

struct kit_live_client {
    struct kit_live_load *load;
    int number, sent;
    unsigned char fates[KIT_LIVE_EVENTS_MAX];
    char problem[200];
};

/* Client C of load L posts {"userId":"load L client C","name":"add_revenue","value":N}, N = 0, 1, 2, ..., one
 * after the other over one connection. */
struct kit_live_load {
    struct kit_server *server;
    int number, client_count;
    bool may_break, may_refuse; /* connections break, events are refused: the server is meant to */
    atomic_int taken, refused;
    atomic_bool stop, failed;
    struct kit_live_client *clients;
    pthread_t threads[KIT_LIVE_CLIENTS_MAX];
};

/* What the load's clients need not complain about. */
enum { KIT_LIVE_MAY_BREAK = 1, KIT_LIVE_MAY_REFUSE = 2 };
struct kit_live_load *kit_start_load(struct kit_server *server, int number, int client_count, unsigned may);
/* Waits until that many events in all were taken. */
void kit_wait_until_taken(struct kit_live_load *load, int count);
/* Ends the clients, and judges their answers. */
void kit_finish_load(struct kit_live_load *load);

/* The lines of some journals, of which all were written by loads. */
struct kit_live_lines {
    int64_t events; /* of all loads */
    int halves;     /* lines that only begin like an event: what a crash has left */
};

/* Each event of the load that was taken is exactly once in the files, in its client's order, none that was
 * refused, those without an answer at most once; and the files hold nothing but events of loads and halves. */
struct kit_live_lines kit_check_load(struct kit *kit, const struct kit_live_load *load,
                                     const char *const *paths);

#endif
