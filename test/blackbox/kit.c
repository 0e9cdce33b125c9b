/* The kit's own life, its deadlines, its failure messages, and the memory that lives as long as it does. */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kit_internal.h"

#define LOG_SHOWN 4000 /* bytes of a server's stderr in a failure message */

double kit_time_scale(void)
{
    const char *text = getenv("TEST_TIME_SCALE");
    double scale = text == NULL ? 1 : strtod(text, NULL);
    return isfinite(scale) && scale > 1 ? scale : 1;
}

int64_t kit_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t kit_deadline_at_ms(int64_t milliseconds)
{
    return kit_now_ms() + (int64_t)((double)milliseconds * kit_time_scale());
}

void kit_pause(void)
{
    poll(NULL, 0, 3);
}

int kit_setup(void **state)
{
    struct kit *kit = calloc(1, sizeof *kit);
    const char *binary = getenv("EVENT_SYNCER_BINARY");
    if (kit == NULL)
        return -1;
    if (binary == NULL)
        binary = "build/event-syncer";
    pthread_mutex_init(&kit->mutex, NULL);
    *state = kit;
    /* Absolute: servers run in a directory of their own. */
    char *path = realpath(binary, NULL);
    if (path == NULL) {
        print_error("%s: %s\n", binary, strerror(errno));
        kit_teardown(state);
        return -1;
    }
    kit->binary = kit_format(kit, "%s", path);
    free(path);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status, (void)type, (void)position;
    return remove(path);
}

static void free_memory(struct kit *kit)
{
    while (!SLIST_EMPTY(&kit->directories)) {
        struct kit_directory *directory = SLIST_FIRST(&kit->directories);
        SLIST_REMOVE_HEAD(&kit->directories, link);
        nftw(directory->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(directory);
    }
    while (!SLIST_EMPTY(&kit->responses)) {
        struct kit_owned_response *owned = SLIST_FIRST(&kit->responses);
        SLIST_REMOVE_HEAD(&kit->responses, link);
        kit_response_clear(&owned->response);
        free(owned);
    }
    while (!SLIST_EMPTY(&kit->blocks)) {
        struct kit_block *block = SLIST_FIRST(&kit->blocks);
        SLIST_REMOVE_HEAD(&kit->blocks, link);
        free(block);
    }
}

int kit_teardown(void **state)
{
    struct kit *kit = *state;
    bool sound = true;
    while (!LIST_EMPTY(&kit->connections))
        kit_connection_free(LIST_FIRST(&kit->connections));
    struct kit_server *server;
    LIST_FOREACH (server, &kit->servers, link)
        sound &= kit_server_finish(server);
    while (!LIST_EMPTY(&kit->servers)) {
        server = LIST_FIRST(&kit->servers);
        LIST_REMOVE(server, link);
        free(server);
    }
    free_memory(kit);
    pthread_mutex_destroy(&kit->mutex);
    free(kit);
    *state = NULL;
    return sound ? 0 : -1;
}

static void show_logs(struct kit *kit)
{
    struct kit_server *server;
    LIST_FOREACH (server, &kit->servers, link) {
        const char *log = kit_log(server);
        size_t length = strlen(log);
        if (length > 0)
            print_error("--- stderr of the server ---\n%s%s\n--- end ---\n", length > LOG_SHOWN ? "... " : "",
                        length > LOG_SHOWN ? log + length - LOG_SHOWN : log);
    }
}

void kit_fail_at(struct kit *kit, const char *file, int line, const char *format, ...)
{
    char message[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print_error("%s\n", message);
    if (kit != NULL && kit->note[0] != '\0')
        print_error("the test was at: %s\n", kit->note);
    if (kit != NULL)
        show_logs(kit);
    _fail(file, line);
    abort(); /* _fail() jumps out of the test; this tells the compiler */
}

void kit_note(struct kit *kit, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(kit->note, sizeof kit->note, format, arguments);
    va_end(arguments);
}

void *kit_allocate(struct kit *kit, size_t length)
{
    struct kit_block *block = calloc(1, sizeof *block + length);
    if (block == NULL)
        kit_fail(kit, "out of memory");
    SLIST_INSERT_HEAD(&kit->blocks, block, link);
    return block->bytes;
}

char *kit_format(struct kit *kit, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert_true(length >= 0);
    char *text = kit_allocate(kit, (size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

char *kit_repeat(struct kit *kit, const char *text, size_t count)
{
    size_t length = strlen(text);
    char *all = kit_allocate(kit, length * count + 1);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * length, text, length);
    return all;
}

char *kit_read_file(struct kit *kit, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return kit_format(kit, "%s", "");
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length = getdelim(&text, &capacity, '\0', file);
    fclose(file);
    char *copy = kit_format(kit, "%s", length > 0 ? text : "");
    free(text);
    return copy;
}

const char *kit_make_directory(struct kit *kit)
{
    const char *parent = getenv("TMPDIR");
    static const char form[] = "%s/event-syncer-test-XXXXXX";
    char *path = kit_format(kit, form, parent == NULL || *parent == '\0' ? "/tmp" : parent);
    if (mkdtemp(path) == NULL)
        kit_fail(kit, "%s: %s", path, strerror(errno));
    struct kit_directory *directory = malloc(sizeof *directory + strlen(path) + 1);
    assert_non_null(directory);
    memcpy(directory->path, path, strlen(path) + 1);
    SLIST_INSERT_HEAD(&kit->directories, directory, link);
    return path;
}
