/* Counting a journal that anything may stand in: each whole line counts once, however the file grows, whatever becomes of writes
 * whose outcome is not known, and whenever the processor begins anew. The first byte of the input says where the file ends at
 * first (in 8 bytes), the bits of the second what becomes of the writes; the rest is the file. The storage is a double. */
#include "fuzz.h"

#include "base/json.h"
#include "live/line.h"
#include "live/processor.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USERS_MOST = 1024, DEPTH = 1000, STEPS_MOST = 10000 };

struct user {
    char name[LIVE_USER_BYTES];
    size_t length;
    struct decimal sum;
};

struct sums_of_users {
    struct user users[USERS_MOST];
    size_t count;
};

static char path[PATH_MAX];
static FILE *file;

/* The database. */
static struct {
    struct sums_of_users sums;
    char name[STORAGE_FILE_BYTES];
    size_t name_length;
    struct storage_checkpoint checkpoint;
    unsigned fates; /* a bit a write and outcome */
} stored;

static struct sums_of_users expected;
static uint64_t skipped_lines;

static void add(struct sums_of_users *sums, struct text name, const struct decimal *amount)
{
    size_t i = 0;
    while (i < sums->count &&
           !text_equals(name, (struct text){.bytes = sums->users[i].name, .length = sums->users[i].length}))
        i++;
    FUZZ_REQUIRE(i < USERS_MOST && name.length <= LIVE_USER_BYTES);
    if (i == sums->count) {
        sums->users[i] = (struct user){.length = name.length};
        memcpy(sums->users[i].name, name.bytes, name.length);
        sums->count++;
    }
    FUZZ_REQUIRE(decimal_add(&sums->users[i].sum, amount) == 0);
}

/* --- the double of the storage --- */

static bool is_stored_file(struct text name)
{
    return text_equals(name, (struct text){.bytes = stored.name, .length = stored.name_length});
}

static void count(const struct storage_write *write)
{
    stored.checkpoint =
        (struct storage_checkpoint){.position = write->position_after, .lines = write->lines_after};
    stored.name_length = write->file.length;
    memcpy(stored.name, write->file.bytes, write->file.length);
    for (size_t i = 0; i < write->count; i++) {
        struct decimal amount;
        FUZZ_REQUIRE(decimal_parse(write->revenues[i].amount, &amount) == DECIMAL_OK);
        add(&stored.sums, write->revenues[i].user, &amount);
    }
}

/* Two bits of the fates are one write's: whether its outcome is told, and, if not, whether it was stored. */
enum storage_result storage_write(struct storage *storage, struct storage_write *write, int64_t deadline_at)
{
    (void)storage, (void)deadline_at;
    FUZZ_REQUIRE(write->kind == STORAGE_COUNT_REVENUE && write->position_after > write->position_before);
    FUZZ_REQUIRE(write->file.length >= 1 && write->file.length <= STORAGE_FILE_BYTES);
    bool untold = (stored.fates & 1) != 0, lost = untold && (stored.fates & 2) != 0;
    stored.fates >>= untold ? 2 : 1;
    uint64_t stands_at = is_stored_file(write->file) ? stored.checkpoint.position : 0;
    write->overtaken = stands_at != write->position_before;
    write->overflowed = false;
    if (!write->overtaken && !lost)
        count(write);
    if (untold)
        free(write); /* it is the storage's now */
    return untold ? STORAGE_UNKNOWN : STORAGE_OK;
}

enum storage_result storage_checkpoint(struct storage *storage, struct text name,
                                       struct storage_checkpoint *checkpoint, bool *found,
                                       int64_t deadline_at)
{
    (void)storage, (void)deadline_at;
    *found = is_stored_file(name);
    *checkpoint = *found ? stored.checkpoint : (struct storage_checkpoint){.position = 0};
    return STORAGE_OK;
}

enum storage_result storage_checkpoints(struct storage *storage,
                                        bool (*visit)(void *context, struct text file,
                                                      const struct storage_checkpoint *checkpoint),
                                        void *context, int64_t deadline_at)
{
    (void)storage, (void)deadline_at;
    if (stored.name_length > 0)
        visit(context, (struct text){.bytes = stored.name, .length = stored.name_length}, &stored.checkpoint);
    return STORAGE_OK;
}

/* --- what the processor tells --- */

