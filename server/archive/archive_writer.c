/* Makes an archive's object: records are kept as they come, then put in the order of slots, cut into blocks and
 * packed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "archive_cipher.h"
#include "archive_writer_state.h"
#include "log_format.h"

void archive_writer_init(struct archive_writer *writer, struct memory *memory)
{
    *writer = (struct archive_writer){
        .memory = memory,
        .raw = {.memory = memory},
        .entries = {.memory = memory},
        .vectors = {.memory = memory},
        .vector_bytes = {.memory = memory},
        .shards = {.memory = memory},
        .block = {.memory = memory},
        .index = {.memory = memory},
        .spans = {.memory = memory},
        .object = {.memory = memory},
    };
}

void archive_writer_fini(struct archive_writer *writer)
{
    buffer_fini(&writer->raw);
    buffer_fini(&writer->entries);
    buffer_fini(&writer->vectors);
    buffer_fini(&writer->vector_bytes);
    buffer_fini(&writer->shards);
    buffer_fini(&writer->block);
    buffer_fini(&writer->index);
    buffer_fini(&writer->spans);
    buffer_fini(&writer->object);
    archive_bytes_wipe(&writer->key, sizeof writer->key);
}

void archive_writer_begin(struct archive_writer *writer,
                          const struct archive_writer_options *options)
{
    writer->options = *options;
    if (options->key != NULL) {
        writer->key = *options->key;
        writer->options.key = &writer->key;
    }
    writer->raw.size = writer->entries.size = 0;
    writer->vectors.size = writer->vector_bytes.size = 0;
    writer->shards.size = writer->object.size = 0;
    writer->least_hlc = writer->newest_hlc = 0;
    writer->records = 0;
    writer->record_bytes = 0;
}

/* ---- Gathering ---- */

int archive_writer_add(struct archive_writer *writer, const struct archive_record *record,
                       struct stamp newest)
{
    const struct log_batch_item item = {record->kind, record->position, record->body};
    struct entry entry = {.newest = newest};

    if (newest.hlc == 0 || writer->options.name.kind == ARCHIVE_DONE) {
        return -EINVAL;
    }
    int rc = archive_record_slot(record->kind, record->body, &entry.slot);
    if (rc != 0) {
        return rc;
    }
    size_t size = log_batch_item_size(&item);
    if (size > ARCHIVE_RECORD_BYTES_MAX) {
        return -EMSGSIZE;
    }
    if (size > ARCHIVE_OBJECT_BYTES_MAX - writer->raw.size) {
        return -EFBIG;
    }
    rc = buffer_reserve(&writer->raw, size);
    if (rc != 0) {
        return rc;
    }
    entry.offset = (uint32_t)writer->raw.size;
    entry.size = (uint32_t)size;
    rc = buffer_append(&writer->entries, bytes_of(&entry, sizeof entry));
    if (rc != 0) {
        return rc;
    }
    log_batch_item_put(writer->raw.data + writer->raw.size, &item);
    writer->raw.size += size;
    writer->records++;
    writer->record_bytes += size;
    archive_writer_reach(writer, newest.hlc, newest.hlc);
    return 0;
}

int archive_writer_note(struct archive_writer *writer, struct stamp stamp)
{
    struct entry entry = {.offset = (uint32_t)writer->raw.size, .newest = stamp};

    assert(writer->records > 0 && stamp.hlc != 0);
    entry.slot = entries_of(writer)[entry_count(writer) - 1].slot;
    int rc = buffer_append(&writer->entries, bytes_of(&entry, sizeof entry));
    if (rc == 0) {
        archive_writer_reach(writer, stamp.hlc, stamp.hlc);
    }
    return rc;
}

int archive_writer_seen(struct archive_writer *writer, uint16_t slot, struct bytes vector)
{
    struct vector item = {
        .offset = (uint32_t)writer->vector_bytes.size,
        .size = (uint32_t)vector.size,
        .slot = slot,
    };

    assert(slot < SLOT_COUNT && vector.size > 0);
    if (vector.size > ARCHIVE_FOOTER_BYTES_MAX - writer->vector_bytes.size) {
        return -EFBIG;
    }
    int rc = buffer_append(&writer->vectors, bytes_of(&item, sizeof item));
    if (rc != 0) {
        return rc;
    }
    rc = buffer_append(&writer->vector_bytes, vector);
    if (rc != 0) {
        writer->vectors.size -= sizeof item;
    }
    return rc;
}

int archive_writer_shard(struct archive_writer *writer, uint32_t shard, uint64_t from, uint64_t to)
{
    const struct archive_shard item = {.shard = shard, .from = from, .to = to};

    assert(shard < ARCHIVE_SHARDS_MAX && from <= to);
    return buffer_append(&writer->shards, bytes_of(&item, sizeof item));
}

void archive_writer_reach(struct archive_writer *writer, uint64_t least_hlc, uint64_t newest_hlc)
{
    if (least_hlc != 0 && (writer->least_hlc == 0 || least_hlc < writer->least_hlc)) {
        writer->least_hlc = least_hlc;
    }
    if (newest_hlc > writer->newest_hlc) {
        writer->newest_hlc = newest_hlc;
    }
}

