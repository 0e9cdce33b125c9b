/* Live events: what a line says is kept when it is written into the journal and read there. */
#include "fuzz.h"

#include "base/json.h"
#include "live/line.h"

#include <string.h>

enum { DEPTH = 100 };

static const char *read_line(struct text text, struct live_line *line)
{
    struct json_error error;
    FUZZ_REQUIRE(json_check(text, DEPTH, &error) == JSON_VALID);
    return live_line_read(text, line);
}

static void check_line(const struct live_line *line)
{
    struct buffer written = BUFFER_EMPTY;
    struct live_line again;
    struct text user = {.bytes = line->user, .length = line->user_length};
    FUZZ_REQUIRE(user.length >= 1 && user.length <= LIVE_USER_BYTES);
    FUZZ_REQUIRE(text_is_utf8(user) && !text_has_control(user));
    live_line_append(&written, line);
    FUZZ_REQUIRE(written.length > 0 &&
                 memchr(written.bytes, '\n', written.length) == written.bytes + written.length - 1);
    struct text text = fuzz_copy(written.bytes, written.length - 1);
    FUZZ_REQUIRE(read_line(text, &again) == NULL);
    struct decimal amount = live_line_amount(line), amount_again = live_line_amount(&again);
    FUZZ_REQUIRE(decimal_fits(&amount, LIVE_WHOLE_DIGITS));
    FUZZ_REQUIRE(amount.whole == amount_again.whole && amount.fraction == amount_again.fraction);
    FUZZ_REQUIRE(again.user_length == user.length && memcmp(again.user, user.bytes, user.length) == 0);
    fuzz_free(text);
    buffer_free(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text text = fuzz_copy(data, size);
    struct json_error error;
    struct live_line line;
    if (json_check(text, DEPTH, &error) == JSON_VALID) {
        const char *fault = live_line_read(text, &line);
        if (fault == NULL)
            check_line(&line);
        else
            FUZZ_REQUIRE(fault[0] != '\0');
    }
    fuzz_free(text);
    return 0;
}
