/* Reads an archive's object: its end, its blocks, their records. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "archive_cipher.h"
#include "archive_format.h"
#include "archive_index.h"
#include "log_format.h"

void archive_reader_init(struct archive_reader *reader, struct memory *memory,
                         const struct archive_keys *keys)
{
    *reader = (struct archive_reader){
        .memory = memory,
        .keys = keys,
        .footer = {.memory = memory},
        .spans = {.memory = memory},
    };
}

void archive_reader_fini(struct archive_reader *reader)
{
    archive_index_fini(reader);
    buffer_fini(&reader->footer);
    buffer_fini(&reader->spans);
    archive_bytes_wipe(reader->object_key, sizeof reader->object_key);
}

/* ---- Opening ---- */

static int damaged(struct archive_reader *reader, const char *what, uint64_t offset)
{
    reader->damaged = what;
    reader->damaged_offset = offset;
    return -EBADMSG;
}

static struct archive_packing packing_of(const struct archive_reader *reader, uint32_t number)
{
    return (struct archive_packing){
        .header = bytes_of(reader->header_bytes, ARCHIVE_HEADER_BYTES),
        .object_key = archive_is_sealed(&reader->header) ? reader->object_key : NULL,
        .number = number,
    };
}

/* The key of the object, where it is enciphered. */
static int find_key(struct archive_reader *reader)
{
    const struct archive_header *header = &reader->header;

    if (!archive_is_sealed(header)) {
        return 0;
    }
    const struct archive_key *key = archive_keys_find(reader->keys, header->key_id);
    if (key == NULL) {
        return -ENOKEY;
    }
    if (memcmp(key->check, header->key_check, ARCHIVE_KEY_CHECK_BYTES) != 0) {
        return -EKEYREJECTED;
    }
    return archive_object_key(key->bytes, bytes_of(reader->header_bytes, ARCHIVE_HEADER_BYTES),
                              reader->object_key);
}

static int open_trailer(struct archive_reader *reader, struct bytes tail,
                        struct archive_trailer *trailer)
{
    const uint8_t *at = tail.data + tail.size - ARCHIVE_TRAILER_BYTES;
    uint64_t offset = reader->object_bytes - ARCHIVE_TRAILER_BYTES;

    int rc = archive_trailer_parse(at, trailer);
    if (rc != 0) {
        return rc == -EBADMSG ? damaged(reader, "trailer", offset) : rc;
    }
    const struct archive_block *footer = &trailer->footer;
    if (footer->offset < ARCHIVE_HEADER_BYTES || footer->offset > offset ||
        offset - footer->offset != footer->size) {
        return damaged(reader, "trailer", offset);
    }
    reader->header = trailer->header;
    memcpy(reader->header_bytes, at, ARCHIVE_HEADER_BYTES);
    return find_key(reader);
}

static int open_footer(struct archive_reader *reader, struct bytes tail,
                       const struct archive_block *footer)
{
    const uint8_t *at = tail.data + tail.size - ARCHIVE_TRAILER_BYTES - footer->size;
    const struct archive_packing packing = packing_of(reader, 0);

    int rc = archive_unpack(&packing, footer, bytes_of(at, footer->size), &reader->footer);
    if (rc == 0) {
        rc = archive_index_read(reader, footer->offset);
    }
    return rc == -EBADMSG ? damaged(reader, "footer", footer->offset) : rc;
}

int archive_reader_open(struct archive_reader *reader, struct bytes tail, uint64_t object_bytes,
                        uint64_t *tail_bytes)
{
    struct archive_trailer trailer;

    archive_index_fini(reader);
    reader->damaged = NULL;
    reader->object_bytes = object_bytes;
    if (object_bytes < ARCHIVE_HEADER_BYTES + ARCHIVE_TRAILER_BYTES || tail.size > object_bytes) {
        return damaged(reader, "trailer", 0);
    }
    if (tail.size < ARCHIVE_TRAILER_BYTES) {
        *tail_bytes = object_bytes < ARCHIVE_TAIL_BYTES ? object_bytes : ARCHIVE_TAIL_BYTES;
        return -EAGAIN;
    }
    int rc = open_trailer(reader, tail, &trailer);
    if (rc != 0) {
        return rc;
    }
    uint64_t needed = object_bytes - trailer.footer.offset;
    if (tail.size < needed) {
        *tail_bytes = needed;
        return -EAGAIN;
    }
    rc = open_footer(reader, tail, &trailer.footer);
    if (rc != 0) {
        archive_index_fini(reader);
    }
    return rc;
}