/* ---- Blocks ---- */

struct making {
    struct archive_writer *writer;
    struct archive_header header;
    uint8_t header_bytes[ARCHIVE_HEADER_BYTES];
    uint8_t object_key[ARCHIVE_KEY_BYTES];
    struct archive_packing packing;
    ZSTD_CCtx *zstd;
    uint32_t blocks;
    uint16_t last_slot;         /* Of the block before. */
    struct archive_block block; /* That is being filled. */
};

static int pack(struct making *making, uint32_t number, struct archive_block *block)
{
    struct archive_writer *writer = making->writer;

    making->packing.number = number;
    return archive_pack(&making->packing, making->zstd, writer->options.level,
                        buffer_bytes(&writer->block), &writer->object, block);
}

static int note_block(struct buffer *index, const struct archive_block *block, uint16_t last_slot)
{
    const uint64_t sizes[] = {block->size, block->raw_size};
    const uint64_t rest[] = {(uint64_t)block->first_slot - last_slot,
                             (uint64_t)block->last_slot - block->first_slot, block->records};
    uint8_t fixed[5] = {block->codec};

    store_u32(fixed + 1, block->crc);
    int rc = archive_put_varints(index, sizes, 2);
    if (rc == 0) {
        rc = buffer_append(index, bytes_of(fixed, sizeof fixed));
    }
    return rc != 0 ? rc : archive_put_varints(index, rest, 3);
}

/* The block that was being filled is full, or the last one. */
static int end_block(struct making *making)
{
    struct archive_writer *writer = making->writer;

    if (making->block.records == 0) {
        return 0;
    }
    int rc = pack(making, making->blocks + 1, &making->block);
    if (rc == 0) {
        rc = note_block(&writer->index, &making->block, making->last_slot);
    }
    making->blocks++;
    making->last_slot = making->block.last_slot;
    making->block.records = 0;
    writer->block.size = 0;
    return rc;
}

static int make_blocks(struct making *making)
{
    struct archive_writer *writer = making->writer;
    const struct entry *entries = entries_of(writer);
    struct archive_block *block = &making->block;
    int rc = 0;

    writer->index.size = writer->block.size = 0;
    for (size_t i = 0; i < entry_count(writer) && rc == 0; i++) {
        const struct entry *entry = &entries[i];
        if (entry->size == 0) {
            continue; /* A note. */
        }
        if (writer->block.size + entry->size > ARCHIVE_BLOCK_BYTES_MAX) {
            rc = end_block(making);
        }
        if (rc == 0) {
            rc = buffer_append(&writer->block,
                               bytes_of(writer->raw.data + entry->offset, entry->size));
        }
        block->first_slot = block->records == 0 ? entry->slot : block->first_slot;
        block->last_slot = entry->slot;
        block->records++;
    }
    return rc != 0 ? rc : end_block(making);
}

/* ---- The object ---- */

static int begin(struct making *making)
{
    struct archive_writer *writer = making->writer;
    const struct archive_writer_options *options = &writer->options;
    struct archive_header *header = &making->header;

    header->name = options->name;
    header->made_ms = options->made_ms;
    if (options->key != NULL) {
        memcpy(header->key_id, options->key->id, sizeof header->key_id);
        memcpy(header->key_check, options->key->check, sizeof header->key_check);
        memcpy(header->salt, options->salt, sizeof header->salt);
    }
    archive_header_put(making->header_bytes, header);
    making->packing.header = bytes_of(making->header_bytes, ARCHIVE_HEADER_BYTES);
    if (options->key != NULL) {
        int rc =
            archive_object_key(options->key->bytes, making->packing.header, making->object_key);
        if (rc != 0) {
            return rc;
        }
        making->packing.object_key = making->object_key;
    }
    writer->object.size = 0;
    return buffer_append(&writer->object, making->packing.header);
}

static int end(struct making *making)
{
    struct archive_writer *writer = making->writer;
    struct archive_trailer trailer = {.header = making->header};
    uint8_t bytes[ARCHIVE_TRAILER_BYTES];

    int rc = archive_footer_put(writer, making->blocks);
    if (rc == 0) {
        rc = pack(making, 0, &trailer.footer);
    }
    if (rc != 0) {
        return rc;
    }
    archive_trailer_put(bytes, &trailer);
    return buffer_append(&writer->object, bytes_of(bytes, sizeof bytes));
}

int archive_writer_make(struct archive_writer *writer, struct bytes *object)
{
    struct making making = {.writer = writer, .zstd = ZSTD_createCCtx()};

    if (making.zstd == NULL) {
        return -ENOMEM;
    }
    archive_writer_sort(writer);
    int rc = begin(&making);
    if (rc == 0) {
        rc = make_blocks(&making);
    }
    if (rc == 0) {
        rc = end(&making);
    }
    ZSTD_freeCCtx(making.zstd);
    archive_bytes_wipe(making.object_key, sizeof making.object_key);
    if (rc == 0) {
        *object = buffer_bytes(&writer->object);
    }
    return rc;
}
