/* The log writer on a real ring and real files, with the shard and the pool of segments played here and
 * the clock in the test's hand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bounds.h"
#include "check.h"
#include "log_writer.h"
#include "random.h"
#include "shard.h"
#include "staging_kit.h"

enum { SEGMENTS_MAX = 64, ENTRIES_MAX = 65536, INTERVAL_MS = 10, INTERVAL_US = INTERVAL_MS * 1000 };

struct segments {
    uint64_t bytes;
    uint32_t count;
    int error;
    const char *path; /* NULL: a temporary file. */
    int fds[SEGMENTS_MAX];
    uint64_t begins[SEGMENTS_MAX], ends[SEGMENTS_MAX];
    struct segment_entry entries[SEGMENTS_MAX][ENTRIES_MAX];
};

static struct segments segments;
static struct ring ring;
static struct staging staging;
static struct log_writer writer;
static uint64_t durable_lsn, now_us;
static char failure[256];
static uint32_t failures;

int segments_take(struct segments *pool, uint64_t lsn, struct segment *segment)
{
    if (pool->error != 0) {
        return pool->error;
    }
    uint32_t id = pool->count++;
    assert_true(id < SEGMENTS_MAX);
    pool->fds[id] = pool->path != NULL
                        ? open(pool->path, O_RDWR)
                        : open("/var/tmp", O_TMPFILE | O_RDWR | O_DIRECT | O_DSYNC, 0600);
    assert_true(pool->fds[id] >= 0);
    if (pool->path == NULL) {
        assert_int_equal(posix_fallocate(pool->fds[id], 0, (off_t)pool->bytes), 0);
    }
    pool->begins[id] = lsn;
    *segment = (struct segment){
        .fd = pool->fds[id],
        .id = id,
        .epoch = {.number = id + 1, .salt = 1000 + id},
        .size = pool->bytes,
        .lsn = lsn,
        .entries = pool->entries[id],
        .entries_max = ENTRIES_MAX,
    };
    return 0;
}

bool segments_has_ready(struct segments *pool)
{
    return pool->error == 0;
}

/* Every note leads to the record it is about, in the order of the log. */
static void check_entries(const struct segments *pool, uint32_t id, const struct segment_end *end)
{
    uint64_t offset = 0;

    assert_true(end->entry_count > 0 && end->entry_count <= ENTRIES_MAX);
    for (uint32_t i = 0; i < end->entry_count; i++) {
        const struct segment_entry *entry = &pool->entries[id][i];
        uint64_t place = (uint64_t)entry->place * LOG_RECORD_ALIGN;
        uint8_t header[LOG_RECORD_HEADER_BYTES];

        assert_true(place > offset);
        offset = place;
        if (pool->path == NULL) {
            uint8_t *block = aligned_alloc(LOG_BLOCK_BYTES, 2 * LOG_BLOCK_BYTES);
            uint64_t from = place / LOG_BLOCK_BYTES * LOG_BLOCK_BYTES;
            assert_true(pread(pool->fds[id], block, 2 * LOG_BLOCK_BYTES, (off_t)from) > 0);
            memcpy(header, block + (place - from), sizeof header);
            free(block);
            assert_int_equal(load_u32(header + 4), entry->size_kind >> SEGMENT_ENTRY_KIND_BITS);
            assert_int_equal(load_u32(header + 12), LOG_FULL);
            assert_int_equal(entry->size_kind & 7, LOG_FULL);
            assert_int_equal(load_u64(header + 16), entry->position);
        }
        assert_int_equal(entry->position, 7);
        assert_int_equal(entry->fingerprint, 8);
    }
}

void segments_seal(struct segments *pool, uint32_t id, const struct segment_end *end)
{
    assert_true(id < pool->count && pool->ends[id] == 0);
    assert_true(end->lsn <= durable_lsn || end->lsn == writer.stats.lsn_durable);
    assert_int_equal(end->hlc, 42);
    check_entries(pool, id, end);
    pool->ends[id] = end->lsn;
}

uint64_t shard_logged_hlc(const struct shard *shard)
{
    (void)shard;
    return 42;
}

void shard_log_durable(struct shard *shard, uint64_t lsn, uint64_t at_us)
{
    (void)shard;
    assert_true(lsn > durable_lsn && at_us == now_us);
    durable_lsn = lsn;
}

