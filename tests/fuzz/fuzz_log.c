/* Log records, segment headers and stagings: any bytes as they come, and again with the epoch and the
 * checksum put right, so that the parts behind them are reached. What was accepted is encoded again: same
 * bytes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "fuzz.h"
#include "log_format.h"
#include "staging.h"

static const struct log_epoch epoch = {.number = 7, .salt = 0x5a17};

static void check_batch(struct bytes body)
{
    struct reader reader = reader_of(body);
    struct log_batch_item item;

    while (log_batch_next(&reader, &item) == 1) {
        assert(item.body.size <= body.size);
        size_t size = log_batch_item_size(&item);
        uint8_t *again = malloc(size);
        if (again == NULL) {
            return;
        }
        assert(log_batch_item_put(again, &item) == again + size);
        assert(memcmp(again, reader.at - size, size) == 0);
        free(again);
    }
}

static void check_record(struct bytes input)
{
    struct log_record record;
    int64_t size = log_record_parse(input, epoch, &record);

    assert(size >= 0 || size == -EBADMSG);
    assert(size <= (int64_t)input.size);
    if (size <= 0) {
        return;
    }
    assert((uint64_t)size == log_record_claim(input, epoch));
    assert((uint64_t)size == log_record_size(record.body.size));
    if (record.kind == LOG_BATCH) {
        check_batch(record.body);
    }
    uint8_t *again = malloc((size_t)size);
    if (again == NULL) {
        return;
    }
    log_record_put(again, epoch, record.kind, record.position, &record.body, 1);
    struct log_record same;
    assert(log_record_parse(bytes_of(again, (size_t)size), epoch, &same) == size);
    assert(bytes_equal(same.body, record.body) && same.position == record.position);
    free(again);
}

static void check_header(struct bytes input)
{
    struct log_segment_header header;
    uint8_t again[LOG_HEADER_BYTES];

    if (log_segment_header_parse(input, &header) == 0) {
        log_segment_header_put(again, &header);
        assert(memcmp(again, input.data, 36) == 0);
    }
}

/* The input is the note of an area and its records. */
static void check_staging(struct bytes input)
{
    enum { NOTE_BYTES = 64 };
    static uint8_t header[STAGING_HEADER_BYTES];
    struct staging_note note;
    uint32_t shard = 0;

    if (input.size < NOTE_BYTES) {
        return;
    }
    staging_header_put(header, 7);
    assert(staging_header_parse(bytes_of(header, sizeof header), &shard) == 0 && shard == 7);
    memcpy(header + NOTE_BYTES, input.data, NOTE_BYTES);
    for (int i = 0; i < 2; i++) {
        if (staging_note_get(bytes_of(header, sizeof header), 0, &note)) {
            struct bytes records = bytes_of(input.data + NOTE_BYTES, input.size - NOTE_BYTES);
            assert(note.start + note.size <= STAGING_AREA_BYTES);
            assert(!staging_note_holds(&note, records) || records.size == note.size);
            note.size = (uint32_t)records.size;
            (void)staging_note_holds(&note, records);
        }
        store_u32(header + NOTE_BYTES + 20, crc32c(0, bytes_of(header + NOTE_BYTES, 20)));
    }
    memcpy(header, input.data, NOTE_BYTES);
    (void)staging_header_parse(bytes_of(header, sizeof header), &shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_record(bytes_of(data, size));
    check_header(bytes_of(data, size));
    check_staging(bytes_of(data, size));
    size_t whole = size - size % LOG_RECORD_ALIGN;
    if (whole < LOG_RECORD_HEADER_BYTES) {
        return 0;
    }
    uint8_t *copy = malloc(whole);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, whole);
    uint32_t body_size = (uint32_t)(whole - LOG_RECORD_HEADER_BYTES) - copy[4] % 8;
    if (body_size <= whole) {
        store_u32(copy + 4, body_size);
    }
    store_u32(copy + 8, epoch.number);
    store_u32(copy, crc32c(epoch.salt, bytes_of(copy + 4, whole - 4)));
    check_record(bytes_of(copy, whole));
    free(copy);
    return 0;
}
