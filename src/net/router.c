/* From a request to its route: what can be judged by the head alone. */
#include "net/connection_internal.h"
#include "net/media_type.h"
#include "net/query.h"

#include <string.h>

static bool begins_with(struct text path, const char *start)
{
    size_t length = strlen(start);
    return path.length >= length && memcmp(path.bytes, start, length) == 0;
}

/* The segment behind a path that takes one; empty when the path is another one. */
static struct text segment_behind(const struct route *route, struct text path)
{
    size_t length = strlen(route->path);
    struct text segment = {.bytes = path.bytes, .length = 0};
    if (path.length <= length || !begins_with(path, route->path) ||
        memchr(path.bytes + length, '/', path.length - length) != NULL)
        return segment;
    return (struct text){.bytes = path.bytes + length, .length = path.length - length};
}

static bool path_is(const struct route *route, struct text path)
{
    if (route->takes_segment)
        return segment_behind(route, path).length > 0;
    return text_equals(text_from(route->path), path);
}

static bool takes_method(const struct route *route, enum request_method method)
{
    if (route->method == method)
        return true;
    return method == METHOD_HEAD && route->method == METHOD_GET && !route->without_head;
}

/* The route of a request; `*known` tells whether there is one for its path with another method. */
static const struct route *find_route(const struct http_server *server, struct request *request, bool *known)
{
    *known = text_equals(request->path, TEXT("*"));
    request->route_of_path = NULL;
    for (size_t i = 0; i < server->options.route_count; i++) {
        const struct route *route = &server->options.routes[i];
        if (route->takes_segment && begins_with(request->path, route->path))
            request->route_of_path = route;
        if (!path_is(route, request->path))
            continue;
        request->route_of_path = route;
        if (takes_method(route, request->method))
            return route;
        *known = true;
    }
    return NULL;
}

static void append_method(struct buffer *headers, unsigned *methods, enum request_method method)
{
    if ((*methods & method) == 0)
        buffer_printf(headers, "%s%s", *methods == 0 ? "" : ", ", request_method_name(method));
    *methods |= method;
}

/* RFC 9110 section 10.2.1. */
static void append_allow(const struct http_server *server, struct text path, struct buffer *headers)
{
    unsigned methods = 0;
    bool any = text_equals(path, TEXT("*"));
    buffer_append_text(headers, "Allow: ");
    for (size_t i = 0; i < server->options.route_count; i++) {
        const struct route *route = &server->options.routes[i];
        if (!any && !path_is(route, path))
            continue;
        append_method(headers, &methods, route->method);
        if (takes_method(route, METHOD_HEAD))
            append_method(headers, &methods, METHOD_HEAD);
    }
    buffer_append_text(headers, "\r\n");
}

uint64_t router_body_limit(const struct http_server *server, const struct route *route)
{
    return route == NULL || route->max_body == 0 ? server->options.max_body : route->max_body;
}

/* Returns true when the body, if any, is one that can be read here. */
static bool check_body(const struct http_server *server, const struct request *request,
                       const struct route *route, struct response *response)
{
    uint64_t limit = router_body_limit(server, route);
    if (request->framing == FRAMING_NONE)
        return true;
    if (request->framing == FRAMING_LENGTH && request->content_length > limit) {
        response_error(response, 413, "the body is larger than %llu bytes", (unsigned long long)limit);
        response->close = true;
        return false;
    }
    struct text coding = request->headers[HEADER_CONTENT_ENCODING];
    if (coding.length > 0 && !text_equals_ignoring_case(coding, TEXT("identity"))) {
        response_error(response, 415, "Content-Encoding is not supported");
        return false;
    }
    struct text charset = media_type_parse(request->headers[HEADER_CONTENT_TYPE]).charset;
    if (charset.length > 0 && !text_equals_ignoring_case(charset, TEXT("utf-8"))) {
        response_error(response, 415, "the only charset known here is UTF-8");
        return false;
    }
    return true;
}

static void find_or_refuse(const struct http_server *server, struct request *request,
                           struct response *response)
{
    bool known;
    const struct route *route = find_route(server, request, &known);
    request->route = NULL;
    if (!server->options.admit(server->options.context, request, route, response))
        return;
    if (route == NULL && !known) {
        response_error(response, 404, "there is nothing at this path");
    } else if (route == NULL) {
        response_error(response, 405, "this path does not take %s", request_method_name(request->method));
        append_allow(server, request->path, response->headers);
    } else if (!query_is_valid(request->query)) {
        response_error(response, 400, "the query has a malformed percent escape");
    } else if (route->takes_segment && !query_is_valid(segment_behind(route, request->path))) {
        response_error(response, 400, "the path has a malformed percent escape");
    } else if (check_body(server, request, route, response)) {
        request->route = route;
        if (route->takes_segment)
            request->segment = segment_behind(route, request->path);
    }
}

void router_check(const struct http_server *server, struct request *request, struct response *response)
{
    find_or_refuse(server, request, response);
    /* A client that waits for "100 Continue" may send the body all the same or leave it out, so nobody can tell what
     * comes next; also when the body has come along, so that the pieces in which it came make no difference. */
    if (request->route == NULL && request->framing != FRAMING_NONE && request_expects_continue(request))
        response->close = true;
}
