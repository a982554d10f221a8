/* Giving what there is: all of it in order, or one position. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "checkpoint.h"
#include "load.h"
#include "restore_state.h"
#include "session.h"
#include "store_state.h"

struct giving {
    struct log_visitor visitor;
    struct restore *restore;
    struct store_sink *sink;
    char name[SEGMENT_NAME_BYTES]; /* Of the present file. */
    bool quiet;
};

/* What the sink says of one thing given: damage is told, and the rest goes on. */
static int judge(const struct giving *giving, int rc, struct store_report report)
{
    if (rc != -ESTALE && rc != -EBADMSG) {
        return rc;
    }
    if (!giving->quiet) {
        report.error = rc;
        restore_tell(giving->restore, report);
    }
    return 0;
}

static int give(struct giving *giving, uint64_t lsn, uint32_t kind, struct bytes body)
{
    int rc = kind == LOG_MARK ? 0 : giving->sink->give(giving->sink, kind, body);

    if (rc == -ESTALE && kind == LOG_TOUCH) {
        return 0; /* Of a session that is gone: nothing is lost with it. */
    }
    return judge(giving, rc,
                 (struct store_report){
                     .event = rc == -ESTALE ? STORE_LOG_BASELESS : STORE_LOG_DAMAGED,
                     .file = giving->name,
                     .lsn = lsn,
                     .size = body.size,
                     .key = log_record_key(kind, body),
                 });
}

static int give_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct giving *giving = (struct giving *)(void *)visitor;
    struct reader reader = reader_of(record->body);
    struct log_batch_item item;
    int rc = 0;

    giving->restore->lsn = lsn;
    if (record->kind != LOG_BATCH) {
        return give(giving, lsn, record->kind, record->body);
    }
    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        rc = give(giving, lsn, item.kind, item.body);
    }
    return rc;
}

static void give_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    const struct giving *giving = (const struct giving *)(void *)visitor;

    restore_tell(giving->restore, (struct store_report){
                                      .event = STORE_LOG_DAMAGED,
                                      .file = giving->name,
                                      .offset = damage->offset,
                                      .size = damage->size,
                                      .key = log_record_key(damage->kind, damage->body),
                                  });
}

static int give_stored(const struct giving *giving, struct bytes record)
{
    return judge(giving, giving->sink->give(giving->sink, LOAD_STORED, record),
                 (struct store_report){.event = STORE_CHECKPOINT_DAMAGED,
                                       .size = record.size,
                                       .key = session_key(record)});
}

static int give_checkpoint(struct giving *giving)
{
    struct checkpoint *checkpoint = giving->restore->store->checkpoint;
    struct checkpoint_key key;
    struct bytes record;

    int rc = checkpoint_read_begin(checkpoint);
    if (rc != 0) {
        return rc;
    }
    while ((rc = checkpoint_read_next(checkpoint, &key, &record)) == 1) {
        giving->restore->position = key.position;
        rc = give_stored(giving, record);
        if (rc != 0) {
            break;
        }
    }
    checkpoint_read_end(checkpoint);
    checkpoint_rest(checkpoint);
    return rc;
}

static int give_left(struct giving *giving, const struct restore_run *run)
{
    struct restore *restore = giving->restore;
    struct log_record record;
    int rc = 0;

    memcpy(giving->name, STAGING_NAME, sizeof STAGING_NAME);
    for (size_t at = 0; rc == 0 && at < restore->left.size;) {
        uint64_t lsn = run->file.lsn + (restore_left_offset(at) - LOG_HEADER_BYTES);
        int64_t size = log_record_parse(bytes_of(restore->left.data + at, restore->left.size - at),
                                        restore_left_epoch, &record);
        assert(size > 0);
        rc = lsn < restore->lsn ? 0 : give_record(&giving->visitor, lsn, &record);
        at += (size_t)size;
    }
    return rc;
}

static int give_run(struct giving *giving, struct log_reader *reader, const struct restore_run *run)
{
    struct restore *restore = giving->restore;
    uint64_t lsn = restore->lsn > run->file.lsn ? restore->lsn : run->file.lsn;
    char path[PATH_BYTES_MAX];

    if (lsn >= run->index.end_lsn) {
        return 0;
    }
    if (run->left) {
        return give_left(giving, run);
    }
    segment_name(giving->name, run->file.epoch);
    int rc = path_join(path, restore->store->directory, giving->name);
    if (rc == 0) {
        rc = log_reader_open(reader, path, run->file.epoch);
    }
    if (rc != 0) {
        return rc;
    }
    reader->lsn = run->file.lsn;
    rc = log_reader_walk(reader, &lsn, run->index.end_lsn, &giving->visitor);
    restore->lsn = lsn;
    return rc;
}