static void on_skipped(void *context, const char *skipped_path, uint64_t number, const char *why)
{
    (void)context;
    FUZZ_REQUIRE(strcmp(skipped_path, path) == 0 && number > 0 && why[0] != '\0');
    skipped_lines++;
}

static void on_opened(void *context, const char *opened_path, uint64_t lines, uint64_t bytes)
{
    (void)context;
    FUZZ_REQUIRE(strcmp(opened_path, path) == 0);
    FUZZ_REQUIRE(lines == stored.checkpoint.lines && bytes == stored.checkpoint.position);
}

static void on_unknown(void *context, const char *unknown_path)
{
    (void)context, (void)unknown_path;
    fuzz_fail(__FILE__, __LINE__, "the file is always there");
}

static void on_replaced(void *context, const char *replaced_path, uint64_t lines)
{
    (void)context, (void)replaced_path, (void)lines;
    fuzz_fail(__FILE__, __LINE__, "the file is always the same");
}

static bool on_wait(void *context, int64_t ns)
{
    (void)context;
    return ns > 0;
}

/* --- the target --- */

static void process(void)
{
    struct processor_options options = {.path = path,
                                        .patient = true,
                                        .skipped = on_skipped,
                                        .opened = on_opened,
                                        .unknown = on_unknown,
                                        .replaced = on_replaced,
                                        .wait = on_wait};
    struct processor *processor = processor_create(&options);
    FUZZ_REQUIRE(processor != NULL);
    enum processor_result result = PROCESSOR_MORE;
    for (int i = 0; result == PROCESSOR_MORE; i++) {
        FUZZ_REQUIRE(i < STEPS_MOST);
        result = processor_step(processor);
    }
    if (result == PROCESSOR_FAILED)
        fprintf(stderr, "%s\n", processor_reason(processor));
    FUZZ_REQUIRE(result == PROCESSOR_CAUGHT_UP);
    processor_free(processor);
}

/* Adds up what stands in the whole lines of the file. Returns how many of them are no events. */
static uint64_t expect(struct text rest)
{
    uint64_t bad = 0;
    const char *feed;
    while (rest.length > 0 && (feed = memchr(rest.bytes, '\n', rest.length)) != NULL) {
        struct text line = text_cut(&rest, '\n');
        struct json_error error;
        struct live_line read;
        if (line.length > 0 && line.bytes[line.length - 1] == '\r')
            line.length--;
        if (text_trim(line).length == 0)
            continue;
        if (json_check(line, DEPTH, &error) != JSON_VALID || live_line_read(line, &read) != NULL) {
            bad++;
            continue;
        }
        struct decimal amount = live_line_amount(&read);
        add(&expected, (struct text){.bytes = read.user, .length = read.user_length}, &amount);
    }
    return bad;
}

static void compare(void)
{
    FUZZ_REQUIRE(stored.sums.count == expected.count);
    for (size_t i = 0; i < expected.count; i++) {
        struct decimal negative = expected.users[i].sum;
        decimal_negate(&negative);
        add(&stored.sums, (struct text){.bytes = expected.users[i].name, .length = expected.users[i].length},
            &negative);
    }
    FUZZ_REQUIRE(stored.sums.count == expected.count);
    for (size_t i = 0; i < expected.count; i++)
        FUZZ_REQUIRE(stored.sums.users[i].sum.whole == 0 && stored.sums.users[i].sum.fraction == 0);
}

static void write_file(const uint8_t *data, size_t size)
{
    FUZZ_REQUIRE(ftruncate(fileno(file), 0) == 0 && pwrite(fileno(file), data, size, 0) == (ssize_t)size);
}

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count, (void)arguments;
    snprintf(path, sizeof path, "%.*s/journal", (int)sizeof path - 16, fuzz_folder());
    file = fopen(path, "w+e");
    FUZZ_REQUIRE(file != NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t front = (size_t)fuzz_take_byte(&data, &size) * 8;
    stored.fates = fuzz_take_byte(&data, &size);
    stored.sums.count = expected.count = 0;
    stored.name_length = 0;
    stored.checkpoint = (struct storage_checkpoint){.position = 0};
    skipped_lines = 0;
    struct text text = fuzz_copy(data, size);
    uint64_t bad = expect(text);
    write_file(data, front < size ? front : size);
    process();
    FUZZ_REQUIRE(pwrite(fileno(file), data, size, 0) == (ssize_t)size);
    process();
    FUZZ_REQUIRE(skipped_lines >= bad);
    compare();
    fuzz_free(text);
    return 0;
}
