/* Objects of the archive in tests: records made of keys, objects made of records, an object cut open. */
#ifndef ARCHIVE_KIT_H
#define ARCHIVE_KIT_H

#include <errno.h>
#include <stdio.h>

#include "archive_object.h"
#include "check.h"
#include "log_format.h"
#include "random.h"

enum { ARCHIVE_KIT_MS = 1700000000 };

/* What a record is, up to its key: a session of type blob that is the value to its end. */
static inline struct bytes archive_kit_body(struct buffer *to, const char *key, struct bytes value)
{
    static const uint8_t rest[] = {0, 0,    0x68, 0xe5, 0xcf, 0x8b, 0x01, 1,
                                   1, 0x13, 1,    0x80, 0xdd, 0xdb, 1,    0x26};
    uint8_t head[3] = {0x10, (uint8_t)strlen(key)};

    to->size = 0;
    assert_in_range(strlen(key), 1, 127);
    assert_int_equal(buffer_append(to, bytes_of(head, 2)), 0);
    assert_int_equal(buffer_append(to, text(key)), 0);
    assert_int_equal(buffer_append(to, bytes_of(rest, sizeof rest)), 0);
    assert_int_equal(buffer_append(to, value), 0);
    return buffer_bytes(to);
}

static inline struct stamp archive_kit_stamp(uint64_t hlc, uint32_t node, uint32_t start)
{
    return (struct stamp){hlc, {node, start}};
}

static inline struct archive_writer_options archive_kit_options(void)
{
    struct archive_writer_options options = {
        .name = {.kind = ARCHIVE_LOG, .actor = {3, 7}, .sequence = 0x1234},
        .made_ms = ARCHIVE_KIT_MS * UINT64_C(1000),
    };

    for (size_t i = 0; i < sizeof options.name.cluster; i++) {
        options.name.cluster[i] = (uint8_t)(0xa0 + i);
    }
    memset(options.salt, 0x5a, sizeof options.salt);
    return options;
}

static inline void archive_kit_keys(struct archive_keys *keys, const char *lines)
{
    char message[200] = "";

    assert_int_equal(archive_keys_parse(keys, text(lines), message, sizeof message), 0);
}

static inline int archive_kit_open(struct archive_reader *reader, struct bytes object)
{
    uint64_t tail_bytes;

    return archive_reader_open(reader, object, object.size, &tail_bytes);
}

static inline struct bytes archive_kit_stored(const struct archive_reader *reader,
                                              struct bytes object, uint32_t block)
{
    const struct archive_block *found = &reader->blocks[block];

    assert_true(found->offset + found->size <= object.size);
    return bytes_of(object.data + found->offset, found->size);
}

/* Read all of an object as somebody who verifies does. Returns 0, or what was wrong first. */
static inline int archive_kit_read(struct archive_reader *reader, struct bytes object,
                                   struct buffer *raw)
{
    struct archive_record record;
    struct archive_walk walk;

    int rc = archive_kit_open(reader, object);
    if (rc == 0) {
        rc = archive_reader_check_header(reader, bytes_of(object.data, ARCHIVE_HEADER_BYTES));
    }
    for (uint32_t i = 0; i < reader->block_count && rc == 0; i++) {
        rc = archive_reader_block(reader, i, archive_kit_stored(reader, object, i), raw);
        if (rc == 0) {
            archive_walk_init(&walk, &reader->blocks[i], buffer_bytes(raw));
            while ((rc = archive_walk_next(&walk, &record)) == 1) {
            }
        }
    }
    return rc;
}

#endif
