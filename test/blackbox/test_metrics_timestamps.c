/* The ts of events and tables: what is an instant, which instants are too far away, and which is the later one. */
#include <stdio.h>
#include <string.h>

#include "kit_metrics.h"

#define SKEWED  "Event %s timestamp is more than 2 minutes skewed."
#define LATE    "Event %s timestamp is outside the 2 minute lateness threshold."
#define INVALID "Event %s has an invalid timestamp"

/* Valid instants of the past: that they are late says that they are instants. */
static const char *const late[] = {
    "2025-10-08T12:34:56.789Z",
    "2025-10-08T12:34:56Z",
    "2025-10-08T12:34:56.1Z",
    "2025-10-08T12:34:56.12Z",
    "2025-10-08T12:34:56.123456Z",
    "2025-10-08T12:34:56.123456789Z",
    "2025-10-08T12:34:56.000000000000000000001Z",
    "2025-10-08t12:34:56.789z",
    "2025-10-08T12:34:56+00:00",
    "2025-10-08T12:34:56-00:00",
    "2025-10-08T12:34:56+02:00",
    "2025-10-08T12:34:56-05:30",
    "2025-10-08T12:34:56+23:59",
    "2025-10-08T12:34:56.789-23:59",
    "2025-01-01T00:00:00+14:00",
    "2024-12-31T23:59:59-12:00",
    "2024-02-29T12:34:56Z",
    "2000-02-29T23:59:59.999Z",
    "2025-01-31T00:00:00Z",
    "2025-12-31T23:59:59Z",
    "2025-04-30T00:00:00Z",
    "2025-02-28T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1900-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
};

static const char *const skewed[] = {
    "2999-10-08T12:34:56.789Z", "2096-02-29T12:34:56Z", "2400-02-29T12:34:56+01:00",
    "9999-12-31T23:59:59Z",     "2100-02-28T23:59:59Z", "2038-01-19T03:14:08Z",
};

static const char *const invalid[] = {
    "now",
    "0",
    "1759926896",
    "1759926896.789",
    "2025",
    "2025-10-08",
    "12:34:56Z",
    "2025-10-08T12:34:56",
    "2025-10-08T12:34:56.789",
    "2025-10-08T12:34Z",
    "2025-10-08T12Z",
    "2025-10-08T12:34:56.Z",
    "2025-10-08T12:34:56,789Z",
    "2025-10-08T12:34:.5Z",
    "2025-10-08T12:34:56.7x9Z",
    "2025-10-08T12:34:56.-1Z",
    "2025-10-08T12:34:56+02",
    "2025-10-08T12:34:56+0200",
    "2025-10-08T12:34:56+2:00",
    "2025-10-08T12:34:56+02:0",
    "2025-10-08T12:34:56+24:00",
    "2025-10-08T12:34:56+02:60",
    "2025-10-08T12:34:56+02:00Z",
    "2025-10-08T12:34:56Z+02:00",
    "2025-10-08T12:34:56 +02:00",
    "2025-10-08T12:34:56+02:00:00",
    "2025-10-08T12:34:56UTC",
    "2025-10-08T12:34:56Zx",
    "2025-10-08T12:34:56ZZ",
    "2025-10-08T12:34:56Z ",
    " 2025-10-08T12:34:56Z",
    "2025-10-08TT12:34:56Z",
    "2025-10-08X12:34:56Z",
    "+2025-10-08T12:34:56Z",
    "-2025-10-08T12:34:56Z",
    "12025-10-08T12:34:56Z",
    "025-10-08T12:34:56Z",
    "25-10-08T12:34:56Z",
    "2025-1-08T12:34:56Z",
    "2025-10-8T12:34:56Z",
    "2025-10-08T1:34:56Z",
    "2025/10/08T12:34:56Z",
    "20251008T123456Z",
    "2025-281T12:34:56Z",
    "2025-W41-3T12:34:56Z",
    "2025-00-08T12:34:56Z",
    "2025-13-08T12:34:56Z",
    "2025-10-00T12:34:56Z",
    "2025-10-32T12:34:56Z",
    "2025-04-31T12:34:56Z",
    "2025-02-29T12:34:56Z",
    "2025-02-30T12:34:56Z",
    "2024-02-30T12:34:56Z",
    "1900-02-29T12:34:56Z",
    "2100-02-29T12:34:56Z",
    "2025-10-08T24:00:00Z",
    "2025-10-08T25:34:56Z",
    "2025-10-08T12:60:56Z",
    "2025-10-08T12:34:61Z",
    "2025-10-08T12:34:99Z",
    "2025-10-08T-1:34:56Z",
    "2025-10-08T12:+4:56Z",
    "2025-10-08T12:34: 6Z",
    "0x7e9-10-08T12:34:56Z",
    "Wed, 08 Oct 2025 12:34:56 GMT",
    "\xef\xbc\x92\xef\xbc\x90\xef\xbc\x92\xef\xbc\x95-10-08T12:34:56Z",
    ("2025\xe2\x80\x91"
     "10\xe2\x80\x91"
     "08T12:34:56Z"),
    "\\\"",
};

