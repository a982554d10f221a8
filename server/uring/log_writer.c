#include "log_writer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bounds.h"
#include "container.h"
#include "shard.h"

enum { TAKE_AGAIN_US = 10 * 1000, MARK_BYTES = LOG_RECORD_HEADER_BYTES };

static uint64_t file_offset(const struct log_writer *writer)
{
    return LOG_HEADER_BYTES + (writer->lsn - writer->segment.lsn);
}

static size_t round_to_block(size_t size)
{
    return (size + LOG_BLOCK_BYTES - 1) & ~(size_t)(LOG_BLOCK_BYTES - 1);
}

static struct log_batch *batch_at(struct log_writer *writer, uint32_t i)
{
    return &writer->batches[(writer->first + i) % LOG_BATCHES];
}

/* The batch that takes records, or NULL. */
static struct log_batch *open_batch(struct log_writer *writer)
{
    struct log_batch *last = writer->count == 0 ? NULL : batch_at(writer, writer->count - 1);

    return last == NULL || last->closed ? NULL : last;
}

/* Room for `size` bytes in whole blocks: the batch's area, or its own memory. Returns 0 or -ENOMEM. */
static int batch_reserve(struct log_writer *writer, struct log_batch *batch, size_t size)
{
    assert(batch->own_bytes == 0);
    if (size <= LOG_STAGING_BYTES) {
        uint32_t area = (uint32_t)__builtin_ctz(writer->areas_free);
        writer->areas_free &= ~(1U << area);
        batch->area = &writer->staging->areas[area];
        batch->data = batch->area->data;
        return 0;
    }
    size = round_to_block(size);
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return -ENOMEM;
    }
    batch->area = NULL;
    batch->data = data;
    batch->own_bytes = size;
    return 0;
}

/* What stays mapped of an area: of the first two, which take turns, what a device write has as a rule. A page fault on a
 * file costs microseconds (7 measured on ext4), and so does not belong to every pause. */
static size_t kept_bytes(uint32_t area)
{
    return area < 2 ? LOG_WRITE_BYTES_MIN : 0;
}

/* The device has taken `size` bytes of it. */
static void area_give(struct log_writer *writer, struct staging_area *area, size_t size)
{
    uint32_t i = (uint32_t)(area - writer->staging->areas);

    staging_empty(area);
    staging_used(area, size);
    writer->areas_free |= 1U << i;
    writer->trimmable = writer->trimmable || area->mapped_bytes > kept_bytes(i);
}

/* Its records are durable, or given up. */
static void batch_free(struct log_batch *batch)
{
    if (batch->own_bytes > 0) {
        munmap(batch->data, batch->own_bytes);
    }
    batch->data = NULL;
    batch->own_bytes = 0;
}

static void batch_close(struct log_writer *writer, struct log_batch *batch)
{
    size_t whole = batch->size & ~(size_t)(LOG_BLOCK_BYTES - 1);

    assert(!batch->closed);
    batch->closed = true;
    batch->end_lsn = writer->lsn;
    memcpy(writer->tail, batch->data + whole, batch->size - whole);
}

/* Begin a batch where the stream stands, with the part of its block that is there already, and room
 * for `bytes`. Returns 0, or -EAGAIN with nothing changed. */
static int batch_begin(struct log_writer *writer, size_t bytes, struct log_batch **begun)
{
    if (writer->count == LOG_BATCHES) {
        return -EAGAIN;
    }
    struct log_batch *batch = batch_at(writer, writer->count);
    uint64_t offset = file_offset(writer);
    size_t tail = (size_t)(offset % LOG_BLOCK_BYTES);
    batch->size = 0;
    if (batch_reserve(writer, batch, tail + bytes) != 0) {
        return -EAGAIN;
    }
    memcpy(batch->data, writer->tail, tail);
    batch->size = tail;
    batch->offset = offset - tail;
    batch->segment = writer->segment;
    if (batch->area != NULL) {
        staging_begin(batch->area, batch->segment.epoch, writer->lsn, (uint32_t)tail);
    }
    batch->closed = batch->seals = false;
    batch->records = 0;
    writer->count++;
    writer->since_us = writer->now_us;
    *begun = batch;
    return 0;
}

