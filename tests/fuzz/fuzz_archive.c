/* Objects of the archive, of a version with and without a cipher; their names; files of keys. Any bytes as they come,
 * for an object, a name, a file; and again as the footer and the blocks of an object whose sizes and checksums are in
 * order, so that what lies behind them is reached. What is accepted must make sense, and names come back from it.
 * Records are written again, and are the same.
 *
 * Input of the second kind: 1 byte kind, 2 bytes the footer's size, little-endian; the footer; the blocks.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive_craft.h"
#include "archive_object.h"
#include "fuzz.h"
#include "heap.h"

static struct memory memory = {.resize = heap_resize};

static const struct archive_keys *keys_of_corpus(void)
{
    static const char lines[] =
        "k1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    static struct archive_keys keys;
    char message[200];

    if (keys.count == 0) {
        assert(archive_keys_parse(&keys, bytes_of_string(lines), message, sizeof message) == 0);
    }
    return &keys;
}

static void check_index(const struct archive_reader *reader)
{
    uint64_t end = ARCHIVE_HEADER_BYTES, records = 0;

    for (uint32_t i = 0; i < reader->block_count; i++) {
        const struct archive_block *block = &reader->blocks[i];
        assert(block->offset == end && block->first_slot <= block->last_slot);
        assert(i == 0 || block[-1].last_slot <= block->first_slot);
        assert(block->raw_size <= ARCHIVE_BLOCK_BYTES_MAX || block->records == 1);
        end += block->size;
        records += block->records;
    }
    assert(end + ARCHIVE_TRAILER_BYTES < reader->object_bytes && records == reader->records);
    records = 0;
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        assert(archive_reader_slot(reader, slot->slot) == slot);
        for (uint32_t span = 0; span < slot->span_count; span++) {
            assert(slot->spans[span].least_hlc <= slot->spans[span].newest_hlc);
            assert(slot->spans[span].newest_hlc <= reader->newest_hlc);
            records += slot->spans[span].records;
        }
    }
    assert(records == reader->records);
}

/* Walk a block; what comes is added to the writer. Returns whether all of it came. */
static bool walk_block(const struct archive_reader *reader, uint32_t block, struct bytes raw,
                       struct archive_writer *writer)
{
    struct archive_record record;
    struct archive_walk walk;
    uint32_t first;
    int rc;

    archive_walk_init(&walk, &reader->blocks[block], raw);
    while ((rc = archive_walk_next(&walk, &record)) == 1) {
        const struct stamp stamp = {1, {1, 1}};
        uint32_t count = archive_reader_blocks(reader, record.slot, record.slot, &first);
        assert(first <= block && block < first + count);
        assert(archive_writer_add(writer, &record, stamp) == 0);
    }
    assert(rc == 0 || rc == -EBADMSG);
    return rc == 0;
}

/* What the writer has is read again. */
static void check_again(struct archive_writer *writer)
{
    struct archive_reader reader;
    struct buffer raw = {.memory = &memory};
    struct bytes object;
    uint64_t tail_bytes;

    archive_reader_init(&reader, &memory, NULL);
    assert(archive_writer_make(writer, &object) == 0);
    assert(archive_reader_open(&reader, object, object.size, &tail_bytes) == 0);
    assert(reader.records == writer->records && reader.raw_bytes == writer->record_bytes);
    for (uint32_t i = 0; i < reader.block_count; i++) {
        struct bytes stored =
            bytes_of(object.data + reader.blocks[i].offset, reader.blocks[i].size);
        assert(archive_reader_block(&reader, i, stored, &raw) == 0);
    }
    archive_reader_fini(&reader);
    buffer_fini(&raw);
}

/* With `sums` the checksums of the blocks are taken as they are. */
static void check_object(struct bytes object, bool sums)
{
    struct archive_writer_options options = {.name = {.kind = ARCHIVE_LOG, .actor = {1, 1}}};
    struct archive_reader reader;
    struct archive_writer writer;
    struct buffer raw = {.memory = &memory};
    uint64_t tail_bytes = 0;

    archive_reader_init(&reader, &memory, keys_of_corpus());
    archive_writer_init(&writer, &memory);
    archive_writer_begin(&writer, &options);
    int rc = archive_reader_open(&reader, object, object.size, &tail_bytes);
    assert(rc != -EAGAIN && rc != -EIO);
    if (rc == 0) {
        char name[ARCHIVE_NAME_BYTES];
        struct archive_name again;
        check_index(&reader);
        archive_name_put(name, &reader.header.name);
        assert(archive_name_parse(name, &again) == 0);
        assert(archive_name_compare(&again, &reader.header.name) == 0);
    }
    bool whole = true;
    for (uint32_t i = 0; rc == 0 && i < reader.block_count; i++) {
        struct archive_block *block = &reader.blocks[i];
        struct bytes stored = bytes_of(object.data + block->offset, block->size);
        block->crc = sums ? crc32c(0, stored) : block->crc;
        rc = archive_reader_block(&reader, i, stored, &raw);
        assert(rc == 0 || rc == -EBADMSG);
        whole = rc == 0 && walk_block(&reader, i, buffer_bytes(&raw), &writer) && whole;
    }
    if (rc == 0) {
        check_again(&writer);
        assert(!whole || writer.records == reader.records);
    }
    archive_reader_fini(&reader);
    archive_writer_fini(&writer);
    buffer_fini(&raw);
}

static void check_crafted(struct bytes input)
{
    size_t size;

    if (input.size < 3) {
        return;
    }
    size_t footer = load_u16(input.data + 1);
    footer = footer < input.size - 3 ? footer : input.size - 3;
    struct archive_craft craft = {
        .kind = ARCHIVE_LOG + input.data[0] % 3,
        .footer = bytes_of(input.data + 3, footer),
        .blocks = bytes_of(input.data + 3 + footer, input.size - 3 - footer),
        .footer_raw_size = (uint32_t)footer,
    };
    uint8_t *object = archive_craft(&craft, &size);
    if (object != NULL) {
        check_object(bytes_of(object, size), true);
    }
    free(object);
}

static void check_texts(struct bytes input)
{
    struct archive_keys keys;
    struct archive_name name;
    char text[200], message[200];

    if (archive_keys_parse(&keys, input, message, sizeof message) == 0) {
        assert(keys.count > 0 && archive_keys_find(&keys, keys.keys[0].id) == &keys.keys[0]);
        archive_keys_wipe(&keys);
    }
    if (input.size > 0 && input.size < sizeof text) {
        memcpy(text, input.data, input.size);
        text[input.size] = '\0';
        if (archive_name_parse(text, &name) == 0) {
            char again[ARCHIVE_NAME_BYTES];
            archive_name_put(again, &name);
            assert(strcmp(again, text) == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_object(bytes_of(data, size), false);
    check_crafted(bytes_of(data, size));
    check_texts(bytes_of(data, size));
    return 0;
}
