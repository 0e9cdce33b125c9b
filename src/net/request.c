#include "net/request.h"

#include "net/limits.h"

#include <http_parser.h>
#include <string.h>

struct known_method {
    enum request_method method;
    unsigned parser_method;
    const char *name;
};

static const struct known_method known_methods[] = {
    {METHOD_GET, HTTP_GET, "GET"},
    {METHOD_HEAD, HTTP_HEAD, "HEAD"},
    {METHOD_POST, HTTP_POST, "POST"},
    {METHOD_PUT, HTTP_PUT, "PUT"},
    {METHOD_DELETE, HTTP_DELETE, "DELETE"},
    {METHOD_PATCH, HTTP_PATCH, "PATCH"},
    {METHOD_OPTIONS, HTTP_OPTIONS, "OPTIONS"},
};

enum { KNOWN_METHOD_COUNT = sizeof known_methods / sizeof known_methods[0] };

static const struct text header_names[HEADER_COUNT] = {
    [HEADER_ACCESS_CONTROL_REQUEST_METHOD] = {"Access-Control-Request-Method", 29},
    [HEADER_AUTHORIZATION] = {"Authorization", 13},
    [HEADER_CONTENT_ENCODING] = {"Content-Encoding", 16},
    [HEADER_CONTENT_LENGTH] = {"Content-Length", 14},
    [HEADER_CONTENT_TYPE] = {"Content-Type", 12},
    [HEADER_EXPECT] = {"Expect", 6},
    [HEADER_HOST] = {"Host", 4},
    [HEADER_LAST_EVENT_ID] = {"Last-Event-ID", 13},
    [HEADER_ORIGIN] = {"Origin", 6},
    [HEADER_SEC_FETCH_SITE] = {"Sec-Fetch-Site", 14},
    [HEADER_TRANSFER_ENCODING] = {"Transfer-Encoding", 17},
};

/* What http-parser's callbacks fill. */
struct parse {
    struct request *request;
    struct text target;
    struct text name;
    unsigned header_count;
    bool repeated[HEADER_COUNT];
};

const char *request_method_name(enum request_method method)
{
    for (size_t i = 0; i < KNOWN_METHOD_COUNT; i++) {
        if (known_methods[i].method == method)
            return known_methods[i].name;
    }
    return "-";
}

bool request_has_header(const struct request *request, enum header header)
{
    return request->headers[header].bytes != NULL;
}

static int refuse(struct refusal *refusal, unsigned status, const char *reason)
{
    *refusal = (struct refusal){.status = status, .reason = reason};
    return -1;
}

bool request_is_token_byte(char c)
{
    /* One bit for each ASCII character: digits and "!#$%&'*+-.", letters and "^_`|~". */
    static const uint64_t low = UINT64_C(0x03FF6CFA00000000);
    static const uint64_t high = UINT64_C(0x57FFFFFFC7FFFFFE);
    unsigned char byte = (unsigned char)c;
    if (byte >= 128)
        return false;
    return ((byte < 64 ? low >> byte : high >> (byte - 64)) & 1) != 0;
}

static size_t token_length(struct text line)
{
    size_t length = 0;
    while (length < line.length && request_is_token_byte(line.bytes[length]))
        length++;
    return length;
}

/* method SP target SP "HTTP/" DIGIT "." DIGIT, with exactly one space each. */
static int check_request_line(struct text line, struct refusal *refusal)
{
    enum { VERSION_BYTES = sizeof " HTTP/1.1" - 1 };
    size_t method = token_length(line);
    if (method == 0 || method == line.length || line.bytes[method] != ' ' ||
        line.length < method + 1 + 1 + VERSION_BYTES)
        return refuse(refusal, 400, "malformed request line");
    const char *version = line.bytes + line.length - VERSION_BYTES;
    for (const char *c = line.bytes + method + 1; c < version; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7F || *c == '#')
            return refuse(refusal, 400, "malformed request target");
    }
    bool digits = version[6] >= '0' && version[6] <= '9' && version[8] >= '0' && version[8] <= '9';
    if (memcmp(version, " HTTP/", 6) != 0 || version[7] != '.' || !digits)
        return refuse(refusal, 400, "malformed HTTP version");
    if (version[6] != '1')
        return refuse(refusal, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    return 0;
}

