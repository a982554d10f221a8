/* Looks up many fields of one session. session_find() walks from the first field on, so that as many names as there are
 * fields would take their product: half a minute for 65,536. From some names on this notes once where the shown fields
 * lie, and searches there.
 *
 * Memory: eight bytes for each field, from the port, until finder_end(). Threads: the view's.
 */
#ifndef FINDER_H
#define FINDER_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "session.h"

/* Private to finder.c. */
struct finder {
    const struct session_view *view;
    bool noted;
    struct buffer
        places; /* Noted: where the first entry of each shown field begins, in order of their names. */
};

/* For `names` look-ups in what is in view, not a cold one, which must stay as it is meanwhile; NULL: nothing is there.
 * Returns 0, or -ENOMEM. finder_end() comes after either. */
int finder_begin(struct finder *finder, const struct session_view *view, uint64_t names,
                 struct memory *memory);
void finder_end(struct finder *finder);

/* As session_find(). */
bool finder_find(const struct finder *finder, struct bytes name, struct session_field *field);

/* The field of this number, from 0, in the order of session_next(). False where there are not so many. */
bool finder_at(const struct finder *finder, uint64_t number, struct session_field *field);

#endif
