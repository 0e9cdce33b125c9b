/* The chunked transfer coding, decoded in place and in pieces, as by a reader that was written anew after RFC 9112 section 7.1. The first
 * byte of the input says how long pieces are. */
#include "fuzz.h"

#include "net/chunked.h"
#include "net/request.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 15 };

struct model {
    struct text rest;
    enum chunked_result result; /* MORE until something else is known */
    char *data;
    size_t length;
};

/* The next byte, or -1 where there is none. */
static int take(struct model *model)
{
    if (model->rest.length == 0)
        return -1;
    model->rest.length--;
    return (unsigned char)*model->rest.bytes++;
}

/* Returns whether the reading goes on. */
static bool must(struct model *model, bool good, int byte)
{
    if (byte >= 0 && !good)
        model->result = CHUNKED_RESULT_BAD;
    return byte >= 0 && good;
}

static bool take_exactly(struct model *model, char wanted)
{
    int byte = take(model);
    return must(model, byte == (unsigned char)wanted, byte);
}

/* Up to and with the CRLF. */
static bool take_line_end(struct model *model)
{
    int byte;
    do {
        byte = take(model);
        if (!must(model, byte == '\t' || byte == '\r' || (byte >= 0x20 && byte != 0x7F), byte))
            return false;
    } while (byte != '\r');
    return take_exactly(model, '\n');
}

static bool is_blank(int byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_token(int byte)
{
    return byte >= 0 && request_is_token_byte((char)byte);
}

/* The first byte that is not blank, beginning with this one. */
static int pass_blanks(struct model *model, int byte)
{
    while (is_blank(byte))
        byte = take(model);
    return byte;
}

/* A quoted value behind its first quotation mark, up to and with its last. */
static bool take_quoted(struct model *model)
{
    for (;;) {
        int byte = take(model);
        if (byte == '"')
            return true;
        if (byte == '\\')
            byte = take(model);
        if (!must(model, byte == '\t' || (byte >= 0x20 && byte != 0x7F), byte))
            return false;
    }
}

/* One token; `*byte` is its first byte, then the one behind it. */
static bool take_token(struct model *model, int *byte)
{
    if (!must(model, is_token(*byte), *byte))
        return false;
    while (is_token(*byte))
        *byte = take(model);
    return true;
}

/* What follows a ';'; `*byte` is the first one behind it then, blanks included. */
static bool take_extension(struct model *model, int *byte)
{
    *byte = pass_blanks(model, take(model));
    if (!take_token(model, byte))
        return false;
    int next = pass_blanks(model, *byte);
    if (next != '=') {
        if (is_blank(*byte)) /* only another one may follow blanks */
            return must(model, next == ';', next) && take_extension(model, byte);
        return true;
    }
    *byte = pass_blanks(model, take(model));
    if (*byte != '"')
        return take_token(model, byte);
    if (!take_quoted(model))
        return false;
    *byte = take(model);
    return true;
}

/* Everything behind the digits of a size, up to and with the CRLF. */
static bool take_extensions(struct model *model, int byte)
{
    for (;;) {
        bool blank = is_blank(byte);
        byte = pass_blanks(model, byte);
        if (!must(model, byte == ';' || (byte == '\r' && !blank), byte))
            return false;
        if (byte == '\r')
            return take_exactly(model, '\n');
        if (!take_extension(model, &byte))
            return false;
    }
}

static bool take_size_line(struct model *model, uint64_t *size)
{
    int digits = 0, byte;
    *size = 0;
    while ((byte = take(model)) >= 0 && text_hex_value((char)byte) >= 0) {
        *size = *size * 16 + (uint64_t)text_hex_value((char)byte);
        if (!must(model, ++digits <= MOST_DIGITS, byte))
            return false;
    }
    return must(model, digits > 0, byte) && take_extensions(model, byte);
}

/* Trailers, up to and with the empty line. */
static bool take_trailers(struct model *model)
{
    for (;;) {
        int byte = take(model);
        if (byte == '\r')
            return take_exactly(model, '\n');
        if (!must(model, byte != ':', byte))
            return false;
        while (byte >= 0 && request_is_token_byte((char)byte)) {
            byte = take(model);
            if (byte == ':')
                break;
        }
        if (!must(model, byte == ':', byte) || !take_line_end(model))
            return false;
    }
}

static bool take_data(struct model *model, uint64_t size)
{
    for (; size > 0; size--) {
        int byte = take(model);
        if (byte < 0)
            return false;
        model->data[model->length++] = (char)byte;
    }
    return take_exactly(model, '\r') && take_exactly(model, '\n');
}

static void model_decode(struct model *model)
{
    uint64_t size;
    while (take_size_line(model, &size)) {
        if (size == 0) {
            if (take_trailers(model))
                model->result = CHUNKED_RESULT_DONE;
            return;
        }
        if (!take_data(model, size))
            return;
    }
}

/* Decodes in place, `piece` bytes at a time (0: all at once). Returns the data's length. */
static size_t decode(struct text bytes, size_t piece, enum chunked_result *result, size_t *used)
{
    struct chunked chunked = CHUNKED_START;
    char *place = (char *)(uintptr_t)bytes.bytes;
    size_t length = 0;
    *used = 0;
    *result = CHUNKED_RESULT_MORE;
    while (*used < bytes.length && *result == CHUNKED_RESULT_MORE) {
        size_t left = bytes.length - *used, consumed, written;
        size_t given = piece == 0 || piece > left ? left : piece;
        *result = chunked_decode(&chunked, place + *used, given, &consumed, place + length, &written);
        FUZZ_REQUIRE(consumed <= given && written <= consumed);
        FUZZ_REQUIRE(*result != CHUNKED_RESULT_MORE || consumed == given);
        *used += consumed;
        length += written;
    }
    return length;
}

static void check(const struct model *model, const uint8_t *data, size_t size, size_t piece)
{
    struct text bytes = fuzz_copy(data, size);
    enum chunked_result result;
    size_t used, length = decode(bytes, piece, &result, &used);
    FUZZ_REQUIRE(result == model->result);
    FUZZ_REQUIRE(used == size - model->rest.length);
    FUZZ_REQUIRE(length == model->length && (length == 0 || memcmp(bytes.bytes, model->data, length) == 0));
    fuzz_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = fuzz_take_byte(&data, &size);
    struct model model = {.rest = {.bytes = (const char *)data, .length = size},
                          .result = CHUNKED_RESULT_MORE,
                          .data = malloc(size)};
    FUZZ_REQUIRE(size == 0 || model.data != NULL);
    model_decode(&model);
    check(&model, data, size, 0);
    check(&model, data, size, piece);
    free(model.data);
    return 0;
}
