/* Reads the footer of an archive's object into its reader. */
#include <assert.h>
#include <errno.h>

#include "archive_format.h"
#include "archive_index.h"

/* ---- Room ---- */

/* Room for `count` items that the footer claims to have, of at least `least` bytes each. Returns 0; -EBADMSG: it is too
 * short for so many; -ENOMEM. */
static int make_room(struct memory *memory, const struct reader *from, uint64_t count, size_t least,
                     size_t item_bytes, void **items)
{
    if (from->bad || count > reader_left(from) / least) {
        return -EBADMSG;
    }
    *items = NULL;
    if (count > 0) {
        *items = memory->resize(memory, NULL, 0, (size_t)count * item_bytes);
    }
    return count > 0 && *items == NULL ? -ENOMEM : 0;
}

static void give_back(struct memory *memory, void *items, size_t bytes)
{
    if (items != NULL) {
        memory->resize(memory, items, bytes, 0);
    }
}

void archive_index_fini(struct archive_reader *reader)
{
    struct memory *memory = reader->memory;

    give_back(memory, reader->blocks, reader->block_count * sizeof *reader->blocks);
    give_back(memory, reader->slots, reader->slot_count * sizeof *reader->slots);
    give_back(memory, reader->shards, reader->shard_count * sizeof *reader->shards);
    reader->blocks = NULL;
    reader->slots = NULL;
    reader->shards = NULL;
    reader->block_count = reader->slot_count = reader->shard_count = 0;
    reader->spans.size = 0;
}

/* ---- Blocks ---- */

/* Returns whether the block is one; it begins where the one before ends. */
static bool read_block(struct reader *from, uint64_t offset, uint64_t last_slot,
                       struct archive_block *block)
{
    uint64_t size = read_varint(from), raw_size = read_varint(from);
    uint8_t codec = read_u8(from);
    uint32_t crc = read_u32(from);
    uint64_t first = read_varint(from), slots = read_varint(from), records = read_varint(from);

    if (from->bad || first >= SLOT_COUNT || slots >= SLOT_COUNT ||
        last_slot + first + slots >= SLOT_COUNT || codec > ARCHIVE_ZSTD || size == 0 ||
        size > UINT32_MAX || raw_size == 0 || records == 0 || records > raw_size) {
        return false;
    }
    if (raw_size > (records == 1 ? ARCHIVE_RECORD_BYTES_MAX : ARCHIVE_BLOCK_BYTES_MAX)) {
        return false;
    }
    *block = (struct archive_block){
        .offset = offset,
        .size = (uint32_t)size,
        .raw_size = (uint32_t)raw_size,
        .crc = crc,
        .records = (uint32_t)records,
        .first_slot = (uint16_t)(last_slot + first),
        .last_slot = (uint16_t)(last_slot + first + slots),
        .codec = codec,
    };
    return true;
}

static int read_blocks(struct archive_reader *reader, struct reader *from, uint64_t end)
{
    uint64_t count = read_varint(from), offset = ARCHIVE_HEADER_BYTES, records = 0;
    uint16_t last_slot = 0;
    void *room;

    if (count > end - offset) {
        return -EBADMSG; /* Each has a byte at least, and these are there. */
    }
    int rc = make_room(reader->memory, from, count, ARCHIVE_BLOCK_ITEM_BYTES,
                       sizeof *reader->blocks, &room);
    if (rc != 0) {
        return rc;
    }
    reader->blocks = room;
    reader->block_count = (uint32_t)count;
    for (uint32_t i = 0; i < reader->block_count; i++) {
        struct archive_block *block = &reader->blocks[i];
        if (!read_block(from, offset, last_slot, block)) {
            return -EBADMSG;
        }
        offset += block->size;
        last_slot = block->last_slot;
        records += block->records;
        reader->raw_bytes += block->raw_size;
    }
    return offset == end && records == reader->records ? 0 : -EBADMSG;
}

/* ---- Shards ---- */

static int read_shards(struct archive_reader *reader, struct reader *from)
{
    uint64_t count = read_varint(from);
    void *room;

    int rc = make_room(reader->memory, from, count, ARCHIVE_SHARD_ITEM_BYTES,
                       sizeof *reader->shards, &room);
    if (rc != 0) {
        return rc;
    }
    reader->shards = room;
    reader->shard_count = (uint32_t)count;
    for (uint32_t i = 0; i < reader->shard_count; i++) {
        struct archive_shard *shard = &reader->shards[i];
        uint64_t number = read_varint(from);
        *shard = (struct archive_shard){.shard = (uint32_t)number};
        shard->from = read_varint(from);
        shard->to = read_varint(from);
        if (from->bad || number >= ARCHIVE_SHARDS_MAX || shard->from > shard->to ||
            (i > 0 && shard->shard <= shard[-1].shard)) {
            return -EBADMSG;
        }
    }
    return 0;
}

