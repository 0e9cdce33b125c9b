#include "metrics/reference.h"

#include <string.h>

enum { FIRST_CAPACITY = 16, TEXT_PIECE_BYTES = 64 * 1024 };

struct name {
    const char *bytes;
    uint32_t length;
    uint32_t tag; /* of its hash */
};

struct user {
    struct name id; /* the attributes lie behind its bytes */
    uint32_t attributes_length;
    uint32_t plan;
    uint32_t region;
};

/* An array of elements that begin with a name, and the hash table of their numbers: open addressing, at most half
 * full. */
struct list {
    char *elements;
    size_t element_bytes;
    uint32_t count;
    uint32_t capacity;
    uint32_t *slots; /* number + 1, 0 for none */
    uint32_t slot_count;
};

/* Texts, packed into pieces that never move. */
struct text_piece {
    struct text_piece *next;
    size_t length;
    size_t capacity;
    char bytes[];
};

struct reference {
    struct budget *budget;
    struct hash_seed seed;
    int64_t wall_ms;
    atomic_uint references;
    struct list users;
    struct list plans;
    struct list regions;
    struct text_piece *pieces;
};

/* A builder is the table that it makes. */
struct reference_builder {
    struct reference reference;
};

struct reference_builder *reference_begin(const struct hash_seed *seed, struct budget *budget,
                                          int64_t wall_ms)
{
    struct reference_builder *builder = budget_allocate(budget, sizeof *builder);
    if (builder == NULL)
        return NULL;
    struct reference *reference = &builder->reference;
    reference->budget = budget;
    reference->seed = *seed;
    reference->wall_ms = wall_ms;
    reference->users.element_bytes = sizeof(struct user);
    reference->plans.element_bytes = sizeof(struct name);
    reference->regions.element_bytes = sizeof(struct name);
    atomic_init(&reference->references, 1);
    return builder;
}

static void free_list(struct budget *budget, struct list *list)
{
    budget_free(budget, list->elements, list->capacity * list->element_bytes);
    budget_free(budget, list->slots, list->slot_count * sizeof list->slots[0]);
}

static void free_reference(struct reference *reference)
{
    struct text_piece *piece;
    while ((piece = reference->pieces) != NULL) {
        reference->pieces = piece->next;
        budget_free(reference->budget, piece, sizeof *piece + piece->capacity);
    }
    free_list(reference->budget, &reference->users);
    free_list(reference->budget, &reference->plans);
    free_list(reference->budget, &reference->regions);
    budget_free(reference->budget, reference, sizeof(struct reference_builder));
}

struct reference *reference_finish(struct reference_builder *builder)
{
    return &builder->reference;
}

void reference_abandon(struct reference_builder *builder)
{
    if (builder != NULL)
        free_reference(&builder->reference);
}

struct reference *reference_hold(struct reference *reference)
{
    atomic_fetch_add_explicit(&reference->references, 1, memory_order_relaxed);
    return reference;
}

void reference_release(struct reference *reference)
{
    if (reference != NULL && atomic_fetch_sub_explicit(&reference->references, 1, memory_order_acq_rel) == 1)
        free_reference(reference);
}

/* --- lists --- */

static struct name *element_at(const struct list *list, uint32_t number)
{
    return (struct name *)(void *)(list->elements + number * list->element_bytes);
}

static struct text name_text(const struct name *name)
{
    return (struct text){.bytes = name->bytes, .length = name->length};
}

/* The high half, as the tables of other modules use the low one. */
static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static uint32_t list_find(const struct list *list, uint64_t hash, struct text text)
{
    if (list->slot_count == 0)
        return REFERENCE_NONE;
    uint32_t mask = list->slot_count - 1;
    for (uint32_t slot = tag_of(hash) & mask; list->slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct name *name = element_at(list, list->slots[slot] - 1);
        if (name->tag == tag_of(hash) && text_equals(name_text(name), text))
            return list->slots[slot] - 1;
    }
    return REFERENCE_NONE;
}

static void place(struct list *list, uint32_t number)
{
    uint32_t mask = list->slot_count - 1;
    uint32_t slot = element_at(list, number)->tag & mask;
    while (list->slots[slot] != 0)
        slot = (slot + 1) & mask;
    list->slots[slot] = number + 1;
}

static bool grow_slots(struct budget *budget, struct list *list)
{
    uint32_t slot_count = list->slot_count == 0 ? 2 * FIRST_CAPACITY : list->slot_count * 2;
    uint32_t *slots = budget_allocate(budget, slot_count * sizeof slots[0]);
    if (slots == NULL)
        return false;
    budget_free(budget, list->slots, list->slot_count * sizeof slots[0]);
    list->slots = slots;
    list->slot_count = slot_count;
    for (uint32_t number = 0; number < list->count; number++)
        place(list, number);
    return true;
}

static bool grow_elements(struct budget *budget, struct list *list)
{
    uint32_t capacity = list->capacity == 0 ? FIRST_CAPACITY : list->capacity + list->capacity / 2;
    char *elements = budget_grow(budget, list->elements, list->capacity * list->element_bytes,
                                 capacity * list->element_bytes);
    if (elements == NULL)
        return false;
    list->elements = elements;
    list->capacity = capacity;
    return true;
}