static int check_field_line(struct text line, struct refusal *refusal)
{
    size_t name = token_length(line);
    if (name == 0 || name == line.length || line.bytes[name] != ':')
        return refuse(refusal, 400, "malformed header name");
    for (size_t i = name + 1; i < line.length; i++) {
        unsigned char byte = (unsigned char)line.bytes[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            return refuse(refusal, 400, "control character in a header");
    }
    return 0;
}

static int check_lines(struct text head, struct refusal *refusal)
{
    bool first = true;
    while (head.length > 2) {
        const char *end = memchr(head.bytes, '\n', head.length);
        struct text line = {.bytes = head.bytes, .length = (size_t)(end - head.bytes) - 1};
        int result = first ? check_request_line(line, refusal) : check_field_line(line, refusal);
        if (result != 0)
            return -1;
        first = false;
        head.bytes += line.length + 2;
        head.length -= line.length + 2;
    }
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
    struct parse *parse = parser->data;
    parse->target = (struct text){.bytes = at, .length = length};
    return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t length)
{
    struct parse *parse = parser->data;
    parse->header_count++;
    parse->name = (struct text){.bytes = at, .length = length};
    return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t length)
{
    struct parse *parse = parser->data;
    for (enum header i = 0; i < HEADER_COUNT; i++) {
        if (parse->name.length != header_names[i].length ||
            !text_equals_ignoring_case(parse->name, header_names[i]))
            continue;
        if (request_has_header(parse->request, i))
            parse->repeated[i] = true;
        else
            parse->request->headers[i] = text_trim((struct text){.bytes = at, .length = length});
    }
    return 0;
}

/* Tells http-parser that the body is not its business. */
static int on_headers_complete(http_parser *parser)
{
    (void)parser;
    return 1;
}

static int split_head(struct parse *parse, struct text head, struct refusal *refusal)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_header_field,
                                                  .on_header_value = on_header_value,
                                                  .on_headers_complete = on_headers_complete};
    http_parser parser;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = parse;
    size_t parsed = http_parser_execute(&parser, &settings, head.bytes, head.length);
    enum http_errno error = HTTP_PARSER_ERRNO(&parser);
    if (error == HPE_INVALID_METHOD)
        return refuse(refusal, 501, "unknown method");
    if (error == HPE_HEADER_OVERFLOW || parse->header_count > HTTP_HEADER_COUNT)
        return refuse(refusal, 431, "too many headers");
    if (error != HPE_OK || parsed != head.length)
        return refuse(refusal, 400, "malformed request");
    for (size_t i = 0; i < KNOWN_METHOD_COUNT; i++) {
        if (known_methods[i].parser_method == parser.method)
            parse->request->method = known_methods[i].method;
    }
    if (parse->request->method == 0)
        return refuse(refusal, 501, "unknown method");
    parse->request->minor_version = parser.http_minor;
    parse->request->keep_alive = http_should_keep_alive(&parser) != 0;
    return 0;
}

/* Cuts scheme and authority off an absolute-form target; the authority becomes the Host. */
static int cut_authority(struct request *request, struct text *target, struct refusal *refusal)
{
    struct http_parser_url url;
    http_parser_url_init(&url);
    const char *colon = memchr(target->bytes, ':', target->length);
    if (http_parser_parse_url(target->bytes, target->length, 0, &url) != 0 || colon == NULL ||
        (url.field_set & (1 << UF_HOST)) == 0 || (url.field_set & (1 << UF_USERINFO)) != 0)
        return refuse(refusal, 400, "malformed request target");
    const char *end = target->bytes + target->length;
    struct text authority = {.bytes = colon + strlen("://")};
    while (authority.bytes + authority.length < end && authority.bytes[authority.length] != '/' &&
           authority.bytes[authority.length] != '?')
        authority.length++;
    request->headers[HEADER_HOST] = authority;
    target->bytes = authority.bytes + authority.length;
    target->length = (size_t)(end - target->bytes);
    return 0;
}