/* The present segment is complete: sealed with its last write, or now if that was done long ago. */
static void segment_finish(struct log_writer *writer)
{
    struct log_batch *batch = open_batch(writer);
    const struct segment_end end = {
        .lsn = writer->lsn,
        .hlc = shard_logged_hlc(writer->shard),
        .entry_count = writer->entry_count,
    };

    if (batch != NULL) {
        batch_close(writer, batch);
    }
    if (writer->count > 0) {
        batch = batch_at(writer, writer->count - 1);
        assert(batch->segment.id == writer->segment.id && !batch->seals);
        batch->seals = true;
        batch->segment_end = end;
    } else {
        segments_seal(writer->segments, writer->segment.id, &end);
    }
    writer->segment_open = false;
}

/* Go on in a new segment. Returns 0; -EAGAIN, -EIO or -EFBIG: the old segment stays; -ENOSPC: there is none. */
static int segment_switch(struct log_writer *writer)
{
    struct segment next;

    if (writer->segment_open && writer->lsn == writer->segment.lsn) {
        return -EFBIG; /* An empty one has no room: none has. */
    }
    if (writer->stats.full && writer->now_us - writer->tried_us < TAKE_AGAIN_US) {
        return -ENOSPC;
    }
    writer->tried_us = writer->now_us;
    int rc = segments_take(writer->segments, writer->lsn, &next);
    writer->stats.full = rc == -ENOSPC;
    if (!writer->waits) {
        writer->waits_us = writer->now_us;
    }
    writer->waits = rc == -EAGAIN;
    if (rc == -ENOSPC && writer->segment_open) {
        segment_finish(writer); /* It may be the only one that a compaction can free. */
    }
    if (rc == -ENOSPC || rc == -EAGAIN) {
        return rc;
    }
    if (rc != 0) {
        snprintf(writer->stats.failure, LOG_FAILURE_BYTES, "cannot prepare a log segment: %s",
                 strerror(-rc));
        writer->stats.failed = writer->failing = true;
        return -EIO;
    }
    if (writer->segment_open) {
        segment_finish(writer);
    }
    assert(next.lsn == writer->lsn && next.size % LOG_BLOCK_BYTES == 0);
    writer->segment = next;
    writer->segment_open = true;
    writer->entry_count = 0;
    return 0;
}

static bool segment_has_room(const struct log_writer *writer, uint64_t bytes)
{
    return writer->segment_open && file_offset(writer) + bytes <= writer->segment.size;
}

/* Not even a segment as large as the present one, all of it, had room. */
static bool passes_segment(const struct log_writer *writer, uint64_t bytes)
{
    return writer->segment_open && LOG_HEADER_BYTES + bytes > writer->segment.size;
}

static void submit(struct log_writer *writer)
{
    struct log_batch *batch = batch_at(writer, 0);
    size_t size = round_to_block(batch->size);
    struct io_uring_sqe *sqe = ring_submission(writer->ring);

    assert(!writer->in_flight && batch->closed && batch->size > 0);
    memset(batch->data + batch->size, 0, size - batch->size);
    io_uring_prep_write(sqe, batch->segment.fd, batch->data, (unsigned)size, batch->offset);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_LOG_WRITE, 0, 0));
    writer->in_flight = true;
    writer->started_us = writer->now_us;
    if (writer->count == 1) {
        writer->hurry = false;
    }
}

/* A batch with room for a record of `bytes`, and a MARK before it where it is the batch's first. */
static int find_batch(struct log_writer *writer, size_t bytes, struct log_batch **found)
{
    size_t bytes_marked = bytes + MARK_BYTES;

    if (passes_segment(writer, bytes_marked)) {
        return -EFBIG;
    }
    if (!segment_has_room(writer, bytes_marked)) {
        int rc = segment_switch(writer);
        if (rc != 0) {
            return rc;
        }
        if (!segment_has_room(writer, bytes_marked)) {
            return -EFBIG;
        }
    }
    struct log_batch *batch = open_batch(writer);
    if (batch != NULL && batch->size + bytes > LOG_STAGING_BYTES) {
        if (writer->count == LOG_BATCHES) {
            return -EAGAIN;
        }
        batch_close(writer, batch);
        batch = NULL;
    }
    int rc = batch == NULL ? batch_begin(writer, bytes_marked, &batch) : 0;
    *found = batch;
    return rc;
}

/* The record at the batch's end is whole. */
static void advance(struct log_writer *writer, struct log_batch *batch, size_t size)
{
    if (batch->area != NULL) {
        staging_extend(batch->area, batch->data + batch->size, size);
    }
    batch->size += size;
    batch->records++;
    writer->lsn += size;
}

/* Note for the segment's index what is appended next. A batch is about several sessions: its segment
 * goes without. */