void shard_log_failed(struct shard *shard, const char *text)
{
    (void)shard;
    snprintf(failure, sizeof failure, "%s", text);
    failures++;
}

static int setup(void **state)
{
    char message[256];

    (void)state;
    segments = (struct segments){.bytes = 1024 * 1024};
    durable_lsn = failures = 0;
    now_us = 1000000;
    assert_int_equal(ring_create(&ring, message, sizeof message), 0);
    assert_int_equal(ring_enable(&ring), 0);
    log_writer_init(&writer, &ring, INTERVAL_MS);
    staging_kit_open(&staging);
    log_writer_attach(&writer, NULL, &segments, &staging, 0);
    writer.now_us = now_us;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ring_destroy(&ring);
    log_writer_fini(&writer);
    staging_kit_close(&staging);
    for (uint32_t i = 0; i < segments.count; i++) {
        close(segments.fds[i]);
    }
    return 0;
}

static int append(struct bytes body, uint64_t *lsn)
{
    struct bytes parts[2] = {bytes_of(body.data, body.size / 2),
                             bytes_of(body.data + body.size / 2, body.size - body.size / 2)};

    return writer.port.append(&writer.port, LOG_FULL, (struct log_subject){7, 8}, parts, 2, lsn);
}

/* Wait for the device write in flight. */
static void complete(void)
{
    struct io_uring_cqe *cqe;

    assert_true(writer.in_flight);
    while (writer.in_flight) {
        ring_wait(&ring, 1000000);
        while (io_uring_peek_cqe(&ring.uring, &cqe) == 0) {
            assert_int_equal(ring_tag_unpack(cqe->user_data).event, RING_LOG_WRITE);
            int32_t result = cqe->res;
            io_uring_cqe_seen(&ring.uring, cqe);
            log_writer_written(&writer, result, now_us);
        }
    }
}

static void write_all(void)
{
    while (!log_writer_idle(&writer)) {
        writer.port.hurry(&writer.port);
        (void)log_writer_turn(&writer, now_us);
        complete();
    }
}

/* A write waits for the interval, for enough bytes, or for who hurries; what comes while it is in
 * flight goes with the next one. */
static void test_pace(void **state)
{
    uint64_t first, second, third;

    (void)state;
    assert_int_equal(append(text("one"), &first), 0);
    assert_int_equal(log_writer_turn(&writer, now_us), INTERVAL_US);
    assert_false(writer.in_flight);
    now_us += INTERVAL_US - 1;
    assert_int_equal(log_writer_turn(&writer, now_us), 1);
    now_us += 1;
    assert_int_equal(log_writer_turn(&writer, now_us), UINT64_MAX);
    assert_true(writer.in_flight);
    assert_int_equal(append(text("two"), &second), 0);
    writer.port.hurry(&writer.port);
    assert_int_equal(log_writer_turn(&writer, now_us), UINT64_MAX);
    complete();
    assert_int_equal(durable_lsn, first);
    (void)log_writer_turn(&writer, now_us);
    assert_true(writer.in_flight);
    complete();
    assert_int_equal(durable_lsn, second);
    static const uint8_t zeros[300 * 1024];
    assert_int_equal(append(bytes_of(zeros, sizeof zeros), &third), 0);
    (void)log_writer_turn(&writer, now_us);
    assert_true(writer.in_flight);
    complete();
    assert_int_equal(durable_lsn, third);
    assert_true(log_writer_idle(&writer));
    assert_int_equal(writer.stats.device_writes, 3);
    assert_int_equal(writer.stats.records, 3);
}

/* Read a segment back: exactly one MARK in each device write, with its own LSN; records in order. */
static void check_segment(uint32_t id, uint32_t *next, uint32_t *marks)
{
    struct log_epoch epoch = {.number = id + 1, .salt = 1000 + id};
    uint64_t end = segments.ends[id] != 0 ? segments.ends[id] : writer.lsn;
    uint8_t *file = aligned_alloc(4096, segments.bytes);
    uint64_t lsn = segments.begins[id];
    struct log_record record;

    assert_non_null(file);
    assert_int_equal(pread(segments.fds[id], file, segments.bytes, 0), segments.bytes);
    for (bool first = true; lsn < end; first = false) {
        uint64_t at = LOG_HEADER_BYTES + (lsn - segments.begins[id]);
        int64_t size = log_record_parse(bytes_of(file + at, segments.bytes - at), epoch, &record);
        assert_true(size > 0);
        assert_true(!first || record.kind == LOG_MARK);
        if (record.kind == LOG_MARK) {
            assert_int_equal(record.position, lsn);
            (*marks)++;
        } else {
            assert_int_equal(record.position, 7);
            assert_int_equal(load_u32(record.body.data), *next);
            (*next)++;
        }
        lsn += (uint64_t)size;
    }
    assert_int_equal(lsn, end);
    free(file);
}

