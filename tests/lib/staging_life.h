/* Lives and deaths of a process with a store and a log writer: the real ones, on a real ring, and every way
 * of dying that a test can play. A kill closes the files and forgets everything else.
 *
 * kit (store_kit.h) has the model. One program has one of these, because the log writer's events are its own.
 */
#ifndef STAGING_LIFE_H
#define STAGING_LIFE_H

#include <sys/stat.h>

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

uint64_t shard_logged_hlc(const struct shard *shard)
{
    (void)shard;
    return hlc_of_ms(kit.now_ms);
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

static inline void late_lands(void)
{
    if (late.pending) {
        assert_int_equal(pwrite(late.fd, late.image, late.size, (off_t)late.offset), late.size);
        close(late.fd);
        late.pending = false;
    }
}

/* As a file system's: waits for what is on its way to the file. */
static inline int allocate_waits(struct files *files, int fd, uint64_t size)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    if (late.pending && status.st_ino == late.inode) {
        late_lands();
    }
    return allocate_before(files, fd, size);
}

/* ---- Life and death ---- */

static inline int staged_append(struct store_kit *unused, uint32_t kind, uint64_t position,
                                struct bytes body)
{
    (void)unused;
    struct log_port *port = &writer.port;
    const struct log_subject subject = {
        .position = position,
        .fingerprint = keeper_fingerprint(kit.seed, log_record_key(kind, body)),
    };
    int rc = port->append(port, (uint8_t)kind, subject, &body, 1, &kit.lsn);
    for (int tries = 0; rc == -EAGAIN && tries < 3; tries++) {
        (void)segments_prepare(store_segments(kit.store));
        rc = port->append(port, (uint8_t)kind, subject, &body, 1, &kit.lsn);
    }
    appended_rc = rc;
    return rc > 0 ? 0 : rc;
}

static inline void attach(void)
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

static inline void begin(uint64_t segment_bytes)
{
    store_kit_init(&kit, KEYS, segment_bytes);
    kit.append = staged_append;
    allocate_before = kit.files.files.allocate;
    kit.files.files.allocate = allocate_waits;
    now_us = 1000000;
    assert_int_equal(kit_open_store(&kit), 0);
    attach();
}

static inline void kill_process(void)
{
    ring_destroy(&ring);
    log_writer_fini(&writer);
    store_kit_close(&kit);
}

static inline void check_reports(void)
{
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_MISSING] +
                         kit.reports[STORE_LOG_BASELESS] + kit.reports[STORE_STAGING_REFUSED],
                     0);
}

/* What was taken up is elsewhere now, or waits for room. */
static inline void check_emptied(void)
{
    uint8_t header[STAGING_HEADER_BYTES];
    struct staging_note note;

    assert_int_equal(staging_read_header(store_staging(kit.store), header), 0);
    for (uint32_t i = 0; i < STAGING_AREAS && !kit.files.limited; i++) {
        assert_false(staging_note_get(bytes_of(header, sizeof header), i, &note));
    }
}

static inline void restart(void)
{
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_differences(&kit), 0);
    check_reports();
    check_emptied();
    attach();
}

static inline void end(void)
{
    kill_process();
    late_lands();
    store_kit_fini(&kit);
}

/* ---- Device writes ---- */

static inline void reap(bool told)
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

static inline void begin_write(void)
{
    writer.port.hurry(&writer.port);
    (void)log_writer_turn(&writer, now_us);
}

static inline void write_one(void)
{
    begin_write();
    if (writer.in_flight) {
        reap(true);
    }
}

static inline void write_all(void)
{
    while (!log_writer_idle(&writer)) {
        write_one();
    }
}

/* Steps until `count` are done. The device takes a batch where the staging is full, or has more than one
 * of these small segments would hold. */
static inline void live(uint32_t count)
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
static inline size_t batch_image(const struct log_batch **batch)
{
    *batch = &writer.batches[writer.first];
    return ((*batch)->size + LOG_BLOCK_BYTES - 1) & ~(size_t)(LOG_BLOCK_BYTES - 1);
}

static inline void tear_write(void)
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

static inline void delay_write(void)
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
static inline void append_more(void)
{
    kit.value_bytes = 50;
    for (uint32_t i = 5 + random_below(&kit.random, 60); i > 0; i--) {
        int rc = kit_step(&kit);
        assert_true(rc == 0 || rc == -EAGAIN);
    }
}

static inline void die(enum dying dying)
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

static inline void staging_path(char path[PATH_BYTES_MAX])
{
    assert_int_equal(path_join(path, kit.directory, STAGING_NAME), 0);
}

#endif
