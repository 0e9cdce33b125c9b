/*
 * Measures the metrics module in one process, without HTTP: how fast events come in, what a query of the whole window
 * takes with few and with very many events in it, how much memory an event takes, whether the limit of memory holds,
 * and for how long swaps of the reference table hold ingest and queries up.
 *
 * usage: metrics [EVENTS [USERS]]      by default 10000000 events of 100000 users in a window of 1800 s
 *
 * Prints a name and a number a line: ingest_* in events a second, of batches of 1,000, while the window fills and when as
 * many leave it; medians of queries; the longest calls (of 100 events, or a query) of two threads while tables are
 * built and swapped, and for as long without (quiet_*), as other processes hold calls up too. The clock is the program's
 * own and runs as fast as events come in. Times are those of the calls alone.
 */
#include "metrics/metrics.h"
#include "base/clock.h"
#include "common.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RETENTION = 1800,
    BATCH = 1000,
    PLANS = 4,
    REGIONS = 6,
    TYPES = 10,
    FEW_EVENTS = 10000,
    QUERIES = 4000,
    SWAPS = 5,
    ID_BYTES = 40,
    USER_BYTES = 16,
    MEGABYTE = 1024 * 1024,
    LIMIT_BYTES = 128 * MEGABYTE,
};

#define ENOUGH_BYTES (UINT64_C(8) << 30)

static const char *const types[TYPES] = {"click", "view",   "purchase", "login",    "logout",
                                         "share", "search", "add_item", "checkout", "signup"};

struct bench {
    _Atomic int64_t wall_ms;
    struct metrics *metrics;
    unsigned users;
    uint64_t random;
    uint64_t next_id;
    uint64_t ingest_ns; /* in metrics_ingest alone */
    uint64_t accepted;
    /* The batch. */
    struct metrics_event events[BATCH];
    enum metrics_result results[BATCH];
    char ids[BATCH][ID_BYTES];
    char names[BATCH][USER_BYTES];
    char timestamps[BATCH][CLOCK_RFC3339_BYTES];
};

static int64_t wall_ms(void *context)
{
    return atomic_load(&((struct bench *)context)->wall_ms);
}

static int64_t monotonic_ns(void *context)
{
    return wall_ms(context) * CLOCK_NS_PER_MS;
}

static unsigned draw(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

/* Pages of this process that are in memory, as the system counts them. */
static uint64_t resident_bytes(void)
{
    uint64_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %" SCNu64, &pages) != 1)
        fail("can't read /proc/self/statm");
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct bench *bench_create(unsigned users, uint64_t max_memory_bytes)
{
    struct bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL)
        fail("no memory");
    atomic_store(&bench->wall_ms, INT64_C(1759926896000));
    bench->users = users;
    bench->random = UINT64_C(0x9E3779B97F4A7C15);
    struct metrics_options options = {
        .clock = {.monotonic_ns = monotonic_ns, .wall_ms = wall_ms, .context = bench},
        .retention_s = RETENTION,
        .max_memory_bytes = max_memory_bytes,
    };
    bench->metrics = metrics_create(&options);
    if (bench->metrics == NULL)
        fail("no metrics");
    return bench;
}

static void bench_free(struct bench *bench)
{
    metrics_free(bench->metrics);
    free(bench);
}

/* Makes a batch of events within some seconds of now. */
static void make_batch(struct bench *bench, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int64_t late_ms = draw(&bench->random, 4) == 0 ? draw(&bench->random, 5000) : 0;
        snprintf(bench->ids[i], ID_BYTES, "7f3c9a52-%016" PRIx64, bench->next_id++);
        snprintf(bench->names[i], USER_BYTES, "u-%u", draw(&bench->random, bench->users));
        clock_format_rfc3339(wall_ms(bench) - late_ms, bench->timestamps[i]);
        bench->events[i] = (struct metrics_event){
            .id = text_from(bench->ids[i]),
            .user = text_from(bench->names[i]),
            .type = text_from(types[draw(&bench->random, TYPES)]),
            .timestamp = text_from(bench->timestamps[i]),
        };
    }
}

static uint64_t ingest(struct bench *bench, unsigned count)
{
    make_batch(bench, count);
    uint64_t begin = now_nanoseconds();
    metrics_ingest(bench->metrics, bench->events, count, bench->results);
    uint64_t took = now_nanoseconds() - begin;
    for (unsigned i = 0; i < count; i++) {
        if (bench->results[i] != METRICS_ACCEPTED)
            fail("event %s: result %d", bench->ids[i], (int)bench->results[i]);
    }
    bench->ingest_ns += took;
    bench->accepted += count;
    return took;
}

