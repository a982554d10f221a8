#include "archive_dump.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dump.h"

struct dump {
    struct archive_reader reader;
    struct bytes object;
    struct buffer raw;
    FILE *out;
    uint64_t records;
    bool damaged;
};

static const char *kind_of(enum archive_kind kind)
{
    return kind == ARCHIVE_LOG ? "log" : kind == ARCHIVE_PART ? "checkpoint" : "done";
}

static void dump_object(const struct dump *dump)
{
    const struct archive_reader *reader = &dump->reader;
    const struct archive_name *name = &reader->header.name;

    fprintf(dump->out, "object kind=%s cluster=", kind_of(name->kind));
    for (size_t i = 0; i < CLUSTER_ID_BYTES; i++) {
        fprintf(dump->out, "%02x", name->cluster[i]);
    }
    fprintf(dump->out,
            " node=%" PRIu32 " start=%" PRIu32 " sequence=%" PRIu64 " part=%" PRIu32
            " parts=%" PRIu32 " made-ms=%" PRIu64 " key-id=%s bytes=%" PRIu64 " raw-bytes=%" PRIu64
            " records=%" PRIu64 " least-hlc=%" PRIu64 " newest-hlc=%" PRIu64 "\n",
            name->actor.node, name->actor.start, name->sequence, name->part, reader->parts,
            reader->header.made_ms,
            reader->header.key_id[0] == '\0' ? "none" : reader->header.key_id, reader->object_bytes,
            reader->raw_bytes, reader->records, reader->least_hlc, reader->newest_hlc);
}

static void dump_index(const struct dump *dump)
{
    const struct archive_reader *reader = &dump->reader;

    for (uint32_t i = 0; i < reader->shard_count; i++) {
        const struct archive_shard *shard = &reader->shards[i];
        fprintf(dump->out, "range shard=%" PRIu32 " from=%" PRIu64 " to=%" PRIu64 "\n",
                shard->shard, shard->from, shard->to);
    }
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        if (slot->seen.size > 0) {
            fprintf(dump->out, "seen slot=%" PRIu16 " bytes=%zu\n", slot->slot, slot->seen.size);
        }
        for (uint32_t j = 0; j < slot->span_count; j++) {
            const struct archive_span *span = &slot->spans[j];
            fprintf(dump->out,
                    "span slot=%" PRIu16 " node=%" PRIu32 " start=%" PRIu32 " least-hlc=%" PRIu64
                    " newest-hlc=%" PRIu64 " records=%" PRIu64 "\n",
                    slot->slot, span->actor.node, span->actor.start, span->least_hlc,
                    span->newest_hlc, span->records);
        }
    }
}

static void tell_damage(struct dump *dump, const char *part, uint64_t offset)
{
    fprintf(dump->out, "damaged part=%s offset=%" PRIu64 "\n", part, offset);
    dump->damaged = true;
}

static void dump_records(struct dump *dump, const struct archive_block *block)
{
    struct archive_walk walk;
    struct archive_record record;
    int rc;

    archive_walk_init(&walk, block, buffer_bytes(&dump->raw));
    while ((rc = archive_walk_next(&walk, &record)) == 1) {
        fprintf(dump->out, "record slot=%" PRIu16, record.slot);
        dump_item(dump->out, record.kind, record.position, record.body);
        dump->records++;
    }
    if (rc != 0) {
        tell_damage(dump, "record", walk.offset);
    }
}

static int dump_block(struct dump *dump, uint32_t index)
{
    const struct archive_block *block = &dump->reader.blocks[index];

    fprintf(dump->out,
            "block index=%" PRIu32 " offset=%" PRIu64 " bytes=%" PRIu32 " raw-bytes=%" PRIu32
            " first-slot=%" PRIu16 " last-slot=%" PRIu16 " records=%" PRIu32 "\n",
            index, block->offset, block->size, block->raw_size, block->first_slot, block->last_slot,
            block->records);
    int rc = archive_reader_block(
        &dump->reader, index, bytes_of(dump->object.data + block->offset, block->size), &dump->raw);
    if (rc == 0) {
        dump_records(dump, block);
    } else if (rc == -EBADMSG) {
        tell_damage(dump, "block", block->offset);
        rc = 0;
    }
    return rc == 0 && ferror(dump->out) != 0 ? -EIO : rc;
}

static int dump_all(struct dump *dump)
{
    int rc = 0;

    dump_object(dump);
    dump_index(dump);
    if (archive_reader_check_header(&dump->reader,
                                    bytes_of(dump->object.data, ARCHIVE_HEADER_BYTES)) != 0) {
        tell_damage(dump, "header", 0);
    }
    for (uint32_t i = 0; i < dump->reader.block_count && rc == 0; i++) {
        rc = dump_block(dump, i);
    }
    if (rc == 0) {
        fprintf(dump->out, "end records=%" PRIu64 "\n", dump->records);
    }
    return rc == 0 && dump->damaged ? -EBADMSG : rc;
}

static void tell(const struct dump *dump, int rc, char *message, size_t size)
{
    const struct archive_reader *reader = &dump->reader;

    if (rc == -EBADMSG && reader->damaged != NULL) {
        snprintf(message, size, "no object of Belay's archive, or damaged: its %s at byte %" PRIu64,
                 reader->damaged, reader->damaged_offset);
    } else if (rc == -ENOKEY) {
        snprintf(message, size, "is enciphered with the key \"%s\", which is not given",
                 reader->header.key_id);
    } else if (rc == -EKEYREJECTED) {
        snprintf(message, size,
                 "is enciphered with another key of the id \"%s\" than the given one",
                 reader->header.key_id);
    } else {
        snprintf(message, size, "%s",
                 rc == -EBADMSG           ? "is damaged"
                 : rc == -EPROTONOSUPPORT ? "was written by another version"
                                          : strerror(-rc));
    }
}

int archive_dump(struct memory *memory, struct bytes object, const struct archive_keys *keys,
                 FILE *out, char *message, size_t message_size)
{
    struct dump dump = {.object = object, .raw = {.memory = memory}, .out = out};
    uint64_t tail_bytes;

    archive_reader_init(&dump.reader, memory, keys);
    int rc = archive_reader_open(&dump.reader, object, object.size, &tail_bytes);
    if (rc == 0) {
        rc = dump_all(&dump);
    }
    if (rc != 0) {
        tell(&dump, rc, message, message_size);
    }
    archive_reader_fini(&dump.reader);
    buffer_fini(&dump.raw);
    return rc;
}
