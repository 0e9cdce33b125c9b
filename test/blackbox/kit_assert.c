/* Assertions on responses; each names the line of the test and shows the response. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "kit_internal.h"

bool kit_matches(const char *text, const char *pattern)
{
    regex_t compiled;
    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        abort(); /* a mistake in the test */
    bool matches = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return matches;
}

void kit_assert_status_at(const struct kit_response *response, int wanted, const char *file, int line)
{
    if (response->status != wanted)
        kit_fail_at(response->kit, file, line, "status %d instead of %d\n%.2000s\n\n%.2000s",
                    response->status, wanted, response->head, response->body);
}

void kit_assert_body_at(const struct kit_response *response, const char *wanted, const char *file, int line)
{
    if (response->body_length != strlen(wanted) || memcmp(response->body, wanted, strlen(wanted)) != 0)
        kit_fail_at(response->kit, file, line, "status %d, body\n%.2000s\ninstead of\n%.2000s",
                    response->status, response->body, wanted);
}

void kit_assert_body_matches_at(const struct kit_response *response, const char *pattern, const char *file,
                                int line)
{
    if (!kit_matches(response->body, pattern))
        kit_fail_at(response->kit, file, line, "status %d, body\n%.2000s\ndoes not match\n%.2000s",
                    response->status, response->body, pattern);
}

void kit_assert_header_at(const struct kit_response *response, const char *name, const char *wanted,
                          const char *file, int line)
{
    const char *value = kit_header(response, name);
    bool right =
        wanted == NULL ? value == NULL : value != NULL && (*wanted == '\0' || strcmp(value, wanted) == 0);
    if (!right)
        kit_fail_at(response->kit, file, line, "header %s is \"%s\" instead of \"%s\"\n%.2000s", name,
                    value == NULL ? "(missing)" : value, wanted == NULL ? "(missing)" : wanted,
                    response->head);
}

void kit_assert_error_at(const struct kit_response *response, int status, const char *pattern,
                         const char *file, int line)
{
    static const char start[] = "{\"error\":\"";
    const char *type = kit_header(response, "Content-Type");
    kit_assert_status_at(response, status, file, line);
    if (type == NULL || !kit_matches(type, "^application/json(;.*)?$"))
        kit_fail_at(response->kit, file, line, "the error's Content-Type is \"%s\"",
                    type == NULL ? "" : type);
    if (!kit_matches(response->body, "^\\{\"error\":\"([^\"\\]|\\\\.)+\"\\}$"))
        kit_fail_at(response->kit, file, line, "not the shape of an error: %.2000s", response->body);
    if (!kit_matches(response->body + strlen(start), pattern))
        kit_fail_at(response->kit, file, line, "the error %.2000s\ndoes not match %s", response->body,
                    pattern);
}
