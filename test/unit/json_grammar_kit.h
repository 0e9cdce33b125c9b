/* A judge of JSON texts that follows the grammar of RFC 8259 letter by letter, and that of UTF-8 in RFC 3629 section 4.
 * It shares nothing with the judge that it is compared with (base/json.h): slow, plain, made for the tests alone. */
#ifndef JSON_GRAMMAR_KIT_H
#define JSON_GRAMMAR_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* `at` stops at the first byte that can't belong to a valid text, or at the end. */
struct grammar {
    const char *bytes;
    size_t length, at;
    size_t depth_left;
};

static inline int grammar_byte(const struct grammar *grammar)
{
    return grammar->at < grammar->length ? (unsigned char)grammar->bytes[grammar->at] : -1;
}

static inline bool grammar_in(struct grammar *grammar, int least, int most)
{
    int byte = grammar_byte(grammar);
    if (byte < least || byte > most)
        return false;
    grammar->at++;
    return true;
}

static inline bool grammar_is(struct grammar *grammar, char wanted)
{
    return grammar_in(grammar, (unsigned char)wanted, (unsigned char)wanted);
}

/* ws = *( %x20 / %x09 / %x0A / %x0D ) */
static inline void grammar_space(struct grammar *grammar)
{
    while (grammar_is(grammar, ' ') || grammar_is(grammar, '\t') || grammar_is(grammar, '\n') ||
           grammar_is(grammar, '\r'))
        continue;
}

/* 1*DIGIT */
static inline bool grammar_digits(struct grammar *grammar)
{
    if (!grammar_in(grammar, '0', '9'))
        return false;
    while (grammar_in(grammar, '0', '9'))
        continue;
    return true;
}

/* number = [ minus ] int [ frac ] [ exp ] */
static inline bool grammar_number(struct grammar *grammar)
{
    grammar_is(grammar, '-');
    if (!grammar_is(grammar, '0') && !(grammar_byte(grammar) != '0' && grammar_digits(grammar)))
        return false;
    if (grammar_is(grammar, '.') && !grammar_digits(grammar))
        return false;
    if (!grammar_is(grammar, 'e') && !grammar_is(grammar, 'E'))
        return true;
    if (!grammar_is(grammar, '-'))
        grammar_is(grammar, '+');
    return grammar_digits(grammar);
}

static inline bool grammar_tails(struct grammar *grammar, int count)
{
    while (count > 0 && grammar_in(grammar, 0x80, 0xBF))
        count--;
    return count == 0;
}

/* UTF8-2, UTF8-3 and UTF8-4 of RFC 3629, a line each. */
static inline bool grammar_beyond_ascii(struct grammar *grammar)
{
    return (grammar_in(grammar, 0xC2, 0xDF) && grammar_tails(grammar, 1)) ||
           (grammar_in(grammar, 0xE0, 0xE0) && grammar_in(grammar, 0xA0, 0xBF) &&
            grammar_tails(grammar, 1)) ||
           (grammar_in(grammar, 0xE1, 0xEC) && grammar_tails(grammar, 2)) ||
           (grammar_in(grammar, 0xED, 0xED) && grammar_in(grammar, 0x80, 0x9F) &&
            grammar_tails(grammar, 1)) ||
           (grammar_in(grammar, 0xEE, 0xEF) && grammar_tails(grammar, 2)) ||
           (grammar_in(grammar, 0xF0, 0xF0) && grammar_in(grammar, 0x90, 0xBF) &&
            grammar_tails(grammar, 2)) ||
           (grammar_in(grammar, 0xF1, 0xF3) && grammar_tails(grammar, 3)) ||
           (grammar_in(grammar, 0xF4, 0xF4) && grammar_in(grammar, 0x80, 0x8F) && grammar_tails(grammar, 2));
}

/* What follows a backslash. */
static inline bool grammar_escape(struct grammar *grammar)
{
    int byte = grammar_byte(grammar);
    if (byte < 0 || byte == 0 || strchr("\"\\/bfnrtu", byte) == NULL)
        return false;
    grammar->at++;
    for (int digits = byte == 'u' ? 4 : 0; digits > 0; digits--)
        if (!grammar_in(grammar, '0', '9') && !grammar_in(grammar, 'a', 'f') &&
            !grammar_in(grammar, 'A', 'F'))
            return false;
    return true;
}

/* unescaped = %x20-21 / %x23-5B / %x5D-10FFFF */
static inline bool grammar_string(struct grammar *grammar)
{
    if (!grammar_is(grammar, '"'))
        return false;
    for (;;) {
        if (grammar_is(grammar, '"'))
            return true;
        bool good = grammar_is(grammar, '\\')       ? grammar_escape(grammar)
                    : grammar_byte(grammar) >= 0x80 ? grammar_beyond_ascii(grammar)
                                                    : grammar_in(grammar, 0x20, 0x7F);
        if (!good)
            return false;
    }
}

static inline bool grammar_word(struct grammar *grammar, const char *word)
{
    while (*word != '\0' && grammar_is(grammar, *word))
        word++;
    return *word == '\0';
}

static inline bool grammar_value(struct grammar *grammar);

static inline bool grammar_member(struct grammar *grammar)
{
    grammar_space(grammar);
    if (!grammar_string(grammar))
        return false;
    grammar_space(grammar);
    return grammar_is(grammar, ':') && grammar_value(grammar);
}

/* Arrays and objects; the opening bracket is at hand. */
static inline bool grammar_container(struct grammar *grammar, char closing, bool (*item)(struct grammar *))
{
    if (grammar->depth_left == 0)
        return false;
    grammar->depth_left--;
    grammar->at++;
    grammar_space(grammar);
    if (!grammar_is(grammar, closing)) {
        do {
            if (!item(grammar))
                return false;
        } while (grammar_is(grammar, ','));
        if (!grammar_is(grammar, closing))
            return false;
    }
    grammar->depth_left++;
    return true;
}

/* With the white space around it. */
static inline bool grammar_value(struct grammar *grammar)
{
    bool good;
    grammar_space(grammar);
    switch (grammar_byte(grammar)) {
    case '"':
        good = grammar_string(grammar);
        break;
    case '[':
        good = grammar_container(grammar, ']', grammar_value);
        break;
    case '{':
        good = grammar_container(grammar, '}', grammar_member);
        break;
    case 't':
        good = grammar_word(grammar, "true");
        break;
    case 'f':
        good = grammar_word(grammar, "false");
        break;
    case 'n':
        good = grammar_word(grammar, "null");
        break;
    default:
        good = grammar_number(grammar);
    }
    if (good)
        grammar_space(grammar);
    return good;
}

/* JSON-text = ws value ws. `*bad_at`: where it stops being one, unless it is. */
static inline bool grammar_judge(const char *bytes, size_t length, size_t depth_limit, size_t *bad_at)
{
    struct grammar grammar = {.bytes = bytes, .length = length, .depth_left = depth_limit};
    bool good = grammar_value(&grammar) && grammar.at == length;
    *bad_at = grammar.at;
    return good;
}

#endif
