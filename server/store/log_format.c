#include "log_format.h"

#include <assert.h>
#include <errno.h>

#include "crc32c.h"

enum { HEADER_SUMMED_BYTES = 32, BATCH_ITEM_HEADER_BYTES = 9 };

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'L', 'O', 'G'};

static bool kind_known(uint32_t kind)
{
    return kind >= LOG_FULL && kind <= LOG_DROP;
}

static bool all_zero(struct bytes from)
{
    for (size_t i = 0; i < from.size; i++) {
        if (from.data[i] != 0) {
            return false;
        }
    }
    return true;
}

void log_segment_header_put(uint8_t *to, const struct log_segment_header *header)
{
    assert(header->epoch.number != 0);
    memset(to, 0, LOG_HEADER_BYTES);
    memcpy(to, magic, sizeof magic);
    store_u32(to + 8, LOG_FORMAT_VERSION);
    store_u32(to + 12, header->shard);
    store_u32(to + 16, header->actor.node);
    store_u32(to + 20, header->actor.start);
    store_u32(to + 24, header->epoch.number);
    store_u32(to + 28, header->epoch.salt);
    store_u32(to + 32, crc32c(0, bytes_of(to, HEADER_SUMMED_BYTES)));
}

int log_segment_header_parse(struct bytes from, struct log_segment_header *header)
{
    if (from.size < LOG_HEADER_BYTES) {
        return -EBADMSG;
    }
    if (all_zero(bytes_of(from.data, LOG_HEADER_BYTES))) {
        return -ENODATA;
    }
    if (memcmp(from.data, magic, sizeof magic) != 0 ||
        load_u32(from.data + 32) != crc32c(0, bytes_of(from.data, HEADER_SUMMED_BYTES))) {
        return -EBADMSG;
    }
    if (load_u32(from.data + 8) != LOG_FORMAT_VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (load_u32(from.data + 24) == 0) {
        return -EBADMSG;
    }
    *header = (struct log_segment_header){
        .shard = load_u32(from.data + 12),
        .actor = {.node = load_u32(from.data + 16), .start = load_u32(from.data + 20)},
        .epoch = {.number = load_u32(from.data + 24), .salt = load_u32(from.data + 28)},
    };
    return 0;
}

void log_record_put(uint8_t *to, struct log_epoch epoch, uint32_t kind, uint64_t position,
                    const struct bytes parts[], uint32_t part_count)
{
    uint64_t body_size = 0;
    uint8_t *at = to + LOG_RECORD_HEADER_BYTES;

    assert(kind_known(kind) && epoch.number != 0);
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(at, parts[i].data, parts[i].size);
        }
        at += parts[i].size;
        body_size += parts[i].size;
    }
    assert(body_size <= UINT32_MAX);
    uint64_t size = log_record_size(body_size);
    memset(at, 0, (size_t)(to + size - at));
    store_u32(to + 4, (uint32_t)body_size);
    store_u32(to + 8, epoch.number);
    store_u32(to + 12, kind);
    store_u64(to + 16, position);
    store_u32(to, crc32c(epoch.salt, bytes_of(to + 4, (size_t)size - 4)));
}

void log_mark_put(uint8_t *to, struct log_epoch epoch, uint64_t lsn)
{
    log_record_put(to, epoch, LOG_MARK, lsn, NULL, 0);
}

uint64_t log_record_claim(struct bytes from, struct log_epoch epoch)
{
    if (from.size < LOG_RECORD_HEADER_BYTES || load_u32(from.data + 8) != epoch.number ||
        !kind_known(load_u32(from.data + 12))) {
        return 0;
    }
    return log_record_size(load_u32(from.data + 4));
}

int64_t log_record_parse(struct bytes from, struct log_epoch epoch, struct log_record *record)
{
    if (from.size == 0) {
        return 0;
    }
    uint64_t size = log_record_claim(from, epoch);
    if (size == 0) {
        size_t header = from.size < LOG_RECORD_HEADER_BYTES ? from.size : LOG_RECORD_HEADER_BYTES;
        return all_zero(bytes_of(from.data, header)) ? 0 : -EBADMSG;
    }
    if (size > from.size ||
        load_u32(from.data) != crc32c(epoch.salt, bytes_of(from.data + 4, (size_t)size - 4))) {
        return -EBADMSG;
    }
    *record = (struct log_record){
        .kind = load_u32(from.data + 12),
        .position = load_u64(from.data + 16),
        .body = bytes_of(from.data + LOG_RECORD_HEADER_BYTES, load_u32(from.data + 4)),
    };
    return (int64_t)size;
}

size_t log_batch_item_size(const struct log_batch_item *item)
{
    return BATCH_ITEM_HEADER_BYTES + varint_size(item->body.size) + item->body.size;
}

uint8_t *log_batch_item_put(uint8_t *to, const struct log_batch_item *item)
{
    to[0] = item->kind;
    store_u64(to + 1, item->position);
    to = varint_put(to + BATCH_ITEM_HEADER_BYTES, item->body.size);
    if (item->body.size > 0) {
        memcpy(to, item->body.data, item->body.size);
    }
    return to + item->body.size;
}

int log_batch_next(struct reader *batch, struct log_batch_item *item)
{
    if (reader_left(batch) == 0) {
        return batch->bad ? -EBADMSG : 0;
    }
    struct log_batch_item found = {.kind = read_u8(batch), .position = read_u64(batch)};
    found.body = read_string(batch);
    if (batch->bad || !kind_known(found.kind) || found.kind == LOG_MARK ||
        found.kind == LOG_BATCH) {
        batch->bad = true;
        return -EBADMSG;
    }
    *item = found;
    return 1;
}
