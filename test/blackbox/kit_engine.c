/* The two databases of the tests, and a server on the one of the running test. */
#include <stdlib.h>
#include <string.h>

#include "../postgres.h"
#include "kit_events.h"

#define ARGUMENTS_MAX 32

/* cmocka runs one test at a time. */
static struct {
    enum kit_engine engine;
    const char *url; /* NULL until the test asks for its database */
} current;

static struct postgres *cluster;
static bool cluster_failed; /* not to be tried for each test again: it takes its time */

static int set_up(void **state, enum kit_engine engine)
{
    current.engine = engine;
    current.url = NULL;
    return kit_setup(state);
}

int kit_setup_sqlite(void **state)
{
    return set_up(state, KIT_SQLITE);
}

int kit_setup_postgresql(void **state)
{
    return set_up(state, KIT_POSTGRESQL);
}

int kit_end_postgres(void **state)
{
    (void)state;
    postgres_free(cluster);
    cluster = NULL;
    return 0;
}

enum kit_engine kit_engine(void)
{
    return current.engine;
}

struct postgres *kit_postgres(struct kit *kit)
{
    if (cluster == NULL && !cluster_failed)
        cluster = postgres_start();
    cluster_failed = cluster == NULL;
    if (cluster_failed)
        kit_fail(kit, "PostgreSQL can't be started");
    return cluster;
}

const char *kit_database(struct kit *kit)
{
    if (current.url != NULL)
        return current.url;
    if (current.engine == KIT_SQLITE)
        current.url = kit_format(kit, "sqlite:%s/events.db", kit_make_directory(kit));
    else
        current.url = postgres_new_database(kit_postgres(kit));
    if (current.url == NULL)
        kit_fail(kit, "no new database in PostgreSQL");
    return current.url;
}

struct kit_server *kit_start_events(struct kit *kit, const char *const *arguments)
{
    const char *all[ARGUMENTS_MAX + 1] = {"--database", kit_database(kit)};
    for (size_t used = 2; *arguments != NULL; arguments++) {
        if (used == ARGUMENTS_MAX)
            kit_fail(kit, "too many arguments");
        all[used++] = *arguments;
    }
    return kit_start(kit, &(struct kit_start){.arguments = all});
}
