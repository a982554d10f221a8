#include <errno.h>

#include "archive_reading.h"
#include "log_format.h"
#include "session.h"
#include "slot.h"

static bool is_of(const struct archive_record *record, struct bytes key)
{
    struct reader items = reader_of(record->body);
    struct log_batch_item item;
    bool found = false;

    if (record->kind != LOG_BATCH) {
        return bytes_equal(session_key(record->body), key);
    }
    while (!found && log_batch_next(&items, &item) == 1) {
        found = bytes_equal(session_key(item.body), key);
    }
    return found;
}

/* Returns 1: the block has something of it; 0; as the port; -EBADMSG; -ENOMEM. */
static int look_into(struct archive_reading *reading, const struct reading_object *object,
                     const char *name, uint32_t index, struct bytes key)
{
    const struct archive_block *block = &object->blocks.blocks[index];
    struct archive_record record;
    struct archive_walk walk;

    int rc = access_get(reading->access, name, block->offset, block->size, &reading->stored);
    rc = rc != 0 ? rc
                 : archive_reader_block(&object->blocks, index, buffer_bytes(&reading->stored),
                                        &reading->raw);
    if (rc != 0) {
        return rc;
    }
    archive_walk_init(&walk, block, buffer_bytes(&reading->raw));
    while ((rc = archive_walk_next(&walk, &record)) == 1) {
        if (is_of(&record, key)) {
            return 1;
        }
    }
    return rc;
}

int reading_find(struct archive_reading *reading, struct bytes key,
                 void (*found)(void *context, const char *name), void *context)
{
    const uint16_t slot = slot_of_key(key);

    for (size_t i = 0; i < reading->object_count; i++) {
        const struct reading_object *object = &reading->objects[i];
        char name[ARCHIVE_NAME_BYTES];
        uint32_t from = 0;
        const uint32_t count = archive_reader_blocks(&object->blocks, slot, slot, &from);
        int rc = 0;
        archive_name_put(name, &object->name);
        for (uint32_t block = from; block < from + count && rc == 0; block++) {
            rc = look_into(reading, object, name, block, key);
        }
        if (rc == 1) {
            found(context, name);
        } else if (rc != 0 && rc != -EBADMSG && rc != -EPROTONOSUPPORT && rc != -ENOENT) {
            return rc;
        }
    }
    return 0;
}
