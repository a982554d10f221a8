/* What a directory has of segments, and what of it belongs to none. */
#include "segment_state.h"

#include <errno.h>
#include <string.h>

#include "log_reader.h"

/* What the file itself says: its epoch, and the LSN at which it begins. */
static int examine(struct segments *segments, struct log_reader *reader, const char *name,
                   struct segment_file *file)
{
    char path[PATH_BYTES_MAX];
    struct log_segment_header header;

    int rc = path_join(path, segments->options.directory, name);
    if (rc == 0) {
        rc = log_reader_open(reader, path, file->epoch);
    }
    if (rc != 0) {
        return rc;
    }
    file->size = reader->size;
    rc = log_reader_header(reader, &header);
    if (rc == -EBADMSG || rc == -ENODATA) {
        const struct store_report report = {
            .event = STORE_LOG_DAMAGED,
            .shard = segments->options.shard,
            .file = name,
            .size = reader->size < LOG_HEADER_BYTES ? reader->size : LOG_HEADER_BYTES,
            .text = "the header; its name tells as much",
        };
        segments->options.reporter->report(segments->options.reporter, &report);
    } else if (rc != 0) {
        return rc;
    } else if (header.epoch.number != file->epoch.number) {
        /* A crash between the new header of a recycled file and its new name. */
        if (header.epoch.number >= segments->next_number) {
            segments->next_number = header.epoch.number + 1;
        }
        return 0;
    }
    rc = log_reader_locate(reader);
    file->lsn = rc == 0 ? reader->lsn : LOG_LSN_UNKNOWN;
    return rc == -ENODATA ? 0 : rc;
}

struct scan {
    struct segments *segments;
    struct log_reader reader;
    char failed[SEGMENT_NAME_BYTES];
};

static int scan_name(void *context, const char *name)
{
    struct scan *scan = context;
    struct segments *segments = scan->segments;
    struct segment_file found = {
        .state = SEGMENT_FREE, .inherited = true, .lsn = LOG_LSN_UNKNOWN, .fd = -1};
    uint32_t id = 0;

    if (segment_name_parse(name, &found.epoch) != 0) {
        return 0;
    }
    if (found.epoch.number >= segments->next_number) {
        segments->next_number = found.epoch.number + 1;
    }
    int rc = examine(segments, &scan->reader, name, &found);
    if (rc == 0) {
        rc = segments_place(segments, &id);
    }
    if (rc == 0) {
        found.id = id;
        segments->table[id] = found;
    } else {
        segment_name(scan->failed, found.epoch);
    }
    return rc;
}

/* An index whose segment is gone, or lives another life. */
static int remove_orphan(void *context, const char *name)
{
    struct segments *segments = context;
    char path[PATH_BYTES_MAX], segment[SEGMENT_NAME_BYTES];
    struct log_epoch epoch;
    size_t size = strlen(name);

    if (size < 4 || size >= sizeof segment || strcmp(name + size - 4, ".idx") != 0) {
        return 0;
    }
    memcpy(segment, name, size + 1);
    memcpy(segment + size - 4, ".seg", 4);
    if (segment_name_parse(segment, &epoch) != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < segments->table_size; i++) {
        const struct segment_file *file = &segments->table[i];
        if (file->state != SEGMENT_NONE && file->epoch.number == epoch.number &&
            file->epoch.salt == epoch.salt) {
            return 0;
        }
    }
    int rc = path_join(path, segments->options.directory, name);
    if (rc == 0) {
        (void)segments->options.files->remove(segments->options.files, path);
    }
    return rc;
}

int segments_scan(struct segments *segments, char failed[SEGMENT_NAME_BYTES])
{
    struct scan scan = {.segments = segments};
    char path[PATH_BYTES_MAX];

    log_reader_init(&scan.reader, segments->options.files, segments->options.memory);
    int rc = files_list(segments->options.directory, scan_name, &scan);
    log_reader_fini(&scan.reader);
    memcpy(failed, scan.failed, sizeof scan.failed);
    if (rc == 0) {
        rc = files_list(segments->options.directory, remove_orphan, segments);
    }
    if (rc == 0) {
        rc = path_join(path, segments->options.directory, SEGMENT_TEMPORARY_NAME);
    }
    if (rc != 0) {
        return rc;
    }
    rc = segments->options.files->remove(segments->options.files, path);
    return rc == -ENOENT ? 0 : rc;
}