static void note(struct log_writer *writer, uint8_t kind, struct log_subject subject,
                 uint64_t body_size)
{
    if (writer->entry_count >= writer->segment.entries_max || kind == LOG_BATCH) {
        writer->entry_count = SEGMENT_NOT_INDEXED;
        return;
    }
    writer->segment.entries[writer->entry_count++] = (struct segment_entry){
        .position = subject.position,
        .fingerprint = subject.fingerprint,
        .place = (uint32_t)(file_offset(writer) / LOG_RECORD_ALIGN),
        .size_kind = (uint32_t)body_size << SEGMENT_ENTRY_KIND_BITS | kind,
    };
}

static int writer_append(struct log_port *port, uint8_t kind, struct log_subject subject,
                         const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    struct log_writer *writer = container_of(port, struct log_writer, port);
    struct log_batch *batch;
    uint64_t body_size = 0;

    if (writer->stats.failed) {
        return -EIO;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        body_size += parts[i].size;
    }
    size_t size = (size_t)log_record_size(body_size);
    int rc = find_batch(writer, size, &batch);
    if (rc != 0) {
        return rc;
    }
    if (batch->records == 0) {
        log_mark_put(batch->data + batch->size, batch->segment.epoch, writer->lsn);
        advance(writer, batch, MARK_BYTES);
    }
    note(writer, kind, subject, body_size);
    log_record_put(batch->data + batch->size, batch->segment.epoch, kind, subject.position, parts,
                   part_count);
    advance(writer, batch, size);
    writer->stats.records++;
    writer->stats.bytes += size;
    writer->stats.lsn_appended = writer->lsn;
    *lsn = writer->lsn;
    if (batch->area == NULL) {
        writer->fragile_lsn = writer->lsn;
    }
    return writer->fragile_lsn > writer->stats.lsn_durable ? 1 : 0;
}

static void writer_hurry(struct log_port *port)
{
    struct log_writer *writer = container_of(port, struct log_writer, port);

    writer->hurry = true;
}

/* A segment that holds nothing yet stays. */
static void writer_seal(struct log_port *port)
{
    struct log_writer *writer = container_of(port, struct log_writer, port);

    if (writer->segment_open && !writer->stats.failed && writer->lsn > writer->segment.lsn) {
        segment_finish(writer);
    }
}

void log_writer_init(struct log_writer *writer, struct ring *ring, uint32_t interval_ms)
{
    *writer = (struct log_writer){
        .port = {.append = writer_append, .hurry = writer_hurry, .seal = writer_seal},
        .ring = ring,
        .interval_us = (uint64_t)interval_ms * 1000,
    };
}

void log_writer_fini(struct log_writer *writer)
{
    for (uint32_t i = 0; i < LOG_BATCHES; i++) {
        batch_free(&writer->batches[i]);
    }
}

void log_writer_attach(struct log_writer *writer, struct shard *shard, struct segments *segments,
                       struct staging *staging, uint64_t lsn)
{
    assert(lsn % LOG_RECORD_ALIGN == 0);
    writer->shard = shard;
    writer->segments = segments;
    writer->staging = staging;
    writer->areas_free = (1U << STAGING_AREAS) - 1;
    writer->fragile_lsn = staging->kept ? 0 : UINT64_MAX;
    writer->lsn = lsn;
    writer->stats.lsn_appended = writer->stats.lsn_durable = lsn;
}

static void tell_failure(struct log_writer *writer)
{
    writer->failing = false;
    writer->count = 0;
    shard_log_failed(writer->shard, writer->stats.failure);
}

static void fail_write(struct log_writer *writer, int32_t result, size_t wanted)
{
    if (result < 0) {
        snprintf(writer->stats.failure, LOG_FAILURE_BYTES, "writing the log failed: %s",
                 strerror(-result));
    } else {
        snprintf(writer->stats.failure, LOG_FAILURE_BYTES,
                 "writing the log failed: the device took %d of %zu bytes", result, wanted);
    }
    writer->stats.failed = true;
    tell_failure(writer);
}

