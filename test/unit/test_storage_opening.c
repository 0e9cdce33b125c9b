/* Many that open a new SQLite file at once all get it: a server and a processor may be started together. */
#include "storage_kit.h"

#include <pthread.h>

enum { OPENERS = 8, ROUNDS = 10 };

struct opener {
    pthread_barrier_t *barrier;
    const struct database_file *file;
    bool opened;
    char reason[STORAGE_REASON_BYTES];
};

static void *open_and_close(void *context)
{
    struct opener *opener = context;
    struct storage_options options = {.url = opener->file->url, .log = &opener->file->log};
    pthread_barrier_wait(opener->barrier);
    struct storage *storage = storage_open(&options, opener->reason);
    opener->opened = storage != NULL;
    pthread_barrier_wait(opener->barrier); /* nobody makes it easier for others by closing early */
    storage_close(storage);
    return NULL;
}

static void a_new_file_is_opened_by_many_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct database_file file;
        database_file_make(&file);
        pthread_barrier_t barrier;
        pthread_barrier_init(&barrier, NULL, OPENERS);
        struct opener openers[OPENERS];
        pthread_t threads[OPENERS];
        for (int i = 0; i < OPENERS; i++) {
            openers[i] = (struct opener){.barrier = &barrier, .file = &file};
            assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, &openers[i]), 0);
        }
        for (int i = 0; i < OPENERS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < OPENERS; i++) {
            if (!openers[i].opened)
                fail_msg("round %d, opener %d: %s", round, i, openers[i].reason);
        }
        pthread_barrier_destroy(&barrier);
        database_file_remove(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_new_file_is_opened_by_many_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
