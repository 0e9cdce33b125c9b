/* The chunked transfer coding (RFC 9112 section 7.1), decoded as strictly as it is written.
 *
 * http-parser would do it, but as Debian builds it (strict mode off) it takes any byte for the line feed
 * after a chunk size, which two parsers in a row could read in two ways. Extensions and trailers are checked
 * and dropped: an extension that is not written as it must be could end in another place for somebody else. A
 * body ends in the same result at the same byte, however it is cut into pieces. A decoder belongs to one
 * message; not locked.
 */
#ifndef NET_CHUNKED_H
#define NET_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

enum chunked_state {
    CHUNKED_SIZE,  /* digits of a size; to _BLANK at white space, to _EXTENSION at ';', to _SIZE_END at CR */
    CHUNKED_BLANK, /* white space behind a size or a value: to _EXTENSION at ';', and nothing else */
    CHUNKED_EXTENSION,       /* behind a ';': to _EXTENSION_NAME at the first byte of a name */
    CHUNKED_EXTENSION_NAME,  /* to _EXTENSION_VALUE at '=', to _EXTENSION at ';', to _SIZE_END at CR */
    CHUNKED_EXTENSION_BLANK, /* white space behind a name: to _EXTENSION_VALUE at '=', to _EXTENSION at ';' */
    CHUNKED_EXTENSION_VALUE, /* behind a '=': to _EXTENSION_QUOTED at '"', else to _EXTENSION_TOKEN */
    CHUNKED_EXTENSION_TOKEN, /* to _BLANK, _EXTENSION or _SIZE_END */
    CHUNKED_EXTENSION_QUOTED,  /* to _EXTENSION_ESCAPED at a backslash, to _EXTENSION_END at '"' */
    CHUNKED_EXTENSION_ESCAPED, /* one byte, then back to _EXTENSION_QUOTED */
    CHUNKED_EXTENSION_END,     /* behind a quoted value: to _BLANK, _EXTENSION or _SIZE_END */
    CHUNKED_SIZE_END,          /* at LF to _DATA, or after the last chunk to _LINE */
    CHUNKED_DATA,              /* to _DATA_CR after the last byte of a chunk */
    CHUNKED_DATA_CR,           /* at CR to _DATA_END */
    CHUNKED_DATA_END,          /* at LF to _SIZE */
    CHUNKED_LINE,              /* the start of a trailer line: to _FINAL_END at CR, else to _NAME */
    CHUNKED_NAME,              /* of a trailer field: to _TRAILER at the colon */
    CHUNKED_TRAILER,           /* to _TRAILER_END at CR */
    CHUNKED_TRAILER_END,       /* at LF to _LINE */
    CHUNKED_FINAL_END,         /* at LF to _DONE */
    CHUNKED_DONE,
};

struct chunked {
    enum chunked_state state;
    uint64_t left;   /* of the chunk's data; the size while it is read */
    unsigned digits; /* of the size */
    size_t extra;    /* bytes that were no data */
    uint64_t room;   /* bytes of data that may still be announced; set by who decodes */
};

enum chunked_result {
    CHUNKED_RESULT_MORE,
    CHUNKED_RESULT_DONE,
    CHUNKED_RESULT_BAD,
    CHUNKED_RESULT_LARGE, /* a chunk is announced for which there is no room */
    CHUNKED_RESULT_EXTRA, /* more than HTTP_CHUNK_EXTRA_BYTES of extensions and trailers */
};

#define CHUNKED_START                                                                                        \
    (struct chunked)                                                                                         \
    {                                                                                                        \
        .state = CHUNKED_SIZE, .room = UINT64_MAX                                                            \
    }

/* Decodes from `input`, writes the data to `output`, which may lie in the same memory at or before `input`,
 * and says how many bytes it consumed and wrote. Stops behind the message's end (DONE), when the input is
 * used up (MORE), or at a byte that does not belong there (BAD) or is one too many (LARGE, EXTRA); the state tells
 * where. */
enum chunked_result chunked_decode(struct chunked *chunked, const char *input, size_t input_length,
                                   size_t *consumed, char *output, size_t *written);

#endif
