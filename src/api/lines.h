/* NDJSON bodies: one JSON value a line, lines end in LF or CRLF, blank lines are skipped. Pure. */
#ifndef API_LINES_H
#define API_LINES_H

#include "net/request.h"

#include <stdbool.h>
#include <stddef.h>

struct lines {
    struct text rest;
    size_t number; /* of the line that lines_next gave last, from 1 */
};

/* Whether the request says that its body is NDJSON. */
bool lines_are_announced(const struct request *request);

/* The next line that is not blank, without its end. Begin with `rest` the body and `number` 0. False: no more. */
bool lines_next(struct lines *lines, struct text *line);

#endif
