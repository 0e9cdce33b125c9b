/* Servers with a switchboard of faults, and what they hold. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../postgres.h"
#include "kit_events.h"
#include "kit_faults.h"
#include "kit_internal.h"

static struct faults *map_new(struct kit *kit, const char *path)
{
    int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0 || ftruncate(descriptor, sizeof(struct faults)) != 0)
        kit_fail(kit, "%s: %s", path, strerror(errno));
    void *mapped = mmap(NULL, sizeof(struct faults), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped == MAP_FAILED)
        kit_fail(kit, "mmap: %s", strerror(errno));
    return mapped; /* a page, for the life of the test program */
}

struct faults *kit_faults(struct kit *kit)
{
    const char *switchboard = kit_format(kit, "%s/faults", kit_make_directory(kit));
    struct faults *faults = map_new(kit, switchboard);
    const char *folder = kit_format(kit, "%s/faults", dirname(kit_format(kit, "%s", kit->binary)));
    const char *linked = kit_format(kit, "%s/event-syncer", folder);
    const char *library = kit_format(kit, "%s/faults.so", folder);
    size_t used = 0;
    kit->environment[used++] = kit_format(kit, "%s=%s", FAULTS_VARIABLE, switchboard);
    if (access(linked, X_OK) == 0)
        kit->binary = linked;
    else if (access(library, R_OK) == 0)
        kit->environment[used++] = kit_format(kit, "LD_PRELOAD=%s", library);
    else
        kit_fail(kit, "neither event-syncer nor faults.so in %s: run make tests", folder);
    return faults;
}

void kit_fail_allocations(struct faults *faults, uint64_t nth, uint64_t count)
{
    uint64_t first = atomic_load(&faults->allocations) + nth;
    atomic_store(&faults->last, first + count - 1);
    atomic_store(&faults->first, first);
}

void kit_fail_every(struct faults *faults, uint64_t every)
{
    atomic_store(&faults->every, every);
}

void kit_fail_files(struct faults *faults, const char *name, unsigned calls, int error)
{
    atomic_store(&faults->file_calls, 0);
    snprintf(faults->file_name, sizeof faults->file_name, "%s", name);
    atomic_store(&faults->file_error, error);
    atomic_store(&faults->file_calls, calls);
}

void kit_faults_end(struct faults *faults)
{
    atomic_store(&faults->first, 0);
    atomic_store(&faults->every, 0);
    atomic_store(&faults->thread_error, 0);
    atomic_store(&faults->file_calls, 0);
}

void kit_await_links(struct kit *kit)
{
    enum { LINKS = 6 }; /* a writer, 4 readers, the listener */
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    int count = 0;
    while (kit_engine() == KIT_POSTGRESQL && count < LINKS) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "%d connections to the database", count);
        char *found =
            postgres_query(kit_postgres(kit), kit_database(kit),
                           "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                           "AND application_name = 'event-syncer'");
        count = found == NULL ? 0 : atoi(found);
        free(found);
    }
}

static int64_t count_entries(struct kit_server *server, const char *kind)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)kit_process(server), kind);
    DIR *folder = opendir(path);
    if (folder == NULL)
        kit_fail(kit_of(server), "%s: %s", path, strerror(errno));
    int64_t count = -2; /* . and .. */
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

struct kit_holdings kit_holdings(struct kit_server *server)
{
    int64_t spare = kit_health(server, "threads.spare");
    struct kit_holdings holdings = {
        .threads = count_entries(server, "task") - spare,
        .connections = kit_health(server, "connections.open") - 1,
        .streams = kit_health(server, "streams"),
    };
    holdings.descriptors = count_entries(server, "fd");
    return holdings;
}

void kit_wait_until_holdings(struct kit_server *server, const struct kit_holdings *wanted)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    for (;;) {
        struct kit_holdings now = kit_holdings(server);
        if (now.descriptors <= wanted->descriptors && now.threads <= wanted->threads &&
            now.connections <= wanted->connections && now.streams <= wanted->streams)
            return;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server),
                     "the server holds %lld descriptors, %lld threads, %lld connections, %lld streams, "
                     "before it were %lld, %lld, %lld, %lld",
                     (long long)now.descriptors, (long long)now.threads, (long long)now.connections,
                     (long long)now.streams, (long long)wanted->descriptors, (long long)wanted->threads,
                     (long long)wanted->connections, (long long)wanted->streams);
        kit_pause();
    }
}
