/* Planned events and their users in the storage: what reads give, page by page and while others write, with the same tests
 * on both engines. */
#include "storage_planned_kit.h"

#include <pthread.h>

/* --- events --- */

struct page {
    const struct storage_planned_event *expected;
    size_t seen;
    size_t wanted; /* `visit` returns false behind so many */
};

static bool visit_page(void *context, const struct storage_planned_event *event)
{
    struct page *page = context;
    const struct storage_planned_event *next = &page->expected[page->seen++];
    assert_int_equal(event->position, next->position);
    assert_true(text_equals(event->id, next->id));
    assert_true(text_equals(event->user, next->user));
    return page->seen < page->wanted;
}

static size_t read_page(struct storage *storage, const struct storage_planned_range *range,
                        const struct storage_planned_event *expected, size_t wanted)
{
    struct page page = {.expected = expected, .wanted = wanted};
    assert_int_equal(storage_planned_events(storage, range, visit_page, &page, kit_patience()), STORAGE_OK);
    return page.seen;
}

static void events_are_read_in_pages(void **state)
{
    enum { COUNT = 2500, PAGE = 333 };
    struct place *place = place_make(*state);
    struct many_events many = many_events_make(COUNT);
    struct storage *storage = place_open(place);
    many_events_merge(storage, &many);
    size_t count = 0, read;
    struct storage_planned_range range = {.limit = PAGE};
    while ((read = read_page(storage, &range, many.events + count, SIZE_MAX)) > 0) {
        count += read;
        assert_true(read == PAGE || count == COUNT);
        range.after = many.events[count - 1].position;
    }
    assert_int_equal(count, COUNT);
    range.after = UINT64_MAX;
    assert_int_equal(read_page(storage, &range, NULL, 1), 0);
    range = (struct storage_planned_range){.limit = PAGE};
    assert_int_equal(read_page(storage, &range, many.events, 7), 7);
    range.limit = 0;
    assert_int_equal(read_page(storage, &range, many.events, 7), 0);
    assert_int_equal(position_of(storage, "event 0"), 1);
    assert_int_equal(position_of(storage, "event 2499"), COUNT);
    assert_int_equal(position_of(storage, "event 2500"), 0);
    many_events_free(&many);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void a_user_has_many_events(void **state)
{
    enum { COUNT = 3000, OF_USER = COUNT / 3, PAGE = 300 };
    struct place *place = place_make(*state);
    struct many_events many = many_events_make(COUNT);
    struct storage *storage = place_open(place);
    many_events_merge(storage, &many);
    struct storage_planned_event *of_user = calloc(OF_USER, sizeof *of_user);
    assert_non_null(of_user);
    for (size_t i = 0; i < OF_USER; i++)
        of_user[i] = many.events[3 * i + 1];
    expect_events_of(storage, "u1", of_user, OF_USER);
    struct storage_planned_range range = {.user = TEXT("u1"), .limit = PAGE};
    size_t count = 0, read;
    while ((read = read_page(storage, &range, of_user + count, SIZE_MAX)) > 0) {
        count += read;
        range.after = of_user[count - 1].position;
    }
    assert_int_equal(count, OF_USER);
    expect_events_of(storage, "u", NULL, 0);
    expect_events_of(storage, "u11", NULL, 0);
    expect_events_of(storage, "U1", NULL, 0);
    free(of_user);
    many_events_free(&many);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void pages_of_events_are_bounded_by_bytes(void **state)
{
    static const struct storage_planned_event events[] = {
        {1, TEXT("a"), TEXT("12345"), TEXT("u"), TEXT("12345")},
        {2, TEXT("b"), TEXT(""), TEXT("u"), {NULL, 0}},
        {3, TEXT("c"), TEXT("12345"), TEXT("v"), {NULL, 0}},
        {4, TEXT("d"), TEXT("1"), TEXT("u"), TEXT("1")},
        {5, TEXT("e"), TEXT("1"), TEXT("u"), TEXT("1")},
    };
    static const struct {
        uint64_t after, most_bytes;
        size_t count;
    } cases[] = {{0, 1, 1}, {0, 10, 1}, {0, 11, 3}, {0, 15, 3}, {0, 16, 4},         {0, 18, 5},
                 {1, 5, 2}, {1, 6, 3},  {3, 1, 1},  {0, 0, 5},  {0, UINT64_MAX, 5}, {5, 1, 0}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    merge_events(storage, events, 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct storage_planned_range range = {
            .after = cases[i].after, .limit = 100, .most_bytes = cases[i].most_bytes};
        expect_events_in(storage, &range, events + cases[i].after, cases[i].count);
    }
    const struct storage_planned_range of_user = {.user = TEXT("u"), .after = 2, .limit = 9, .most_bytes = 2};
    expect_events_in(storage, &of_user, &events[3], 1);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- users --- */

static bool take_one(void *context, const struct storage_planned_user *user)
{
    struct expected_users *expected = context;
    compare_user(context, user);
    return expected->seen < 1;
}

static void users_come_in_byte_order(void **state)
{
    enum { COUNT = 11 };
    static const struct storage_planned_user sorted[COUNT] = {
        {TEXT(" "), TEXT("123")},
        {TEXT("10"), {NULL, 0}},
        {TEXT("2"), TEXT("1")},
        {TEXT("A"), TEXT("12")},
        {TEXT("Z"), {NULL, 0}},
        {TEXT("_"), TEXT("12345")},
        {TEXT("a"), {NULL, 0}},
        {TEXT("a b"), TEXT("1")},
        {TEXT("ab"), {NULL, 0}},
        {TEXT("\xC3\xA4"), {NULL, 0}},
        {TEXT("\xF0\x9F\x98\x80"), {NULL, 0}},
    };
    static const size_t order[COUNT] = {9, 4, 10, 0, 7, 2, 8, 1, 6, 3, 5};
    struct storage_planned_user shuffled[COUNT];
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (size_t i = 0; i < COUNT; i++)
        shuffled[i] = sorted[order[i]];
    merge_users(storage, shuffled, COUNT);
    expect_users(storage, sorted, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        char after[PLANNED_TEXT_BYTES];
        snprintf(after, sizeof after, "%s", sorted[i].id.bytes);
        expect_users_behind(storage, after, 100, 0, sorted + i + 1, COUNT - i - 1);
        expect_users_behind(storage, after, 2, 0, sorted + i + 1, COUNT - i - 1 < 2 ? COUNT - i - 1 : 2);
    }
    expect_users_behind(storage, "a a", 1, 0, sorted + 7, 1);
    expect_users_behind(storage, "", 100, 1, sorted, 1);
    expect_users_behind(storage, "", 100, 3, sorted, 1);
    expect_users_behind(storage, "", 100, 4, sorted, 3);
    expect_users_behind(storage, "2", 100, 3, sorted + 3, 3);
    struct expected_users first = {.users = sorted, .count = 1};
    assert_int_equal(storage_planned_users(storage, TEXT(""), 100, 0, take_one, &first, kit_patience()),
                     STORAGE_OK);
    storage_close(storage);
    database_file_remove(&place->file);
}

struct named {
    unsigned visits[STORAGE_NAMED_MAX];
};

/* What is known of a user is its place. */
static void note_named(void *context, size_t index, struct text attributes)
{
    struct named *named = context;
    char expected[PLANNED_TEXT_BYTES];
    snprintf(expected, sizeof expected, "%zu", index);
    assert_true(index < STORAGE_NAMED_MAX);
    assert_true(text_equals(attributes, index == 0 ? TEXT("") : text_from(expected)));
    named->visits[index]++;
}

static void users_are_found_by_name(void **state)
{
    struct text ids[STORAGE_NAMED_MAX];
    char texts[STORAGE_NAMED_MAX][PLANNED_TEXT_BYTES];
    char attributes[STORAGE_NAMED_MAX][PLANNED_TEXT_BYTES];
    struct storage_planned_user users[STORAGE_NAMED_MAX];
    size_t count = 0;
    struct named named = {.visits = {0}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (size_t i = 0; i < STORAGE_NAMED_MAX; i++) {
        snprintf(texts[i], PLANNED_TEXT_BYTES, i == 6 ? "\xC3\xA4' \\{%zu" : "user %zu", i);
        snprintf(attributes[i], PLANNED_TEXT_BYTES, "%zu", i);
        ids[i] = text_from(texts[i]);
        if (i % 3 == 0)
            users[count++] = (struct storage_planned_user){
                .id = ids[i], .attributes = i == 0 ? TEXT("") : text_from(attributes[i])};
    }
    merge_users(storage, users, count);
    assert_int_equal(
        storage_planned_users_named(storage, ids, STORAGE_NAMED_MAX, note_named, &named, kit_patience()),
        STORAGE_OK);
    for (size_t i = 0; i < STORAGE_NAMED_MAX; i++)
        assert_int_equal(named.visits[i], i % 3 == 0);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- ids of events --- */

enum { USERS = 6, IDS_MAX = 64 };

struct ids {
    struct storage *storage;
    struct text users[USERS];
    size_t count;
    size_t wanted;
    struct {
        size_t index;
        uint64_t position;
    } seen[IDS_MAX];
};

static bool note_id(void *context, size_t index, uint64_t position, struct text id)
{
    struct ids *ids = context;
    char expected[PLANNED_TEXT_BYTES];
    snprintf(expected, sizeof expected, "event %llu", (unsigned long long)position - 1);
    assert_true(text_equals(id, text_from(expected)));
    assert_true(ids->count < IDS_MAX);
    ids->seen[ids->count].index = index;
    ids->seen[ids->count++].position = position;
    return ids->count < ids->wanted;
}

/* Those before `first_user` are not even looked at. */
static void read_ids(struct ids *ids, size_t first_user, uint64_t after, size_t limit)
{
    struct text users[USERS];
    memset(users, 0x55, sizeof users);
    memcpy(users + first_user, ids->users + first_user, (USERS - first_user) * sizeof users[0]);
    const struct storage_event_ids_range range = {
        .users = users, .user_count = USERS, .first_user = first_user, .after = after, .limit = limit};
    ids->count = 0;
    assert_int_equal(storage_planned_event_ids(ids->storage, &range, note_id, ids, kit_patience()),
                     STORAGE_OK);
}

/* Positions of u0: 1, 4, 7, ... 28, of u1 2, 5, ... 29, of u2 3, 6, ... 30: ten each. */
static void expect_id(const struct ids *ids, size_t at, size_t index, uint64_t position)
{
    assert_true(at < ids->count);
    assert_int_equal(ids->seen[at].index, index);
    assert_int_equal(ids->seen[at].position, position);
}

static void ids_of_events_come_user_by_user(void **state)
{
    struct place *place = place_make(*state);
    struct many_events many = many_events_make(30);
    struct ids ids = {
        .storage = place_open(place),
        .users = {TEXT("u2"), TEXT("nobody"), TEXT("u0"), TEXT("other"), TEXT("u1"), TEXT("z")},
        .wanted = SIZE_MAX,
    };
    const struct storage_planned_user other = {.id = TEXT("other")};
    merge_users(ids.storage, &other, 1);
    many_events_merge(ids.storage, &many);
    read_ids(&ids, 0, 0, 100);
    assert_int_equal(ids.count, 30);
    for (size_t i = 0; i < 10; i++) {
        expect_id(&ids, i, 0, 3 + 3 * i);
        expect_id(&ids, 10 + i, 2, 1 + 3 * i);
        expect_id(&ids, 20 + i, 4, 2 + 3 * i);
    }
    /* `after` is of the first user alone. */
    read_ids(&ids, 0, 27, 4);
    assert_int_equal(ids.count, 4);
    expect_id(&ids, 0, 0, 30);
    expect_id(&ids, 3, 2, 7);
    read_ids(&ids, 2, 7, 9);
    assert_int_equal(ids.count, 9);
    expect_id(&ids, 0, 2, 10);
    expect_id(&ids, 6, 2, 28);
    expect_id(&ids, 7, 4, 2);
    read_ids(&ids, 4, UINT64_MAX, 9);
    assert_int_equal(ids.count, 0);
    read_ids(&ids, 5, 0, 9);
    assert_int_equal(ids.count, 0);
    read_ids(&ids, 6, 0, 9);
    assert_int_equal(ids.count, 0);
    read_ids(&ids, 0, 0, 0);
    assert_int_equal(ids.count, 0);
    ids.wanted = 12;
    read_ids(&ids, 0, 0, 100);
    assert_int_equal(ids.count, 12);
    many_events_free(&many);
    storage_close(ids.storage);
    database_file_remove(&place->file);
}

/* --- several who add, while one reads --- */

enum { WRITERS = 4, ADDED_EACH = 150, MERGED_EACH = 8 };

struct adding {
    pthread_t thread;
    struct storage *storage;
    size_t number;
};

/* Every third one is a merge of some, every other third comes from the upstream. */
static void *add_some(void *context)
{
    struct adding *adding = context;
    char texts[MERGED_EACH][PLANNED_TEXT_BYTES];
    struct storage_planned_event events[MERGED_EACH];
    for (size_t i = 0; i < ADDED_EACH; i++) {
        for (size_t n = 0; n < MERGED_EACH; n++) {
            snprintf(texts[n], PLANNED_TEXT_BYTES, "%c%zu-%zu-%zu", "msx"[i % 3], adding -> number, i, n);
            events[n] = (struct storage_planned_event){
                .id = text_from(texts[n]), .name = TEXT("n"), .user = TEXT("u")};
        }
        if (i % 3 == 0)
            merge_events(adding->storage, events, MERGED_EACH);
        else if (i % 3 == 1)
            store(adding->storage, add_of("u", "n", "", texts[0]));
        else
            store(adding->storage, add_of("u", "n", texts[0], ""));
    }
    return NULL;
}

struct tail {
    uint64_t last;
    size_t count;
};

static bool follow(void *context, const struct storage_planned_event *event)
{
    struct tail *tail = context;
    assert_true(event->position > tail->last);
    tail->last = event->position;
    tail->count++;
    return true;
}

/* A reader who goes on behind the last position that it has read misses none. */
static void positions_become_visible_in_their_order(void **state)
{
    enum { ALL = WRITERS * ADDED_EACH / 3 * (MERGED_EACH + 2) };
    struct place *place = place_make(*state);
    struct storage *storages[] = {place_open(place), place_open(place)};
    struct adding adding[WRITERS];
    struct tail tail = {.last = 0};
    int64_t deadline_at = kit_patience();
    for (size_t i = 0; i < WRITERS; i++) {
        adding[i] = (struct adding){.storage = storages[i % 2], .number = i};
        assert_int_equal(pthread_create(&adding[i].thread, NULL, add_some, &adding[i]), 0);
    }
    while (tail.count < ALL && clock_monotonic_ns() < deadline_at) {
        const struct storage_planned_range range = {.after = tail.last, .limit = 50};
        assert_int_equal(storage_planned_events(storages[0], &range, follow, &tail, kit_patience()),
                         STORAGE_OK);
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(adding[i].thread, NULL);
    assert_int_equal(tail.count, ALL);
    assert_int_equal(tail.last, ALL);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_events"), ALL);
    assert_int_equal(place_number(place, "SELECT count(DISTINCT position) FROM planned_events"), ALL);
    storage_close(storages[0]);
    storage_close(storages[1]);
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(events_are_read_in_pages),
        ON_BOTH(a_user_has_many_events),
        ON_BOTH(pages_of_events_are_bounded_by_bytes),
        ON_BOTH(users_come_in_byte_order),
        ON_BOTH(users_are_found_by_name),
        ON_BOTH(ids_of_events_come_user_by_user),
        ON_BOTH(positions_become_visible_in_their_order),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
