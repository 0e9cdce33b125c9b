#include "fuzz.h"

#include <string.h>
#include <strings.h>

/* A front of visible characters; empty when there is none. */
static struct text take_visible(struct text *rest)
{
    struct text front = {.bytes = rest->bytes, .length = 0};
    while (front.length < rest->length && (unsigned char)rest->bytes[front.length] > 0x20 &&
           (unsigned char)rest->bytes[front.length] < 0x7F)
        front.length++;
    rest->bytes += front.length;
    rest->length -= front.length;
    return front;
}

static bool is_token(struct text text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.bytes[i];
        bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.length > 0;
}

/* Cuts a line off that ends in CRLF and holds neither CR nor LF otherwise. */
static bool take_line(struct text *rest, struct text *line)
{
    const char *feed = rest->length == 0 ? NULL : memchr(rest->bytes, '\n', rest->length);
    if (feed == NULL || feed == rest->bytes || feed[-1] != '\r')
        return false;
    *line = (struct text){.bytes = rest->bytes, .length = (size_t)(feed - rest->bytes) - 1};
    rest->length -= line->length + 2;
    rest->bytes += line->length + 2;
    return line->length == 0 || memchr(line->bytes, '\r', line->length) == NULL;
}

static bool read_request_line(struct text line, struct model_head *head)
{
    struct text method = take_visible(&line);
    if (!is_token(method) || text_cut(&line, ' ').length != 0)
        return false;
    head->target = take_visible(&line);
    head->minor_version = line.length > 0 ? line.bytes[line.length - 1] - '0' : -1;
    line.length -= line.length > 0;
    return head->target.length > 0 && text_equals(line, TEXT(" HTTP/1.")) && head->minor_version >= 0 &&
           head->minor_version <= 9;
}

static bool is_named(struct text name, const char *wanted)
{
    return name.length == strlen(wanted) && strncasecmp(name.bytes, wanted, name.length) == 0;
}

static bool read_field(struct text line, struct model_head *head)
{
    if (memchr(line.bytes, ':', line.length) == NULL)
        return false;
    struct text name = text_cut(&line, ':');
    struct text value = text_trim(line);
    for (size_t i = 0; i < value.length; i++) {
        if (((unsigned char)value.bytes[i] < 0x20 && value.bytes[i] != '\t') || value.bytes[i] == 0x7F)
            return false;
    }
    if (is_named(name, "Host"))
        head->hosts++;
    if (is_named(name, "Transfer-Encoding")) {
        head->codings++;
        head->is_chunked = is_named(value, "chunked");
    }
    if (is_named(name, "Content-Length")) {
        head->lengths++;
        head->has_good_length = text_parse_number(value, 0, INT64_MAX, &head->content_length) == 0;
    }
    return is_token(name);
}

bool model_head_read(struct text text, struct model_head *head)
{
    struct text line;
    *head = (struct model_head){.hosts = 0};
    if (!take_line(&text, &line) || !read_request_line(line, head))
        return false;
    while (take_line(&text, &line) && line.length > 0) {
        if (!read_field(line, head))
            return false;
    }
    bool framing =
        head->codings + head->lengths == 0 ||
        (head->codings == 1 && head->lengths == 0 && head->is_chunked && head->minor_version > 0) ||
        (head->codings == 0 && head->lengths == 1 && head->has_good_length);
    return line.length == 0 && text.length == 0 && framing && head->hosts <= 1 &&
           (head->hosts == 1 || head->minor_version == 0);
}
