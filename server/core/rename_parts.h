/* What both ways of renaming are made of: private to shard_rename.c and shard_move.c. */
#ifndef RENAME_PARTS_H
#define RENAME_PARTS_H

#include "rename.h"
#include "shard_state.h"

/* A session as what begins it elsewhere. */
struct session_copy {
    enum session_type type;
    uint32_t fields;
    struct buffer *changes; /* Of the fields. */
    size_t head_size;
    uint8_t head[64 + OWNER_BYTES_MAX]; /* Changes of all else. */
};

/* The change that makes a field what it is, in a session of that type. */
void rename_field_change(enum session_type type, const struct session_field *field,
                         struct change *change);

/* Who has renamed, to the dedup window, with the rename's id as sequence; ids of clients are below. */
#define RENAME_CLIENT UINT64_MAX

/* Begin the session of an intent at the key turned to, staged, in place of what is there. `client` is RENAME_CLIENT, or
 * DEDUP_RECEIPT_CLIENT: what the dedup window knows it by. Returns OK or an error. */
enum status rename_paste(struct turn *turn, const struct rename_intent *intent, uint64_t client);

/* Is nothing to begin at the key turned to by a RENAMENX? There is a session, or one may come back (alias_may_return()). */
bool rename_is_taken(struct turn *turn);

/* Destroy what is at the key turned to. */
enum status rename_destroy(struct turn *turn);

/* Answer with a byte, with bytes behind it. Return OK or NO_MEMORY. */
enum status rename_say(struct turn *turn, enum rename_answer answer);
enum status rename_say_with(struct turn *turn, enum rename_answer what, struct bytes bytes);

/* Write an intent in place of what is in the buffer. Returns 0 or -ENOMEM. */
int rename_put_intent(struct buffer *to, const struct rename_intent *intent);

/* Go on with a key of the server's own: what is there is kept whatever the policies say, and for no longer. */
void rename_to_own(struct turn *turn, struct request *request, struct bytes key);
/* Its value, in a live view (or NULL); empty where there is none. */
struct bytes rename_own_value(struct session_view *view);
/* Begin it. */
enum status rename_write_own(struct turn *turn, struct request *request, struct bytes key,
                             struct bytes value);

#endif
