/* What all fuzz targets share. A target is one file fuzz_NAME.c with the function that libFuzzer calls; it feeds its input to
 * modules of the server and requires what their headers promise. seeds/NAME holds inputs to begin with, crashes/NAME those
 * that once found a fault, NAME.dict words that occur. `make fuzz` runs all of them (test/fuzz/run).
 *
 * All modules lie in one archive, so that a target may bring a double of a function that it does not want, as long as it
 * brings all functions of that file that are used.
 *
 * Time: our objects are compiled with -Dclock_gettime=fuzz_clock_gettime. The wall clock stands at FUZZ_WALL_MS, so that
 * inputs mean the same on every day; the monotonic one goes on.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 2026-01-02T03:04:05.678Z */
#define FUZZ_WALL_MS INT64_C(1767323045678)

/* Called by libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argument_count, char ***arguments);

/* Ends the process, with what did not hold. */
#define FUZZ_REQUIRE(condition)                                                                              \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fuzz_fail(__FILE__, __LINE__, #condition);                                                       \
    } while (0)
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* A copy in memory of exactly that size, so that AddressSanitizer sees each byte that is read behind it. fuzz_free ends
 * it. */
struct text fuzz_copy(const void *bytes, size_t length);
void fuzz_free(struct text text);

/* A copy in which each byte 0xFE stands for a run: the byte behind it, `run_length` times; for the first `most` of them. So short inputs
 * reach what is about length. */
struct text fuzz_expand(const uint8_t *data, size_t size, size_t run_length, size_t most);

/* A folder of this process's own, in TMPDIR; it goes with all its files at the end. */
const char *fuzz_folder(void);

/* Cuts one byte off the front of the input, 0 when there is none. */
uint8_t fuzz_take_byte(const uint8_t **data, size_t *size);

/* --- kit_json.c: JSON as RFC 8259 says, written anew, to compare with --- */

bool model_json_is_valid(struct text text, size_t depth_limit);
bool model_json_is_number(struct text text);

/* --- kit_head.c: the head of a request as RFC 9112 says, written anew --- */

struct model_head {
    struct text target;
    int minor_version;
    unsigned hosts, codings, lengths; /* how often the field is there */
    bool is_chunked;
    bool has_good_length;
    uint64_t content_length;
};

/* Whether a whole head, with its empty line, is one by sections 3, 5 and 6, of HTTP/1, with one meaning: at most one Host,
 * Content-Length or Transfer-Encoding, whose only coding is chunked. */
bool model_head_read(struct text text, struct model_head *head);

#endif
