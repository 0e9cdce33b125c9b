#include "api/lines.h"

#include "net/media_type.h"

bool lines_are_announced(const struct request *request)
{
    struct text type = media_type_parse(request->headers[HEADER_CONTENT_TYPE]).type;
    return text_equals_ignoring_case(type, TEXT("application/x-ndjson"));
}

bool lines_next(struct lines *lines, struct text *line)
{
    while (lines->rest.length > 0) {
        *line = text_cut(&lines->rest, '\n');
        lines->number++;
        if (line->length > 0 && line->bytes[line->length - 1] == '\r')
            line->length--;
        if (text_trim(*line).length > 0)
            return true;
    }
    return false;
}
