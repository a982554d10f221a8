/* What a process that dies leaves in the staging: the real store, the real log writer on a real ring, and
 * every way of dying that a test can play. A kill closes the files and forgets everything else; what no
 * device write took must be there when the store is opened again. */
#include <sys/stat.h>

#include "crc32c.h"
#include "dump.h"
#include "log_writer.h"
#include "shard.h"
#include "store_kit.h"

enum { SEGMENT = 256 * 1024, KEYS = 60, IMAGE_BYTES_MAX = 2 * STAGING_AREA_BYTES };

static struct store_kit kit;
static struct ring ring;
static struct log_writer writer;
static uint64_t now_us, durable_lsn;
static uint32_t failures;
static int appended_rc; /* What the last append said. */

void shard_log_durable(struct shard *shard, uint64_t lsn, uint64_t at_us)
{
    (void)shard;
    (void)at_us;
    durable_lsn = lsn;
}

void shard_log_failed(struct shard *shard, const char *text)
{
    (void)shard;
    (void)text;
    failures++;
}

/* ---- A device write that comes late ---- */

static struct {
    bool pending;
    int fd;
    ino_t inode;
    uint64_t offset;
    size_t size;
    uint8_t image[IMAGE_BYTES_MAX];
} late;

static int (*allocate_before)(struct files *files, int fd, uint64_t size);

static void late_lands(void)
{
    if (late.pending) {
        assert_int_equal(pwrite(late.fd, late.image, late.size, (off_t)late.offset), late.size);
        close(late.fd);
        late.pending = false;
    }
}

/* As a file system's: waits for what is on its way to the file. */
static int allocate_waits(struct files *files, int fd, uint64_t size)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    if (late.pending && status.st_ino == late.inode) {
        late_lands();
    }
    return allocate_before(files, fd, size);
}

/* ---- Life and death ---- */

static int staged_append(struct store_kit *unused, uint32_t kind, uint64_t position,
                         struct bytes body)
{
    (void)unused;
    struct log_port *port = &writer.port;
    int rc = port->append(port, (uint8_t)kind, position, &body, 1, &kit.lsn);
    for (int tries = 0; rc == -EAGAIN && tries < 3; tries++) {
        (void)segments_prepare(store_segments(kit.store));
        rc = port->append(port, (uint8_t)kind, position, &body, 1, &kit.lsn);
    }
    appended_rc = rc;
    return rc > 0 ? 0 : rc;
}

static void attach(void)
{
    char message[256];

    assert_int_equal(ring_create(&ring, message, sizeof message), 0);
    assert_int_equal(ring_enable(&ring), 0);
    log_writer_init(&writer, &ring, 10);
    log_writer_attach(&writer, NULL, store_segments(kit.store), store_staging(kit.store), kit.lsn);
    writer.now_us = now_us;
    durable_lsn = kit.lsn;
    failures = 0;
}

static void begin(uint64_t segment_bytes)
{
    store_kit_init(&kit, KEYS, segment_bytes);
    kit.append = staged_append;
    allocate_before = kit.files.files.allocate;
    kit.files.files.allocate = allocate_waits;
    now_us = 1000000;
    assert_int_equal(kit_open_store(&kit), 0);
    attach();
}

static void kill_process(void)
{
    ring_destroy(&ring);
    log_writer_fini(&writer);
    store_kit_close(&kit);
}

static void check_reports(void)
{
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_MISSING] +
                         kit.reports[STORE_LOG_BASELESS] + kit.reports[STORE_STAGING_REFUSED],
                     0);
}

/* What was taken up is elsewhere now, or waits for room. */
static void check_emptied(void)
{
    uint8_t header[STAGING_HEADER_BYTES];
    struct staging_note note;

    assert_int_equal(staging_read_header(store_staging(kit.store), header), 0);
    for (uint32_t i = 0; i < STAGING_AREAS && !kit.files.limited; i++) {
        assert_false(staging_note_get(bytes_of(header, sizeof header), i, &note));
    }
}

static void restart(void)
{
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_differences(&kit), 0);
    check_reports();
    check_emptied();
    attach();
}

static void end(void)
{
    kill_process();
    late_lands();
    store_kit_fini(&kit);
}

/* ---- Device writes ---- */

static void reap(bool told)
{
    struct io_uring_cqe *cqe;

    for (bool done = false; !done;) {
        ring_wait(&ring, 1000000);
        if (io_uring_peek_cqe(&ring.uring, &cqe) == 0) {
            int32_t result = cqe->res;
            io_uring_cqe_seen(&ring.uring, cqe);
            if (told) {
                log_writer_written(&writer, result, now_us);
            }
            done = true;
        }
    }
}

