#include "metrics/intern.h"

#include <string.h>

enum { FIRST_PAGE_CAPACITY = 16 };

void intern_init(struct intern *intern, struct budget *budget, size_t element_bytes)
{
    memset(intern, 0, sizeof *intern);
    intern->budget = budget;
    intern->element_bytes = element_bytes;
    LIST_INIT(&intern->with_room);
}

static size_t page_bytes(const struct intern *intern)
{
    return sizeof(struct intern_page) + INTERN_PAGE * intern->element_bytes;
}

static struct interned *element_of(const struct intern *intern, struct intern_page *page, uint32_t index)
{
    return (struct interned *)(void *)&page->elements[index * intern->element_bytes];
}

static struct table *part_of(const struct intern *intern, uint64_t hash)
{
    return (struct table *)&intern->parts[hash >> 56];
}

void intern_free(struct intern *intern)
{
    for (uint32_t number = 0; number < intern_end(intern); number++) {
        struct interned *interned = intern_at_if_used(intern, number);
        if (interned != NULL)
            intern_remove(intern, interned);
    }
    budget_free(intern->budget, intern->pages, intern->page_capacity * sizeof(struct intern_page *));
    intern_init(intern, intern->budget, intern->element_bytes);
}

void *intern_at_if_used(const struct intern *intern, uint32_t number)
{
    struct intern_page *page = intern->pages[number / INTERN_PAGE];
    if (page == NULL)
        return NULL;
    struct interned *interned = element_of(intern, page, number % INTERN_PAGE);
    return interned->bytes == NULL ? NULL : interned;
}

static bool matches(const struct table_link *link, const void *wanted)
{
    const struct interned *interned = (const struct interned *)(const void *)link;
    const struct text *text = wanted;
    return interned->length == text->length &&
           (text->length == 0 || memcmp(interned->bytes, text->bytes, text->length) == 0);
}

struct interned *intern_find(const struct intern *intern, uint64_t hash, struct text text)
{
    return (struct interned *)(void *)table_find(part_of(intern, hash), hash, matches, &text);
}

/* Finds a place for a new page: one whose page was given back, or the next. */
static bool find_page_number(struct intern *intern, uint32_t *number)
{
    uint32_t at = intern->gap_count == 0 ? intern->page_count : 0;
    while (at < intern->page_count && intern->pages[at] != NULL)
        at++;
    if (at == intern->page_capacity) {
        uint32_t capacity = at == 0 ? FIRST_PAGE_CAPACITY : at * 2;
        struct intern_page **pages =
            budget_grow(intern->budget, intern->pages, at * sizeof(struct intern_page *),
                        capacity * sizeof(struct intern_page *));
        if (pages == NULL)
            return false;
        intern->pages = pages;
        intern->page_capacity = capacity;
    }
    *number = at;
    return true;
}

static bool make_page(struct intern *intern)
{
    uint32_t number;
    if (!find_page_number(intern, &number))
        return false;
    struct intern_page *page = budget_allocate(intern->budget, page_bytes(intern));
    if (page == NULL)
        return false;
    page->number = number;
    page->first_free = INTERN_PAGE;
    intern->pages[number] = page;
    if (number == intern->page_count)
        intern->page_count++;
    else
        intern->gap_count--;
    LIST_INSERT_HEAD(&intern->with_room, page, link);
    return true;
}

static void drop_page(struct intern *intern, struct intern_page *page)
{
    LIST_REMOVE(page, link);
    intern->pages[page->number] = NULL;
    intern->gap_count++;
    budget_free(intern->budget, page, page_bytes(intern));
    for (; intern->page_count > 0 && intern->pages[intern->page_count - 1] == NULL; intern->page_count--)
        intern->gap_count--;
    if (intern->page_count == 0) {
        budget_free(intern->budget, intern->pages, intern->page_capacity * sizeof(struct intern_page *));
        intern->pages = NULL;
        intern->page_capacity = 0;
    }
}

/* Takes an element of a page with room. */
static struct interned *take_element(struct intern *intern)
{
    struct intern_page *page = LIST_FIRST(&intern->with_room);
    uint32_t index = page->first_free;
    struct interned *interned;
    if (index == INTERN_PAGE) {
        index = page->fresh++;
        interned = element_of(intern, page, index);
    } else {
        interned = element_of(intern, page, index);
        page->first_free = interned->number;
        memset(interned, 0, intern->element_bytes);
    }
    interned->number = page->number * INTERN_PAGE + index;
    if (++page->used == INTERN_PAGE)
        LIST_REMOVE(page, link);
    return interned;
}

/* Room in the hash table, counted as it grows. */
static bool reserve_link(struct intern *intern, struct table *part)
{
    size_t before = table_bytes(part);
    size_t after = before == 0 ? 2 * sizeof(struct table_link *) : before * 2;
    if (part->count < part->bucket_count)
        return true;
    if (!budget_take(intern->budget, after))
        return false;
    int result = table_reserve(part);
    if (table_bytes(part) == before) /* the system has no memory; a small table goes on with longer chains */
        budget_give_back(intern->budget, after);
    else if (before > 0)
        budget_give_back(intern->budget, before);
    return result == 0;
}

/* Room in a page, and in the hash table last, as that can't be undone. */
static bool reserve_element(struct intern *intern, struct table *part)
{
    if (LIST_EMPTY(&intern->with_room) && !make_page(intern))
        return false;
    if (reserve_link(intern, part))
        return true;
    struct intern_page *page = LIST_FIRST(&intern->with_room);
    if (page->used == 0)
        drop_page(intern, page);
    return false;
}

struct interned *intern_add(struct intern *intern, uint64_t hash, struct text text)
{
    struct table *part = part_of(intern, hash);
    if (text.length >= UINT32_MAX)
        return NULL;
    char *bytes = budget_allocate(intern->budget, text.length + 1);
    if (bytes == NULL)
        return NULL;
    if (!reserve_element(intern, part)) {
        budget_free(intern->budget, bytes, text.length + 1);
        return NULL;
    }
    struct interned *interned = take_element(intern);
    if (text.length > 0)
        memcpy(bytes, text.bytes, text.length);
    interned->bytes = bytes;
    interned->length = (uint32_t)text.length;
    table_add(part, &interned->link, hash);
    intern->count++;
    return interned;
}

void intern_remove(struct intern *intern, struct interned *interned)
{
    struct intern_page *page = intern->pages[interned->number / INTERN_PAGE];
    struct table *part = part_of(intern, interned->link.hash);
    size_t before = table_bytes(part);
    table_remove(part, &interned->link);
    if (table_bytes(part) == 0)
        budget_give_back(intern->budget, before);
    budget_free(intern->budget, interned->bytes, (size_t)interned->length + 1);
    interned->bytes = NULL;
    uint32_t index = interned->number % INTERN_PAGE;
    interned->number = page->first_free;
    page->first_free = index;
    if (page->used-- == INTERN_PAGE)
        LIST_INSERT_HEAD(&intern->with_room, page, link);
    if (page->used == 0)
        drop_page(intern, page);
    intern->count--;
}