/* Records of all sizes over many segments come back as they were appended. */
static void test_content(void **state)
{
    enum { COUNT = 3000 };
    static uint8_t body[40000];
    uint64_t random = 11;
    uint64_t lsn, before = 0;
    uint32_t next = 0, marks = 0;

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t size = 4 + random_below(&random, random_below(&random, 20) == 0 ? 39000 : 800);
        store_u32(body, i);
        assert_int_equal(append(bytes_of(body, size), &lsn), 0);
        assert_true(lsn > before);
        before = lsn;
        if (random_below(&random, 8) == 0) {
            writer.port.hurry(&writer.port);
        }
        now_us += random_below(&random, 2000);
        (void)log_writer_turn(&writer, now_us);
        if (writer.in_flight && random_below(&random, 3) != 0) {
            complete();
        }
    }
    if (writer.in_flight) {
        complete();
    }
    write_all();
    assert_int_equal(durable_lsn, lsn);
    assert_true(segments.count > 3);
    for (uint32_t id = 0; id < segments.count; id++) {
        assert_int_equal(segments.ends[id] != 0, id + 1 < segments.count);
        assert_true(id == 0 || segments.begins[id] == segments.ends[id - 1]);
        check_segment(id, &next, &marks);
    }
    assert_int_equal(next, COUNT);
    assert_int_equal(marks, writer.stats.device_writes);
}

/* What waits is bounded; a record larger than the staging passes when nothing else waits. */
static void test_bounded(void **state)
{
    static uint8_t body[5 * 1024 * 1024];
    uint64_t lsn = 0, refused, staged = 0;
    int rc;

    (void)state;
    segments.bytes = 64 * 1024 * 1024;
    while ((rc = append(bytes_of(body, 100000), &lsn)) == 0) {
        staged += 100000;
        assert_true(staged < 16 * 1024 * 1024);
        (void)log_writer_turn(&writer, now_us); /* Begins one write, which nobody completes. */
    }
    assert_int_equal(rc, -EAGAIN);
    assert_false(log_writer_has_room(&writer, 100000));
    assert_true(staged > 4 * 1024 * 1024);
    write_all();
    assert_int_equal(durable_lsn, lsn);
    assert_true(log_writer_has_room(&writer, sizeof body));
    /* It is in no area, and so it and what comes after it would die with the process. */
    assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 1);
    assert_int_equal(append(bytes_of(body, 10), &refused), 1);
    write_all();
    assert_int_equal(durable_lsn, refused);
    assert_int_equal(append(bytes_of(body, 10), &lsn), 0);
    write_all();
    for (uint32_t i = 0; i < LOG_BATCHES; i++) {
        assert_int_equal(writer.batches[i].own_bytes, 0);
    }
}

/* No room on the disk: refused, what was taken is written, the segment is sealed so that it can be freed,
 * and it goes on by itself. */
static void test_full(void **state)
{
    static uint8_t body[100000];
    uint64_t taken = 0, lsn;
    int rc;

    (void)state;
    assert_int_equal(append(bytes_of(body, sizeof body), &taken), 0);
    segments.error = -ENOSPC;
    while ((rc = append(bytes_of(body, sizeof body), &lsn)) == 0) {
        taken = lsn;
    }
    assert_int_equal(rc, -ENOSPC);
    assert_true(writer.stats.full);
    write_all();
    assert_int_equal(durable_lsn, taken);
    assert_int_equal(segments.ends[0], taken);
    assert_int_equal(append(text("one"), &lsn), -ENOSPC);
    assert_true(log_writer_turn(&writer, now_us) <= LOG_RETRY_MS * 1000);
    segments.error = 0;
    now_us += LOG_RETRY_MS * 1000;
    (void)log_writer_turn(&writer, now_us);
    assert_false(writer.stats.full);
    assert_int_equal(segments.ends[0], taken);
    assert_int_equal(segments.begins[1], taken);
    assert_int_equal(append(bytes_of(body, sizeof body), &taken), 0);
    write_all();
    assert_int_equal(durable_lsn, taken);
}

