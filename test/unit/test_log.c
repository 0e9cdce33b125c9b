/*
 * Proves that each entry of the log is one line with time and level, that nobody can forge one, that long
 * ones are cut, and that a log nobody reads holds nobody up.
 */
#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TIME_BYTES   (CLOCK_RFC3339_BYTES - 1)

struct fixture {
    int ends[2]; /* of a pipe; the first does not block */
    struct log log;
    char bytes[1 << 17];
    size_t length;
};

static int setup(void **state)
{
    static struct fixture fixture;
    if (pipe2(fixture.ends, O_CLOEXEC) != 0 || fcntl(fixture.ends[0], F_SETFL, O_NONBLOCK) != 0)
        return -1;
    fixture.log = (struct log){.descriptor = fixture.ends[1], .level = LOG_LEVEL_DEBUG};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    return close(fixture->ends[0]) | close(fixture->ends[1]);
}

/* What has been written since the last time, as a string. Whole lines are there when log_write returns. */
static const char *written(struct fixture *fixture)
{
    fixture->length = 0;
    ssize_t count;
    while ((count = read(fixture->ends[0], fixture->bytes + fixture->length,
                         sizeof fixture->bytes - 1 - fixture->length)) > 0)
        fixture->length += (size_t)count;
    fixture->bytes[fixture->length] = '\0';
    assert_int_equal(strlen(fixture->bytes), fixture->length);
    return fixture->bytes;
}

/* The rest of the one line that was written, behind its time. */
static const char *line_of(struct fixture *fixture)
{
    const char *line = written(fixture);
    assert_true(fixture->length > TIME_BYTES + 1);
    assert_ptr_equal(strchr(line, '\n'), line + fixture->length - 1);
    assert_int_equal(line[TIME_BYTES], ' ');
    return line + TIME_BYTES + 1;
}

