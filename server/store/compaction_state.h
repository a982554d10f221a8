/* The inside of a compaction, for compaction.c (a run), compaction_segments.c (the log it reads),
 * compaction_merge.c (one order of many indexes) and compaction_key.c (what becomes of one key). */
#ifndef COMPACTION_STATE_H
#define COMPACTION_STATE_H

#include "compaction.h"
#include "segment_index.h"

struct compaction_segment {
    struct segment_file file;
    int fd;
    uint8_t *area; /* As much of it as there is, mapped by compaction_fetch(). */
    size_t area_bytes;
    /* Its index: in whole where there was no file to read, else a window of the file. */
    struct segment_index index;
    bool streamed;
    uint64_t entry_count, next; /* Of the file, and the first that is not in the window yet. */
    size_t at;                  /* The present one, in `index`; its count at the end. */
};

/* One record of the log about the present key. */
struct compaction_entry {
    uint32_t segment; /* Number in `sealed`. */
    uint32_t place, size_kind;
};

/* What the checkpoint has of a key: empty, or a record; `unread`: ask checkpoint_read_record(). */
struct compaction_old {
    struct bytes record;
    bool unread;
};

/* Whether to give up. */
bool compaction_breathe(struct compaction *compaction);

/* ---- The segments ---- */

/* Choose the segments of this run and make their indexes ready; sets to_lsn, hlc, record_count and
 * log_bytes. Returns 0 (perhaps with none) or negative errno; compaction_segments_fini() either way. */
int compaction_segments_init(struct compaction *compaction);
void compaction_segments_fini(struct compaction *compaction);

/* Read a segment and map it. Returns 0, -ECANCELED, or negative errno. */
int compaction_fetch(struct compaction *compaction, struct compaction_segment *segment);

/* Turn to the first entry of the index that the checkpoint does not cover yet, and to the next one; `at` is
 * index.count at the end. Return 0 or negative errno. */
int compaction_first(struct compaction *compaction, struct compaction_segment *segment);
int compaction_next(struct compaction *compaction, struct compaction_segment *segment);

/* The whole index in memory. */
int compaction_whole_index(struct compaction *compaction, struct compaction_segment *segment);

/* Check a record of a segment that was fetched; the body is good until compaction_segments_fini(). Returns 0;
 * -EBADMSG: it is damaged, which was reported. */
int compaction_read(struct compaction *compaction, const struct compaction_entry *entry,
                    struct log_record *record);

static inline uint64_t compaction_lsn(const struct compaction_segment *segment, uint32_t place)
{
    return segment->file.lsn + ((uint64_t)place * LOG_RECORD_ALIGN - LOG_HEADER_BYTES);
}

/* ---- In order of key ---- */

/* Begin with the first key of all. Returns 0 or negative errno. */
int compaction_merge_begin(struct compaction *compaction);
void compaction_merge_end(struct compaction *compaction);
/* The next key, its entries in `group`. Returns 1, 0 at the end, negative errno. */
int compaction_merge_next(struct compaction *compaction, struct checkpoint_key *key);

static inline int compaction_group_add(struct compaction *compaction, uint32_t segment,
                                       const struct segment_entry *entry)
{
    const struct compaction_entry added = {segment, entry->place, entry->size_kind};

    return buffer_append(&compaction->group, bytes_of(&added, sizeof added));
}

/* ---- One key ---- */

/* What the checkpoint shall have of the key whose entries are in `group`; good until the next call and as
 * long as `old`. Returns 0 or negative errno. */
int compaction_apply(struct compaction *compaction, struct checkpoint_key key,
                     const struct compaction_old *old, struct bytes *record);

#endif
