/* The chunked transfer coding (RFC 9112 section 7.1), decoded as strictly as it is written.
 *
 * http-parser would do it, but as Debian builds it (strict mode off) it takes any byte for the line feed
 * after a chunk size, which two parsers in a row could read in two ways. Extensions and trailers are checked
 * and dropped. A decoder belongs to one message; not locked.
 */
#ifndef NET_CHUNKED_H
#define NET_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

enum chunked_state {
    CHUNKED_SIZE,  /* digits of a size; to _BLANK at white space, to _EXTENSION at ';', to _SIZE_END at CR */
    CHUNKED_BLANK, /* white space behind a size: to _EXTENSION at ';', and nothing else */
    CHUNKED_EXTENSION,   /* to _SIZE_END at CR */
    CHUNKED_SIZE_END,    /* at LF to _DATA, or after the last chunk to _LINE */
    CHUNKED_DATA,        /* to _DATA_CR after the last byte of a chunk */
    CHUNKED_DATA_CR,     /* at CR to _DATA_END */
    CHUNKED_DATA_END,    /* at LF to _SIZE */
    CHUNKED_LINE,        /* the start of a trailer line: to _FINAL_END at CR, else to _NAME */
    CHUNKED_NAME,        /* of a trailer field: to _TRAILER at the colon */
    CHUNKED_TRAILER,     /* to _TRAILER_END at CR */
    CHUNKED_TRAILER_END, /* at LF to _LINE */
    CHUNKED_FINAL_END,   /* at LF to _DONE */
    CHUNKED_DONE,
};

struct chunked {
    enum chunked_state state;
    uint64_t left;   /* of the chunk's data; the size while it is read */
    unsigned digits; /* of the size */
    size_t extra;    /* bytes that were no data */
};

enum chunked_result { CHUNKED_RESULT_MORE, CHUNKED_RESULT_DONE, CHUNKED_RESULT_BAD };

#define CHUNKED_START                                                                                        \
    (struct chunked)                                                                                         \
    {                                                                                                        \
        .state = CHUNKED_SIZE                                                                                \
    }

/* Decodes from `input`, writes the data to `output`, which may lie in the same memory at or before `input`,
 * and says how many bytes it consumed and wrote. Stops behind the message's end (DONE), when the input is
 * used up (MORE), or at a byte that does not belong there (BAD). */
enum chunked_result chunked_decode(struct chunked *chunked, const char *input, size_t input_length,
                                   size_t *consumed, char *output, size_t *written);

#endif