static void lines_have_time_level_and_sentence(void **state)
{
    struct fixture *fixture = *state;
    char before[CLOCK_RFC3339_BYTES], after[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(clock_wall_ms(), before);
    log_info(&fixture->log, "listening address=%s:%d", "127.0.0.1", 3031);
    clock_format_rfc3339(clock_wall_ms(), after);
    assert_string_equal(line_of(fixture), "info listening address=127.0.0.1:3031\n");
    /* Texts of one form compare like the times that they stand for. */
    assert_true(memcmp(before, fixture->bytes, TIME_BYTES) <= 0);
    assert_true(memcmp(fixture->bytes, after, TIME_BYTES) <= 0);

    log_error(&fixture->log, "%s", "a");
    assert_string_equal(line_of(fixture), "error a\n");
    log_warn(&fixture->log, "b %d%%", 7);
    assert_string_equal(line_of(fixture), "warn b 7%\n");
    log_debug(&fixture->log, "c");
    assert_string_equal(line_of(fixture), "debug c\n");
    log_write(&fixture->log, LOG_LEVEL_WARN, "d");
    assert_string_equal(line_of(fixture), "warn d\n");
}

static void levels_above_the_log_s_own_are_silent(void **state)
{
    struct fixture *fixture = *state;
    for (enum log_level own = LOG_LEVEL_ERROR; own <= LOG_LEVEL_DEBUG; own++)
        for (enum log_level level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
            fixture->log.level = own;
            log_write(&fixture->log, level, "x");
            assert_int_equal(written(fixture)[0] != '\0', level <= own);
        }
}

static void level_names_are_four(void **state)
{
    (void)state;
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
    static const char *const others[] = {"",      "Error", "INFO",   "warning", "err",  "inf",
                                         "infos", " info", "debug ", "trace",   "none", "0"};
    enum log_level level;
    for (size_t i = 0; i < COUNT(names); i++) {
        level = (enum log_level)(3 - i);
        assert_int_equal(log_level_parse(text_from(names[i]), &level), 0);
        assert_int_equal(level, levels[i]);
    }
    for (size_t i = 0; i < COUNT(others); i++)
        assert_int_equal(log_level_parse(text_from(others[i]), &level), -1);
    assert_int_equal(log_level_parse(TEXT("info\0"), &level), -1);
    assert_int_equal(log_level_parse((struct text){"information", 4}, &level), 0);
    assert_int_equal(level, LOG_LEVEL_INFO);
    assert_int_equal(log_level_parse((struct text){0}, &level), -1);
}

static void long_lines_are_cut(void **state)
{
    struct fixture *fixture = *state;
    static char sentence[3 * LOG_LINE_BYTES];
    memset(sentence, 'x', sizeof sentence - 1);
    size_t longest = 0;
    for (size_t length = LOG_LINE_BYTES - 100; length < sizeof sentence; length++) {
        log_info(&fixture->log, "%.*s", (int)length, sentence);
        const char *line = line_of(fixture) + strlen("info ");
        size_t kept = strlen(line) - 1;
        assert_true(fixture->length <= LOG_LINE_BYTES);
        assert_int_equal(strspn(line, "x"), kept);
        assert_true(kept == length || (kept < length && fixture->length >= LOG_LINE_BYTES - 2));
        assert_true(kept >= longest);
        longest = kept;
    }
    assert_true(longest < sizeof sentence - 1);
}

/* ---- quoting ---- */

static void plain_text_is_only_quoted(void **state)
{
    (void)state;
    char quoted[LOG_TEXT_BYTES];
    assert_ptr_equal(log_quote(TEXT("abc XYZ ~!'%/"), quoted), quoted);
    assert_string_equal(quoted, "\"abc XYZ ~!'%/\"");
    assert_string_equal(log_quote(TEXT(""), quoted), "\"\"");
    assert_string_equal(log_quote((struct text){0}, quoted), "\"\"");
    assert_string_equal(log_quote(TEXT("a\"b\\c"), quoted), "\"a\\\"b\\\\c\"");
}

/* Each byte in a form of its own, made of printable characters, with no quote that could end the text. */
static void every_byte_can_be_told_apart(void **state)
{
    (void)state;
    static char forms[256][LOG_TEXT_BYTES];
    for (int byte = 0; byte < 256; byte++) {
        char text[] = {'<', (char)byte, '>'};
        size_t length = strlen(log_quote((struct text){text, 3}, forms[byte]));
        assert_true(length >= 5 && length < 16);
        assert_memory_equal(forms[byte], "\"<", 2);
        assert_memory_equal(forms[byte] + length - 2, ">\"", 2);
        for (size_t i = 0; i < length; i++)
            assert_in_range(forms[byte][i], 0x20, 0x7e);
        bool plain = byte >= 0x20 && byte <= 0x7e && byte != '"' && byte != '\\';
        assert_int_equal(forms[byte][2] == '\\', !plain);
        for (int other = 0; other < byte; other++)
            assert_string_not_equal(forms[byte], forms[other]);
    }
}

static void long_texts_are_cut_with_dots(void **state)
{
    (void)state;
    static const char fills[] = {'a', '"', '\n', '\xff'};
    for (size_t fill = 0; fill < COUNT(fills); fill++)
        for (size_t length = 0; length < 2 * LOG_TEXT_BYTES; length++) {
            char text[2 * LOG_TEXT_BYTES], memory[LOG_TEXT_BYTES + 16];
            memset(text, fills[fill], sizeof text);
            memset(memory, '#', sizeof memory);
            log_quote((struct text){text, length}, memory);
            for (size_t i = LOG_TEXT_BYTES; i < sizeof memory; i++)
                assert_int_equal(memory[i], '#');
            const char *end = memchr(memory, '\0', LOG_TEXT_BYTES);
            assert_non_null(end);
            assert_int_equal(memory[0], '"');
            assert_int_equal(end[-1], '"');
            bool cut = end - memory >= 5 && memcmp(end - 4, "...\"", 4) == 0 && end[-5] != '.';
            if (length * 4 + 16 < LOG_TEXT_BYTES)
                assert_false(cut);
            if (length >= LOG_TEXT_BYTES - 2)
                assert_true(cut);
            if (!cut && fills[fill] == 'a')
                assert_int_equal(end - memory, length + 2);
        }
}

static void strangers_forge_no_line(void **state)
{
    struct fixture *fixture = *state;
    log_info(&fixture->log, "path=%s name=%s",
             LOG_TEXT(TEXT("/a\" level=x\r\n2026-01-02T03:04:05.678Z error forged\x1b[2J\x9b\0")),
             LOG_TEXT(TEXT("\xc3\xa4")));
    const char *line = line_of(fixture);
    assert_memory_equal(line, "info path=\"/a\\\"", 15);
    for (size_t i = 0; line[i] != '\n'; i++)
        assert_in_range(line[i], 0x20, 0x7e);
}

/* ---- several threads, and nobody who reads ---- */

enum { WRITERS = 4, LINES = 12, LETTERS = 900 };

struct writer {
    const struct log *log;
    char letter;
};

static void *write_lines(void *context)
{
    struct writer *writer = context;
    char letters[LETTERS + 1];
    memset(letters, writer->letter, LETTERS);
    letters[LETTERS] = '\0';
    for (int i = 0; i < LINES; i++)
        log_info(writer->log, "%s", letters);
    return NULL;
}

/* Few enough for the pipe to hold them all. */
static void lines_of_several_threads_stay_whole(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.log = &fixture->log, .letter = (char)('a' + i)};
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    size_t counts[WRITERS] = {0}, prefix = TIME_BYTES + strlen(" info ");
    const char *line = written(fixture);
    for (; *line != '\0'; line += prefix + LETTERS + 1) {
        char letter = line[prefix];
        assert_in_range(letter, 'a', 'a' + WRITERS - 1);
        assert_memory_equal(line + TIME_BYTES, " info ", 6);
        char letters[] = {letter, '\0'};
        assert_int_equal(strspn(line + prefix, letters), LETTERS);
        assert_int_equal(line[prefix + LETTERS], '\n');
        counts[letter - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(counts[i], LINES);
}

/* "Logging can't fail": a full pipe, a closed one and no descriptor at all change nothing for the writer. */
static void nobody_need_read_the_log(void **state)
{
    struct fixture *fixture = *state;
    alarm(60); /* ends a writer that waits for a reader */
    for (int i = 0; i < 100000; i++)
        log_info(&fixture->log, "%d and some more letters to fill the pipe", i);
    alarm(0);
    assert_true(written(fixture)[0] != '\0');
    assert_int_equal(fixture->bytes[fixture->length - 1], '\n');
    log_info(&fixture->log, "read again");
    assert_string_equal(line_of(fixture), "info read again\n");
    struct log closed = {.descriptor = -1, .level = LOG_LEVEL_DEBUG};
    log_info(&closed, "x");
}

#define log_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* A shortage that lasts is not to fill the log: one line, and later how many there would have been. */
static void a_limited_line_is_said_once_in_a_while(void **state)
{
    struct fixture *fixture = *state;
    struct log_limit limit = {.next_at = 0}, other = {.next_at = 0};
    assert_true(log_limited(&fixture->log, &limit, LOG_LEVEL_WARN, "full n=%d", 1));
    assert_string_equal(line_of(fixture), "warn full n=1\n");
    for (int i = 2; i < 10; i++)
        assert_false(log_limited(&fixture->log, &limit, LOG_LEVEL_WARN, "full n=%d", i));
    assert_string_equal(written(fixture), "");
    assert_true(log_limited(&fixture->log, &other, LOG_LEVEL_WARN, "empty"));
    assert_string_equal(line_of(fixture), "warn empty\n");
    assert_in_range(atomic_load(&limit.next_at), clock_monotonic_ns(),
                    clock_monotonic_ns() + LOG_PAUSE_SECONDS * CLOCK_NS_PER_SECOND);
    atomic_store(&limit.next_at, clock_monotonic_ns() - 1);
    assert_true(log_limited(&fixture->log, &limit, LOG_LEVEL_WARN, "full n=%d", 10));
    assert_string_equal(line_of(fixture), "warn full n=10 left_out=8\n");
    assert_int_equal(atomic_load(&limit.left_out), 0);
}

/* Also a line that is cut says how many were left out. */
static void a_limited_line_that_is_too_long_keeps_its_end(void **state)
{
    struct fixture *fixture = *state;
    struct log_limit limit = {.left_out = 3};
    char text[2 * LOG_LINE_BYTES];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_true(log_limited(&fixture->log, &limit, LOG_LEVEL_ERROR, "%s", text));
    const char *line = line_of(fixture);
    assert_in_range(fixture->length, LOG_LINE_BYTES - 2, LOG_LINE_BYTES);
    assert_string_equal(line + strlen(line) - strlen("x left_out=3\n"), "x left_out=3\n");
}

static void what_the_level_hides_uses_up_no_turn(void **state)
{
    struct fixture *fixture = *state;
    struct log quiet = {.descriptor = fixture->log.descriptor, .level = LOG_LEVEL_ERROR};
    struct log_limit limit = {.next_at = 0};
    assert_false(log_limited(&quiet, &limit, LOG_LEVEL_WARN, "hidden"));
    assert_true(log_limited(&fixture->log, &limit, LOG_LEVEL_WARN, "seen"));
    assert_string_equal(line_of(fixture), "warn seen\n");
}

static void *say_it(void *context)
{
    struct fixture *fixture = ((void **)context)[0];
    struct log_limit *limit = ((void **)context)[1];
    for (int i = 0; i < 1000; i++)
        log_limited(&fixture->log, limit, LOG_LEVEL_WARN, "full");
    return NULL;
}

static void of_many_threads_one_says_it(void **state)
{
    enum { THREADS = 4 };
    struct fixture *fixture = *state;
    struct log_limit limit = {.next_at = 0};
    void *context[] = {fixture, &limit};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, say_it, context), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_string_equal(line_of(fixture), "warn full\n");
    assert_int_equal(atomic_load(&limit.left_out), THREADS * 1000 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        log_test(lines_have_time_level_and_sentence),
        log_test(levels_above_the_log_s_own_are_silent),
        log_test(level_names_are_four),
        log_test(long_lines_are_cut),
        log_test(plain_text_is_only_quoted),
        log_test(every_byte_can_be_told_apart),
        log_test(long_texts_are_cut_with_dots),
        log_test(strangers_forge_no_line),
        log_test(lines_of_several_threads_stay_whole),
        log_test(nobody_need_read_the_log),
        log_test(a_limited_line_is_said_once_in_a_while),
        log_test(a_limited_line_that_is_too_long_keeps_its_end),
        log_test(what_the_level_hides_uses_up_no_turn),
        log_test(of_many_threads_one_says_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
