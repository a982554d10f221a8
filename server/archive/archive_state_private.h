/* The inside of archive_state.h, for archive_state*.c. */
#ifndef ARCHIVE_STATE_PRIVATE_H
#define ARCHIVE_STATE_PRIVATE_H

#include "archive_state.h"
#include "session.h"

static inline struct bytes state_record(const struct state_entry *entry)
{
    return bytes_of(entry->record, entry->record_size);
}

static inline struct bytes state_key(const struct state_entry *entry)
{
    return entry->record != NULL ? session_key(state_record(entry))
                                 : bytes_of(entry->key, entry->key_size);
}

static inline uint16_t state_slot(const struct state_entry *entry)
{
    return (uint16_t)slot_of_position(entry->position);
}

/* ---- archive_state_entry.c ---- */

/* Count so many more bytes of records. Returns 0; -EFBIG: they are more than the limit. */
int state_count_bytes(struct archive_state *state, uint64_t size);

/* The entry of a key. Where there is none it is made with this record, or with the key alone where that is empty. Returns 0,
 * or 1: it was made; -ENOMEM, -EFBIG. */
int state_take_entry(struct archive_state *state, struct bytes key, struct bytes record,
                     struct state_entry **found);

/* Put a record, which lies elsewhere, in the place of what the entry has; its own key is not needed beside it. What grows
 * gets more than it needs, so that what grows again and again takes no more than some times its size. Returns 0, -ENOMEM, -EFBIG. */
int state_set_record(struct archive_state *state, struct state_entry *entry, struct bytes record);

/* Set `order`: by slot, and otherwise as they were added. */
void state_put_in_order(struct archive_state *state);

/* Forget the entries; and give back their memory. */
void state_clear_entries(struct archive_state *state);
void state_free_entries(struct archive_state *state);

#endif
