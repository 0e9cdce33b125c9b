#include "live/processor.h"

#include "base/clock.h"
#include "base/json.h"
#include "journal/reader.h"
#include "live/sums.h"
#include "live/users.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINES_PER_STEP = 10000, LINES_PER_BATCH = 200000, JSON_DEPTH = 100, FILE_BYTES = 96 };

#define FIRST_PAUSE_NS   (INT64_C(100) * CLOCK_NS_PER_MS)
#define LONGEST_PAUSE_NS (INT64_C(5) * CLOCK_NS_PER_SECOND)
#define GIVE_UP_NS       (INT64_C(60) * CLOCK_NS_PER_SECOND)

struct processor {
    struct processor_options options;
    struct journal_reader *reader; /* NULL: none is open */
    char file_path[JOURNAL_PATH_BYTES];
    bool has_finished;  /* `stored` is of a file that is finished */
    int64_t away_since; /* the database, before a file is open; 0: it is not */
    struct journal_checkpoint stored;
    struct journal_checkpoint read; /* what is in the batch ends here */
    /* The batch. */
    struct sums sums;
    uint64_t lines;
    struct decimal added;
    struct decimal subtracted;
    struct users users; /* those met so far */
    struct processor_counts counts;
    char reason[PROCESSOR_REASON_BYTES];
};

