/* Command lines: each line of the input is an argument, the first one the command. Lines such as PORT=80 are environment
 * variables; an argument TOKENFILE stands for a file that holds the last line. What is wrong is told in one line; what is
 * taken lies in its bounds. */
#include "fuzz.h"

#include "base/clock.h"
#include "cli/process_options.h"
#include "cli/send_options.h"
#include "cli/serve_options.h"
#include "net/pool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ARGUMENTS_MOST = 64 };

struct line {
    int count;
    char *arguments[ARGUMENTS_MOST];
};

static const char *const variables[] = {"PORT", "DATABASE_URL", "EVENT_SYNCER_TOKEN"};
static char token_path[64];
static int token_file = -1;

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count, (void)arguments;
    token_file = memfd_create("token", 0);
    snprintf(token_path, sizeof token_path, "/proc/self/fd/%d", token_file);
    return 0;
}

static bool set_variable(const char *argument)
{
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        size_t length = strlen(variables[i]);
        if (strncmp(argument, variables[i], length) == 0 && argument[length] == '=')
            return setenv(variables[i], argument + length + 1, 1) == 0;
    }
    return false;
}

/* The pieces are freed by free_line. No other file is read than TOKENFILE: a name of a stranger's could be a device. */
static bool read_line(struct line *line, struct text input)
{
    struct text last = {.length = 0};
    while (input.length > 0 && line->count < ARGUMENTS_MOST) {
        last = text_cut(&input, '\n');
        char *argument = strndup(last.bytes, last.length);
        FUZZ_REQUIRE(argument != NULL);
        if (strcmp(argument, "TOKENFILE") == 0) {
            free(argument);
            argument = strdup(token_path);
        }
        if (set_variable(argument))
            free(argument);
        else
            line->arguments[line->count++] = argument;
    }
    FUZZ_REQUIRE(ftruncate(token_file, 0) == 0 &&
                 pwrite(token_file, last.bytes, last.length, 0) == (ssize_t)last.length);
    for (int i = 0; i < line->count; i++) {
        const char *argument = line->arguments[i];
        bool follows = i > 0 && strcmp(line->arguments[i - 1], "--token-file") == 0;
        if (strncmp(argument, "--token-file=", 13) == 0 || (follows && strcmp(argument, token_path) != 0))
            return false;
    }
    return true;
}

static void free_line(struct line *line)
{
    for (int i = 0; i < line->count; i++)
        free(line->arguments[i]);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
}

static void check_token(const struct buffer *token)
{
    struct text text = {.bytes = token->bytes, .length = token->length};
    FUZZ_REQUIRE(text_is_utf8(text) && !text_has_control(text));
}

static void check_serve(const struct serve_options *options)
{
    unsigned char binary[sizeof(struct in6_addr)];
    FUZZ_REQUIRE(inet_pton(options->address_is_v6 ? AF_INET6 : AF_INET, options->address, binary) == 1);
    bool loopback =
        options->address_is_v6 ? IN6_IS_ADDR_LOOPBACK((struct in6_addr *)(void *)binary) : binary[0] == 127;
    FUZZ_REQUIRE(loopback || options->token.length > 0 || options->insecure);
    FUZZ_REQUIRE(options->database[0] != '\0' && options->journal[0] != '\0');
    FUZZ_REQUIRE(options->ttl_ns > 0 && options->wait_ns > 0 && options->heartbeat_ns > 0);
    FUZZ_REQUIRE(options->upstream_timeout_ns >= CLOCK_NS_PER_MS && options->upstream_refresh_ns > 0);
    FUZZ_REQUIRE(options->threads >= 1 && options->max_threads >= options->threads + POOL_RESERVE + 1);
    FUZZ_REQUIRE(options->max_connections >= 1 && options->max_body >= 1 && options->max_memory >= 1);
    check_token(&options->token);
}

static enum options_result read_serve(const struct line *line)
{
    struct serve_options options;
    enum options_result result =
        serve_options_read(&options, line->count - 1, (char **)(uintptr_t)line->arguments + 1);
    if (result == OPTIONS_GO)
        check_serve(&options);
    serve_options_free(&options);
    return result;
}

static enum options_result read_send(const struct line *line)
{
    struct send_options options;
    enum options_result result =
        send_options_read(&options, line->count - 1, (char **)(uintptr_t)line->arguments + 1);
    if (result == OPTIONS_GO) {
        FUZZ_REQUIRE(options.connections >= 1 && options.connections <= 256);
        FUZZ_REQUIRE(options.timeout_ns >= CLOCK_NS_PER_MS && options.give_up_ns >= CLOCK_NS_PER_MS);
        FUZZ_REQUIRE(options.file != NULL && options.url != NULL);
        check_token(&options.token);
    }
    send_options_free(&options);
    return result;
}

static enum options_result read_process(const struct line *line)
{
    struct process_options options;
    enum options_result result =
        process_options_read(&options, line->count - 1, (char **)(uintptr_t)line->arguments + 1);
    if (result == OPTIONS_GO)
        FUZZ_REQUIRE(options.file != NULL && options.database != NULL);
    return result;
}

static void check_said(enum options_result result, const char *said, size_t length)
{
    static const char front[] = "event-syncer: ";
    if (result != OPTIONS_WRONG) {
        FUZZ_REQUIRE(length == 0);
        return;
    }
    FUZZ_REQUIRE(length > sizeof front && strncmp(said, front, sizeof front - 1) == 0);
    FUZZ_REQUIRE(strchr(said, '\n') == said + length - 1);
}

static void check_line(const struct line *line)
{
    char *said = NULL;
    size_t length = 0;
    FILE *usual = stderr;
    stderr = open_memstream(&said, &length);
    FUZZ_REQUIRE(stderr != NULL);
    enum options_result result = strcmp(line->arguments[0], "send") == 0      ? read_send(line)
                                 : strcmp(line->arguments[0], "process") == 0 ? read_process(line)
                                                                              : read_serve(line);
    fclose(stderr);
    stderr = usual;
    check_said(result, said, length);
    free(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line line = {.count = 0};
    if (read_line(&line, (struct text){.bytes = (const char *)data, .length = size}) && line.count > 0)
        check_line(&line);
    free_line(&line);
    return 0;
}
