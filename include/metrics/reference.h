/* The reference table: what is known of users. One generation of it, made aside, never changed afterwards.
 *
 * A user has an id, a plan, a region and other attributes: a JSON object as source text, which this module does not look
 * into. Plans and regions are numbered from 0 in the order in which they first came; so are users. A user may lack a plan
 * or a region.
 *
 * Who owns what
 *   A builder is its maker's until reference_finish or reference_abandon. The table copies all texts; they live as long
 *   as the table does. It is reference-counted: whoever got it from reference_finish, reference_hold or an answer of
 *   metrics.h gives it back with reference_release, in any thread; so a reader keeps the generation that it began with
 *   while others swap. The last release frees it. Its memory counts in the budget, which must outlive it.
 *
 * Locks: none. A builder is one thread's; a table never changes, and the count of references is atomic.
 *
 * Errors: NULL and REFERENCE_FULL mean that the budget, or the system, has no memory for it.
 */
#ifndef METRICS_REFERENCE_H
#define METRICS_REFERENCE_H

#include "base/budget.h"
#include "base/hash.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct reference;
struct reference_builder;

#define REFERENCE_NONE UINT32_MAX /* no such user, plan or region */

enum reference_result { REFERENCE_OK, REFERENCE_FULL };

struct reference_user {
    struct text id;
    struct text attributes; /* as given; empty for none */
    uint32_t plan;          /* its number, or REFERENCE_NONE */
    uint32_t region;
};

/* Begins a table whose update carries the time `wall_ms`. Look-ups hash with `seed`. NULL as above. */
struct reference_builder *reference_begin(const struct hash_seed *seed, struct budget *budget,
                                          int64_t wall_ms);

/* Adds a user, or replaces what was said of it before (it keeps its number; a plan or region that only the former had
 * stays in the lists). A plan or region whose bytes are NULL is none; an empty text is a value like any other. After
 * REFERENCE_FULL the builder can only be abandoned. */
enum reference_result reference_add(struct reference_builder *builder, struct text id, struct text plan,
                                    struct text region, struct text attributes);

/* Ends the building: the table, with one reference, which is the caller's. Can't fail. */
struct reference *reference_finish(struct reference_builder *builder);

/* Ends the building without a table. Takes NULL. */
void reference_abandon(struct reference_builder *builder);

struct reference *reference_hold(struct reference *reference);
void reference_release(struct reference *reference); /* takes NULL */

int64_t reference_wall_ms(const struct reference *reference);
uint32_t reference_user_count(const struct reference *reference);
uint32_t reference_plan_count(const struct reference *reference);
uint32_t reference_region_count(const struct reference *reference);

/* The name of a plan or region by its number, which must be below the count. */
struct text reference_plan(const struct reference *reference, uint32_t plan);
struct text reference_region(const struct reference *reference, uint32_t region);

/* The user by number, which must be below the count. */
struct reference_user reference_user(const struct reference *reference, uint32_t number);

/* The number of the user with this id, or REFERENCE_NONE. */
uint32_t reference_find(const struct reference *reference, struct text id);

/* The same when the id's hash_text with the table's seed is known. */
uint32_t reference_find_hashed(const struct reference *reference, uint64_t hash, struct text id);

#endif
