#include "archive_check.h"

#include <errno.h>

enum { LAST_SLOT = SLOT_COUNT - 1 };

void archive_check_init(struct archive_check *check, struct archive_access *access,
                        void (*damaged)(void *context, const char *name, const char *why,
                                        uint16_t first_slot, uint16_t last_slot),
                        void *context)
{
    check->access = access;
    check->damaged = damaged;
    check->read = NULL;
    check->context = context;
    check->records = check->told = 0;
    check->stored = check->raw = (struct buffer){.memory = access->memory};
    archive_state_init(&check->state, access->memory, UINT64_MAX, NULL, NULL);
}

void archive_check_fini(struct archive_check *check)
{
    archive_state_fini(&check->state);
    buffer_fini(&check->stored);
    buffer_fini(&check->raw);
}

/* Does this error say that what was read is damaged? */
static bool is_damage(int rc)
{
    return rc == -EBADMSG || rc == -EPROTONOSUPPORT;
}

static void tell(struct archive_check *check, const struct archive_name *name, int rc,
                 uint16_t first, uint16_t last)
{
    char text[ARCHIVE_NAME_BYTES];

    archive_name_put(text, name);
    check->told++;
    check->damaged(check->context, text, access_error(rc), first, last);
}

static void tell_read(const struct archive_check *check, uint64_t bytes)
{
    if (check->read != NULL) {
        check->read(check->context, bytes);
    }
}

static int open_object(struct archive_check *check, const struct archive_name *name, uint64_t size,
                       struct archive_reader **reader)
{
    struct archive_access *access = check->access;
    char text[ARCHIVE_NAME_BYTES];

    int rc = access->port.open(&access->port, name, size, reader);
    tell_read(check, access->bytes.size);
    if (rc == 0) {
        archive_name_put(text, name);
        rc = access_get(access, text, 0, ARCHIVE_HEADER_BYTES, &check->stored);
        rc = rc != 0 ? rc : archive_reader_check_header(*reader, buffer_bytes(&check->stored));
    }
    return rc;
}

/* All blocks but those which the opening read. Returns 0 or -ENOMEM. */
static int expect_blocks(const struct archive_check *check, const struct archive_reader *reader)
{
    char text[ARCHIVE_NAME_BYTES];
    int rc = 0;

    archive_name_put(text, &reader->header.name);
    for (uint32_t i = 0; i < reader->block_count && rc == 0; i++) {
        const struct archive_block *block = &reader->blocks[i];
        if (block->offset < check->access->bytes_at) {
            rc = access_expect(check->access, text, block->offset, block->size);
        }
    }
    return rc;
}

static int check_block(struct archive_check *check, const struct archive_reader *reader,
                       uint32_t block)
{
    struct archive_record record;
    struct archive_walk walk;
    struct bytes stored;

    int rc = access_blocks(check->access, block, 1, &check->stored, &stored);
    tell_read(check, reader->blocks[block].size);
    rc = rc != 0 ? rc : archive_reader_block(reader, block, stored, &check->raw);
    if (rc != 0) {
        return rc;
    }
    archive_state_clear(&check->state);
    archive_walk_init(&walk, &reader->blocks[block], buffer_bytes(&check->raw));
    while ((rc = archive_walk_next(&walk, &record)) == 1) {
        rc = archive_state_add(&check->state, &record, STATE_LOG);
        if (rc != 0) {
            return rc;
        }
        check->records++;
    }
    return rc;
}

int archive_check_object(struct archive_check *check, const struct archive_name *name,
                         uint64_t size)
{
    struct archive_reader *reader = NULL;

    int rc = open_object(check, name, size, &reader);
    if (is_damage(rc)) {
        tell(check, name, rc, 0, LAST_SLOT);
        return 0;
    }
    rc = rc != 0 ? rc : expect_blocks(check, reader);
    for (uint32_t i = 0; rc == 0 && i < reader->block_count; i++) {
        rc = check_block(check, reader, i);
        if (is_damage(rc)) {
            tell(check, name, rc, reader->blocks[i].first_slot, reader->blocks[i].last_slot);
            rc = 0;
        }
    }
    access_expect_nothing(check->access);
    return rc;
}