/* The same where everything was durable when it became full. */
static void test_full_when_idle(void **state)
{
    static uint8_t body[600000];
    uint64_t taken, lsn;

    (void)state;
    assert_int_equal(append(bytes_of(body, sizeof body), &taken), 0);
    write_all();
    segments.error = -ENOSPC;
    assert_int_equal(append(bytes_of(body, sizeof body), &lsn), -ENOSPC);
    assert_int_equal(segments.ends[0], taken);
    segments.error = 0;
    now_us += LOG_RETRY_MS * 1000;
    (void)log_writer_turn(&writer, now_us);
    assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
    write_all();
    assert_int_equal(durable_lsn, lsn);
}

/* None ready: BUSY, and as before once there is one. */
static void test_none_ready(void **state)
{
    uint64_t lsn;

    (void)state;
    segments.error = -EAGAIN;
    assert_int_equal(append(text("one"), &lsn), -EAGAIN);
    assert_false(writer.stats.full);
    segments.error = 0;
    assert_int_equal(append(text("one"), &lsn), 0);
    write_all();
    assert_int_equal(durable_lsn, lsn);
}

/* A record that no segment has room for is refused, and costs no segment, however often it comes. */
static void test_too_large(void **state)
{
    static uint8_t body[1024 * 1024];
    uint64_t lsn;

    (void)state;
    assert_int_equal(append(bytes_of(body, sizeof body), &lsn), -EFBIG);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(append(text("one"), &lsn), 0);
        assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
        assert_int_equal(append(bytes_of(body, sizeof body), &lsn), -EFBIG);
    }
    assert_int_equal(segments.count, 1);
    assert_false(writer.stats.failed);
    write_all();
    assert_int_equal(durable_lsn, lsn);
    size_t most = sizeof body - LOG_HEADER_BYTES - 2 * LOG_RECORD_HEADER_BYTES;
    assert_int_equal(append(bytes_of(body, most), &lsn), 0); /* As large as a segment. */
    assert_int_equal(segments.count, 2);
    write_all();
    assert_int_equal(durable_lsn, lsn);
}

/* Who asks before is told to wait for room in the staging, and for a segment, but not for ever; where none will
 * come, the append says so. */
static void test_behind(void **state)
{
    static uint8_t body[100000];
    uint64_t lsn;

    (void)state;
    assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
    assert_int_equal(segments.count, 1); /* It takes one where there is none. */
    segments.error = -EAGAIN;
    while (append(bytes_of(body, sizeof body), &lsn) == 0) {
    }
    write_all();
    assert_true(log_writer_is_behind(&writer, sizeof body, 1000));
    now_us += 1000;
    (void)log_writer_turn(&writer, now_us);
    assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
    segments.error = 0;
    now_us += 100000;
    (void)log_writer_turn(&writer, now_us);
    assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
    assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
    write_all();

    segments.bytes = 16 * 1024 * 1024;
    segments.error = -ENOSPC;
    while (append(bytes_of(body, sizeof body), &lsn) == 0) {
    }
    write_all();
    assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
    segments.error = 0;
    now_us += 100000;
    (void)log_writer_turn(&writer, now_us);
    while (append(bytes_of(body, sizeof body), &lsn) == 0) {
        (void)log_writer_turn(&writer, now_us); /* Begins one write, which nobody completes. */
    }
    assert_true(log_writer_is_behind(&writer, sizeof body, 1000));
    complete();
    assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
    write_all();
}

