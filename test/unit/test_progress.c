/* What the progress shows, when, and how wide: with a pipe for a terminal, and time handed in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cli/progress.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_BYTES = 4096 };

struct scene {
    int pipe[2];
    struct progress progress;
    char shown[SHOWN_BYTES];
};

static int64_t ms(int64_t milliseconds)
{
    return milliseconds * CLOCK_NS_PER_MS;
}

static void scene_begin(struct scene *scene, bool is_terminal, uint64_t total_bytes)
{
    assert_int_equal(pipe2(scene->pipe, O_NONBLOCK | O_CLOEXEC), 0);
    progress_begin(&scene->progress,
                   &(struct progress_options){
                       .descriptor = scene->pipe[1], .is_terminal = is_terminal, .total_bytes = total_bytes},
                   ms(1000));
}

static void scene_end(struct scene *scene)
{
    close(scene->pipe[0]);
    close(scene->pipe[1]);
}

/* What came since the last look. */
static const char *look(struct scene *scene)
{
    ssize_t got = read(scene->pipe[0], scene->shown, sizeof scene->shown - 1);
    scene->shown[got < 0 ? 0 : got] = '\0';
    return scene->shown;
}

static const char *show(struct scene *scene, uint64_t bytes, uint64_t lines, unsigned width, int64_t at_ms)
{
    progress_show(&scene->progress, (struct progress_count){.bytes = bytes, .lines = lines}, width,
                  ms(at_ms));
    return look(scene);
}

static void test_bar(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, true, 1000);
    assert_string_equal(show(&scene, 10, 1, 80, 1000), ""); /* not yet */
    assert_string_equal(show(&scene, 10, 1, 80, 1099), "");
    assert_int_equal(progress_due_at(&scene.progress), ms(1100));
    assert_string_equal(
        show(&scene, 250, 1000, 80, 2000),
        "\r[=========>                             ]  25%  1,000 lines, 1,000/s, 0:03 left\x1b[K");
    assert_string_equal(show(&scene, 500, 2000, 80, 2099), "");
    assert_string_equal(
        show(&scene, 500, 2000, 80, 3000),
        "\r[===================>                   ]  50%  2,000 lines, 1,000/s, 0:02 left\x1b[K");
    progress_end(&scene.progress, (struct progress_count){.bytes = 1000, .lines = 4000}, 80, ms(3001));
    assert_string_equal(
        look(&scene),
        "\r[============================================] 100%  4,000 lines, 1,999/s, 0:02\x1b[K\n");
    scene_end(&scene);
}

/* Never wider than the terminal, and never in its last column. */
static void test_widths(void **state)
{
    (void)state;
    for (unsigned width = 0; width <= 300; width++) {
        for (int total = 0; total <= 1; total++) {
            struct scene scene;
            scene_begin(&scene, true, total == 0 ? 0 : UINT64_MAX);
            const char *shown = show(&scene, UINT64_MAX / 2, UINT64_MAX, width, 1000 + 3600000);
            const char *end = strstr(shown, "\x1b[K");
            assert_non_null(end);
            assert_int_equal(shown[0], '\r');
            size_t columns = (size_t)(end - shown) - 1;
            assert_true(columns == 0 || columns <= width - 1);
            assert_true(columns < 160);
            if (total == 0 || width < 60)
                assert_int_not_equal(shown[1], '[');
            else if (width > 120)
                assert_int_equal(shown[1], '[');
            scene_end(&scene);
        }
    }
}

static void test_without_total(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, true, 0);
    assert_string_equal(show(&scene, 0, 5, 80, 2000), "\r5 lines, 5/s, 0:01\x1b[K");
    assert_string_equal(show(&scene, 0, 5, 80, 1000 + 3723 * 1000), "\r5 lines, 0/s, 1:02:03\x1b[K");
    scene_end(&scene);
}

static void test_lines_without_terminal(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, false, 1000);
    assert_string_equal(show(&scene, 100, 10, 80, 5999), "");
    assert_string_equal(show(&scene, 100, 100, 80, 6000), "event-syncer: 10%, 100 lines, 20/s, 0:45 left\n");
    assert_string_equal(show(&scene, 500, 500, 80, 10999), "");
    assert_string_equal(show(&scene, 500, 600, 80, 11000), "event-syncer: 50%, 600 lines, 60/s, 0:10 left\n");
    progress_end(&scene.progress, (struct progress_count){.bytes = 1000, .lines = 1000}, 80, ms(12000));
    assert_string_equal(look(&scene), "");
    scene_end(&scene);
    scene_begin(&scene, false, 0);
    assert_string_equal(show(&scene, 0, 1234567, 80, 6000),
                        "event-syncer: 1,234,567 lines, 246,913/s, 0:05\n");
    scene_end(&scene);
}

/* Nothing has come yet, more has come than there was, there is an eternity to go. */
static void test_odd_numbers(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, false, 1000);
    assert_string_equal(show(&scene, 0, 0, 80, 6000), "event-syncer: 0%, 0 lines, 0/s, -:-- left\n");
    assert_string_equal(show(&scene, 2000, 7, 80, 11000), "event-syncer: 100%, 7 lines, 1/s, 0:00 left\n");
    scene_end(&scene);
    scene_begin(&scene, false, UINT64_MAX);
    assert_string_equal(show(&scene, 1, 1, 80, 6000), "event-syncer: 0%, 1 lines, 0/s, -:-- left\n");
    scene_end(&scene);
}

/* After a change of pace the rate is that of the last seconds. */
static void test_rate_is_recent(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, true, 0);
    uint64_t lines = 0;
    int64_t at_ms = 1000;
    for (; at_ms <= 60000; at_ms += 100)
        show(&scene, 0, lines += 1000, 80, at_ms);
    for (; at_ms <= 80000; at_ms += 100)
        show(&scene, 0, lines += 1, 80, at_ms);
    assert_non_null(strstr(show(&scene, 0, lines, 80, at_ms), ", 10/s, "));
    scene_end(&scene);
}

/* A reader that does not read holds nobody up. */
static void test_full_pipe(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, true, 1000);
    assert_int_equal(fcntl(scene.pipe[1], F_SETFL, 0), 0); /* a write to it would block */
    for (int64_t at_ms = 2000; at_ms < 300000; at_ms += 100)
        progress_show(&scene.progress, (struct progress_count){.bytes = 1, .lines = 1}, 200, ms(at_ms));
    progress_end(&scene.progress, (struct progress_count){.bytes = 1, .lines = 1}, 200, ms(300000));
    scene_end(&scene);
}

static void test_numbers(void **state)
{
    char text[PROGRESS_NUMBER_BYTES];
    (void)state;
    assert_string_equal(progress_number(0, text), "0");
    assert_string_equal(progress_number(999, text), "999");
    assert_string_equal(progress_number(1000, text), "1,000");
    assert_string_equal(progress_number(123456, text), "123,456");
    assert_string_equal(progress_number(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void test_no_terminal(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene, true, 0);
    assert_false(progress_is_terminal(scene.pipe[1]));
    assert_int_equal(progress_width(scene.pipe[1]), 80);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bar),           cmocka_unit_test(test_widths),
        cmocka_unit_test(test_without_total), cmocka_unit_test(test_lines_without_terminal),
        cmocka_unit_test(test_odd_numbers),   cmocka_unit_test(test_rate_is_recent),
        cmocka_unit_test(test_full_pipe),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
