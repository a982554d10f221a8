#include "log_follow.h"

#include <errno.h>

void log_follow_init(struct log_follow *follow, struct segments *segments, struct files *files,
                     struct memory *memory)
{
    follow->segments = segments;
    log_reader_init(&follow->reader, files, memory);
}

void log_follow_fini(struct log_follow *follow)
{
    log_reader_fini(&follow->reader);
}

/* Between the log writer's visitor and ours: what was damaged counts. */
struct following {
    struct log_visitor visitor;
    struct log_visitor *inner;
    uint64_t damaged_bytes;
};

static int on_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct following *following = (struct following *)(void *)visitor;

    return record->kind == LOG_MARK ? 0 : following->inner->record(following->inner, lsn, record);
}

static void on_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    struct following *following = (struct following *)(void *)visitor;

    following->damaged_bytes += damage->size;
    if (following->inner->damage != NULL) {
        following->inner->damage(following->inner, damage);
    }
}

static void on_torn(struct log_visitor *visitor, uint64_t offset)
{
    (void)visitor;
    (void)offset;
}

/* Walk through what one file has of it. Each time it is opened anew: of the end of one that is being written an older
 * window would show what was there before. Nothing of it stays in the system's cache, which has what lies behind the end as
 * well: the log's next writes go there. */
static int walk(struct log_follow *follow, const struct segment_file *file, uint64_t *lsn,
                uint64_t end_lsn, struct following *following)
{
    char path[PATH_BYTES_MAX];

    int rc = segments_path(follow->segments, file->epoch, path);
    if (rc == 0) {
        rc = log_reader_open(&follow->reader, path, file->epoch);
    }
    if (rc != 0) {
        return rc;
    }
    follow->reader.lsn = file->lsn;
    rc = log_reader_walk(&follow->reader, lsn, end_lsn, &following->visitor);
    follow->reader.files->uncache(follow->reader.files, follow->reader.fd);
    log_reader_close(&follow->reader);
    return rc;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int log_follow(struct log_follow *follow, uint64_t *lsn, uint64_t end_lsn,
               struct log_visitor *visitor, uint64_t *gap_bytes)
{
    struct following following = {.visitor = {on_record, on_damage, on_torn}, .inner = visitor};
    struct segment_file file;
    uint64_t next_lsn;
    int rc = 0;

    while (rc == 0 && *lsn < end_lsn && segments_find(follow->segments, *lsn, &file, &next_lsn)) {
        if (file.lsn > *lsn) { /* It was given up. */
            uint64_t to_lsn = least(file.lsn, end_lsn);
            *gap_bytes += to_lsn - *lsn;
            *lsn = to_lsn;
            continue;
        }
        uint64_t to_lsn = least(end_lsn, file.state == SEGMENT_TAKEN ? next_lsn : file.end_lsn);
        rc = walk(follow, &file, lsn, to_lsn, &following);
        if (rc == -ENOENT) {
            rc = 0; /* Given up just now: it is not found again. */
        }
    }
    *gap_bytes += following.damaged_bytes;
    return rc;
}