/* What can wait leaves most of the staging, and of the last segment that is ready enough for a while. */
static void test_spare(void **state)
{
    static uint8_t body[100000];
    uint64_t lsn, appended = 0;

    (void)state;
    segments.bytes = 16 * 1024 * 1024;
    assert_int_equal(log_writer_spare(&writer), 0); /* Nobody knows yet. */
    assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
    uint64_t spare = log_writer_spare(&writer);
    assert_in_range(spare, LOG_SPARE_BYTES - 2 * sizeof body, LOG_SPARE_BYTES - sizeof body);
    while (log_writer_spare(&writer) > 0) { /* None of it is written. */
        assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
        appended += sizeof body;
    }
    assert_in_range(appended, spare - sizeof body, spare + sizeof body);
    for (uint32_t i = 0; i < LOG_SPARE_BYTES / sizeof body;
         i++) { /* What cannot wait finds room. */
        assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
        assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
    }
    write_all();
    assert_int_equal(log_writer_spare(&writer), LOG_SPARE_BYTES);
    segments.error = -EAGAIN; /* This segment is the last. */
    spare = log_writer_spare(&writer);
    const uint64_t left = segments.bytes - (lsn - writer.segment.lsn) - LOG_HEADER_BYTES;
    assert_int_equal(spare, left < LOG_KEPT_BYTES                     ? 0
                            : left < LOG_KEPT_BYTES + LOG_SPARE_BYTES ? left - LOG_KEPT_BYTES
                                                                      : LOG_SPARE_BYTES);
    while (log_writer_spare(&writer) > 0) {
        assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
        write_all();
    }
    for (uint32_t i = 0; i < LOG_KEPT_BYTES / 2 / sizeof body; i++) {
        assert_false(log_writer_is_behind(&writer, sizeof body, 1000));
        assert_int_equal(append(bytes_of(body, sizeof body), &lsn), 0);
        write_all();
    }
    segments.error = 0;
    assert_int_equal(log_writer_spare(&writer), LOG_SPARE_BYTES);
    segments.error = -EAGAIN;
    while (append(bytes_of(body, sizeof body), &lsn) == 0) {
        write_all();
    }
    assert_int_equal(log_writer_spare(&writer), 0); /* It waits for one. */
    write_all();
}

/* A device write that failed is the end: told once, and nothing is written or taken any more. */
static void test_device_failure(void **state)
{
    uint64_t lsn;

    (void)state;
    segments.path = "/dev/full";
    assert_int_equal(append(text("one"), &lsn), 0);
    writer.port.hurry(&writer.port);
    (void)log_writer_turn(&writer, now_us);
    assert_int_equal(append(text("two"), &lsn), 0);
    complete();
    assert_int_equal(failures, 1);
    assert_non_null(strstr(failure, "No space left"));
    assert_true(writer.stats.failed);
    assert_int_equal(append(text("three"), &lsn), -EIO);
    now_us += 1000000;
    assert_int_equal(log_writer_turn(&writer, now_us), UINT64_MAX);
    assert_false(writer.in_flight);
    assert_int_equal(failures, 1);
    assert_int_equal(durable_lsn, 0);
    assert_true(log_writer_idle(&writer));
}

/* A write that took less than all is a failure as well. */
static void test_short_write(void **state)
{
    uint64_t lsn;

    (void)state;
    assert_int_equal(append(text("one"), &lsn), 0);
    writer.port.hurry(&writer.port);
    (void)log_writer_turn(&writer, now_us);
    ring_wait(&ring, 1000000);
    log_writer_written(&writer, 512, now_us);
    assert_int_equal(failures, 1);
    assert_non_null(strstr(failure, "512 of 4096"));
    assert_int_equal(durable_lsn, 0);
}

/* The pool cannot prepare any segment: the shard hears of it in the next turn, not inside append. */
static void test_preparing_fails(void **state)
{
    uint64_t lsn;

    (void)state;
    segments.error = -EIO;
    assert_int_equal(append(text("one"), &lsn), -EIO);
    assert_int_equal(failures, 0);
    (void)log_writer_turn(&writer, now_us);
    assert_int_equal(failures, 1);
    (void)log_writer_turn(&writer, now_us);
    assert_int_equal(failures, 1);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
    LOG_TEST(test_pace),           LOG_TEST(test_content),        LOG_TEST(test_bounded),
    LOG_TEST(test_full),           LOG_TEST(test_full_when_idle), LOG_TEST(test_none_ready),
    LOG_TEST(test_device_failure), LOG_TEST(test_short_write),    LOG_TEST(test_preparing_fails),
    LOG_TEST(test_behind),         LOG_TEST(test_spare),          LOG_TEST(test_too_large),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
