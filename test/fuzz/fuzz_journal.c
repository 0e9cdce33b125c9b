/* Reading a journal that anything may stand in: all whole lines, whatever is read at once, and also from a checkpoint in the
 * middle. The first two bytes of the input say how much is read at once, and where the checkpoint is; where 0xFE follows,
 * that and a byte are a quarter of a line that is too long, of that byte. */
#include "fuzz.h"

#include "journal/reader.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 5 };

static char path[PATH_MAX];
static FILE *file;

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count, (void)arguments;
    snprintf(path, sizeof path, "%.*s/journal", (int)sizeof path - 16, fuzz_folder());
    file = fopen(path, "w+e");
    FUZZ_REQUIRE(file != NULL);
    return 0;
}

/* The next whole line; `*too_long`: it is passed over. */
static bool model_next(struct text *rest, struct text *line, bool *too_long)
{
    const char *feed = rest->length == 0 ? NULL : memchr(rest->bytes, '\n', rest->length);
    if (feed == NULL)
        return false;
    *line = (struct text){.bytes = rest->bytes, .length = (size_t)(feed - rest->bytes)};
    *too_long = line->length > JOURNAL_LINE_BYTES;
    rest->bytes += line->length + 1;
    rest->length -= line->length + 1;
    if (line->length > 0 && line->bytes[line->length - 1] == '\r')
        line->length--;
    return true;
}

static struct journal_reader *open_from(const struct journal_checkpoint *from, size_t read_bytes)
{
    struct journal_reader_options options = {.path = path, .from = from, .read_bytes = read_bytes};
    struct journal_reader *reader = NULL;
    FUZZ_REQUIRE(journal_reader_open(&options, &reader) == JOURNAL_READ_OK && reader != NULL);
    return reader;
}

static void check(struct text text, size_t read_bytes, uint64_t stop_at)
{
    struct journal_reader *reader = open_from(NULL, read_bytes);
    struct text rest = text, expected;
    struct journal_line line;
    uint64_t number = 0;
    bool too_long;
    while (model_next(&rest, &expected, &too_long)) {
        if (number == stop_at) {
            struct journal_checkpoint checkpoint = journal_reader_checkpoint(reader);
            journal_reader_close(reader);
            reader = open_from(&checkpoint, read_bytes);
        }
        FUZZ_REQUIRE(journal_reader_next(reader, &line) ==
                     (too_long ? JOURNAL_READ_TOO_LONG : JOURNAL_READ_OK));
        FUZZ_REQUIRE((too_long || text_equals(line.text, expected)) && line.number == ++number);
        struct journal_checkpoint done = journal_reader_checkpoint(reader);
        FUZZ_REQUIRE(done.offset == text.length - rest.length && done.lines == number);
    }
    FUZZ_REQUIRE(journal_reader_next(reader, &line) == JOURNAL_READ_END);
    journal_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t read_bytes = fuzz_take_byte(&data, &size);
    uint64_t stop_at = fuzz_take_byte(&data, &size);
    bool is_long = size > 0 && data[0] == 0xFE;
    struct text text = fuzz_expand(data, size, JOURNAL_LINE_BYTES / 4, is_long ? RUNS : 0);
    FUZZ_REQUIRE(ftruncate(fileno(file), 0) == 0 &&
                 pwrite(fileno(file), text.bytes, text.length, 0) == (ssize_t)text.length);
    check(text, is_long ? 0 : read_bytes, stop_at);
    fuzz_free(text);
    return 0;
}
