/* Interned texts: each text is kept once, as an element with a small number, for as long as it is referred to.
 *
 * An element begins with a struct interned and may go on with what its user keeps beside it (zero at first). Elements
 * never move; they lie in pages of 256, and a page with no element left is given back. Numbers are used again. The hash
 * table is in 256 parts, so that growing moves few elements at a time.
 *
 * Whoever owns the struct owns the elements. Not locked: see metrics_internal.h.
 */
#ifndef METRICS_INTERN_H
#define METRICS_INTERN_H

#include "base/budget.h"
#include "base/table.h"
#include "base/text.h"

#include <sys/queue.h>

enum { INTERN_PAGE = 256, INTERN_PARTS = 256 };

struct interned {
    struct table_link link; /* link.hash is the text's, as it was given */
    char *bytes;            /* NULL: a free element */
    uint32_t length;
    uint32_t references; /* the user's count */
    uint32_t number;     /* of a free element: the index of the next one in its page */
};

struct intern_page {
    LIST_ENTRY(intern_page) link; /* among those with room */
    uint32_t number;
    uint32_t used;
    uint32_t fresh;      /* elements from this one on were never used */
    uint32_t first_free; /* of those given back, or INTERN_PAGE */
    char elements[] __attribute__((aligned(16)));
};

struct intern {
    struct budget *budget;
    size_t element_bytes;
    struct intern_page **pages; /* NULL: given back */
    uint32_t page_count;
    uint32_t page_capacity;
    uint32_t gap_count; /* pages that were given back */
    LIST_HEAD(intern_pages, intern_page) with_room;
    uint64_t count; /* of elements */
    struct table parts[INTERN_PARTS];
};

void intern_init(struct intern *intern, struct budget *budget, size_t element_bytes);
void intern_free(struct intern *intern);

/* The element of this text, or NULL. The hash must be keyed: texts come from strangers. */
struct interned *intern_find(const struct intern *intern, uint64_t hash, struct text text);

/* Adds a text that is not there, with no reference. NULL when there is no memory for it. */
struct interned *intern_add(struct intern *intern, uint64_t hash, struct text text);

void intern_remove(struct intern *intern, struct interned *interned);

/* Numbers are below this. */
static inline uint32_t intern_end(const struct intern *intern)
{
    return intern->page_count * INTERN_PAGE;
}

/* The element with this number, which must be in use. */
static inline void *intern_at(const struct intern *intern, uint32_t number)
{
    return &intern->pages[number / INTERN_PAGE]->elements[number % INTERN_PAGE * intern->element_bytes];
}

/* The same for any number below intern_end: NULL for one that is not in use. */
void *intern_at_if_used(const struct intern *intern, uint32_t number);

static inline struct text interned_text(const struct interned *interned)
{
    return (struct text){.bytes = interned->bytes, .length = interned->length};
}

#endif
