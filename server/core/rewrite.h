/* Rewriting a record: the entries of the present one and of an edit, as one new record or as a delta. */
#ifndef REWRITE_H
#define REWRITE_H

#include "edit.h"

struct rewrite {
    struct version stamped; /* What the write adds to the version; nothing: only an access. */
    struct death death;
    uint64_t last_access_ms;
    const struct dedup *dedup;       /* The whole window... */
    const struct dedup *dedup_delta; /* ... and what is new of it, for the delta. */
};

/* The whole new record. Returns 0, -ENOMEM, -EBADMSG. */
int rewrite_record(const struct edit *edit, const struct rewrite *rewrite, struct buffer *out);

/* The same as a delta on the present record; left empty where it would save little of
 * `record_bytes`, or where more than the touched names changed. Returns 0, -ENOMEM. */
int rewrite_delta(const struct edit *edit, const struct rewrite *rewrite, size_t record_bytes,
                  struct buffer *out);

#endif