/* ---- Slots ---- */

static int read_span(struct archive_reader *reader, struct reader *from,
                     const struct archive_span *before)
{
    uint64_t node = read_varint(from), start = read_varint(from);
    uint64_t least = read_varint(from), length = read_varint(from);
    struct archive_span span = {
        .actor = {.node = (uint32_t)node, .start = (uint32_t)start},
        .least_hlc = reader->least_hlc + least,
        .records = read_varint(from),
    };

    if (from->bad || node > UINT32_MAX || start > UINT32_MAX ||
        least > UINT64_MAX - reader->least_hlc || length > UINT64_MAX - span.least_hlc) {
        return -EBADMSG;
    }
    span.newest_hlc = span.least_hlc + length;
    if (span.newest_hlc > reader->newest_hlc ||
        (before != NULL && actor_compare(span.actor, before->actor) <= 0)) {
        return -EBADMSG;
    }
    return buffer_append(&reader->spans, bytes_of(&span, sizeof span));
}

static struct archive_span *spans_of(const struct archive_reader *reader)
{
    return (struct archive_span *)(void *)reader->spans.data;
}

static uint32_t span_count(const struct archive_reader *reader)
{
    return (uint32_t)(reader->spans.size / sizeof(struct archive_span));
}

/* Adds its records to `records`. Its spans are found once all are there, for they move until then. */
static int read_slot(struct archive_reader *reader, struct reader *from, struct archive_slot *slot,
                     uint64_t *records)
{
    uint64_t count = read_varint(from);

    if (from->bad || count > reader_left(from) / ARCHIVE_SPAN_ITEM_BYTES) {
        return -EBADMSG;
    }
    slot->span_count = (uint32_t)count;
    for (uint32_t i = 0; i < slot->span_count; i++) {
        const struct archive_span *before =
            i > 0 ? &spans_of(reader)[span_count(reader) - 1] : NULL;
        int rc = read_span(reader, from, before);
        if (rc != 0) {
            return rc;
        }
        *records += spans_of(reader)[span_count(reader) - 1].records;
        if (*records > reader->records) {
            return -EBADMSG;
        }
    }
    slot->seen = read_string(from);
    return from->bad || (count == 0 && slot->seen.size == 0) ? -EBADMSG : 0;
}

static void find_spans(struct archive_reader *reader)
{
    const struct archive_span *at = spans_of(reader);

    for (uint32_t i = 0; i < reader->slot_count; i++) {
        reader->slots[i].spans = reader->slots[i].span_count > 0 ? at : NULL;
        at = at == NULL ? at : at + reader->slots[i].span_count;
    }
}

static int read_slots(struct archive_reader *reader, struct reader *from)
{
    uint64_t count = read_varint(from), next = 0, records = 0;
    void *room;

    int rc = count > SLOT_COUNT ? -EBADMSG
                                : make_room(reader->memory, from, count, ARCHIVE_SLOT_ITEM_BYTES,
                                            sizeof *reader->slots, &room);
    if (rc != 0) {
        return rc;
    }
    reader->slots = room;
    reader->slot_count = (uint32_t)count;
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        struct archive_slot *slot = &reader->slots[i];
        uint64_t skipped = read_varint(from);
        if (skipped >= SLOT_COUNT || next + skipped >= SLOT_COUNT) {
            return -EBADMSG;
        }
        *slot = (struct archive_slot){.slot = (uint16_t)(next + skipped)};
        next = slot->slot + UINT64_C(1);
        rc = read_slot(reader, from, slot, &records);
        if (rc != 0) {
            return rc;
        }
    }
    find_spans(reader);
    return records == reader->records ? 0 : -EBADMSG;
}

/* ---- All of it ---- */

int archive_index_read(struct archive_reader *reader, uint64_t footer_offset)
{
    struct reader from = reader_of(buffer_bytes(&reader->footer));
    bool done = reader->header.name.kind == ARCHIVE_DONE;

    reader->raw_bytes = 0;
    reader->records = read_varint(&from);
    reader->least_hlc = read_u64(&from);
    reader->newest_hlc = read_u64(&from);
    uint64_t parts = read_varint(&from);
    reader->parts = (uint32_t)parts;
    int rc = from.bad || reader->least_hlc > reader->newest_hlc || parts > ARCHIVE_PARTS_MAX ||
                     (done ? reader->records != 0 : parts != 0)
                 ? -EBADMSG
                 : read_blocks(reader, &from, footer_offset);
    if (rc == 0) {
        rc = read_shards(reader, &from);
    }
    if (rc == 0) {
        rc = read_slots(reader, &from);
    }
    return rc == 0 && !reader_done(&from) ? -EBADMSG : rc;
}