/* All in one request, so that they are judged as they stand in a batch too. */
static void check_all(struct kit_server *server, const char *const *instants, size_t count, const char *form)
{
    struct kit *kit = kit_of(server);
    char *lines = kit_format(kit, "%s", "");
    for (size_t i = 0; i < count; i++)
        lines = kit_format(kit, "%s%s\n", lines,
                           kit_click(kit, kit_format(kit, "e%zu", i), "u", "click", instants[i]));
    const struct kit_results *results = kit_results(kit_post_events(server, KIT_NDJSON, lines));
    assert_int_equal(results->count, count);
    for (size_t i = 0; i < count; i++) {
        kit_note(kit, "%s", instants[i]);
        assert_string_equal(results->results[i].message, kit_format(kit, form, results->results[i].id));
    }
    kit_assert_metrics(server, 1800, .plans = "", .regions = "", .types = "");
}

static void instants_of_the_past_are_late(void **state)
{
    check_all(kit_serve(*state), late, KIT_COUNT(late), LATE);
}

static void instants_of_the_future_are_skewed(void **state)
{
    check_all(kit_serve(*state), skewed, KIT_COUNT(skewed), SKEWED);
}

static void what_is_no_instant_is_invalid(void **state)
{
    check_all(kit_serve(*state), invalid, KIT_COUNT(invalid), INVALID);
}

static void two_minutes_are_allowed(void **state)
{
    static const int64_t inside[] = {-110000, -60000, -1000, 0, 1000, 60000, 110000};
    static const struct {
        int64_t offset_ms;
        const char *message;
    } outside[] = {
        {-130000, "Event late timestamp is outside the 2 minute lateness threshold."},
        {-3600000, "Event late timestamp is outside the 2 minute lateness threshold."},
        {130000, "Event late timestamp is more than 2 minutes skewed."},
        {3600000, "Event late timestamp is more than 2 minutes skewed."},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(inside); i++)
        kit_add_events(server, 1, "u", "click", inside[i]);
    for (size_t i = 0; i < KIT_COUNT(outside); i++)
        kit_assert_event(server, kit_click(kit, "late", "u", "click", kit_instant(kit, outside[i].offset_ms)),
                         "late", outside[i].message);
}