/* Adds an element under a name that is not there, or makes nothing. */
static bool list_add(struct budget *budget, struct list *list, struct name name)
{
    if (list->count == list->capacity && !grow_elements(budget, list))
        return false;
    if (list->slot_count / 2 <= list->count && !grow_slots(budget, list))
        return false;
    memset(element_at(list, list->count), 0, list->element_bytes);
    *element_at(list, list->count) = name;
    place(list, list->count++);
    return true;
}

/* --- building --- */

/* Room for a text among the pieces. A long one has a piece of its own, behind the one that is being filled. */
static char *take_room(struct reference *reference, size_t length)
{
    struct text_piece *first = reference->pieces;
    bool alone = length > TEXT_PIECE_BYTES / 4;
    if (alone || first == NULL || first->capacity - first->length < length) {
        size_t capacity = alone ? length : TEXT_PIECE_BYTES;
        struct text_piece *piece = budget_allocate(reference->budget, sizeof *piece + capacity);
        if (piece == NULL)
            return NULL;
        piece->capacity = capacity;
        struct text_piece **at = alone && first != NULL ? &first->next : &reference->pieces;
        piece->next = *at;
        *at = piece;
        first = piece;
    }
    char *bytes = first->bytes + first->length;
    first->length += length;
    return bytes;
}

static char *append(char *to, struct text text)
{
    if (text.length > 0)
        memcpy(to, text.bytes, text.length);
    return to + text.length;
}

/* The number of a plan or region, which is added when it is new. */
static bool number_of(struct reference *reference, struct list *list, struct text text, uint32_t *number)
{
    *number = REFERENCE_NONE;
    if (text.bytes == NULL)
        return true;
    uint64_t hash = hash_text(&reference->seed, text);
    *number = list_find(list, hash, text);
    if (*number != REFERENCE_NONE)
        return true;
    char *bytes = take_room(reference, text.length);
    if (bytes == NULL)
        return false;
    append(bytes, text);
    *number = list->count;
    return list_add(reference->budget, list,
                    (struct name){.bytes = bytes, .length = (uint32_t)text.length, .tag = tag_of(hash)});
}

enum reference_result reference_add(struct reference_builder *builder, struct text id, struct text plan,
                                    struct text region, struct text attributes)
{
    struct reference *reference = &builder->reference;
    uint64_t hash = hash_text(&reference->seed, id);
    uint32_t number = list_find(&reference->users, hash, id), plan_number, region_number;
    if (id.length > UINT32_MAX || plan.length > UINT32_MAX || region.length > UINT32_MAX ||
        attributes.length > UINT32_MAX || reference->users.count > UINT32_MAX / 4)
        return REFERENCE_FULL;
    char *bytes = take_room(reference, id.length + attributes.length);
    if (bytes == NULL || !number_of(reference, &reference->plans, plan, &plan_number) ||
        !number_of(reference, &reference->regions, region, &region_number))
        return REFERENCE_FULL;
    append(append(bytes, id), attributes);
    struct name name = {.bytes = bytes, .length = (uint32_t)id.length, .tag = tag_of(hash)};
    if (number == REFERENCE_NONE) {
        number = reference->users.count;
        if (!list_add(reference->budget, &reference->users, name))
            return REFERENCE_FULL;
    }
    *(struct user *)(void *)element_at(&reference->users, number) =
        (struct user){.id = name,
                      .attributes_length = (uint32_t)attributes.length,
                      .plan = plan_number,
                      .region = region_number};
    return REFERENCE_OK;
}

/* --- reading --- */

int64_t reference_wall_ms(const struct reference *reference)
{
    return reference->wall_ms;
}

uint32_t reference_user_count(const struct reference *reference)
{
    return reference->users.count;
}

uint32_t reference_plan_count(const struct reference *reference)
{
    return reference->plans.count;
}

uint32_t reference_region_count(const struct reference *reference)
{
    return reference->regions.count;
}

struct text reference_plan(const struct reference *reference, uint32_t plan)
{
    return name_text(element_at(&reference->plans, plan));
}

struct text reference_region(const struct reference *reference, uint32_t region)
{
    return name_text(element_at(&reference->regions, region));
}

struct reference_user reference_user(const struct reference *reference, uint32_t number)
{
    const struct user *user = (const struct user *)(const void *)element_at(&reference->users, number);
    return (struct reference_user){
        .id = name_text(&user->id),
        .attributes = {.bytes = user->id.bytes + user->id.length, .length = user->attributes_length},
        .plan = user->plan,
        .region = user->region,
    };
}

uint32_t reference_find_hashed(const struct reference *reference, uint64_t hash, struct text id)
{
    return list_find(&reference->users, hash, id);
}

uint32_t reference_find(const struct reference *reference, struct text id)
{
    return reference_find_hashed(reference, hash_text(&reference->seed, id), id);
}
