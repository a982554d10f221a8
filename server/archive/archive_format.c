#include "archive_format.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "log_format.h"
#include "session.h"

enum { HEADER_SUMMED_BYTES = 124, TRAILER_SUMMED_BYTES = 152, KEY_ID_OFFSET = 80 };

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'A', 'R', 'C'};
static const uint8_t end_magic[4] = {'B', 'A', 'R', 'C'};

static_assert(HEADER_SUMMED_BYTES + 4 == ARCHIVE_HEADER_BYTES, "a header ends with its checksum");
static_assert(TRAILER_SUMMED_BYTES + 8 == ARCHIVE_TRAILER_BYTES,
              "a trailer ends with its checksum");
static_assert(CLUSTER_ID_BYTES == 16 && ARCHIVE_KEY_ID_BYTES_MAX == 32, "places in the header");

void archive_header_put(uint8_t to[ARCHIVE_HEADER_BYTES], const struct archive_header *header)
{
    const struct archive_name *name = &header->name;

    memset(to, 0, ARCHIVE_HEADER_BYTES);
    memcpy(to, magic, sizeof magic);
    store_u32(to + 8, ARCHIVE_VERSION);
    to[12] = (uint8_t)name->kind;
    to[13] = archive_is_sealed(header);
    memcpy(to + 16, name->cluster, CLUSTER_ID_BYTES);
    store_u32(to + 32, name->actor.node);
    store_u32(to + 36, name->actor.start);
    store_u64(to + 40, name->sequence);
    store_u32(to + 48, name->part);
    store_u64(to + 56, header->made_ms);
    if (archive_is_sealed(header)) {
        memcpy(to + 64, header->salt, ARCHIVE_SALT_BYTES);
        memcpy(to + KEY_ID_OFFSET, header->key_id, strlen(header->key_id));
        memcpy(to + 112, header->key_check, ARCHIVE_KEY_CHECK_BYTES);
    }
    store_u32(to + HEADER_SUMMED_BYTES, crc32c(0, bytes_of(to, HEADER_SUMMED_BYTES)));
}

int archive_header_parse(const uint8_t from[ARCHIVE_HEADER_BYTES], struct archive_header *header)
{
    uint8_t again[ARCHIVE_HEADER_BYTES];
    struct archive_header found = {
        .name = {.kind = (enum archive_kind)from[12],
                 .actor = {.node = load_u32(from + 32), .start = load_u32(from + 36)},
                 .sequence = load_u64(from + 40),
                 .part = load_u32(from + 48)},
        .made_ms = load_u64(from + 56),
    };

    if (memcmp(from, magic, sizeof magic) != 0 ||
        load_u32(from + HEADER_SUMMED_BYTES) != crc32c(0, bytes_of(from, HEADER_SUMMED_BYTES))) {
        return -EBADMSG;
    }
    if (load_u32(from + 8) != ARCHIVE_VERSION) {
        return -EPROTONOSUPPORT;
    }
    memcpy(found.name.cluster, from + 16, CLUSTER_ID_BYTES);
    memcpy(found.salt, from + 64, ARCHIVE_SALT_BYTES);
    memcpy(found.key_id, from + KEY_ID_OFFSET, ARCHIVE_KEY_ID_BYTES_MAX);
    memcpy(found.key_check, from + 112, ARCHIVE_KEY_CHECK_BYTES);
    /* One header, one encoding: what is 0 is 0, and there is a key just where there is a cipher. */
    archive_header_put(again, &found);
    if (memcmp(again, from, ARCHIVE_HEADER_BYTES) != 0 || found.name.actor.node == 0 ||
        found.name.actor.start == 0 || found.name.kind < ARCHIVE_LOG ||
        found.name.kind > ARCHIVE_DONE || found.name.part >= ARCHIVE_PARTS_MAX ||
        (found.name.part != 0 && found.name.kind != ARCHIVE_PART)) {
        return -EBADMSG;
    }
    *header = found;
    return 0;
}

void archive_trailer_put(uint8_t to[ARCHIVE_TRAILER_BYTES], const struct archive_trailer *trailer)
{
    const struct archive_block *footer = &trailer->footer;

    memset(to, 0, ARCHIVE_TRAILER_BYTES);
    archive_header_put(to, &trailer->header);
    store_u64(to + 128, footer->offset);
    store_u32(to + 136, footer->size);
    store_u32(to + 140, footer->raw_size);
    store_u32(to + 144, footer->crc);
    to[148] = footer->codec;
    store_u32(to + TRAILER_SUMMED_BYTES, crc32c(0, bytes_of(to, TRAILER_SUMMED_BYTES)));
    memcpy(to + TRAILER_SUMMED_BYTES + 4, end_magic, sizeof end_magic);
}

int archive_trailer_parse(const uint8_t from[ARCHIVE_TRAILER_BYTES],
                          struct archive_trailer *trailer)
{
    struct archive_trailer found = {
        .footer = {.offset = load_u64(from + 128),
                   .size = load_u32(from + 136),
                   .raw_size = load_u32(from + 140),
                   .crc = load_u32(from + 144),
                   .codec = from[148]},
    };

    if (memcmp(from + TRAILER_SUMMED_BYTES + 4, end_magic, sizeof end_magic) != 0 ||
        load_u32(from + TRAILER_SUMMED_BYTES) != crc32c(0, bytes_of(from, TRAILER_SUMMED_BYTES))) {
        return -EBADMSG;
    }
    int rc = archive_header_parse(from, &found.header);
    if (rc != 0) {
        return rc;
    }
    if (found.footer.raw_size == 0 || found.footer.raw_size > ARCHIVE_FOOTER_BYTES_MAX ||
        found.footer.codec > ARCHIVE_ZSTD || from[149] != 0 || from[150] != 0 || from[151] != 0) {
        return -EBADMSG;
    }
    *trailer = found;
    return 0;
}

/* ---- Slots of records ---- */

static bool is_session(uint8_t kind)
{
    return kind == LOG_FULL || kind == LOG_DELTA || kind == LOG_BURY;
}

static int session_slot(struct bytes body, uint16_t *slot)
{
    struct bytes key = session_key(body);

    if (key.size == 0) {
        return -EBADMSG;
    }
    *slot = slot_of_key(key);
    return 0;
}

static int batch_slot(struct bytes body, uint16_t *slot)
{
    struct reader reader = reader_of(body);
    struct log_batch_item item;
    uint16_t found = 0, other = 0;
    bool any = false;
    int rc;

    while ((rc = log_batch_next(&reader, &item)) == 1) {
        if (!is_session(item.kind)) {
            return -EINVAL;
        }
        rc = session_slot(item.body, &other);
        if (rc != 0) {
            return rc;
        }
        if (any && other != found) {
            return -EXDEV;
        }
        found = other;
        any = true;
    }
    if (rc == 0 && any) {
        *slot = found;
        return 0;
    }
    return -EBADMSG;
}

int archive_record_slot(uint8_t kind, struct bytes body, uint16_t *slot)
{
    if (kind == LOG_BATCH) {
        return batch_slot(body, slot);
    }
    return is_session(kind) ? session_slot(body, slot) : -EINVAL;
}
