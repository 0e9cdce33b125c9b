#include "upstream/breaker.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

struct breaker {
    struct breaker_config config; /* never changes */
    pthread_mutex_t mutex;
    /* All below under the mutex. */
    enum breaker_state state;
    uint64_t period; /* from 1 */
    int64_t latest;  /* the latest instant that was seen */
    /* Closed: the instants of the row's last failures. The one of number n (from 0) lies at n % failures_to_open. */
    int64_t failed_at[BREAKER_MOST_FAILURES];
    uint64_t row;
    uint32_t probes_lost;
    bool probe_under_way; /* only while half-open */
    int64_t probe_at;     /* while open */
    struct breaker_counts counts;
};

static uint64_t draw_from_system(void *context)
{
    (void)context;
    uint64_t number = 0;
    /* Without a random source the back-off is the shortest: still inside its bounds. */
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
        return 0;
    return number;
}

const struct breaker_config breaker_defaults = {
    .failures_to_open = 3,
    .row_ns = 30 * CLOCK_NS_PER_SECOND,
    .first_backoff_ns = CLOCK_NS_PER_SECOND,
    .longest_backoff_ns = 60 * CLOCK_NS_PER_SECOND,
    .draw = draw_from_system,
};

static bool is_in_range(const struct breaker_config *config)
{
    return config->failures_to_open >= 1 && config->failures_to_open <= BREAKER_MOST_FAILURES &&
           config->row_ns >= 0 && config->first_backoff_ns >= 1 &&
           config->longest_backoff_ns >= config->first_backoff_ns &&
           config->longest_backoff_ns <= INT64_MAX / 4 && config->draw != NULL;
}

struct breaker *breaker_create(const struct breaker_config *config)
{
    if (!is_in_range(config)) {
        errno = EINVAL;
        return NULL;
    }
    struct breaker *breaker = calloc(1, sizeof *breaker);
    if (breaker == NULL)
        return NULL;
    breaker->config = *config;
    breaker->state = BREAKER_CLOSED;
    breaker->period = 1;
    pthread_mutex_init(&breaker->mutex, NULL);
    return breaker;
}

void breaker_free(struct breaker *breaker)
{
    if (breaker == NULL)
        return;
    pthread_mutex_destroy(&breaker->mutex);
    free(breaker);
}

static int64_t observe_locked(struct breaker *breaker, int64_t now)
{
    if (now > breaker->latest)
        breaker->latest = now;
    return breaker->latest;
}

/* The length of the next back-off: equal jitter. */
static int64_t draw_backoff_locked(struct breaker *breaker)
{
    int64_t longest = breaker->config.longest_backoff_ns;
    int64_t nominal = breaker->config.first_backoff_ns;
    for (uint32_t i = 0; i < breaker->probes_lost && nominal < longest; i++)
        nominal *= 2;
    if (nominal > longest)
        nominal = longest;
    int64_t jitter = nominal / 2;
    /* Of 2^64 numbers the surplus that modulo favours is nothing beside a few thousand million. */
    uint64_t drawn = breaker->config.draw(breaker->config.draw_context) % ((uint64_t)jitter + 1);
    return nominal - jitter + (int64_t)drawn;
}

static struct breaker_change change_state_locked(struct breaker *breaker, enum breaker_state to)
{
    struct breaker_change change = {
        .from = breaker->state,
        .to = to,
        .period = ++breaker->period,
        .probes_lost = breaker->probes_lost,
    };
    breaker->state = to;
    breaker->probe_under_way = to == BREAKER_HALF_OPEN;
    return change;
}

static struct breaker_change open_locked(struct breaker *breaker, int64_t now)
{
    uint64_t row = breaker->row;
    struct breaker_change change = change_state_locked(breaker, BREAKER_OPEN);
    change.failed_row = (uint32_t)(row < UINT32_MAX ? row : UINT32_MAX);
    change.backoff_ns = draw_backoff_locked(breaker);
    breaker->probe_at = now + change.backoff_ns;
    breaker->row = 0;
    breaker->counts.opened++;
    return change;
}

/* Adds a failure to the row. Whether it is one that opens the breaker. */
static bool add_to_row_locked(struct breaker *breaker, int64_t now)
{
    uint32_t wanted = breaker->config.failures_to_open;
    breaker->failed_at[breaker->row % wanted] = now;
    breaker->row++;
    if (breaker->row < wanted)
        return false;
    return now - breaker->failed_at[breaker->row % wanted] <= breaker->config.row_ns;
}