static void begin_write(void)
{
    writer.port.hurry(&writer.port);
    (void)log_writer_turn(&writer, now_us);
}

static void write_one(void)
{
    begin_write();
    if (writer.in_flight) {
        reap(true);
    }
}

static void write_all(void)
{
    while (!log_writer_idle(&writer)) {
        write_one();
    }
}

/* Steps until `count` are done. The device takes a batch where the staging is full, or has more than one
 * of these small segments would hold. */
static void live(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int rc;
        kit.value_bytes =
            20 + random_below(&kit.random, random_below(&kit.random, 8) == 0 ? 9000 : 300);
        while ((rc = kit_step(&kit)) == -EAGAIN || kit.lsn - durable_lsn > SEGMENT / 2) {
            write_one();
        }
        assert_int_equal(rc, 0);
    }
}

enum dying {
    DEATH_BEFORE_SUBMIT, /* Nothing is in flight, or it never gets to the device. */
    DEATH_UNTOLD,        /* The device has it, the process does not know. */
    DEATH_TORN,          /* The device has some of its blocks. */
    DEATH_LATE,          /* It comes to the device when the next process is there. */
    DEATHS,
};

/* What the batch that is first has for the device. */
static size_t batch_image(const struct log_batch **batch)
{
    *batch = &writer.batches[writer.first];
    return ((*batch)->size + LOG_BLOCK_BYTES - 1) & ~(size_t)(LOG_BLOCK_BYTES - 1);
}

static void tear_write(void)
{
    const struct log_batch *batch;
    size_t size = batch_image(&batch);

    for (size_t at = 0; at < size; at += LOG_BLOCK_BYTES) {
        if (random_below(&kit.random, 2) == 0) {
            assert_int_equal(pwrite(batch->segment.fd, batch->data + at, LOG_BLOCK_BYTES,
                                    (off_t)(batch->offset + at)),
                             LOG_BLOCK_BYTES);
        }
    }
}

static void delay_write(void)
{
    const struct log_batch *batch;
    struct stat status;

    late_lands();
    late.size = batch_image(&batch);
    late.offset = batch->offset;
    late.fd = dup(batch->segment.fd);
    assert_true(late.fd >= 0 && late.size <= IMAGE_BYTES_MAX);
    assert_int_equal(fcntl(late.fd, F_SETFL, 0), 0); /* The image is not aligned. */
    assert_int_equal(fstat(late.fd, &status), 0);
    late.inode = status.st_ino;
    memcpy(late.image, batch->data, late.size);
    late.pending = true;
}

/* While it is in flight. */
static void append_more(void)
{
    kit.value_bytes = 50;
    for (uint32_t i = 5 + random_below(&kit.random, 60); i > 0; i--) {
        int rc = kit_step(&kit);
        assert_true(rc == 0 || rc == -EAGAIN);
    }
}

static void die(enum dying dying)
{
    if (dying == DEATH_UNTOLD && writer.count > 0) {
        begin_write();
        append_more();
        reap(false);
    } else if (dying != DEATH_BEFORE_SUBMIT && writer.count > 0) {
        begin_write();
        append_more();
        if (dying == DEATH_TORN) {
            tear_write();
        } else {
            delay_write();
        }
    }
    kill_process();
}

/* ---- Nothing is lost ---- */

static void test_nothing_was_written(void **state)
{
    (void)state;
    begin(SEGMENT);
    for (int life = 0; life < 5; life++) {
        for (int i = 0; i < 300; i++) {
            assert_int_equal(kit_step(&kit), 0);
            assert_int_equal(appended_rc, 0);
        }
        assert_int_equal(writer.stats.device_writes, 0);
        kill_process();
        restart();
        kill_process(); /* And once more, before it did anything. */
        restart();
    }
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 5);
    end();
}

/* It goes on in a segment that was taken, and of which nothing was written. */
static void test_two_segments(void **state)
{
    (void)state;
    begin(SEGMENT);
    while (writer.lsn < SEGMENT - 40000) {
        live(1);
        write_all();
    }
    kit.value_bytes = 1000;
    for (uint32_t i = 0; writer.lsn < SEGMENT + 40000; i++) {
        assert_int_equal(kit_set(&kit, i % KEYS), 0);
    }
    assert_int_equal(writer.count, 2);
    assert_true(writer.segment.lsn > durable_lsn);
    kill_process();
    restart();
    live(500);
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 2);
    end();
}