/* The same instant of now by the clocks of other places, and with other fractions. */
static void offsets_and_fractions_count(void **state)
{
    static const struct {
        int hours, minutes;
        const char *rest;
    } rows[] = {
        {0, 0, "Z"},       {0, 0, ".5z"},       {0, 0, ".000000001+00:00"}, {0, 0, ".999999999-00:00"},
        {2, 0, "+02:00"},  {-5, -30, "-05:30"}, {23, 59, ".25+23:59"},      {-23, -59, "-23:59"},
        {14, 0, "+14:00"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *id = kit_format(kit, "e%zu", i);
        int64_t minutes = rows[i].hours * 60 + rows[i].minutes;
        /* 50 s ago: a wrong offset of an hour or a day can't look right. */
        const char *local = kit_instant(kit, minutes * 60000 - 50000);
        const char *ts = kit_format(kit, "%.19s%s", local, rows[i].rest);
        kit_note(kit, "%s", ts);
        kit_assert_event(server, kit_click(kit, id, "u", "click", ts), id, KIT_ACCEPTED);
    }
    kit_assert_metrics(server, 300, .unknown = KIT_COUNT(rows), .plans = "", .regions = "",
                       .types = "click=9");
    kit_assert_metrics(server, 30, .plans = "", .regions = "", .types = "");
}

/* ---- tables ---- */

static void a_table_needs_an_instant(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_put_users(server, "{\"u\":{\"plan\":\"free\"}}", "2000-01-01T00:00:00Z");
    for (size_t i = 0; i < KIT_COUNT(invalid); i++) {
        kit_note(kit, "%s", invalid[i]);
        const char *body = kit_table(kit, "{\"u\":{\"plan\":\"pro\"}}", invalid[i]);
        kit_assert_error(kit_put(server, body), 400, "ts");
    }
    kit_assert_metrics(server, 300, .plans = "free=0", .regions = "", .types = "");
}

/* Each is later than the one before it, or the same instant. */
static void tables_are_ordered_by_instants_not_by_text(void **state)
{
    static const char *const rising[] = {
        "0001-01-01T00:00:00Z",          "1969-12-31T23:59:59.999Z",  "1970-01-01T00:00:00Z",
        "2025-10-08T12:00:00Z",          "2025-10-08t12:00:00.000z",  "2025-10-08T14:00:00.001+02:00",
        "2025-10-08T06:30:00.01-05:30",  "2025-10-08T12:00:00.010Z",  "2025-10-08T12:00:00.1Z",
        "2025-10-08T12:00:00.100+00:00", "2025-10-09T11:59:01+23:59", "2025-10-07T12:01:01-23:59",
        "2999-12-31T23:59:59Z",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *users = "{}";
    for (size_t i = 0; i < KIT_COUNT(rising); i++) {
        kit_note(kit, "%s", rising[i]);
        users = kit_format(kit, "{\"u\":{\"plan\":\"p%zu\"}}", i);
        kit_put_users(server, users, rising[i]);
        /* Earlier ones that are surely earlier. */
        kit_assert_metrics(server, 300, .plans = kit_format(kit, "p%zu=0", i), .regions = "", .types = "");
        if (i > 3)
            kit_assert_error(kit_put(server, kit_table(kit, users, rising[2])), 409, "^Stale update: ");
    }
    static const char *const stale[] = {
        "2025-10-08T13:59:59.999+02:00", /* its text is later */
        "2025-10-08T06:29:59.999-05:30",
        "2025-10-09T11:58:59.999+23:59",
        "2025-10-08T11:59:59.9999Z",
    };
    server = kit_serve(kit);
    kit_put_users(server, users, "2025-10-08T12:00:00Z");
    for (size_t i = 0; i < KIT_COUNT(stale); i++) {
        kit_note(kit, "%s", stale[i]);
        kit_assert_error(kit_put(server, kit_table(kit, "{}", stale[i])), 409, "^Stale update: ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(instants_of_the_past_are_late),
        kit_test(instants_of_the_future_are_skewed),
        kit_test(what_is_no_instant_is_invalid),
        kit_test(two_minutes_are_allowed),
        kit_test(offsets_and_fractions_count),
        kit_test(a_table_needs_an_instant),
        kit_test(tables_are_ordered_by_instants_not_by_text),
    };
    return kit_run_tests(tests);
}
