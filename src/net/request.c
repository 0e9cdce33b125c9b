#include "net/request.h"

#include "net/limits.h"
#include "net/target.h"

#include <http_parser.h>
#include <string.h>

struct known_method {
    enum request_method method;
    const char *name;
};

static const struct known_method known_methods[] = {
    {METHOD_GET, "GET"},       {METHOD_HEAD, "HEAD"},   {METHOD_POST, "POST"},       {METHOD_PUT, "PUT"},
    {METHOD_DELETE, "DELETE"}, {METHOD_PATCH, "PATCH"}, {METHOD_OPTIONS, "OPTIONS"},
};

enum { KNOWN_METHOD_COUNT = sizeof known_methods / sizeof known_methods[0] };

static const struct text header_names[HEADER_COUNT] = {
    [HEADER_ACCESS_CONTROL_REQUEST_METHOD] = {"Access-Control-Request-Method", 29},
    [HEADER_AUTHORIZATION] = {"Authorization", 13},
    [HEADER_CONNECTION] = {"Connection", 10},
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

/* A head while it is read. */
struct parse {
    struct request *request;
    struct text request_line; /* with its CRLF */
    struct text target;
    unsigned header_count;
    bool close, keep_alive; /* options of Connection */
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

static enum request_method method_named(struct text name)
{
    for (size_t i = 0; i < KNOWN_METHOD_COUNT; i++) {
        if (text_equals(name, text_from(known_methods[i].name)))
            return known_methods[i].method;
    }
    return 0;
}

/* method SP target SP "HTTP/" DIGIT "." DIGIT, with exactly one space each. */
static int read_request_line(struct parse *parse, struct text line, struct refusal *refusal)
{
    enum { VERSION_BYTES = sizeof " HTTP/1.1" - 1 };
    size_t method = token_length(line);
    if (method == 0 || method == line.length || line.bytes[method] != ' ' ||
        line.length < method + 1 + 1 + VERSION_BYTES)
        return refuse(refusal, 400, "malformed request line: it must be METHOD, target and HTTP/1.1");
    const char *version = line.bytes + line.length - VERSION_BYTES;
    for (const char *c = line.bytes + method + 1; c < version; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7F || *c == '#')
            return refuse(refusal, 400, "a byte in the request target that does not belong there");
    }
    bool digits = version[6] >= '0' && version[6] <= '9' && version[8] >= '0' && version[8] <= '9';
    if (memcmp(version, " HTTP/", 6) != 0 || version[7] != '.' || !digits)
        return refuse(refusal, 400, "malformed HTTP version");
    if (version[6] != '1')
        return refuse(refusal, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    parse->request_line = (struct text){.bytes = line.bytes, .length = line.length + 2};
    parse->request->method = method_named((struct text){.bytes = line.bytes, .length = method});
    parse->request->minor_version = (unsigned)(version[8] - '0');
    return 0;
}

/* RFC 9110 section 7.6.1. */
static void read_connection_options(struct parse *parse, struct text options)
{
    while (options.length > 0) {
        struct text option = text_trim(text_cut(&options, ','));
        if (text_equals_ignoring_case(option, TEXT("close")))
            parse->close = true;
        else if (text_equals_ignoring_case(option, TEXT("keep-alive")))
            parse->keep_alive = true;
    }
}

static void keep_field(struct parse *parse, struct text name, struct text value)
{
    for (enum header i = 0; i < HEADER_COUNT; i++) {
        if (name.length != header_names[i].length || !text_equals_ignoring_case(name, header_names[i]))
            continue;
        if (request_has_header(parse->request, i))
            parse->repeated[i] = true;
        else
            parse->request->headers[i] = value;
        if (i == HEADER_CONNECTION)
            read_connection_options(parse, value);
        return;
    }
}

static int read_field_line(struct parse *parse, struct text line, struct refusal *refusal)
{
    size_t name = token_length(line);
    if (name == 0 || name == line.length || line.bytes[name] != ':')
        return refuse(refusal, 400, "malformed header name: letters, digits and the colon right behind them");
    for (size_t i = name + 1; i < line.length; i++) {
        unsigned char byte = (unsigned char)line.bytes[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            return refuse(refusal, 400, "control character in a header");
    }
    if (++parse->header_count > HTTP_HEADER_COUNT)
        return refuse(refusal, 431, "too many headers");
    struct text value = {.bytes = line.bytes + name + 1, .length = line.length - name - 1};
    keep_field(parse, (struct text){.bytes = line.bytes, .length = name}, text_trim(value));
    return 0;
}

static int read_lines(struct parse *parse, struct text head, struct refusal *refusal)
{
    bool first = true;
    while (head.length > 2) {
        const char *end = memchr(head.bytes, '\n', head.length);
        struct text line = {.bytes = head.bytes, .length = (size_t)(end - head.bytes) - 1};
        int result = first ? read_request_line(parse, line, refusal) : read_field_line(parse, line, refusal);
        if (result != 0)
            return -1;
        first = false;
        head.bytes += line.length + 2;
        head.length -= line.length + 2;
    }
    return 0;
}

/* RFC 9112 section 9.3. */
static bool is_kept_alive(const struct parse *parse)
{
    return !parse->close && (parse->request->minor_version > 0 || parse->keep_alive);
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
    struct parse *parse = parser->data;
    parse->target = (struct text){.bytes = at, .length = length};
    return 0;
}

/* The fields are judged before the method and its target: which request comes next depends on them alone. */
static int split_request_line(struct parse *parse, struct refusal *refusal)
{
    static const http_parser_settings settings = {.on_url = on_url};
    http_parser parser;
    if (parse->request->method == 0)
        return refuse(refusal, 501, "unknown method");
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = parse;
    struct text line = parse->request_line;
    size_t parsed = http_parser_execute(&parser, &settings, line.bytes, line.length);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || parsed != line.length)
        return refuse(refusal, 400, TARGET_MALFORMED);
    return target_split(parse->request, parse->target, refusal);
}

/* Codings that are framed well, but not known here, are told from those without an end that all agree on (RFC 9112
 * section 6.1 and 6.3): the first are registered ones, and below a last "chunked". */
static int refuse_coding(struct text codings, struct refusal *refusal)
{
    static const struct text registered[] = {
        {"gzip", 4}, {"x-gzip", 6}, {"deflate", 7}, {"compress", 8}, {"x-compress", 10}};
    const char *comma = codings.length == 0 ? NULL : memrchr(codings.bytes, ',', codings.length);
    bool known = false;
    if (comma != NULL) {
        struct text last = {.bytes = comma + 1,
                            .length = codings.length - (size_t)(comma + 1 - codings.bytes)};
        known = text_equals_ignoring_case(text_trim(last), TEXT("chunked"));
        codings.length = (size_t)(comma - codings.bytes);
    }
    do {
        struct text coding = text_trim(text_cut(&codings, ','));
        bool found = false;
        for (size_t i = 0; i < sizeof registered / sizeof registered[0]; i++)
            found = found || text_equals_ignoring_case(coding, registered[i]);
        known = known && found;
    } while (codings.length > 0);
    return refuse(refusal, known ? 501 : 400,
                  "the only Transfer-Encoding known here is chunked, once and without parameters");
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
        struct text codings = request->headers[HEADER_TRANSFER_ENCODING];
        if (request->minor_version == 0)
            return refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0");
        if (!text_equals_ignoring_case(codings, TEXT("chunked")))
            return refuse_coding(codings, refusal);
        request->framing = FRAMING_CHUNKED;
    } else if (length) {
        if (text_parse_number(request->headers[HEADER_CONTENT_LENGTH], 0, INT64_MAX,
                              &request->content_length) != 0)
            return refuse(refusal, 400, "malformed Content-Length: it must be one decimal number");
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

/* RFC 9112 section 3.2. */
static int check_host(const struct parse *parse, struct refusal *refusal)
{
    if (parse->repeated[HEADER_HOST])
        return refuse(refusal, 400, "repeated Host");
    if (parse->request->minor_version > 0 && !request_has_header(parse->request, HEADER_HOST))
        return refuse(refusal, 400, "no Host");
    if (!target_is_host(parse->request->headers[HEADER_HOST]))
        return refuse(refusal, 400, "malformed Host: it must be a name or address, with or without a port");
    return 0;
}

/* RFC 9110 section 10.1.1. */
static int check_expectation(const struct parse *parse, struct refusal *refusal)
{
    struct text expectation = parse->request->headers[HEADER_EXPECT];
    bool none = parse->request->minor_version == 0 || expectation.length == 0;
    bool met = none || request_expects_continue(parse->request);
    if (!met || (parse->request->minor_version > 0 && parse->repeated[HEADER_EXPECT]))
        return refuse(refusal, 417, "the only expectation met here is 100-continue");
    return 0;
}

bool request_expects_continue(const struct request *request)
{
    return request->minor_version > 0 &&
           text_equals_ignoring_case(request->headers[HEADER_EXPECT], TEXT("100-continue"));
}

int request_parse_head(struct request *request, struct text head, struct refusal *refusal)
{
    *request = (struct request){.method = 0};
    struct parse parse = {.request = request};
    if (read_lines(&parse, head, refusal) != 0 || check_host(&parse, refusal) != 0 ||
        find_framing(&parse, refusal) != 0 || check_repeated(&parse, refusal) != 0 ||
        split_request_line(&parse, refusal) != 0 || check_expectation(&parse, refusal) != 0)
        return -1;
    request->keep_alive = is_kept_alive(&parse);
    return 0;
}