/* After a clean end there is nothing to take. */
static void test_all_was_written(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(2000);
    write_all();
    check_emptied();
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 0);
    end();
}

static void test_every_death(void **state)
{
    enum { LIVES = 150 };

    (void)state;
    begin(SEGMENT);
    for (uint32_t life = 0; life < LIVES; life++) {
        for (uint32_t part = random_below(&kit.random, 6); part > 0; part--) {
            live(random_below(&kit.random, 200));
            late_lands();
            if (random_below(&kit.random, 2) == 0) {
                write_one();
            }
        }
        if (random_below(&kit.random, 10) == 0) {
            write_all();
            assert_true(store_compact(kit.store) >= 0);
        }
        live(1 + random_below(&kit.random, 100));
        die((enum dying)random_below(&kit.random, DEATHS));
        restart();
    }
    print_message("%lu of %d restarts took something up\n",
                  (unsigned long)kit.reports[STORE_STAGING_TAKEN], LIVES);
    assert_true(kit.reports[STORE_STAGING_TAKEN] > LIVES / 2);
    end();
}

/* A failed device acknowledges nothing any more; what had been acknowledged at `memory` comes back. */
static void test_device_failed(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(300);
    write_one();
    live(50);
    begin_write();
    live(50);
    uint64_t lsn = durable_lsn;
    log_writer_written(&writer, -EIO, now_us);
    assert_int_equal(failures, 1);
    assert_int_equal(kit_set(&kit, 1), -EIO);
    (void)log_writer_turn(&writer, now_us + 1000000);
    assert_int_equal(durable_lsn, lsn);
    kill_process();
    restart();
    end();
}

/* ---- Faults while it is taken up ---- */

static void fault_loop(bool memory, bool stay_failed)
{
    uint64_t n = 1;

    begin(SEGMENT);
    kit.files.stay_failed = stay_failed;
    for (bool reached = true; reached; n++) {
        assert_true(n < 500);
        live(100);
        die(DEATH_LATE);
        kit.files.operations = kit.memory.inner.requests = 0;
        kit.files.fail_at = memory ? 0 : n;
        kit.memory.inner.fail_at = memory ? n : 0;
        int rc = kit_open_store(&kit);
        assert_true(rc != 0 || kit_differences(&kit) == 0);
        reached = (memory ? kit.memory.inner.requests : kit.files.operations) >= n;
        kit.files.fail_at = kit.memory.inner.fail_at = 0;
        store_kit_close(&kit);
        restart();
        assert_true(store_compact(kit.store) >=
                    0); /* Or each round would do more than the one before. */
    }
    print_message("%lu\n", (unsigned long)n);
    assert_true(n > 10);
    assert_int_equal(kit.reports[STORE_LOG_TORN], 0); /* Nothing was taken up twice. */
    end();
}

static void test_io_fails(void **state)
{
    (void)state;
    fault_loop(false, false);
    fault_loop(false, true);
}

static void test_allocation_fails(void **state)
{
    (void)state;
    fault_loop(true, false);
}

/* No room for a segment to settle in: what was taken up is served and stays where it is. */
static void test_full_disk(void **state)
{
    int rc;

    (void)state;
    begin(SEGMENT);
    kit.files.limited = true;
    kit.files.sizes_left = 2 * SEGMENT;
    kit.value_bytes = 1000;
    while (writer.lsn < 2 * (SEGMENT - LOG_HEADER_BYTES) - 20000) {
        assert_int_equal(kit_set(&kit, random_below(&kit.random, KEYS)), 0);
        write_all();
    }
    kit.value_bytes = 8;
    assert_int_equal(kit_set(&kit, 3), 0);
    assert_int_equal(kit_set(&kit, 4), 0);
    for (int life = 0; life < 3; life++) {
        kill_process();
        restart();
        assert_int_equal(kit.reports[STORE_STAGING_TAKEN], life + 1);
        rc = kit_set(&kit, 5);
        assert_true(rc == -ENOSPC || rc == -EAGAIN);
    }
    kit.files.limited = false;
    assert_int_equal(segments_prepare(store_segments(kit.store)), 1);
    now_us += 1000000;
    (void)log_writer_turn(&writer, now_us);
    assert_true(kit_set(&kit, 5) < 0); /* What is left comes first. */
    assert_int_equal(store_start(kit.store), 0);
    while ((rc = kit_set(&kit, 5)) != 0) {
        assert_true(rc == -ENOSPC || rc == -EAGAIN);
        usleep(1000);
        now_us += 1000000;
        (void)log_writer_turn(&writer, now_us);
    }
    store_stop(kit.store);
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 4);
    end();
}

