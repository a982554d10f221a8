/* Records for a node to have when it starts: what writes make of them. */
#ifndef RECORD_WRITE_H
#define RECORD_WRITE_H

#include "check.h"
#include "heap.h"
#include "session.h"

/* What a change by that actor makes of a record; an empty one: of none. */
static inline void record_write(struct buffer *record, struct bytes key, struct actor actor,
                                uint64_t now_ms, enum session_type type,
                                const struct change *change)
{
    const struct session_rules rules = {.session_bytes_max = 65536, .fields_max = 16};
    struct session_written written;
    uint8_t list[4096];

    assert_true(change_size(change) <= sizeof list);
    const uint8_t *end = change_put(list, change);
    const struct session_write write = {
        .key = key,
        .record = buffer_bytes(record),
        .rules = &rules,
        .now_ms = now_ms,
        .actor = actor,
        .mode = WRITE_UPSERT,
        .type = type,
        .changes = bytes_of(list, (size_t)(end - list)),
    };
    session_written_init(&written, heap_memory());
    assert_int_equal(session_write(&write, &written), STATUS_OK);
    record->size = 0;
    assert_int_equal(buffer_append(record, buffer_bytes(&written.record)), 0);
    session_written_fini(&written);
}

#endif
