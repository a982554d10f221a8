/* The checkpoint: a shard's sessions as of one LSN, in an LMDB environment in order of position.
 *
 * LMDB's key is the position (8 bytes, big-endian) and a seeded hash of the session's key (8, the same):
 * one short size for all, where whole keys could pass LMDB's limit of 511 bytes. The value is a
 * CRC-32C over both and the session record, which holds the key itself. One more entry, "\0", sorts
 * before them all and says which LSN this is:
 *
 *   offset size
 *        0    4  version of all this, CHECKPOINT_VERSION
 *        4    4  shard
 *        8    8  LSN: the log before it is in here
 *       16    8  bytes of all session records
 *       24    8  an hlc at or above that of every record in here
 *       32    4  zeros
 *       36    4  CRC-32C of the bytes 0 to 35
 *
 * It changes in one of two ways, each atomic: in place, in one synchronous transaction; or as a fresh
 * environment beside the old one, filled in order (ten times cheaper for each session, and without holes),
 * synchronised, then renamed. Directories are named checkpoint-N; the greatest N is valid.
 *
 * Threads: one uses it at a time; another one may call checkpoint_fetch() beside it. LMDB's table of readers
 * keeps what is being fetched from being overwritten, and a lock is held by who closes, grows or replaces the
 * environment, or fetches: not while a change is written or synchronised, so that a fetch waits for
 * nothing but its pages. No other process has it open (the data directory is locked), so that what a
 * process that died left in LMDB's lock file is made anew.
 * The environment is open from the first use until checkpoint_rest(), so that an idle node holds none of
 * its pages.
 *
 * Errors: negative errno; -EXFULL: the map is full, call checkpoint_grow() and do the whole change
 * again; -EBADMSG: LMDB's structure is damaged.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "files.h"
#include "memory.h"
#include "report.h"

struct checkpoint; /* private to checkpoint.c */

struct checkpoint_options {
    const char *directory; /* Of the shard; kept. */
    uint32_t shard;
    uint64_t map_bytes; /* To begin with. */
    struct files *files;
    struct memory *memory;
    struct reporter *reporter;
    bool inspect; /* Look only: what an earlier life left half done stays. */
};

struct checkpoint_key {
    uint64_t position;
    uint64_t hash;
};

struct checkpoint_info {
    uint64_t lsn; /* The log before it is in here. */
    uint64_t hlc; /* At or above that of every record in here. */
    uint64_t sessions;
    uint64_t record_bytes; /* Of session records. */
    uint64_t file_bytes;
};

/* Seeded, as the position is, so that nobody can aim keys at one entry. */
struct checkpoint_key checkpoint_key(uint64_t seed, uint64_t position, struct bytes session_key);

static inline int checkpoint_key_compare(struct checkpoint_key a, struct checkpoint_key b)
{
    if (a.position != b.position) {
        return a.position < b.position ? -1 : 1;
    }
    return (a.hash > b.hash) - (a.hash < b.hash);
}

/* Find the newest one and remove what an earlier life left half done. Without one everything is 0. */
int checkpoint_open(const struct checkpoint_options *options, struct checkpoint **checkpoint);
void checkpoint_close(struct checkpoint *checkpoint);
void checkpoint_info(const struct checkpoint *checkpoint, struct checkpoint_info *info);

/* Did some of its pages not read back? In place it cannot be mended, afresh it is. */
bool checkpoint_is_broken(const struct checkpoint *checkpoint);

/* Close the environment until it is used again. Nothing may be under way. */
void checkpoint_rest(struct checkpoint *checkpoint);

/* Make the name of the valid environment durable, if that is not sure yet, and remove those before it: before
 * anything is given up that they lack. Returns 0 or negative errno. */
int checkpoint_make_name_sure(struct checkpoint *checkpoint);

/* Twice the map. Nothing may be under way. */
int checkpoint_grow(struct checkpoint *checkpoint);

/* ---- Reading in order ---- */

int checkpoint_read_begin(struct checkpoint *checkpoint);
/* The next session. What is damaged is reported and left out. Returns 1 with `key` and `record` set (good
 * until the next call), 0 at the end, negative errno. Also pages that do not read back are passed over. */
int checkpoint_read_next(struct checkpoint *checkpoint, struct checkpoint_key *key,
                         struct bytes *record);
/* The same in two steps, for who does not need every record: the next key, and the record of that key;
 * false where it is damaged, which is reported. */
int checkpoint_read_key(struct checkpoint *checkpoint, struct checkpoint_key *key);
bool checkpoint_read_record(struct checkpoint *checkpoint, struct bytes *record);
void checkpoint_read_end(struct checkpoint *checkpoint);

/* ---- Reading one position, beside all else ---- */

/* Visit its sessions, as the last commit left them. What is damaged is left out. Any thread; one after the other.
 * Returns 0, what `visit` returned if that was not 0, -EBADMSG: its page does not read back, or another negative
 * errno. (checkpoint_fetch.c) */
int checkpoint_fetch(struct checkpoint *checkpoint, uint64_t position,
                     int (*visit)(void *context, struct bytes record), void *context);

/* Visit sessions in order of their keys from `from` on, of each some part of it: until about `bytes` of records were
 * visited. Of one that is damaged the record is empty. Sets `from` to the key to go on from. Returns 1: there is more;
 * 0: these were all; otherwise as checkpoint_fetch(), from the same thread or another one. (checkpoint_fetch.c) */
int checkpoint_scan(struct checkpoint *checkpoint, struct checkpoint_key *from, size_t bytes,
                    int (*visit)(void *context, struct checkpoint_key key, struct bytes record),
                    void *context);

/* ---- Changing in place ---- */

int checkpoint_change_begin(struct checkpoint *checkpoint);
/* The record of a key, or empty where there is none or it is damaged, which is reported. */
int checkpoint_change_get(struct checkpoint *checkpoint, struct checkpoint_key key,
                          struct bytes *record);
/* Store; or, with an empty record, remove. `old_bytes` is the size of the record there is. */
int checkpoint_change_put(struct checkpoint *checkpoint, struct checkpoint_key key,
                          struct bytes record, size_t old_bytes);
/* All of it becomes durable, with the LSN and the hlc. */
int checkpoint_change_commit(struct checkpoint *checkpoint, uint64_t lsn, uint64_t hlc);
void checkpoint_change_abort(struct checkpoint *checkpoint);

/* ---- Building afresh; reading the old one may go on meanwhile ---- */

/* `bytes` is about how large it will be. */
int checkpoint_build_begin(struct checkpoint *checkpoint, uint64_t lsn, uint64_t hlc,
                           uint64_t bytes);
/* In ascending order of keys. */
int checkpoint_build_put(struct checkpoint *checkpoint, struct checkpoint_key key,
                         struct bytes record);
/* It is durable, and takes the place of the old one, whose reading ends. */
int checkpoint_build_commit(struct checkpoint *checkpoint);
void checkpoint_build_abort(struct checkpoint *checkpoint);

#endif
