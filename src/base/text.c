#include "base/text.h"

#include "base/clock.h"

#include <string.h>

struct text text_from(const char *terminated)
{
    return (struct text){.bytes = terminated, .length = strlen(terminated)};
}

bool text_equals(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool text_equals_ignoring_case(struct text a, struct text b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++) {
        if (lower(a.bytes[i]) != lower(b.bytes[i]))
            return false;
    }
    return true;
}

bool text_equals_in_constant_time(struct text secret, struct text guess)
{
    unsigned difference = secret.length == guess.length ? 0 : 1;
    for (size_t i = 0; i < guess.length; i++) {
        unsigned char expected = 0;
        if (secret.length > 0)
            expected = (unsigned char)secret.bytes[i % secret.length];
        difference |= (unsigned)expected ^ (unsigned char)guess.bytes[i];
    }
    return difference == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct text text_trim(struct text text)
{
    while (text.length > 0 && is_blank(text.bytes[0])) {
        text.bytes++;
        text.length--;
    }
    while (text.length > 0 && is_blank(text.bytes[text.length - 1]))
        text.length--;
    return text;
}

struct text text_cut(struct text *rest, char separator)
{
    const char *at = rest->length == 0 ? NULL : memchr(rest->bytes, separator, rest->length);
    struct text front = *rest;
    if (at == NULL) {
        rest->length = 0;
        return front;
    }
    front.length = (size_t)(at - rest->bytes);
    rest->bytes = at + 1;
    rest->length -= front.length + 1;
    return front;
}

struct text text_put(char **to, struct text text)
{
    struct text copy = {.bytes = *to, .length = text.length};
    if (text.length > 0)
        memcpy(*to, text.bytes, text.length);
    *to += text.length;
    return copy;
}

int text_hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    int letter = lower(digit);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* The length of the valid UTF-8 sequence at the start of `bytes`, 0 when there is none. */
static size_t sequence_length(const unsigned char *bytes, size_t available)
{
    unsigned char first = bytes[0];
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (available < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    }
    bool overlong = (first == 0xE0 && bytes[1] < 0xA0) || (first == 0xF0 && bytes[1] < 0x90);
    bool surrogate = first == 0xED && bytes[1] > 0x9F;
    bool too_high = first == 0xF4 && bytes[1] > 0x8F;
    return overlong || surrogate || too_high ? 0 : length;
}

/* The length of the ASCII front, eight bytes at a time. */
static size_t ascii_length(const unsigned char *bytes, size_t length)
{
    size_t i = 0;
    for (uint64_t word; length - i >= sizeof word; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    return i;
}

size_t text_utf8_length(struct text text)
{
    const unsigned char *bytes = (const unsigned char *)text.bytes;
    size_t i = 0;
    while (i < text.length) {
        i += ascii_length(bytes + i, text.length - i);
        size_t length = i == text.length ? 0 : sequence_length(bytes + i, text.length - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

bool text_is_utf8(struct text text)
{
    return text_utf8_length(text) == text.length;
}

bool text_has_control(struct text text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        if (byte < 0x20 || byte == 0x7F)
            return true;
        /* U+0080 to U+009F are written C2 80 to C2 9F. */
        if (byte == 0xC2 && i + 1 < text.length && (unsigned char)text.bytes[i + 1] < 0xA0)
            return true;
    }
    return false;
}

int text_parse_number(struct text text, uint64_t least, uint64_t most, uint64_t *number)
{
    uint64_t value = 0;
    if (text.length == 0)
        return -1;
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return -1;
        unsigned digit = (unsigned)(text.bytes[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return -1;
        value = value * 10 + digit;
    }
    if (value < least || value > most)
        return -1;
    *number = value;
    return 0;
}

int text_parse_seconds(struct text text, int64_t most_ns, int64_t *ns)
{
    const char *point = text.length == 0 ? NULL : memchr(text.bytes, '.', text.length);
    struct text whole = text;
    int64_t fraction_ns = 0;
    if (point != NULL) {
        whole.length = (size_t)(point - text.bytes);
        size_t digits = text.length - whole.length - 1;
        if (digits == 0)
            return -1;
        int64_t scale = CLOCK_NS_PER_SECOND / 10;
        for (size_t i = 0; i < digits; i++, scale /= 10) {
            char c = point[1 + i];
            if (c < '0' || c > '9')
                return -1;
            fraction_ns += (c - '0') * scale;
        }
    }
    uint64_t seconds;
    if (text_parse_number(whole, 0, (uint64_t)(most_ns / CLOCK_NS_PER_SECOND), &seconds) != 0)
        return -1;
    int64_t whole_ns = (int64_t)seconds * CLOCK_NS_PER_SECOND;
    if (fraction_ns > most_ns - whole_ns)
        return -1;
    *ns = whole_ns + fraction_ns;
    return 0;
}