/* Origin-form, absolute-form or "*" (RFC 9112 section 3.2). */
static int split_target(struct parse *parse, struct refusal *refusal)
{
    struct request *request = parse->request;
    struct text target = parse->target;
    if (target.bytes[0] != '/' && !text_equals(target, TEXT("*")) &&
        cut_authority(request, &target, refusal) != 0)
        return -1;
    request->path = text_cut(&target, '?');
    request->query = target;
    if (request->path.length == 0)
        request->path = TEXT("/");
    return 0;
}

static int find_framing(struct parse *parse, struct refusal *refusal)
{
    struct request *request = parse->request;
    bool length = request_has_header(request, HEADER_CONTENT_LENGTH);
    bool coded = request_has_header(request, HEADER_TRANSFER_ENCODING);
    if (length && coded)
        return refuse(refusal, 400, "Content-Length and Transfer-Encoding together");
    if (parse->repeated[HEADER_CONTENT_LENGTH] || parse->repeated[HEADER_TRANSFER_ENCODING])
        return refuse(refusal, 400, "repeated Content-Length or Transfer-Encoding");
    if (coded) {
        struct text coding = request->headers[HEADER_TRANSFER_ENCODING];
        if (request->minor_version == 0)
            return refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0");
        if (!text_equals_ignoring_case(coding, TEXT("chunked")))
            return refuse(refusal, 400, "the only transfer coding known here is chunked");
        request->framing = FRAMING_CHUNKED;
    } else if (length) {
        if (text_parse_number(request->headers[HEADER_CONTENT_LENGTH], 0, INT64_MAX,
                              &request->content_length) != 0)
            return refuse(refusal, 400, "malformed Content-Length");
        request->framing = request->content_length == 0 ? FRAMING_NONE : FRAMING_LENGTH;
    }
    return 0;
}

/* Which one of two counts, another server on the way may see differently; each of these decides who is let in or how a
 * body is read (RFC 9110 section 5.3: only lists may be repeated). */
static int check_repeated(const struct parse *parse, struct refusal *refusal)
{
    if (parse->repeated[HEADER_AUTHORIZATION])
        return refuse(refusal, 400, "repeated Authorization");
    if (parse->repeated[HEADER_ORIGIN])
        return refuse(refusal, 400, "repeated Origin");
    if (parse->repeated[HEADER_SEC_FETCH_SITE])
        return refuse(refusal, 400, "repeated Sec-Fetch-Site");
    if (parse->repeated[HEADER_CONTENT_TYPE])
        return refuse(refusal, 400, "repeated Content-Type");
    if (parse->repeated[HEADER_CONTENT_ENCODING])
        return refuse(refusal, 400, "repeated Content-Encoding");
    return 0;
}

static int check_host(const struct parse *parse, struct refusal *refusal)
{
    if (parse->repeated[HEADER_HOST])
        return refuse(refusal, 400, "repeated Host");
    if (parse->request->minor_version > 0 && !request_has_header(parse->request, HEADER_HOST))
        return refuse(refusal, 400, "no Host");
    return 0;
}

int request_parse_head(struct request *request, struct text head, struct refusal *refusal)
{
    *request = (struct request){.method = 0};
    struct parse parse = {.request = request};
    if (check_lines(head, refusal) != 0 || split_head(&parse, head, refusal) != 0 ||
        check_host(&parse, refusal) != 0 || check_repeated(&parse, refusal) != 0 ||
        split_target(&parse, refusal) != 0 || find_framing(&parse, refusal) != 0)
        return -1;
    return 0;
}