/* ---- Where it is not kept ---- */

static void test_no_mapping(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(100);
    kill_process();
    kit.files.map_error = -ENODEV;
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_differences(&kit), 0); /* What there was is taken up all the same. */
    assert_int_equal(kit.reports[STORE_STAGING_REFUSED], 1);
    attach();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kit_set(&kit, 1), 0);
        assert_int_equal(appended_rc, 1);
        write_all();
    }
    kill_process();
    kit.files.map_error = -EIO;
    assert_int_equal(kit_open_store(&kit), -EIO);
    kit.files.map_error = 0;
    kit.reports[STORE_STAGING_REFUSED] = 0;
    restart();
    assert_int_equal(kit_set(&kit, 1), 0);
    assert_int_equal(appended_rc, 0);
    end();
}

/* ---- The machine goes down ---- */

enum { SNAPSHOTS = 4, HISTORY_MAX = 100000 };

static uint8_t *snapshots[SNAPSHOTS];
static uint32_t history[HISTORY_MAX]; /* Checksum over all keys after each record. */
static uint32_t history_count, history_durable;

static uint32_t sum_of(const struct buffer records[])
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < KEYS; i++) {
        sum = crc32c(sum + i, buffer_bytes(&records[i]));
    }
    return sum;
}

static void staging_path(char path[PATH_BYTES_MAX])
{
    assert_int_equal(path_join(path, kit.directory, STAGING_NAME), 0);
}

static void take_snapshot(uint32_t i)
{
    memcpy(snapshots[i], store_staging(kit.store)->map, STAGING_FILE_BYTES);
}

