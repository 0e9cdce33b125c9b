/* The reads of the storage: they are the engine's. */
#include "storage/storage_internal.h"

enum storage_result storage_events(struct storage *storage, const struct storage_range *range,
                                   bool (*visit)(void *context, const struct storage_event *event),
                                   void *context, int64_t deadline_at)
{
    return storage->engine->events(storage->state, range, visit, context, deadline_at);
}

enum storage_result storage_newest_id(struct storage *storage, uint64_t *id, int64_t deadline_at)
{
    return storage->engine->newest_id(storage->state, id, deadline_at);
}

enum storage_result storage_subscriptions(struct storage *storage, struct text user,
                                          bool (*visit)(void *context, struct text channel), void *context,
                                          int64_t deadline_at)
{
    return storage->engine->subscriptions(storage->state, user, visit, context, deadline_at);
}

enum storage_result storage_reference(struct storage *storage, struct storage_reference *reference,
                                      int64_t deadline_at)
{
    return storage->engine->reference(storage->state, reference, deadline_at);
}

enum storage_result storage_reference_piece(struct storage *storage, uint64_t generation, uint32_t number,
                                            void (*visit)(void *context, struct text content), void *context,
                                            bool *found, int64_t deadline_at)
{
    return storage->engine->reference_piece(storage->state, generation, number, visit, context, found,
                                            deadline_at);
}

enum storage_result storage_planned_events(struct storage *storage, const struct storage_planned_range *range,
                                           bool (*visit)(void *context,
                                                         const struct storage_planned_event *event),
                                           void *context, int64_t deadline_at)
{
    return storage->engine->planned_events(storage->state, range, visit, context, deadline_at);
}

enum storage_result storage_planned_position(struct storage *storage, struct text event_id,
                                             uint64_t *position, bool *found, int64_t deadline_at)
{
    return storage->engine->planned_position(storage->state, event_id, position, found, deadline_at);
}

enum storage_result
storage_planned_users_named(struct storage *storage, const struct text *users, size_t count,
                            void (*visit)(void *context, size_t index, struct text attributes), void *context,
                            int64_t deadline_at)
{
    return storage->engine->planned_users_named(storage->state, users, count, visit, context, deadline_at);
}

enum storage_result
storage_planned_users(struct storage *storage, struct text after, size_t limit, uint64_t most_bytes,
                      bool (*visit)(void *context, const struct storage_planned_user *user), void *context,
                      int64_t deadline_at)
{
    return storage->engine->planned_users(storage->state, after, limit, most_bytes, visit, context,
                                          deadline_at);
}

enum storage_result
storage_planned_event_ids(struct storage *storage, const struct storage_event_ids_range *range,
                          bool (*visit)(void *context, size_t index, uint64_t position, struct text id),
                          void *context, int64_t deadline_at)
{
    return storage->engine->planned_event_ids(storage->state, range, visit, context, deadline_at);
}

enum storage_result storage_revenue(struct storage *storage, struct text user,
                                    char amount[static STORAGE_REVENUE_BYTES], bool *found,
                                    int64_t deadline_at)
{
    return storage->engine->revenue(storage->state, user, amount, found, deadline_at);
}

enum storage_result storage_checkpoint(struct storage *storage, struct text file,
                                       struct storage_checkpoint *checkpoint, bool *found,
                                       int64_t deadline_at)
{
    return storage->engine->checkpoint(storage->state, file, checkpoint, found, deadline_at);
}

enum storage_result storage_checkpoints(struct storage *storage,
                                        bool (*visit)(void *context, struct text file,
                                                      const struct storage_checkpoint *checkpoint),
                                        void *context, int64_t deadline_at)
{
    return storage->engine->checkpoints(storage->state, visit, context, deadline_at);
}
