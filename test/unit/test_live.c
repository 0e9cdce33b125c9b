/* Live events as lines, and their sums. */
#include "live/line.h"
#include "live/sums.h"
#include "live/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void lines_are_written_anew(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *line;
    } cases[] = {
        {"{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}",
         "{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}\n"},
        {" { \"value\" : 1.50e1 , \"name\":\"subtract_revenue\", \"userId\" : 17, \"more\":[1] } ",
         "{\"userId\":\"17\",\"name\":\"subtract_revenue\",\"value\":15}\n"},
        {"{\"userId\":\"\\u00fc\\\"\",\"name\":\"\\u0061dd_revenue\",\"value\":-0.10}",
         "{\"userId\":\"\xc3\xbc\\\"\",\"name\":\"add_revenue\",\"value\":-0.1}\n"},
        {"{\"userId\":\"a\",\"userId\":\"b\",\"name\":\"add_revenue\",\"value\":1,\"value\":1000000000000000."
         "01}",
         "{\"userId\":\"b\",\"name\":\"add_revenue\",\"value\":1000000000000000.01}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct live_line line;
        struct buffer buffer = BUFFER_EMPTY;
        const char *fault = live_line_read(text_from(cases[i].json), &line);
        assert_null(fault);
        live_line_append(&buffer, &line);
        buffer_append(&buffer, "", 1);
        assert_string_equal(buffer.bytes, cases[i].line);
        /* What was written is read back as the same. */
        assert_null(live_line_read(text_from(cases[i].line), &line));
        buffer_free(&buffer);
    }
}

static void faults_are_named(void **state)
{
    (void)state;
    char long_id[400];
    snprintf(long_id, sizeof long_id, "{\"userId\":\"%0256d\",\"name\":\"add_revenue\",\"value\":1}", 0);
    const struct {
        const char *json;
        const char *fault;
    } cases[] = {
        {"[1]", "an event must be an object"},
        {"{}", "Missing required fields"},
        {"{\"userId\":\"\",\"name\":\"add_revenue\",\"value\":1}", "Missing required fields"},
        {"{\"userId\":\"a\",\"name\":null,\"value\":1}", "Missing required fields"},
        {"{\"userId\":\"a\",\"name\":\"add_revenue\"}", "Missing required fields"},
        {"{\"userId\":1.5,\"name\":\"add_revenue\",\"value\":1}", "userId must be an integer or a string"},
        {"{\"userId\":true,\"name\":\"add_revenue\",\"value\":1}", "userId must be an integer or a string"},
        {"{\"userId\":\"\\ud800\",\"name\":\"add_revenue\",\"value\":1}", "userId is not valid Unicode"},
        {"{\"userId\":\"a\\u0000\",\"name\":\"add_revenue\",\"value\":1}",
         "userId holds a control character"},
        {long_id, "userId is longer than 255 bytes"},
        {"{\"userId\":\"a\",\"name\":\"revenue\",\"value\":1}",
         "name must be add_revenue or subtract_revenue"},
        {"{\"userId\":\"a\",\"name\":1,\"value\":1}", "name must be add_revenue or subtract_revenue"},
        {"{\"userId\":\"a\",\"name\":\"add_revenue\",\"value\":\"1\"}", "value must be a number"},
        {"{\"userId\":\"a\",\"name\":\"add_revenue\",\"value\":1e18}",
         "value has more than 18 digits before the point, or behind it"},
        {"{\"userId\":\"a\",\"name\":\"add_revenue\",\"value\":1e-19}",
         "value has more than 18 digits before the point, or behind it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct live_line line;
        const char *fault = live_line_read(text_from(cases[i].json), &line);
        if (fault == NULL)
            fail_msg("%s was taken", cases[i].json);
        assert_string_equal(fault, cases[i].fault);
    }
}

static enum sums_result add(struct sums *sums, const char *user, const char *name, const char *value)
{
    char json[200];
    struct live_line line;
    snprintf(json, sizeof json, "{\"userId\":\"%s\",\"name\":\"%s\",\"value\":%s}", user, name, value);
    assert_null(live_line_read(text_from(json), &line));
    return sums_add(sums, &line);
}

static void check_amount(const struct storage_write *write, const char *user, const char *amount)
{
    for (size_t i = 0; i < write->count; i++) {
        if (!text_equals(write->revenues[i].user, text_from(user)))
            continue;
        if (!text_equals(write->revenues[i].amount, text_from(amount)))
            fail_msg("%s has %.*s instead of %s", user, (int)write->revenues[i].amount.length,
                     write->revenues[i].amount.bytes, amount);
        return;
    }
    fail_msg("%s is missing", user);
}

static void sums_are_exact(void **state)
{
    (void)state;
    struct sums sums;
    assert_int_equal(sums_init(&sums), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(add(&sums, "a", "add_revenue", "0.1"), SUMS_OK);
    assert_int_equal(add(&sums, "b", "add_revenue", "1000000000000000.01"), SUMS_OK);
    assert_int_equal(add(&sums, "b", "subtract_revenue", "1e15"), SUMS_OK);
    assert_int_equal(add(&sums, "c", "subtract_revenue", "-20.05"), SUMS_OK);
    assert_int_equal(add(&sums, "c", "subtract_revenue", "40.1"), SUMS_OK);
    struct storage_write *write = sums_write(&sums, TEXT("file"));
    assert_non_null(write);
    assert_int_equal(write->count, 3);
    assert_true(text_equals(write->file, TEXT("file")));
    check_amount(write, "a", "1");
    check_amount(write, "b", "0.01");
    check_amount(write, "c", "-20.05");
    free(write);
    sums_clear(&sums);
    assert_int_equal(sums_count(&sums), 0);
}

static void a_batch_has_so_many_users(void **state)
{
    (void)state;
    struct sums sums;
    assert_int_equal(sums_init(&sums), 0);
    for (int i = 0; i < SUMS_USERS; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        assert_int_equal(add(&sums, user, "add_revenue", "1"), SUMS_OK);
    }
    assert_int_equal(add(&sums, "one more", "add_revenue", "1"), SUMS_FULL);
    assert_int_equal(add(&sums, "u7", "add_revenue", "1"), SUMS_OK);
    struct storage_write *write = sums_write(&sums, TEXT("file"));
    assert_non_null(write);
    check_amount(write, "u7", "2");
    check_amount(write, "u8", "1");
    free(write);
    sums_clear(&sums);
    assert_int_equal(add(&sums, "one more", "add_revenue", "1"), SUMS_OK);
    sums_clear(&sums);
}

static void distinct_users_are_counted_up_to_a_bound(void **state)
{
    (void)state;
    struct users users;
    assert_int_equal(users_init(&users, 5000), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4000; i++) {
            char user[16];
            int length = snprintf(user, sizeof user, "u%d", i);
            users_add(&users, (struct text){.bytes = user, .length = (size_t)length});
        }
        assert_int_equal(users_count(&users), 4000);
    }
    for (int i = 0; i < 4000; i++) {
        char user[16];
        int length = snprintf(user, sizeof user, "v%d", i);
        users_add(&users, (struct text){.bytes = user, .length = (size_t)length});
    }
    assert_int_equal(users_count(&users), 5000);
    users_free(&users);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_written_anew),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(a_batch_has_so_many_users),
        cmocka_unit_test(distinct_users_are_counted_up_to_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
