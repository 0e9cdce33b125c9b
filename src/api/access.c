/* Who may ask: foreign web pages may not, and nobody without the token where there is one.
 *
 * A browser says where a request comes from: in Origin (RFC 6454, Fetch) and in Sec-Fetch-Site (Fetch
 * Metadata). Programs send neither. The own origin is the one that the Host field names. A page of a stranger
 * can have its own name resolve to this machine (DNS rebinding), and then Origin and Host agree; so a server
 * that is open to its own machine alone takes an Origin only under a name of that machine, or over TLS from a
 * proxy, which rebinding can't forge. A GET of such a page carries no Origin and can't be told from a
 * program's: only a token keeps it out.
 */
#include "api/api.h"
#include "net/query.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { TOKEN_BYTES = 4096 };

/* Takes `prefix` off. Returns false when the text does not begin with it, in any case of letters. */
static bool skip_prefix(struct text *text, struct text prefix)
{
    if (text->length < prefix.length ||
        !text_equals_ignoring_case((struct text){.bytes = text->bytes, .length = prefix.length}, prefix))
        return false;
    text->bytes += prefix.length;
    text->length -= prefix.length;
    return true;
}

static struct text without_port(struct text host)
{
    const char *colon = host.length == 0 ? NULL : memrchr(host.bytes, ':', host.length);
    const char *bracket = host.length == 0 ? NULL : memrchr(host.bytes, ']', host.length);
    if (colon != NULL && (bracket == NULL || colon > bracket))
        host.length = (size_t)(colon - host.bytes);
    return host;
}

static bool names_this_machine(struct text host)
{
    struct text name = without_port(host);
    char terminated[INET_ADDRSTRLEN] = "";
    struct in_addr address = {.s_addr = 0};
    if (name.length > 0 && name.length < sizeof terminated)
        memcpy(terminated, name.bytes, name.length);
    bool loopback =
        inet_pton(AF_INET, terminated, &address) == 1 && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
    return loopback || text_equals_ignoring_case(name, TEXT("localhost")) || text_equals(name, TEXT("[::1]"));
}

static bool is_own_origin(const struct access_rules *access, struct text origin, struct text host)
{
    struct text secure = origin;
    if (host.length == 0) /* an origin names one */
        return false;
    if (skip_prefix(&secure, TEXT("https://")))
        return text_equals_ignoring_case(secure, host);
    bool rebinding_possible = access->token.length == 0 && !access->insecure;
    return skip_prefix(&origin, TEXT("http://")) && text_equals_ignoring_case(origin, host) &&
           (!rebinding_possible || names_this_machine(host));
}

static bool is_foreign(const struct access_rules *access, const struct request *request)
{
    if (request_has_header(request, HEADER_ORIGIN)) {
        struct text origin = request->headers[HEADER_ORIGIN];
        bool allowed = access->cors_origin.length > 0 && text_equals(origin, access->cors_origin);
        return !allowed && !is_own_origin(access, origin, request->headers[HEADER_HOST]);
    }
    return text_equals_ignoring_case(request->headers[HEADER_SEC_FETCH_SITE], TEXT("cross-site"));
}

/* Only where the client can't do better: addresses end up in the logs of others. */
static bool has_token_in_query(const struct access_rules *access, const struct request *request)
{
    char given[TOKEN_BYTES];
    size_t length = 0;
    return query_is_valid(request->query) &&
           query_find(request->query, "access_token", given, sizeof given, &length) == QUERY_FOUND &&
           text_equals_in_constant_time(access->token, (struct text){.bytes = given, .length = length});
}

static bool has_token(const struct access_rules *access, const struct request *request)
{
    struct text given = request->headers[HEADER_AUTHORIZATION];
    if (skip_prefix(&given, TEXT("Bearer ")))
        given = text_trim(given);
    return text_equals_in_constant_time(access->token, given);
}

static bool is_preflight(const struct access_rules *access, const struct request *request)
{
    return request->method == METHOD_OPTIONS && access->cors_origin.length > 0;
}

static void answer_preflight(struct response *response)
{
    response->status = 204;
    response_header(response, "Access-Control-Allow-Methods", TEXT("GET, HEAD, POST, PUT, OPTIONS"));
    response_header(response, "Access-Control-Allow-Headers",
                    TEXT("Authorization, Content-Type, Last-Event-ID"));
    response_header(response, "Access-Control-Max-Age", TEXT("600"));
}

bool api_admit(void *context, const struct request *request, const struct route *route,
               struct response *response)
{
    const struct server *server = context;
    const struct access_rules *access = &server->access;
    if (is_foreign(access, request)) {
        response_error(response, 403, "requests from the web page of another origin are not allowed");
        return false;
    }
    if (is_preflight(access, request)) {
        answer_preflight(response);
        return false;
    }
    bool open = route != NULL && route->open;
    bool in_query = route != NULL && route->token_in_query;
    if (access->token.length > 0 && !open && !has_token(access, request) &&
        !(in_query && has_token_in_query(access, request))) {
        response_error(response, 401, "this server needs the header Authorization: Bearer TOKEN");
        return false;
    }
    return true;
}

void api_common_headers(const struct access_rules *access, struct buffer *headers)
{
    if (access->cors_origin.length == 0)
        return;
    buffer_append_text(headers, "Access-Control-Allow-Origin: ");
    buffer_append(headers, access->cors_origin.bytes, access->cors_origin.length);
    buffer_append_text(headers, "\r\nVary: Origin\r\n");
}