int archive_reader_keep_blocks(const struct archive_reader *reader, struct archive_reader *blocks)
{
    struct memory *memory = reader->memory;
    const size_t bytes = reader->block_count * sizeof *reader->blocks;
    struct archive_block *copy = bytes == 0 ? NULL : memory->resize(memory, NULL, 0, bytes);

    if (bytes > 0 && copy == NULL) {
        return -ENOMEM;
    }
    if (bytes > 0) {
        memcpy(copy, reader->blocks, bytes);
    }
    *blocks = *reader;
    blocks->keys = NULL;
    blocks->blocks = copy;
    blocks->slots = NULL;
    blocks->shards = NULL;
    blocks->slot_count = blocks->shard_count = 0;
    blocks->footer = blocks->spans = (struct buffer){.memory = memory};
    return 0;
}

int archive_reader_check_header(const struct archive_reader *reader, struct bytes first)
{
    return bytes_equal(first, bytes_of(reader->header_bytes, ARCHIVE_HEADER_BYTES)) ? 0 : -EBADMSG;
}

/* ---- What is where ---- */

const struct archive_slot *archive_reader_slot(const struct archive_reader *reader, uint16_t slot)
{
    uint32_t begin = 0, end = reader->slot_count;

    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        if (reader->slots[middle].slot < slot) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin < reader->slot_count && reader->slots[begin].slot == slot ? &reader->slots[begin]
                                                                           : NULL;
}

/* Number of blocks that end before `slot` (`begin` false: that begin at or before it). */
static uint32_t blocks_before(const struct archive_reader *reader, uint16_t slot, bool ends)
{
    uint32_t begin = 0, end = reader->block_count;

    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        const struct archive_block *block = &reader->blocks[middle];
        if (ends ? block->last_slot < slot : block->first_slot <= slot) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

uint32_t archive_reader_blocks(const struct archive_reader *reader, uint16_t first_slot,
                               uint16_t last_slot, uint32_t *first)
{
    uint32_t begin = blocks_before(reader, first_slot, true);
    uint32_t end = blocks_before(reader, last_slot, false);

    *first = begin;
    return end > begin ? end - begin : 0;
}

uint64_t archive_reader_bytes(const struct archive_reader *reader, uint32_t first, uint32_t count)
{
    if (count == 0) {
        return 0;
    }
    assert(first < reader->block_count && count <= reader->block_count - first);
    const struct archive_block *last = &reader->blocks[first + count - 1];
    return last->offset + last->size - reader->blocks[first].offset;
}

/* ---- Blocks and records ---- */

int archive_reader_block(const struct archive_reader *reader, uint32_t block, struct bytes stored,
                         struct buffer *raw)
{
    assert(block < reader->block_count);
    const struct archive_packing packing = packing_of(reader, block + 1);

    return archive_unpack(&packing, &reader->blocks[block], stored, raw);
}

void archive_walk_init(struct archive_walk *walk, const struct archive_block *block,
                       struct bytes raw)
{
    *walk = (struct archive_walk){
        .block = block,
        .from = reader_of(raw),
        .raw = raw,
        .slot = block->first_slot,
    };
}

int archive_walk_next(struct archive_walk *walk, struct archive_record *record)
{
    const struct archive_block *block = walk->block;
    struct archive_record found;

    walk->offset = walk->raw.size - reader_left(&walk->from);
    if (reader_left(&walk->from) == 0) {
        return !walk->from.bad && walk->records == block->records ? 0 : -EBADMSG;
    }
    found.kind = read_u8(&walk->from);
    found.position = read_u64(&walk->from);
    found.body = read_string(&walk->from);
    if (walk->from.bad || walk->records == block->records ||
        archive_record_slot(found.kind, found.body, &found.slot) != 0 || found.slot < walk->slot ||
        found.slot > block->last_slot) {
        walk->from.bad = true;
        walk->from.at = walk->from.end;
        return -EBADMSG;
    }
    walk->records++;
    walk->slot = found.slot;
    *record = found;
    return 1;
}
