/* Content-Type, taken apart (RFC 9110 section 8.3). Pure; the texts point into what was given. */
#ifndef NET_MEDIA_TYPE_H
#define NET_MEDIA_TYPE_H

#include "base/text.h"

struct media_type {
    struct text type;    /* "text/plain"; empty when there is none */
    struct text charset; /* without quotes; empty when there is none */
};

/* Can't fail: what is malformed is passed over. */
struct media_type media_type_parse(struct text value);

#endif
