/* Hosts and targets of requests (RFC 9112 section 3.2, RFC 9110 sections 4.2 and 7.2). Pure functions.
 *
 * A host is read by RFC 3986 section 3.2, more strictly in three points: no comma, which two Host fields make when
 * they are joined; no port above 65535; in brackets IPv6 addresses alone.
 */
#ifndef NET_TARGET_H
#define NET_TARGET_H

#include "net/request.h"

#include <stdbool.h>

#define TARGET_MALFORMED                                                                                     \
    "malformed request target: it must be a path, with or without http:// and a host before it"

/* Whether the value of a Host field is valid: a host, with or without a port, or nothing. */
bool target_is_host(struct text value);

/* Sets path and query of the request, whose method is known, and of an absolute form the Host too, which counts more
 * than the field of that name. Returns 0, or -1 and why not. */
int target_split(struct request *request, struct text target, struct refusal *refusal);

#endif
