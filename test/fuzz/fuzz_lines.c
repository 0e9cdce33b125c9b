/* Lines: of NDJSON bodies (api/lines.h), and of files that are sent (cli/send_lines.h). Where the input begins with 0xFE,
 * that and a byte are a quarter of a line that is too long, of that byte. */
#include "fuzz.h"

#include "api/lines.h"
#include "cli/send_lines.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RUNS = 5 };

/* The next line as the headers say: without LF or CRLF. */
static bool model_next(struct text *rest, struct text *line, size_t *bytes, bool *blank)
{
    if (rest->length == 0)
        return false;
    const char *feed = memchr(rest->bytes, '\n', rest->length);
    line->bytes = rest->bytes;
    line->length = feed == NULL ? rest->length : (size_t)(feed - rest->bytes);
    *bytes = line->length + (feed == NULL ? 0 : 1);
    rest->bytes += *bytes;
    rest->length -= *bytes;
    if (line->length > 0 && line->bytes[line->length - 1] == '\r')
        line->length--;
    *blank = true;
    for (size_t i = 0; i < line->length; i++)
        *blank = *blank && (line->bytes[i] == ' ' || line->bytes[i] == '\t');
    return true;
}

static void check_body(struct text text)
{
    struct lines lines = {.rest = text};
    struct text rest = text, expected, line;
    size_t number = 0, bytes;
    bool blank;
    while (model_next(&rest, &expected, &bytes, &blank)) {
        number++;
        if (blank)
            continue;
        FUZZ_REQUIRE(lines_next(&lines, &line));
        FUZZ_REQUIRE(lines.number == number && line.bytes == expected.bytes &&
                     line.length == expected.length);
    }
    FUZZ_REQUIRE(!lines_next(&lines, &line));
}

static enum send_lines_result next_of_file(struct send_lines *lines, struct send_lines_line *line)
{
    enum send_lines_result result;
    while ((result = send_lines_next(lines, line)) == SEND_LINES_MORE)
        FUZZ_REQUIRE(send_lines_read(lines) == 0);
    return result;
}

static void check_file(struct text text, int descriptor)
{
    struct send_lines lines;
    struct send_lines_line line;
    struct text rest = text, expected;
    size_t number = 0, bytes;
    bool blank;
    send_lines_begin(&lines, descriptor);
    while (model_next(&rest, &expected, &bytes, &blank)) {
        enum send_lines_result result = next_of_file(&lines, &line);
        bool too_long = expected.length > SEND_LINE_BYTES;
        FUZZ_REQUIRE(result == (too_long ? SEND_LINES_TOO_LONG : blank ? SEND_LINES_BLANK : SEND_LINES_LINE));
        FUZZ_REQUIRE(line.number == ++number && line.bytes == bytes);
        FUZZ_REQUIRE(blank || too_long || text_equals(line.text, expected));
    }
    FUZZ_REQUIRE(next_of_file(&lines, &line) == SEND_LINES_END);
    send_lines_free(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int descriptor = -1;
    if (descriptor < 0)
        descriptor = memfd_create("lines", 0);
    bool is_long = size > 0 && data[0] == 0xFE;
    struct text text = fuzz_expand(data, size, SEND_LINE_BYTES / 4, is_long ? RUNS : 0);
    check_body(text);
    FUZZ_REQUIRE(ftruncate(descriptor, 0) == 0 &&
                 pwrite(descriptor, text.bytes, text.length, 0) == (ssize_t)text.length &&
                 lseek(descriptor, 0, SEEK_SET) == 0);
    check_file(text, descriptor);
    fuzz_free(text);
    return 0;
}
