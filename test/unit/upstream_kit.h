/* What the tests of the upstream's client share: a stand-in, a client of it, a log that can be read back, a clock that
 * the test moves for the breaker. */
#ifndef UPSTREAM_KIT_H
#define UPSTREAM_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "upstream/upstream.h"

#include "../standin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KIT_WAIT_MS = 60 * 1000, KIT_CALL_S = 60, KIT_URL_BYTES = 256, KIT_LOG_BYTES = 64 * 1024 };

struct upstream_scene {
    struct standin *standin;
    struct upstream *upstream;
    struct upstream_options options; /* to change before scene_connect */
    char url[KIT_URL_BYTES];
    struct log log;
    _Atomic int64_t now;
};

static inline int64_t scene_clock(void *context)
{
    return atomic_load(&((struct upstream_scene *)context)->now);
}

static inline uint64_t draw_nothing(void *context)
{
    (void)context;
    return 0; /* the shortest back-off: half of the nominal one */
}

/* A stand-in, and options with a time that no healthy call needs. */
static inline void scene_begin(struct upstream_scene *scene)
{
    memset(scene, 0, sizeof *scene);
    scene->standin = standin_start();
    assert_non_null(scene->standin);
    scene->log = (struct log){.descriptor = memfd_create("log", MFD_CLOEXEC), .level = LOG_LEVEL_DEBUG};
    assert_true(scene->log.descriptor >= 0);
    snprintf(scene->url, sizeof scene->url, "%s", standin_url(scene->standin));
    scene->options = upstream_defaults();
    scene->options.url = scene->url;
    scene->options.call_ns = KIT_CALL_S * CLOCK_NS_PER_SECOND;
    scene->options.breaker.draw = draw_nothing;
    scene->options.clock = (struct clock){.monotonic_ns = scene_clock, .context = scene};
    scene->options.log = &scene->log;
}

/* Makes the client as the options are. */
static inline void scene_connect(struct upstream_scene *scene)
{
    char reason[UPSTREAM_REASON_BYTES] = "";
    scene->upstream = upstream_create(&scene->options, reason);
    assert_string_equal(reason, "");
    assert_non_null(scene->upstream);
}

static inline void scene_end(struct upstream_scene *scene)
{
    upstream_free(scene->upstream);
    standin_free(scene->standin);
    close(scene->log.descriptor);
}

/* Everything logged so far. */
static inline const char *scene_log(struct upstream_scene *scene, char text[static KIT_LOG_BYTES])
{
    ssize_t length = pread(scene->log.descriptor, text, KIT_LOG_BYTES - 1, 0);
    assert_true(length >= 0);
    text[length] = '\0';
    return text;
}

static inline unsigned count_in(const char *text, const char *wanted)
{
    unsigned count = 0;
    for (const char *at = strstr(text, wanted); at != NULL; at = strstr(at + 1, wanted))
        count++;
    return count;
}

#define NO_JUDGE ((struct upstream_judge){.judge = NULL})

/* Calls that look at the result alone. */
static inline enum upstream_result kit_post(struct upstream *upstream, const char *body)
{
    struct upstream_answer answer;
    enum upstream_result result = upstream_post(upstream, "/addEvent", text_from(body), NO_JUDGE, &answer);
    upstream_answer_free(&answer);
    return result;
}

static inline enum upstream_result kit_get(struct upstream *upstream)
{
    struct upstream_answer answer;
    enum upstream_result result = upstream_get(upstream, "/getUsers", NO_JUDGE, &answer);
    upstream_answer_free(&answer);
    return result;
}

/* Sets what the stand-in does with all paths. */
static inline void behave(struct upstream_scene *scene, enum standin_kind kind)
{
    standin_set(scene->standin, NULL, &(struct standin_behaviour){.kind = kind, .pause_ms = 10});
}

/* A thread that posts once to a path. */
struct poster {
    pthread_t thread;
    struct upstream *upstream;
    const char *path;
    enum upstream_result result;
    char reason[UPSTREAM_REASON_BYTES];
};

static inline void *poster_main(void *context)
{
    struct poster *poster = context;
    struct upstream_answer answer;
    poster->result = upstream_post(poster->upstream, poster->path, TEXT("{}"), NO_JUDGE, &answer);
    memcpy(poster->reason, answer.reason, sizeof poster->reason);
    upstream_answer_free(&answer);
    return NULL;
}

static inline void poster_begin(struct poster *poster, struct upstream *upstream, const char *path)
{
    *poster = (struct poster){.upstream = upstream, .path = path};
    assert_int_equal(pthread_create(&poster->thread, NULL, poster_main, poster), 0);
}

static inline enum upstream_result poster_end(struct poster *poster)
{
    assert_int_equal(pthread_join(poster->thread, NULL), 0);
    return poster->result;
}

#endif
