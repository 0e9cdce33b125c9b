/* The base URL of the upstream, read and taken apart once.
 *
 * By libcurl's own parser, so that what is checked is what is used; beyond it: the scheme must be written out with its
 * two slashes, and neither query nor fragment is taken, since paths are appended. The owner frees it. Pure; any thread.
 */
#ifndef UPSTREAM_BASE_URL_H
#define UPSTREAM_BASE_URL_H

#include "upstream/upstream.h"

struct base_url {
    char *text;     /* without credentials and without a slash at the end */
    char *user;     /* percent-decoded; NULL: none */
    char *password; /* NULL: none */
};

/* Returns 0, or -1 with a reason of one line that shows no credentials; base_url_free ends it in both cases. */
int base_url_read(struct base_url *base, const char *url, char reason[static UPSTREAM_REASON_BYTES]);

/* Forgets it, and wipes the credentials. */
void base_url_free(struct base_url *base);

#endif