void log_writer_written(struct log_writer *writer, int32_t result, uint64_t now_us)
{
    struct log_batch *batch = batch_at(writer, 0);
    size_t size = round_to_block(batch->size);

    assert(writer->in_flight);
    writer->in_flight = false;
    writer->now_us = now_us;
    if (writer->stats.failed && !writer->failing) {
        return;
    }
    if (result < 0 || (size_t)result != size) {
        fail_write(writer, result, size);
        return;
    }
    writer->stats.device_writes++;
    writer->stats.device_bytes += size;
    histogram_record(&writer->stats.device_write_us, now_us - writer->started_us);
    writer->stats.lsn_durable = batch->end_lsn;
    staging_set_durable(writer->staging, batch->end_lsn);
    if (batch->seals) {
        segments_seal(writer->segments, batch->segment.id, &batch->segment_end);
    }
    if (batch->area != NULL) {
        area_give(writer, batch->area, size);
    }
    batch_free(batch);
    writer->first = (writer->first + 1) % LOG_BATCHES;
    writer->count--;
    shard_log_durable(writer->shard, writer->stats.lsn_durable, now_us);
}

uint64_t log_writer_turn(struct log_writer *writer, uint64_t now_us)
{
    writer->now_us = now_us;
    if (writer->failing && !writer->in_flight) {
        tell_failure(writer);
    }
    if (writer->stats.failed) {
        return UINT64_MAX;
    }
    uint64_t next_us = UINT64_MAX;
    if (writer->stats.full) {
        if (now_us - writer->tried_us >= LOG_RETRY_MS * 1000) {
            (void)segment_switch(writer);
        }
        next_us = writer->stats.full ? LOG_RETRY_MS * 1000 : UINT64_MAX;
    }
    if (writer->waits) {
        if (now_us - writer->tried_us >= TAKE_AGAIN_US) {
            (void)segment_switch(writer);
        }
        next_us = writer->waits ? TAKE_AGAIN_US : 0; /* Who waited for it goes on. */
    }
    if (writer->in_flight || writer->count == 0) {
        return next_us;
    }
    struct log_batch *batch = batch_at(writer, 0);
    uint64_t age_us = now_us - writer->since_us;
    if (!batch->closed && !writer->hurry && batch->size < LOG_WRITE_BYTES_MIN &&
        age_us < writer->interval_us) {
        uint64_t left_us = writer->interval_us - age_us;
        return left_us < next_us ? left_us : next_us;
    }
    if (!batch->closed) {
        batch_close(writer, batch);
    }
    submit(writer);
    return next_us;
}

bool log_writer_has_room(const struct log_writer *writer, size_t bytes)
{
    if (writer->count < LOG_BATCHES) {
        return true;
    }
    const struct log_batch *last =
        &writer->batches[(writer->first + LOG_BATCHES - 1) % LOG_BATCHES];
    return !last->closed && last->size + bytes + LOG_BLOCK_BYTES <= LOG_STAGING_BYTES;
}

bool log_writer_is_behind(struct log_writer *writer, size_t bytes, uint64_t most_us)
{
    if (writer->stats.failed) {
        return false;
    }
    if (!writer->waits && !writer->stats.full &&
        !segment_has_room(writer, bytes + LOG_BLOCK_BYTES) &&
        !passes_segment(writer, bytes + LOG_BLOCK_BYTES)) {
        (void)segment_switch(writer); /* Closes a batch: before staging is looked at. */
    }
    return !log_writer_has_room(writer, bytes) ||
           (writer->waits && writer->now_us - writer->waits_us < most_us);
}

uint64_t log_writer_spare(const struct log_writer *writer)
{
    uint64_t staged = 0;

    if (writer->stats.failed || writer->stats.full || writer->waits || !writer->segment_open) {
        return 0;
    }
    for (uint32_t i = 0; i < writer->count; i++) {
        staged += writer->batches[(writer->first + i) % LOG_BATCHES].size;
    }
    const uint64_t left = writer->segment.size - file_offset(writer);
    const uint64_t spare = staged < LOG_SPARE_BYTES ? LOG_SPARE_BYTES - staged : 0;
    if (left >= LOG_KEPT_BYTES + spare || segments_has_ready(writer->segments)) {
        return spare;
    }
    return left > LOG_KEPT_BYTES ? left - LOG_KEPT_BYTES : 0;
}

void log_writer_trim(struct log_writer *writer)
{
    writer->trimmable = false;
    if (writer->stats.failed) {
        return; /* The next start takes up what is there. */
    }
    for (uint32_t i = 0; i < STAGING_AREAS; i++) {
        struct staging_area *area = &writer->staging->areas[i];
        if ((writer->areas_free & 1U << i) != 0) {
            staging_trim(area, kept_bytes(i));
        }
        writer->trimmable = writer->trimmable || area->mapped_bytes > kept_bytes(i);
    }
}

bool log_writer_idle(const struct log_writer *writer)
{
    return !writer->in_flight && (writer->count == 0 || writer->stats.failed);
}
