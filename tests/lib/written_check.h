/* What session_write() says of the new record's time to come, held against the record itself. */
#ifndef WRITTEN_CHECK_H
#define WRITTEN_CHECK_H

#include <stdbool.h>

#include "session.h"

/* Is next_ms as session.h promises? */
static inline bool written_next_is_sound(const struct session_written *written, uint64_t now_ms)
{
    struct session_view view;

    if (!written->changed || written->created || written->destroyed) {
        return true;
    }
    if (session_open(&view, buffer_bytes(&written->record), now_ms) != 0) {
        return false;
    }
    return view.next_ms == 0 || (written->next_ms != 0 && written->next_ms <= view.next_ms);
}

#endif
