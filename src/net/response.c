#include "net/response.h"

#include "base/clock.h"
#include "base/json.h"
#include "net/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct status_text {
    unsigned status;
    const char *text;
};

/* The IANA registry of HTTP status codes: RFC 9110 section 15, RFC 4918, 6585, 7725, 8470. Those of 4xx may come from an
 * upstream. */
static const struct status_text status_texts[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {402, "Payment Required"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

static const char *status_text(unsigned status)
{
    for (size_t i = 0; i < sizeof status_texts / sizeof status_texts[0]; i++) {
        if (status_texts[i].status == status)
            return status_texts[i].text;
    }
    return "Unknown";
}

void response_json(struct response *response, unsigned status)
{
    response->status = status;
    response->content_type = "application/json";
}

void response_error(struct response *response, unsigned status, const char *format, ...)
{
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    response_json(response, status);
    response->refused = strncmp(message, "outcome unknown", strlen("outcome unknown")) != 0;
    if (response->source.operations != NULL)
        response->source.operations->close(response->source.state, false);
    response->source = (struct body_source){.operations = NULL};
    buffer_clear(response->body);
    buffer_append_text(response->body, "{\"error\":");
    struct text text = text_from(message);
    text.length = text_utf8_length(text); /* it may have been cut in the middle of a character */
    json_append_string(response->body, text);
    buffer_append_text(response->body, "}");
    if (status == 401)
        response_header(response, "WWW-Authenticate", TEXT("Bearer"));
    if (status == 503)
        buffer_printf(response->headers, "Retry-After: %d\r\n", HTTP_RETRY_AFTER_SECONDS);
}

void response_out_of_memory(struct response *response)
{
    response_error(response, 503, "the server is out of memory");
    response->out_of_memory = true;
}

void response_header(struct response *response, const char *name, struct text value)
{
    buffer_append_text(response->headers, name);
    buffer_append_text(response->headers, ": ");
    buffer_append(response->headers, value.bytes, value.length);
    buffer_append_text(response->headers, "\r\n");
}

void response_write_head(const struct response *response, uint64_t length, int64_t wall_s,
                         unsigned minor_version, bool keep_alive, struct text common, struct buffer *head)
{
    char date[CLOCK_HTTP_DATE_BYTES];
    clock_format_http_date(wall_s, date);
    buffer_append_text(head, "HTTP/1.1 ");
    buffer_append_number(head, response->status);
    buffer_append_text(head, " ");
    buffer_append_text(head, status_text(response->status));
    buffer_append_text(head, "\r\nDate: ");
    buffer_append(head, date, sizeof date - 1);
    if (response->content_type != NULL) {
        buffer_append_text(head, "\r\nContent-Type: ");
        buffer_append_text(head, response->content_type);
    }
    if (response->status != 204 && !response->source.endless) {
        buffer_append_text(head, "\r\nContent-Length: ");
        buffer_append_number(head, length);
    }
    if (!keep_alive)
        buffer_append_text(head, "\r\nConnection: close");
    else if (minor_version == 0)
        buffer_append_text(head, "\r\nConnection: keep-alive");
    buffer_append_text(head, "\r\n");
    buffer_append(head, common.bytes, common.length);
    buffer_append(head, response->headers->bytes, response->headers->length);
    buffer_append_text(head, "\r\n");
}
