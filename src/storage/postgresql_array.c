/* Arrays in PostgreSQL's binary format: a header (dimensions, whether there are NULLs, the elements' type, length, first
 * index), then each element with its length; all numbers big-endian. Bytes go as they are, nothing is escaped.
 * The server takes no message above 1 GiB. */
#include "storage/postgresql_internal.h"

#include <endian.h>

enum {
    TYPE_BIGINT = 20,
    TYPE_TEXT = 25,
    HEADER_NUMBERS = 5,
    COUNT_PLACE = 3,
    LONGEST_TEXT = 512 * 1024 * 1024
};

static void begin(struct postgresql_array *array, uint32_t type)
{
    const uint32_t header[HEADER_NUMBERS] = {htobe32(1), htobe32(0), htobe32(type), htobe32(0), htobe32(1)};
    buffer_clear(&array->bytes);
    array->count = 0;
    buffer_append(&array->bytes, header, sizeof header);
}

void postgresql_array_begin_texts(struct postgresql_array *array)
{
    begin(array, TYPE_TEXT);
}

void postgresql_array_begin_numbers(struct postgresql_array *array)
{
    begin(array, TYPE_BIGINT);
}

static void add(struct postgresql_array *array, const void *bytes, size_t length)
{
    if (length > LONGEST_TEXT) {
        array->bytes.failed = true;
        return;
    }
    uint32_t encoded_length = htobe32((uint32_t)length);
    buffer_append(&array->bytes, &encoded_length, sizeof encoded_length);
    buffer_append(&array->bytes, bytes, length);
    array->count++;
}

void postgresql_array_add_text(struct postgresql_array *array, struct text text)
{
    add(array, text.bytes, text.length);
}

void postgresql_array_add_number(struct postgresql_array *array, int64_t number)
{
    uint64_t encoded = htobe64((uint64_t)number);
    add(array, &encoded, sizeof encoded);
}

struct postgresql_parameter postgresql_array_finish(struct postgresql_array *array)
{
    uint32_t count = htobe32(array->count);
    if (!array->bytes.failed)
        memcpy(array->bytes.bytes + COUNT_PLACE * sizeof count, &count, sizeof count);
    return (struct postgresql_parameter){.value = array->bytes.bytes, .length = array->bytes.length};
}

void postgresql_array_free(struct postgresql_array *array)
{
    buffer_free(&array->bytes);
}
