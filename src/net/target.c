#include "net/target.h"

#include <arpa/inet.h>
#include <string.h>

static int refuse(struct refusal *refusal, unsigned status, const char *reason)
{
    *refusal = (struct refusal){.status = status, .reason = reason};
    return -1;
}

static bool is_port(struct text port)
{
    uint64_t number;
    return port.length == 0 || text_parse_number(port, 0, UINT16_MAX, &number) == 0;
}

static bool is_ipv6(struct text address)
{
    char terminated[INET6_ADDRSTRLEN] = "";
    struct in6_addr binary;
    if (address.length >= sizeof terminated || memchr(address.bytes, '\0', address.length) != NULL)
        return false;
    memcpy(terminated, address.bytes, address.length);
    return inet_pton(AF_INET6, terminated, &binary) == 1;
}

/* reg-name: unreserved, percent-encoded, sub-delims but the comma. */
static bool is_name(struct text name)
{
    for (size_t i = 0; i < name.length; i++) {
        char c = name.bytes[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (c == '%') {
            if (name.length - i < 3 || text_hex_value(name.bytes[i + 1]) < 0 ||
                text_hex_value(name.bytes[i + 2]) < 0)
                return false;
        } else if (!letter && (c == '\0' || strchr("-._~!$&'()*+;=", c) == NULL)) {
            return false;
        }
    }
    return true;
}

bool target_is_host(struct text value)
{
    if (value.length == 0)
        return true;
    struct text rest = value;
    if (value.bytes[0] != '[') {
        struct text name = text_cut(&rest, ':');
        return name.length > 0 && is_name(name) && is_port(rest);
    }
    struct text address = text_cut(&rest, ']');
    if (address.length == value.length || !is_ipv6((struct text){address.bytes + 1, address.length - 1}))
        return false;
    return rest.length == 0 ||
           (rest.bytes[0] == ':' && is_port((struct text){rest.bytes + 1, rest.length - 1}));
}

/* Cuts scheme and authority off an absolute-form target. */
static int cut_authority(struct request *request, struct text *target, struct refusal *refusal)
{
    struct text rest = *target;
    struct text scheme = text_cut(&rest, ':');
    if (rest.length < 2 || memcmp(rest.bytes, "//", 2) != 0)
        return refuse(refusal, 400, TARGET_MALFORMED);
    /* RFC 9110 section 7.4: what came without TLS can't be meant for https. */
    if (!text_equals_ignoring_case(scheme, TEXT("http")))
        return refuse(refusal, 421, "this server answers for http:// alone");
    struct text authority = {.bytes = rest.bytes + 2};
    const char *end = rest.bytes + rest.length;
    while (authority.bytes + authority.length < end && authority.bytes[authority.length] != '/' &&
           authority.bytes[authority.length] != '?')
        authority.length++;
    if (authority.length == 0 || !target_is_host(authority))
        return refuse(refusal, 400, "malformed host in the request target");
    request->headers[HEADER_HOST] = authority;
    target->bytes = authority.bytes + authority.length;
    target->length = (size_t)(end - target->bytes);
    /* RFC 9112 section 3.2.4 */
    if (target->length == 0 && request->method == METHOD_OPTIONS)
        *target = TEXT("*");
    return 0;
}

/* Origin form, absolute form, or "*" of OPTIONS. */
int target_split(struct request *request, struct text target, struct refusal *refusal)
{
    bool asterisk = text_equals(target, TEXT("*"));
    if (asterisk && request->method != METHOD_OPTIONS)
        return refuse(refusal, 400, "the request target * belongs to OPTIONS alone");
    if (target.bytes[0] != '/' && !asterisk && cut_authority(request, &target, refusal) != 0)
        return -1;
    request->path = text_cut(&target, '?');
    request->query = target;
    if (request->path.length == 0)
        request->path = TEXT("/");
    return 0;
}
