/* Messages of HTTP, good ones and one of each kind that is refused, for the tests that cut them into pieces.
 *
 * Each ends with a request of its own behind it, so that a cut also falls between two. A push goes to the key
 * HTTP_MESSAGES_KEY, which stands in all of them at most once a push and may be replaced by one of the same
 * length. Bodies are at most HTTP_MESSAGES_BODY_BYTES long, but for those that are refused as too large. Constants only.
 */
#ifndef TEST_HTTP_MESSAGES_H
#define TEST_HTTP_MESSAGES_H

#include <stddef.h>

enum { HTTP_MESSAGES_BODY_BYTES = 20 };

#define HTTP_MESSAGES_KEY "k000000"

struct http_message {
    const char *name;
    const char *bytes;
};

extern const struct http_message http_messages[];
extern const size_t http_message_count;

#endif