/* Runs the clock on for some seconds, with so many events in all. */
static void run(struct bench *bench, unsigned seconds, uint64_t events)
{
    uint64_t done = 0;
    for (unsigned second = 1; second <= seconds; second++) {
        atomic_fetch_add(&bench->wall_ms, 1000);
        while (done < events * second / seconds) {
            uint64_t left = events * second / seconds - done;
            unsigned count = left < BATCH ? (unsigned)left : BATCH;
            ingest(bench, count);
            done += count;
        }
        metrics_round(bench->metrics, NULL);
    }
}

static uint64_t set_table(struct bench *bench, unsigned variant, uint64_t *build_ns)
{
    uint64_t begin = now_nanoseconds();
    struct reference_builder *builder = metrics_reference_begin(bench->metrics, variant);
    if (builder == NULL)
        fail("no memory");
    for (unsigned user = 0; user < bench->users; user++) {
        char id[USER_BYTES], plan[16], region[16];
        snprintf(id, sizeof id, "u-%u", user);
        snprintf(plan, sizeof plan, "plan-%u", (user + variant) % PLANS);
        snprintf(region, sizeof region, "region-%u", (user / 3 + variant) % REGIONS);
        if (user % 20 != 0 && /* one in twenty is unknown */
            reference_add(builder, text_from(id), text_from(plan), text_from(region),
                          TEXT("{\"userName\":\"Somebody\",\"email\":\"somebody@example.com\"}")) !=
                REFERENCE_OK)
            fail("no memory");
    }
    struct reference *reference = reference_finish(builder);
    *build_ns = now_nanoseconds() - begin;
    begin = now_nanoseconds();
    if (metrics_set_reference(bench->metrics, reference) != METRICS_SET_OK)
        fail("no memory");
    uint64_t took = now_nanoseconds() - begin;
    reference_release(reference);
    return took;
}

static uint64_t query(struct bench *bench)
{
    struct metrics_answer answer;
    uint64_t begin = now_nanoseconds();
    if (metrics_query(bench->metrics, RETENTION, &answer) != 0)
        fail("no memory");
    uint64_t took = now_nanoseconds() - begin;
    uint64_t sum = answer.unknown;
    for (size_t i = 0; i < answer.by_plan.length; i++)
        sum += answer.by_plan.counts[i].count;
    if (sum != answer.events)
        fail("%" PRIu64 " events, but %" PRIu64 " by plan", answer.events, sum);
    metrics_answer_free(&answer);
    return took;
}

/* The median of many queries, at 64 places of the ring, in microseconds. */
static double measure_queries(struct bench *bench)
{
    static double times[QUERIES];
    uint64_t events = bench->accepted / RETENTION;
    for (unsigned i = 0; i < QUERIES; i++) {
        if (i % (QUERIES / 64) == 0)
            run(bench, 1, events < 5 ? events : 5);
        times[i] = (double)query(bench) / 1000;
    }
    return quantile(times, QUERIES, 0.5);
}

/* --- a swap, and who goes on meanwhile --- */

struct caller {
    struct bench *bench;
    atomic_bool stop;
    uint64_t calls;
    double longest_ms;
    uint64_t (*call)(struct bench *bench);
};

static uint64_t ingest_100(struct bench *bench)
{
    return ingest(bench, 100);
}

static void *call_on(void *context)
{
    struct caller *caller = context;
    while (!atomic_load(&caller->stop)) {
        double took_ms = (double)caller->call(caller->bench) / 1e6;
        if (took_ms > caller->longest_ms)
            caller->longest_ms = took_ms;
        caller->calls++;
    }
    return NULL;
}

/* Has one thread take events in and one ask, while `swaps` tables are set, or for `pause_ns` when there are none. */
static uint64_t measure_swaps(struct bench *bench, const char *name, unsigned swaps, uint64_t pause_ns)
{
    struct caller callers[2] = {{.bench = bench, .call = ingest_100}, {.bench = bench, .call = query}};
    pthread_t threads[2];
    uint64_t begin = now_nanoseconds(), swap_ns = 0, build_ns = 0;
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, call_on, &callers[i]) != 0)
            fail("no thread");
    }
    for (unsigned i = 0; i < swaps; i++)
        swap_ns += set_table(bench, 100 + i, &build_ns);
    if (swaps == 0) {
        struct timespec pause = {.tv_sec = (time_t)(pause_ns / 1000000000),
                                 .tv_nsec = (long)(pause_ns % 1000000000)};
        nanosleep(&pause, NULL);
    }
    uint64_t took = now_nanoseconds() - begin;
    for (int i = 0; i < 2; i++) {
        atomic_store(&callers[i].stop, true);
        pthread_join(threads[i], NULL);
    }
    if (swaps > 0)
        printf("build_ms %.1f\nswap_ms %.1f\n", (double)build_ns / 1e6, (double)swap_ns / swaps / 1e6);
    printf("%s_ingest_longest_ms %.2f\n%s_query_longest_ms %.2f\n", name, callers[0].longest_ms, name,
           callers[1].longest_ms);
    fprintf(stderr, "%s: %" PRIu64 " batches and %" PRIu64 " queries in %.0f ms\n", name, callers[0].calls,
            callers[1].calls, (double)took / 1e6);
    return took;
}