static int give_all(struct giving *giving)
{
    struct restore *restore = giving->restore;
    const struct store *store = restore->store;
    struct log_reader reader;

    if (!restore->checkpoint_given) {
        int rc = give_checkpoint(giving);
        if (rc != 0) {
            return rc;
        }
        restore->checkpoint_given = true;
    }
    log_reader_init(&reader, store->options.files, store->options.memory);
    int rc = 0;
    for (uint32_t i = 0; i < restore->run_count && rc == 0; i++) {
        rc = give_run(giving, &reader, &restore->runs[i]);
    }
    log_reader_fini(&reader);
    if (rc == 0) {
        restore->lsn = restore->end_lsn;
    }
    return rc;
}

int restore_give(struct restore *restore, struct store_sink *sink)
{
    struct giving giving = {
        .visitor = {.record = give_record, .damage = give_damage},
        .restore = restore,
        .sink = sink,
    };

    int rc = give_all(&giving);
    if (rc != 0) {
        memcpy(restore->failed, giving.name, sizeof restore->failed);
    }
    return rc;
}

/* ---- One position ---- */

static int give_stored_at(void *context, struct bytes record)
{
    return give_stored(context, record);
}

/* Returns 1 with `record` set, in `buffer`; 0: its checksum is wrong; negative errno. */
static int read_entry(const struct restore *restore, const struct restore_run *run, int fd,
                      const struct segment_entry *entry, struct buffer *buffer,
                      struct log_record *record)
{
    struct files *files = restore->store->options.files;
    uint64_t offset = segment_entry_offset(entry);
    size_t size = (size_t)log_record_size(segment_entry_size(entry));

    if (run->left) {
        struct bytes from = bytes_of(restore->left.data + (offset - restore_left_offset(0)), size);
        return log_record_parse(from, restore_left_epoch, record) > 0;
    }
    buffer->size = 0;
    int rc = buffer_reserve(buffer, size);
    if (rc != 0) {
        return rc;
    }
    int64_t got = files->read(files, fd, buffer->data, size, offset);
    if (got < 0) {
        return (int)got;
    }
    return log_record_parse(bytes_of(buffer->data, (size_t)got), run->file.epoch, record) > 0;
}

/* A record whose checksum is wrong is passed over, as if it were not there. */
static int give_entry(struct giving *giving, const struct restore_run *run, int fd,
                      const struct segment_entry *entry, struct buffer *buffer)
{
    uint64_t lsn = run->file.lsn + (segment_entry_offset(entry) - LOG_HEADER_BYTES);
    struct log_record record;

    int rc = read_entry(giving->restore, run, fd, entry, buffer, &record);
    if (rc <= 0) {
        return rc;
    }
    rc = 0;
    if (record.kind != LOG_BATCH) {
        return give(giving, lsn, record.kind, record.body);
    }
    struct reader reader = reader_of(record.body);
    struct log_batch_item item;
    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        rc = item.position == entry->position ? give(giving, lsn, item.kind, item.body) : 0;
    }
    return rc;
}

static int give_run_position(struct giving *giving, const struct restore_run *run,
                             uint64_t position, struct buffer *buffer)
{
    const struct restore *restore = giving->restore;
    struct files *files = restore->store->options.files;
    const struct segment_index *index = &run->index;
    char path[PATH_BYTES_MAX];
    int fd = -1, rc = 0;

    for (size_t i = segment_index_find(index, position);
         rc == 0 && i < index->count && index->entries[i].position == position; i++) {
        uint64_t offset = segment_entry_offset(&index->entries[i]);
        if (run->file.lsn + (offset - LOG_HEADER_BYTES) < restore->from_lsn) {
            continue;
        }
        if (fd < 0 && !run->left) {
            rc = segments_path(restore->store->segments, run->file.epoch, path);
            fd = rc == 0 ? files->open(files, path, O_RDONLY) : rc;
            rc = fd < 0 ? fd : 0;
        }
        if (rc == 0) {
            rc = give_entry(giving, run, fd, &index->entries[i], buffer);
        }
    }
    if (fd >= 0) {
        files->close(files, fd);
    }
    return rc;
}

int restore_give_position(struct restore *restore, uint64_t position, struct store_sink *sink)
{
    struct giving giving = {.restore = restore, .sink = sink, .quiet = true};
    struct buffer buffer = {.memory = restore->store->options.memory};

    restore->failed[0] = '\0';
    int rc = checkpoint_fetch(restore->store->checkpoint, position, give_stored_at, &giving);
    rc =
        rc == -EBADMSG ? 0 : rc; /* It is told by who reads all of it, or who misses the session. */
    for (uint32_t i = 0; i < restore->run_count && rc == 0; i++) {
        rc = give_run_position(&giving, &restore->runs[i], position, &buffer);
        if (rc != 0 && !restore->runs[i].left) {
            segment_name(restore->failed, restore->runs[i].file.epoch);
        }
    }
    buffer_fini(&buffer);
    return rc;
}

int store_restore(struct store *store, struct store_sink *sink, uint64_t *lsn)
{
    struct restore restore;

    int rc = restore_prepare(&restore, store);
    if (rc != 0) {
        return rc;
    }
    if (sink != NULL) {
        rc = restore_give(&restore, sink);
    }
    if (rc == 0) {
        *lsn = restore.end_lsn;
    }
    restore_fini(&restore);
    return rc;
}
