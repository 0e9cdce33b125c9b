/* Reading query parameters, with the errors that name them. */
#ifndef API_PARAMETERS_H
#define API_PARAMETERS_H

#include "net/request.h"
#include "net/response.h"

enum { NAME_BYTES = 255, NUMBER_BYTES = 40 };

/* A key, group, channel or id, decoded. */
struct name {
    char bytes[NAME_BYTES];
    struct text text; /* points to `bytes` */
};

/* Reads a name that must be there: 1 to 255 bytes of UTF-8 without control characters. Returns 0, or -1 with
 * the response filled. */
int parameter_name(const struct request *request, const char *parameter, struct name *name,
                   struct response *response);

/* The same for the segment behind the route's path; `what` says what it is. */
int parameter_segment(const struct request *request, const char *what, struct name *name,
                      struct response *response);

/* The same, but it may be missing: the text is empty then. */
int parameter_name_if_there(const struct request *request, const char *parameter, struct name *name,
                            struct response *response);

/* These leave the value alone where the parameter is missing. Return 0, or -1 with the response filled. */
int parameter_seconds(const struct request *request, const char *parameter, int64_t most_ns, int64_t *ns,
                      struct response *response);
int parameter_number(const struct request *request, const char *parameter, uint64_t least, uint64_t most,
                     uint64_t *number, struct response *response);
/* "1" or "0". */
int parameter_flag(const struct request *request, const char *parameter, bool *flag,
                   struct response *response);

#endif