/* The file is put together from pages of any age. */
static void mix_pages(uint32_t ages, bool one_age)
{
    char path[PATH_BYTES_MAX];

    staging_path(path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    uint32_t age = random_below(&kit.random, ages);
    for (size_t at = 0; at < STAGING_FILE_BYTES; at += 4096) {
        age = !one_age && random_below(&kit.random, 4) == 0 ? random_below(&kit.random, ages) : age;
        assert_int_equal(pwrite(fd, snapshots[age] + at, 4096, (off_t)at), 4096);
    }
    close(fd);
}

/* Some state between what was durable and what was there last, and exactly that one. */
static void check_crash(void)
{
    uint32_t sum = sum_of(kit.restored), i = history_count;

    while (i > history_durable && history[i - 1] != sum) {
        i--;
    }
    if (i < history_durable || (i > 0 && history[i - 1] != sum)) {
        fail_msg("no state since the durable one (%u of %u)", history_durable, history_count);
    }
    for (uint32_t k = 0; k < KEYS; k++) {
        kit_replace(&kit.present[k], buffer_bytes(&kit.restored[k]));
    }
    check_reports();
}

/* Touches are records of one size, so that those of another age begin where these do. */
static void power_step(bool touch)
{
    uint32_t number = random_below(&kit.random, KEYS);

    kit.value_bytes = 20 + random_below(&kit.random, 3000);
    if (touch && kit.present[number].size > 0) {
        assert_int_equal(kit_touch(&kit, number), 0);
        kit.now_ms++;
    } else if (kit_step(&kit) == -EAGAIN) {
        write_all();
        history_durable = history_count;
        return;
    }
    history[history_count++] = sum_of(kit.present);
    assert_true(history_count < HISTORY_MAX);
    if (kit.lsn - durable_lsn > SEGMENT / 2) {
        write_all();
        history_durable = history_count;
    }
}

static void test_power_fails(void **state)
{
    enum { LIVES = 150 };

    (void)state;
    for (uint32_t i = 0; i < SNAPSHOTS; i++) {
        snapshots[i] = malloc(STAGING_FILE_BYTES);
        assert_non_null(snapshots[i]);
    }
    begin(SEGMENT);
    kit.random = 4711;
    for (uint32_t life = 0; life < LIVES; life++) {
        history_count = 0;
        history[history_count++] = sum_of(kit.present);
        history_durable = 1;
        uint32_t parts = SNAPSHOTS + random_below(&kit.random, 5);
        for (uint32_t part = 0; part < parts; part++) {
            bool touches = random_below(&kit.random, 2) == 0;
            for (uint32_t i = random_below(&kit.random, touches ? 1500 : 60); i > 0; i--) {
                power_step(touches);
            }
            if (life % 4 != 0 && random_below(&kit.random, 3) == 0) {
                write_all();
                history_durable = history_count;
            }
            take_snapshot(part % SNAPSHOTS);
        }
        die(random_below(&kit.random, 2) == 0 ? DEATH_BEFORE_SUBMIT : DEATH_TORN);
        mix_pages(SNAPSHOTS, life % 3 == 0);
        assert_int_equal(kit_open_store(&kit), 0);
        check_crash();
        attach();
    }
    print_message("%lu of %d restarts took something up\n",
                  (unsigned long)kit.reports[STORE_STAGING_TAKEN], LIVES);
    assert_true(kit.reports[STORE_STAGING_TAKEN] > 0);
    end();
    for (uint32_t i = 0; i < SNAPSHOTS; i++) {
        free(snapshots[i]);
    }
}

/* ---- The format ---- */

static const struct log_epoch epoch = {.number = 3, .salt = 0x11223344};

/* Golden: another implementation of CRC-32C and struct.pack gave these. */
static void test_bytes_are_pinned(void **state)
{
    static const uint8_t expected_header[20] = {
        'B', 'E', 'L', 'A', 'Y', 'S', 'T', 'G', 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    };
    static uint8_t map[STAGING_HEADER_BYTES + 256] __attribute__((aligned(8)));
    struct staging_area area = {.data = map + STAGING_HEADER_BYTES, .note = map + 64};
    uint8_t header[20];

    (void)state;
    memcpy(header, expected_header, sizeof header);
    store_u32(header + 16, 0x3c932a99);
    staging_header_put(map, 2);
    assert_memory_equal(map, header, sizeof header);
    static const uint8_t expected_note[32] = {
        3,    0,    0,    0,    0x44, 0x33, 0x22, 0x11, 0,    0x10, 0,
        0,    0,    0,    0,    0,    0x10, 0x00, 0x00, 0x00, 0xe3, 0x1c,
        0xeb, 0xf5, 0x38, 0x00, 0x00, 0x00, 0x2b, 0xc7, 0x4a, 0xef,
    };
    staging_begin(&area, epoch, 4096, 16);
    log_mark_put(area.data + 16, epoch, 4096);
    staging_extend(&area, area.data + 16, LOG_RECORD_HEADER_BYTES);
    struct bytes body = text("hello");
    log_record_put(area.data + 40, epoch, LOG_FULL, 7, &body, 1);
    staging_extend(&area, area.data + 40, 32);
    assert_memory_equal(area.note, expected_note, sizeof expected_note);

    struct staging_note note;
    uint32_t shard;
    assert_int_equal(staging_header_parse(bytes_of(map, STAGING_HEADER_BYTES), &shard), 0);
    assert_int_equal(shard, 2);
    assert_true(staging_note_get(bytes_of(map, sizeof map), 0, &note));
    assert_false(staging_note_get(bytes_of(map, sizeof map), 1, &note));
    assert_true(note.lsn == 4096 && note.start == 16 && note.size == 56);
    assert_int_equal(staging_note_offset(&note, 1), STAGING_HEADER_BYTES + STAGING_AREA_BYTES + 16);
    assert_true(staging_note_holds(&note, bytes_of(area.data + 16, 56)));
    for (size_t bit = 0; bit < 56 * 8; bit++) {
        area.data[16 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(staging_note_holds(&note, bytes_of(area.data + 16, 56)));
        area.data[16 + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_false(staging_note_holds(&note, bytes_of(area.data + 16, 24)));
    for (size_t bit = 0; bit < 32 * 8; bit++) {
        map[64 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool holds = staging_note_get(bytes_of(map, sizeof map), 0, &note) &&
                     staging_note_holds(&note, bytes_of(area.data + 16, 56));
        assert_false(holds);
        map[64 + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    staging_empty(&area);
    assert_false(staging_note_get(bytes_of(map, sizeof map), 0, &note));
}

/* An area full of records of 64 bytes, which begin where pages do, and its note. */
static void fill_area(struct staging_area *area, uint64_t lsn, struct staging_note *note)
{
    enum { START = 40, COUNT = 4 * 4096 / 64 };
    uint8_t bytes[40] = {0};
    struct bytes body = bytes_of(bytes, sizeof bytes);
    uint8_t *at = area->data + START;

    staging_begin(area, epoch, lsn, START);
    log_mark_put(at, epoch, lsn);
    staging_extend(area, at, LOG_RECORD_HEADER_BYTES);
    at += LOG_RECORD_HEADER_BYTES;
    for (uint32_t i = 0; i < COUNT; i++, at += 64) {
        store_u64(bytes, lsn + i);
        log_record_put(at, epoch, LOG_TOUCH, i, &body, 1);
        staging_extend(area, at, 64);
    }
    *note = (struct staging_note){epoch, lsn, START, area->size, area->sum};
}

/* Each record is whole and of the epoch, but some were there before: only the sum tells. */
static void test_pages_of_two_ages(void **state)
{
    static uint8_t before[6 * 4096], map[7 * 4096] __attribute__((aligned(8)));
    struct staging_area area = {.data = map + 4096, .note = map + 64};
    struct staging_note note;

    (void)state;
    fill_area(&area, 8192, &note);
    memcpy(before, area.data, sizeof before);
    fill_area(&area, 80000, &note);
    struct bytes records = bytes_of(area.data + note.start, note.size);
    assert_true(staging_note_holds(&note, records));
    memcpy(area.data + 4096, before + 4096, 4096);
    assert_false(staging_note_holds(&note, records));
}

static void test_header_refuses(void **state)
{
    uint8_t header[STAGING_HEADER_BYTES] = {0};
    uint32_t shard;

    (void)state;
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard), -ENODATA);
    staging_header_put(header, 2);
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header - 1), &shard), -EBADMSG);
    for (size_t bit = 0; bit < 20 * 8; bit++) {
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard), -EBADMSG);
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    store_u32(header + 8, 2);
    store_u32(header + 16, crc32c(0, bytes_of(header, 16)));
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard),
                     -EPROTONOSUPPORT);
}