static enum processor_result fail(struct processor *processor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum processor_result fail(struct processor *processor, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(processor->reason, sizeof processor->reason, format, arguments);
    va_end(arguments);
    return PROCESSOR_FAILED;
}

static int64_t call_deadline(void)
{
    return clock_monotonic_ns() + STORAGE_CALL_NS;
}

/* --- which file --- */

/* The file's name in the database. */
static struct text file_name(const struct journal_identity *identity, char name[static FILE_BYTES])
{
    int length = snprintf(name, FILE_BYTES, "%" PRIx64 ":%016" PRIx64 "%016" PRIx64, identity->inode,
                          identity->first_line.high, identity->first_line.low);
    return (struct text){.bytes = name, .length = (size_t)length};
}

static bool read_file_name(struct text file, struct journal_identity *identity)
{
    char name[FILE_BYTES];
    if (file.length >= sizeof name)
        return false;
    memcpy(name, file.bytes, file.length);
    name[file.length] = '\0';
    *identity = (struct journal_identity){.device = 0};
    return sscanf(name, "%" SCNx64 ":%16" SCNx64 "%16" SCNx64, &identity->inode, &identity->first_line.high,
                  &identity->first_line.low) == 3;
}

struct search {
    struct processor *processor;
    bool any; /* there are checkpoints */
    bool found;
    struct journal_checkpoint checkpoint;
};

/* Finds the file that a checkpoint is of: under one of the journal's names, or, with another content, as the journal. */
static bool find_file(struct processor *processor, const struct journal_identity *identity)
{
    const char *path = processor->options.path;
    struct stat status;
    if (journal_find(path, identity, processor->file_path) == JOURNAL_READ_OK)
        return journal_is_generation(path, processor->file_path);
    snprintf(processor->file_path, sizeof processor->file_path, "%s", path);
    return stat(path, &status) == 0 && (uint64_t)status.st_ino == identity->inode;
}

static bool visit_checkpoint(void *context, struct text file, const struct storage_checkpoint *checkpoint)
{
    struct search *search = context;
    struct processor *processor = search->processor;
    struct journal_identity identity;
    search->any = true;
    if (!read_file_name(file, &identity) || !find_file(processor, &identity))
        return true;
    search->found = true;
    search->checkpoint = (struct journal_checkpoint){
        .identity = identity, .offset = checkpoint->position, .lines = checkpoint->lines};
    return false;
}

static void close_file(struct processor *processor)
{
    journal_reader_close(processor->reader);
    processor->reader = NULL;
}

static void begin_file(struct processor *processor)
{
    processor->stored = journal_reader_checkpoint(processor->reader);
    processor->read = processor->stored;
    processor->has_finished = false;
    processor->options.opened(processor->options.context, processor->file_path, processor->stored.lines,
                              processor->stored.offset);
}

/* The file is not what it was: with another first line it is another file, and counted from its beginning. */
static enum processor_result open_changed(struct processor *processor, const struct journal_checkpoint *from)
{
    struct journal_reader_options options = {.path = processor->file_path};
    static const struct hash_128 none = {.low = 0};
    bool opened = journal_reader_open(&options, &processor->reader) == JOURNAL_READ_OK;
    struct hash_128 first = opened ? journal_reader_checkpoint(processor->reader).identity.first_line : none;
    if (opened && memcmp(&first, &none, sizeof first) != 0 &&
        memcmp(&first, &from->identity.first_line, sizeof first) != 0) {
        processor->options.replaced(processor->options.context, processor->file_path, from->lines);
        begin_file(processor);
        return PROCESSOR_MORE;
    }
    close_file(processor);
    return fail(processor,
                "%s has been cut since %" PRIu64
                " lines of it were counted; nothing of it is counted now: to count what "
                "it holds from the beginning, copy it to another file and process that",
                processor->file_path, from->lines);
}

/* Goes on with the file that was read last. */
static enum processor_result open_from(struct processor *processor, const struct journal_checkpoint *from)
{
    struct journal_reader_options options = {.path = processor->file_path, .from = from};
    switch (journal_reader_open(&options, &processor->reader)) {
    case JOURNAL_READ_OK:
        begin_file(processor);
        return PROCESSOR_MORE;
    case JOURNAL_READ_CHANGED:
        return open_changed(processor, from);
    case JOURNAL_READ_ABSENT:
    case JOURNAL_READ_GONE:
        return PROCESSOR_MORE; /* renamed a moment ago: look again */
    case JOURNAL_READ_TOO_LONG:
    case JOURNAL_READ_END:
    case JOURNAL_READ_FAILED:
        break;
    }
    return fail(processor, "can't read %s: %s", processor->file_path, strerror(errno));
}

/* Looks the open file's own checkpoint up. `*found`: there is one. */
static enum storage_result find_checkpoint(struct processor *processor, struct journal_checkpoint *checkpoint,
                                           bool *found)
{
    char name[FILE_BYTES];
    struct storage_checkpoint stored = {.position = 0};
    checkpoint->identity = journal_reader_checkpoint(processor->reader).identity;
    enum storage_result result = storage_checkpoint(
        processor->options.storage, file_name(&checkpoint->identity, name), &stored, found, call_deadline());
    *found = *found && result == STORAGE_OK;
    checkpoint->offset = stored.position;
    checkpoint->lines = stored.lines;
    return result;
}

/* The database did not answer: waits a little. */
static enum processor_result wait_for_database(struct processor *processor)
{
    if (processor->away_since == 0)
        processor->away_since = clock_monotonic_ns();
    if (!processor->options.patient && clock_monotonic_ns() > processor->away_since + GIVE_UP_NS)
        return fail(processor, "the database does not answer; run it again later");
    return processor->options.wait(processor->options.context, FIRST_PAUSE_NS) ? PROCESSOR_MORE
                                                                               : PROCESSOR_STOPPED;
}

/* The next file has been opened at its beginning; it may have been counted before, in part. */
static enum processor_result go_on_or_begin(struct processor *processor)
{
    struct journal_checkpoint checkpoint;
    bool found = false;
    if (find_checkpoint(processor, &checkpoint, &found) != STORAGE_OK) {
        close_file(processor);
        return wait_for_database(processor);
    }
    processor->away_since = 0;
    if (journal_find(processor->options.path, &checkpoint.identity, processor->file_path) != JOURNAL_READ_OK)
        snprintf(processor->file_path, sizeof processor->file_path, "%s", processor->options.path);
    if (found) {
        close_file(processor);
        return open_from(processor, &checkpoint);
    }
    begin_file(processor);
    return PROCESSOR_MORE;
}

static enum processor_result open_next(struct processor *processor)
{
    const struct journal_identity *finished = processor->has_finished ? &processor->stored.identity : NULL;
    struct journal_reader_options options = {.path = processor->options.path};
    switch (journal_reader_open_next(&options, finished, &processor->reader)) {
    case JOURNAL_READ_OK:
        break;
    case JOURNAL_READ_ABSENT:
        return PROCESSOR_CAUGHT_UP;
    case JOURNAL_READ_GONE:
        return fail(processor,
                    "%s was counted to its end, and has been removed since: nobody can tell which file "
                    "came next; name that one",
                    processor->file_path);
    case JOURNAL_READ_TOO_LONG:
    case JOURNAL_READ_END:
    case JOURNAL_READ_CHANGED:
    case JOURNAL_READ_FAILED:
        return fail(processor, "can't open %s: %s", processor->options.path, strerror(errno));
    }
    return go_on_or_begin(processor);
}

/* The journal itself, if it has a checkpoint: what came before it was finished then. `*found` tells. */
static enum storage_result look_at_journal(struct processor *processor, struct journal_checkpoint *checkpoint,
                                           bool *found)
{
    struct journal_reader_options options = {.path = processor->options.path};
    if (journal_reader_open(&options, &processor->reader) != JOURNAL_READ_OK)
        return STORAGE_OK;
    snprintf(processor->file_path, sizeof processor->file_path, "%s", processor->options.path);
    enum storage_result result = find_checkpoint(processor, checkpoint, found);
    close_file(processor);
    return result;
}

static enum processor_result open_first(struct processor *processor)
{
    struct search search = {.processor = processor};
    enum storage_result result = look_at_journal(processor, &search.checkpoint, &search.found);
    if (result == STORAGE_OK && !search.found)
        result = storage_checkpoints(processor->options.storage, visit_checkpoint, &search, call_deadline());
    if (result != STORAGE_OK)
        return wait_for_database(processor);
    processor->away_since = 0;
    if (search.any && !search.found)
        processor->options.unknown(processor->options.context, processor->options.path);
    return search.found ? open_from(processor, &search.checkpoint) : open_next(processor);
}

/* --- storing --- */

/* Stores the batch once. `*moved`: its checkpoint is where it is wanted. */
static enum storage_result store(struct processor *processor, bool *moved, bool *overflowed)
{
    char name[FILE_BYTES];
    struct text file = file_name(&processor->read.identity, name);
    struct storage_write *write = sums_write(&processor->sums, file);
    if (write == NULL)
        return STORAGE_NO_MEMORY;
    write->position_before = processor->stored.offset;
    write->position_after = processor->read.offset;
    write->lines_after = processor->read.lines;
    enum storage_result result = storage_write(processor->options.storage, write, call_deadline());
    *moved = result == STORAGE_OK && !write->overtaken;
    *overflowed = result == STORAGE_OK && write->overflowed;
    bool overtaken = result == STORAGE_OK && write->overtaken;
    if (result != STORAGE_UNKNOWN)
        free(write);
    if (!overtaken)
        return result;
    /* It may have been stored before, by a try whose outcome was not known. */
    struct storage_checkpoint now;
    bool found = false;
    result = storage_checkpoint(processor->options.storage, file, &now, &found, call_deadline());
    *moved = result == STORAGE_OK && found && now.position == processor->read.offset;
    return result;
}

static void count_batch(struct processor *processor)
{
    struct processor_counts *counts = &processor->counts;
    counts->lines += processor->lines;
    counts->bytes += processor->read.offset - processor->stored.offset;
    counts->users = users_count(&processor->users);
    /* Totals are for people: beyond the range they stay what they were. */
    (void)decimal_add(&counts->added, &processor->added);
    (void)decimal_add(&counts->subtracted, &processor->subtracted);
    processor->lines = 0;
    processor->added = processor->subtracted = (struct decimal){.whole = 0};
    processor->stored = processor->read;
    sums_clear(&processor->sums);
}

/* Stores the batch, again and again while the database is away. PROCESSOR_MORE: it is stored. */
static enum processor_result commit(struct processor *processor)
{
    int64_t give_up_at = clock_monotonic_ns() + GIVE_UP_NS;
    int64_t pause_ns = FIRST_PAUSE_NS;
    if (processor->read.offset == processor->stored.offset)
        return PROCESSOR_MORE;
    if (journal_reader_sync(processor->reader) != 0)
        return fail(processor, "can't sync %s: %s", processor->file_path, strerror(errno));
    for (;;) {
        bool moved = false, overflowed = false;
        enum storage_result result = store(processor, &moved, &overflowed);
        if (overflowed)
            return fail(processor,
                        "a sum would have more than %d digits; nothing behind line %" PRIu64
                        " of %s was counted",
                        (int)DECIMAL_WHOLE_DIGITS, processor->stored.lines, processor->file_path);
        if (result == STORAGE_OK && !moved)
            return fail(processor, "another process counts %s into this database: let one of them do it",
                        processor->file_path);
        if (moved)
            break;
        if (!processor->options.patient && clock_monotonic_ns() > give_up_at)
            return fail(
                processor,
                "the database takes no writes; what was counted so far is stored, run it again later");
        if (!processor->options.wait(processor->options.context, pause_ns))
            return PROCESSOR_STOPPED;
        pause_ns = pause_ns * 2 < LONGEST_PAUSE_NS ? pause_ns * 2 : LONGEST_PAUSE_NS;
    }
    count_batch(processor);
    return PROCESSOR_MORE;
}

/* --- reading --- */

static void skip(struct processor *processor, uint64_t number, const char *why)
{
    processor->counts.skipped++;
    processor->options.skipped(processor->options.context, processor->file_path, number, why);
}

/* Adds a line to the batch, which is stored first when it is full: it ends before the line. */
static enum processor_result add_line(struct processor *processor, const struct live_line *line,
                                      uint64_t number)
{
    struct decimal amount = live_line_amount(line);
    enum sums_result result = sums_add(&processor->sums, line);
    if (result == SUMS_FULL || result == SUMS_OVERFLOW) {
        enum processor_result stored = commit(processor);
        if (stored != PROCESSOR_MORE)
            return stored;
        result = sums_add(&processor->sums, line);
    }
    if (result != SUMS_OK)
        return fail(processor, "out of memory at line %" PRIu64 " of %s", number, processor->file_path);
    (void)decimal_add(line->subtracts ? &processor->subtracted : &processor->added,
                      line->subtracts ? &line->value : &amount);
    users_add(&processor->users, (struct text){.bytes = line->user, .length = line->user_length});
    processor->lines++;
    return PROCESSOR_MORE;
}

static enum processor_result take_line(struct processor *processor, const struct journal_line *source)
{
    struct json_error error;
    struct live_line line;
    if (text_trim(source->text).length == 0)
        return PROCESSOR_MORE;
    switch (json_check(source->text, JSON_DEPTH, &error)) {
    case JSON_NO_MEMORY:
        return fail(processor, "out of memory at line %" PRIu64 " of %s", source->number,
                    processor->file_path);
    case JSON_INVALID:
        skip(processor, source->number, error.reason);
        return PROCESSOR_MORE;
    case JSON_VALID:
        break;
    }
    const char *fault = live_line_read(source->text, &line);
    if (fault == NULL)
        return add_line(processor, &line, source->number);
    skip(processor, source->number, fault);
    return PROCESSOR_MORE;
}

/* All that there is of the file has been read: stores it, and goes on to the next file when there is one. */
static enum processor_result end_of_file(struct processor *processor)
{
    uint64_t half_bytes = 0;
    enum processor_result result = commit(processor);
    if (result != PROCESSOR_MORE)
        return result;
    if (!journal_reader_is_finished(processor->reader, processor->options.path, &half_bytes))
        return PROCESSOR_CAUGHT_UP;
    if (half_bytes > 0)
        skip(processor, processor->stored.lines + 1, "it is not whole, and never will be");
    close_file(processor);
    processor->has_finished = true;
    return open_next(processor);
}

static enum processor_result read_one(struct processor *processor)
{
    struct journal_line line;
    enum processor_result result = PROCESSOR_MORE;
    switch (journal_reader_next(processor->reader, &line)) {
    case JOURNAL_READ_OK:
        result = take_line(processor, &line);
        break;
    case JOURNAL_READ_TOO_LONG:
        skip(processor, line.number, "it is longer than 1048576 bytes");
        break;
    case JOURNAL_READ_END:
        return end_of_file(processor);
    case JOURNAL_READ_CHANGED:
        return fail(processor,
                    "%s has been cut or written anew while it was read; nothing behind line %" PRIu64
                    " was counted",
                    processor->file_path, processor->stored.lines);
    case JOURNAL_READ_ABSENT:
    case JOURNAL_READ_GONE:
    case JOURNAL_READ_FAILED:
        return fail(processor, "can't read %s: %s", processor->file_path, strerror(errno));
    }
    if (result == PROCESSOR_MORE)
        processor->read = journal_reader_checkpoint(processor->reader);
    return result;
}

enum processor_result processor_step(struct processor *processor)
{
    enum processor_result result = PROCESSOR_MORE;
    if (processor->reader == NULL)
        return processor->has_finished ? open_next(processor) : open_first(processor);
    for (int i = 0; i < LINES_PER_STEP && result == PROCESSOR_MORE && processor->reader != NULL; i++)
        result = read_one(processor);
    bool large = processor->read.lines - processor->stored.lines >= LINES_PER_BATCH;
    return result == PROCESSOR_MORE && large ? commit(processor) : result;
}

/* --- the whole --- */

struct processor *processor_create(const struct processor_options *options)
{
    struct processor *processor = calloc(1, sizeof *processor);
    if (processor == NULL)
        return NULL;
    processor->options = *options;
    if (sums_init(&processor->sums) == 0 && users_init(&processor->users, PROCESSOR_USERS) == 0)
        return processor;
    processor_free(processor);
    return NULL;
}

void processor_free(struct processor *processor)
{
    if (processor == NULL)
        return;
    journal_reader_close(processor->reader);
    sums_clear(&processor->sums);
    users_free(&processor->users);
    free(processor);
}

const char *processor_reason(const struct processor *processor)
{
    return processor->reason;
}

struct processor_counts processor_counts(const struct processor *processor)
{
    return processor->counts;
}
