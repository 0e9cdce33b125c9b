/* What the tests share that run on both engines: a place for a database on either, and how the tests are listed. */
#ifndef STORAGE_ENGINES_KIT_H
#define STORAGE_ENGINES_KIT_H

#include "storage_kit.h"

#include "../postgres.h"

/* Where a test has its database. */
struct place {
    bool on_sqlite;
    struct database_file file; /* for its log on PostgreSQL */
    const char *url;
};

static struct postgres *cluster;
static const bool on_sqlite = true, on_postgresql = false;

static inline int cluster_start(void **state)
{
    (void)state;
    cluster = postgres_start();
    return cluster == NULL ? -1 : 0;
}

static inline int cluster_end(void **state)
{
    (void)state;
    postgres_free(cluster);
    return 0;
}

static inline struct place *place_make(const bool *sqlite)
{
    static struct place place;
    place = (struct place){.on_sqlite = *sqlite};
    database_file_make(&place.file);
    place.url = place.on_sqlite ? place.file.url : postgres_new_database(cluster);
    assert_non_null(place.url);
    return &place;
}

static inline struct storage *place_open(const struct place *place)
{
    return kit_open_storage(place->url, &place->file.log);
}

static inline void place_run(const struct place *place, const char *sql)
{
    if (place->on_sqlite) {
        database_file_run(&place->file, sql);
        return;
    }
    char *answer = postgres_query(cluster, place->url, sql);
    assert_non_null(answer);
    free(answer);
}

/* The first value of the first row. */
static inline int64_t place_number(const struct place *place, const char *sql)
{
    if (place->on_sqlite)
        return database_file_number(&place->file, sql);
    char *answer = postgres_query(cluster, place->url, sql);
    assert_non_null(answer);
    int64_t number = strtoll(answer, NULL, 10);
    free(answer);
    return number;
}

#define ON_SQLITE(test)                                                                                      \
    {                                                                                                        \
        .name = #test " (SQLite)", .test_func = (test), .initial_state = (void *)(uintptr_t)&on_sqlite       \
    }
#define ON_BOTH(test)                                                                                        \
    ON_SQLITE(test),                                                                                         \
    {                                                                                                        \
        .name = #test " (PostgreSQL)", .test_func = (test),                                                  \
        .initial_state = (void *)(uintptr_t)&on_postgresql                                                   \
    }

#endif
