/* A throw-away PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port of 127.0.0.1.
 *
 * Needs Debian's package postgresql installed, and no server that somebody has set up. PostgreSQL refuses to run as
 * root: then its programs run as the user `postgres`. Everything ends with the test program, even when that is killed
 * (the postmaster gets a signal when its parent goes, or notices). No function fails a test: they return NULL or -1 and
 * print why to stderr. One thread at a time.
 */
#ifndef TEST_POSTGRES_H
#define TEST_POSTGRES_H

#include <stdbool.h>

struct postgres;

/* Makes a cluster and starts it; returns when it accepts connections. */
struct postgres *postgres_start(void);

/* Makes an empty database under a new name and returns its URL (postgres://...), which lives as long as the cluster. */
const char *postgres_new_database(struct postgres *postgres);

/* Ends the server: as an operator would (open sessions are rolled back and closed), or as a power cut would. */
int postgres_stop(struct postgres *postgres, bool at_once);

/* Starts it again on the same port. Returns when it accepts connections. */
int postgres_restart(struct postgres *postgres);

/* Stops (SIGSTOP) and continues (SIGCONT) all processes of the server: nothing answers, no connection breaks. */
int postgres_freeze(struct postgres *postgres);
int postgres_thaw(struct postgres *postgres);

/* Runs SQL in a database by its URL, as the superuser; the first value of the first row as text (the caller frees it),
 * "" for none, NULL on failure. */
char *postgres_query(struct postgres *postgres, const char *url, const char *sql);

/* Ends the server and removes its folder. Takes NULL. */
void postgres_free(struct postgres *postgres);

#endif