static void tell(const struct breaker *breaker, const struct breaker_change *change)
{
    if (change->period != 0 && breaker->config.changed != NULL)
        breaker->config.changed(breaker->config.changed_context, change);
}

static enum breaker_entry give_ticket_locked(struct breaker *breaker, struct breaker_ticket *ticket,
                                             bool is_probe)
{
    *ticket = (struct breaker_ticket){.period = breaker->period, .is_probe = is_probe};
    breaker->counts.calls++;
    return is_probe ? BREAKER_PROBE : BREAKER_GO;
}

enum breaker_entry breaker_enter(struct breaker *breaker, int64_t now, struct breaker_ticket *ticket,
                                 int64_t *retry_at)
{
    struct breaker_change change = {.period = 0};
    enum breaker_entry entry;
    pthread_mutex_lock(&breaker->mutex);
    now = observe_locked(breaker, now);
    if (breaker->state == BREAKER_CLOSED) {
        entry = give_ticket_locked(breaker, ticket, false);
    } else if (breaker->state == BREAKER_OPEN && now >= breaker->probe_at) {
        change = change_state_locked(breaker, BREAKER_HALF_OPEN);
        entry = give_ticket_locked(breaker, ticket, true);
    } else if (breaker->state == BREAKER_HALF_OPEN && !breaker->probe_under_way) {
        breaker->probe_under_way = true;
        entry = give_ticket_locked(breaker, ticket, true);
    } else {
        *ticket = (struct breaker_ticket){.period = 0};
        *retry_at = breaker->state == BREAKER_OPEN ? breaker->probe_at : now;
        breaker->counts.refused++;
        entry = BREAKER_REFUSED;
    }
    pthread_mutex_unlock(&breaker->mutex);
    tell(breaker, &change);
    return entry;
}

/* What a result means that came in its own period. */
static struct breaker_change judge_locked(struct breaker *breaker, bool is_probe,
                                          enum breaker_outcome outcome, int64_t now)
{
    struct breaker_change none = {.period = 0};
    if (!is_probe) {
        if (outcome == BREAKER_SUCCESS)
            breaker->row = 0;
        else if (outcome == BREAKER_FAILURE && add_to_row_locked(breaker, now))
            return open_locked(breaker, now);
        return none;
    }
    if (outcome == BREAKER_SUCCESS) {
        breaker->probes_lost = 0;
        return change_state_locked(breaker, BREAKER_CLOSED);
    }
    if (outcome == BREAKER_FAILURE) {
        if (breaker->probes_lost < UINT32_MAX)
            breaker->probes_lost++;
        return open_locked(breaker, now);
    }
    breaker->probe_under_way = false;
    return none;
}

void breaker_leave(struct breaker *breaker, struct breaker_ticket *ticket, enum breaker_outcome outcome,
                   int64_t now)
{
    struct breaker_ticket given = *ticket;
    *ticket = (struct breaker_ticket){.period = 0};
    if (given.period == 0)
        return;
    struct breaker_change change = {.period = 0};
    pthread_mutex_lock(&breaker->mutex);
    now = observe_locked(breaker, now);
    if (outcome == BREAKER_SUCCESS)
        breaker->counts.successes++;
    else if (outcome == BREAKER_FAILURE)
        breaker->counts.failures++;
    else
        breaker->counts.cancelled++;
    if (given.period == breaker->period)
        change = judge_locked(breaker, given.is_probe, outcome, now);
    else if (outcome != BREAKER_CANCELLED)
        breaker->counts.late++;
    pthread_mutex_unlock(&breaker->mutex);
    tell(breaker, &change);
}

struct breaker_counts breaker_counts(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->mutex);
    struct breaker_counts counts = breaker->counts;
    uint32_t wanted = breaker->config.failures_to_open;
    counts.state = breaker->state;
    counts.period = breaker->period;
    counts.row = (uint32_t)(breaker->row < wanted ? breaker->row : wanted);
    counts.probes_lost = breaker->probes_lost;
    counts.probe_under_way = breaker->probe_under_way;
    counts.probe_at = breaker->state == BREAKER_OPEN ? breaker->probe_at : 0;
    pthread_mutex_unlock(&breaker->mutex);
    return counts;
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed",
        [BREAKER_OPEN] = "open",
        [BREAKER_HALF_OPEN] = "half-open",
    };
    return names[state];
}