static void test_dump(void **state)
{
    char path[PATH_BYTES_MAX], message[256] = "";
    char *printed = NULL;
    size_t size = 0;

    (void)state;
    begin(SEGMENT);
    assert_int_equal(kit_set(&kit, 7), 0);
    staging_path(path);
    FILE *out = open_memstream(&printed, &size); /* While the log writer has it mapped. */
    assert_int_equal(dump_log(&kit.memory.memory, path, out, message, sizeof message), 0);
    fclose(out);
    assert_non_null(
        strstr(printed, "staging file=staging shard=3\narea index=0 epoch=1 lsn=0 bytes="));
    assert_non_null(strstr(printed, "holds=yes\nrecord offset=4096 lsn=0 kind=mark"));
    assert_non_null(strstr(printed, "record offset=4120 lsn=24 kind=full"));
    assert_non_null(strstr(printed, "key=\"key-00007\"\n"));
    free(printed);
    end();
}

static void write_header(const uint8_t *header, size_t size)
{
    char path[PATH_BYTES_MAX];

    staging_path(path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, header, size, 0), size);
    close(fd);
}

/* A damaged file is told and made anew; one cut short in the making is made anew; another version's is
 * left alone. */
static void test_other_files(void **state)
{
    uint8_t header[STAGING_HEADER_BYTES] = {0};
    char path[PATH_BYTES_MAX];

    (void)state;
    begin(SEGMENT);
    live(100);
    write_all();
    kill_process();
    write_header(header, sizeof header);
    restart();
    kill_process();
    staging_path(path);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
    assert_int_equal(kit_differences(&kit), 0);
    store_kit_close(&kit);
    kit.reports[STORE_LOG_DAMAGED] = 0;
    restart();
    live(100);
    kill_process();
    restart();
    kill_process();
    staging_header_put(header, 3);
    store_u32(header + 8, STAGING_VERSION + 1);
    store_u32(header + 16, crc32c(0, bytes_of(header, 16)));
    write_header(header, 64);
    assert_int_equal(kit_open_store(&kit), -EPROTONOSUPPORT);
    staging_header_put(header, 3);
    write_header(header, 64);
    restart();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_was_written), cmocka_unit_test(test_two_segments),
        cmocka_unit_test(test_all_was_written),     cmocka_unit_test(test_every_death),
        cmocka_unit_test(test_device_failed),       cmocka_unit_test(test_io_fails),
        cmocka_unit_test(test_allocation_fails),    cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_no_mapping),          cmocka_unit_test(test_power_fails),
        cmocka_unit_test(test_bytes_are_pinned),    cmocka_unit_test(test_header_refuses),
        cmocka_unit_test(test_other_files),         cmocka_unit_test(test_dump),
        cmocka_unit_test(test_pages_of_two_ages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
