/* Request bodies in JSON, with the errors that say where they are wrong. */
#ifndef API_JSON_BODY_H
#define API_JSON_BODY_H

#include "api/parameters.h"
#include "base/json_read.h"
#include "net/request.h"
#include "net/response.h"

enum { JSON_DEPTH = 1000 };

/* Whether `json` is one valid value. Returns 0, or -1 with 400 or 503 in the response. `first_line` is where the text
 * begins in the body. */
int json_body_check(struct text json, size_t first_line, struct response *response);

/* Whether the body is one valid object. As json_body_check. */
int json_body_object(const struct request *request, struct response *response);

/* Whether a member is absent, null, or an empty string. */
bool json_member_is_missing(struct text value);

/* Decodes a member that must be a string and fit for a name: 1 to 255 bytes without control characters. `field` names it
 * in errors. Returns 0, or -1 with the response filled. */
int json_member_name(struct text value, const char *field, struct name *name, struct response *response);

#endif