/* The first query after it goes through the log. */
static void measure_step_back(struct bench *bench)
{
    atomic_fetch_sub(&bench->wall_ms, 2000);
    printf("step_back_ms %.1f\n", (double)query(bench) / 1e6);
}

static void measure_few(unsigned users)
{
    struct bench *bench = bench_create(users, ENOUGH_BYTES);
    uint64_t build_ns;
    set_table(bench, 0, &build_ns);
    run(bench, RETENTION, FEW_EVENTS);
    printf("query_few_us %.2f\n", measure_queries(bench));
    bench_free(bench);
}

static double rate(const struct bench *bench)
{
    return (double)bench->accepted / (double)bench->ingest_ns * 1e9;
}

static void measure_many(unsigned users, uint64_t events)
{
    struct bench *bench = bench_create(users, ENOUGH_BYTES);
    uint64_t build_ns;
    set_table(bench, 0, &build_ns);
    uint64_t before = metrics_counts(bench->metrics).memory_bytes;
    uint64_t resident_before = resident_bytes();
    run(bench, RETENTION, events);
    struct metrics_counts counts = metrics_counts(bench->metrics);
    printf("ingest_filling %.0f\n", rate(bench));
    printf("bytes_an_event %.1f\n", (double)(counts.memory_bytes - before) / (double)counts.events);
    printf("resident_bytes_an_event %.1f\n",
           (double)(resident_bytes() - resident_before) / (double)counts.events);
    printf("query_many_us %.2f\n", measure_queries(bench));
    bench->accepted = bench->ingest_ns = 0;
    run(bench, RETENTION / 10, events / 10);
    printf("ingest_full %.0f\n", rate(bench));
    uint64_t took = measure_swaps(bench, "swap", SWAPS, 0);
    measure_swaps(bench, "quiet", 0, took);
    measure_step_back(bench);
    bench_free(bench);
}

/* Events come in until there is no memory for any. */
static void measure_limit(unsigned users)
{
    struct bench *bench = bench_create(users, LIMIT_BYTES);
    uint64_t build_ns, before = resident_bytes(), taken = 0;
    set_table(bench, 0, &build_ns);
    unsigned refused = 0;
    for (unsigned second = 0; second < RETENTION / 2 && refused < BATCH; second++) {
        atomic_fetch_add(&bench->wall_ms, 1000);
        for (unsigned batch = 0; batch < 10 && refused < BATCH; batch++) {
            make_batch(bench, BATCH);
            metrics_ingest(bench->metrics, bench->events, BATCH, bench->results);
            refused = 0;
            for (unsigned i = 0; i < BATCH; i++)
                refused += bench->results[i] == METRICS_FULL;
            taken += BATCH - refused;
        }
    }
    if (refused < BATCH)
        fail("%" PRIu64 " events did not fill %d bytes", taken, (int)LIMIT_BYTES);
    query(bench);
    uint64_t counted = metrics_counts(bench->metrics).memory_bytes;
    printf("limit_mb %d\nlimit_counted_mb %.4f\n", LIMIT_BYTES / MEGABYTE, (double)counted / MEGABYTE);
    printf("limit_resident_mb %.4f\n", (double)(resident_bytes() - before) / MEGABYTE);
    fprintf(stderr, "limit: %" PRIu64 " events\n", taken);
    bench_free(bench);
}

int main(int argument_count, char **arguments)
{
    uint64_t events = 10000000;
    unsigned users = 100000;
    if (argument_count > 1)
        events = parse_number(arguments[1], "EVENTS", RETENTION, 1000000000);
    if (argument_count > 2)
        users = (unsigned)parse_number(arguments[2], "USERS", 1, 100000000);
    setvbuf(stdout, NULL, _IOLBF, 0);
    measure_limit(users);
    measure_few(users);
    measure_many(users, events);
    return 0;
}
