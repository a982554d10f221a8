/* Aliases: what stays under a key whose session goes on under another one (RENAME between slots of a cluster, move.h).
 *
 * An alias is an entry (ENTRY_ALIAS, record.h) of the incarnation that was renamed. The write that puts it takes all
 * else away, the entry of the type too, so that nothing leads any more (shown.h): who reads finds no session. It lives
 * by rules of its own:
 *
 *   Death does not end it. So a delete by somebody who did not know of the rename does not undo it: the alias whose
 *   incarnation is dead says that the session, under whatever key it is, was deleted.
 *   A write that has seen it replaces it. A session that begins again under the old key, or a tombstone there, is after
 *   the rename, and has nothing to do with what was renamed.
 *   Whatever else was written to the incarnation without knowing of the rename lies beside it, hidden.
 *   Two renames that did not know of each other are two aliases of one incarnation. The newer one counts.
 *
 * So what is still to be done about a rename follows from the record alone, on any node and after any crash, as the
 * copies of a key always come to the same record: see alias_find().
 *
 * The value of the entry: 8 bytes id, 8 + 4 + 4 bytes stamp (hlc, node, start; 0: none; hlc 0, start 1: not yet, may come
 * back), the new key.
 *
 * Memory: results point into what they were read from. Threads: any.
 */
#ifndef ALIAS_H
#define ALIAS_H

#include "record.h"
#include "shown.h"

enum { ALIAS_HEAD_BYTES = 8 + 8 + 4 + 4 };

/* Who puts one, to the dedup window, with its id as sequence: so that it is known when something has replaced it. */
#define ALIAS_CLIENT (UINT64_MAX - 1)

struct alias {
    uint64_t id;        /* Of the rename. */
    struct stamp birth; /* Of the session under its new key; hlc 0: it has not come there yet, and
                           with start 1 may come back (RENAMENX). */
    struct bytes key;   /* The new one. */
};

/* Write the value: ALIAS_HEAD_BYTES and the key. Returns the first byte after it. */
uint8_t *alias_put(uint8_t *to, const struct alias *alias);
/* Returns whether it is one. */
bool alias_read(struct bytes value, struct alias *alias);

void alias_store_stamp(uint8_t to[16], struct stamp stamp);
struct stamp alias_read_stamp(struct reader *from);

/* The aliases of a record. */
struct aliases {
    uint32_t count;
    struct alias newest; /* The one that counts; only where there is one... */
    struct stamp stamp;  /* ... of its entry... */
    struct stamp origin; /* ... and the birth of what was renamed. */
    bool ended;          /* That was deleted by who did not know of the rename. */
    bool late;           /* Something was written to it by such. */
};

/* Read them. Of a cold record: as far as they are in it. Returns 0, or -EBADMSG. */
int alias_find(struct bytes record, struct aliases *aliases);

/* May the session that was renamed come back (a RENAMENX, on its way), so that none may begin here meanwhile that does not
 * take its place? Of a whole record; empty: no. */
bool alias_may_return(struct bytes record);

/* Is there something to be settled: a target that is to be deleted, something to be written to it? */
static inline bool alias_is_unsettled(const struct aliases *aliases)
{
    return aliases->count > 1 || (aliases->count == 1 && (aliases->ended || aliases->late));
}

/* Was this alias' session deleted, as above? */
static inline bool alias_is_ended(const struct record *record, const struct entry *entry)
{
    return entry->birth.stamp.hlc <= record->version.death.hlc;
}

/* Was this entry written late? */
static inline bool alias_is_late(const struct entry *entry)
{
    return entry->kind != ENTRY_ALIAS && entry->birth.type == 0;
}

/* Rename what leads in the record. `until_hlc`: no blind write begins the old key again up to then; 0: it may.
 * Returns 0 with `out` set; -EBADMSG, also where nothing leads, or the stamp is not newer than all in it; -ENOMEM. */
int alias_begin(struct bytes record, struct stamp stamp, const struct alias *alias,
                uint64_t until_hlc, struct buffer *out);

/* The alias of that id knows now which session is its. Returns 0 with `out` set; -ENOENT: there is none; as above. */
int alias_arrive(struct bytes record, struct stamp stamp, uint64_t id, struct stamp birth,
                 struct buffer *out);

/* What was to be settled is: the newest alias alone stays, or none where its session was deleted. Returns as above. */
int alias_settle(struct bytes record, struct stamp stamp, struct buffer *out);

#endif
