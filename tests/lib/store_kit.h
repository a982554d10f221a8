/* A store on a directory of its own, a log writer as the data plane's (without a ring), and a model of
 * what must come back.
 *
 * Keys are numbers below `key_count`. kit_*() write sessions through session_write(), append what the
 * shard would append, and keep the present record of each key; kit_check() opens the store again and
 * compares every byte.
 */
#ifndef STORE_KIT_H
#define STORE_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "checkpoint.h"
#include "files.h"
#include "keeper.h"
#include "log_format.h"
#include "log_reader.h"
#include "random.h"
#include "scratch.h"
#include "session.h"
#include "staging.h"
#include "store.h"
#include "store_faults.h"

enum { STORE_KIT_KEYS_MAX = 20000, STORE_KIT_BATCH_BYTES = 1024 * 1024 };

static const struct actor kit_actor = {.node = 1, .start = 1};
#define KIT_SEED UINT64_C(0x5eed)

struct store_kit {
    struct reporter reporter;
    struct store_sink sink;
    struct shared_memory memory; /* The store's. */
    struct test_memory own;      /* The model's. */
    struct faulty_files files;
    struct scratch home;
    const char *directory; /* Its path. */
    struct store_options options;
    struct store *store;
    bool started; /* Its own thread prepares segments. */
    uint64_t lsn;
    /* The writer; or a test's own, which sets `lsn` as well. */
    int (*append)(struct store_kit *kit, uint32_t kind, uint64_t position, struct bytes body);
    struct segment segment;
    bool segment_open;
    uint8_t *staging; /* Of one device write. */
    uint8_t tail[LOG_BLOCK_BYTES];
    size_t tail_size, staged;
    uint64_t staged_offset;
    /* The model, and what came back. */
    uint32_t key_count;
    struct buffer *present, *restored;
    uint32_t segments_taken;
    uint32_t entry_count; /* Noted of the segment. */
    uint64_t *
        in_segments; /* Of each key: the bits of the segments (by count taken) it was written in. */
    struct session_written written;
    struct buffer list, scratch;
    struct session_rules rules;
    uint64_t now_ms, random, seed;
    uint32_t value_bytes;
    /* Reports. */
    uint64_t reports[STORE_DISK_ROOM + 1];
    uint32_t named[STORE_KIT_KEYS_MAX]; /* How often each key was reported as damaged. */
    char file[SEGMENT_NAME_BYTES];      /* Of the last report of damage that named one, ... */
    uint64_t offset, end;               /* ... and the place in it; a test's own end. */
};

static inline struct bytes kit_key(uint32_t number, char text[16])
{
    return bytes_of(text, (size_t)snprintf(text, 16, "key-%05u", number));
}

/* Returns key_count where it is none of ours. */
static inline uint32_t kit_number(const struct store_kit *kit, struct bytes key)
{
    char text[16] = "";
    unsigned number = kit->key_count;

    if (key.size == 9) {
        memcpy(text, key.data, 9);
        if (sscanf(text, "key-%05u", &number) != 1 || number > kit->key_count) {
            number = kit->key_count;
        }
    }
    return number;
}

static inline void kit_report(struct reporter *reporter, const struct store_report *report)
{
    struct store_kit *kit = (struct store_kit *)(void *)reporter;

    __atomic_fetch_add(&kit->reports[report->event], 1, __ATOMIC_RELAXED);
    if (report->file != NULL && report->event <= STORE_LOG_MISSING) {
        snprintf(kit->file, sizeof kit->file, "%s", report->file);
        kit->offset = report->offset;
    }
    uint32_t number = kit_number(kit, report->key);
    if (number < kit->key_count) {
        kit->named[number]++;
    }
}

/* ---- The sink ---- */

static inline struct store_kit *kit_of_sink(struct store_sink *sink)
{
    return (struct store_kit *)(void *)((uint8_t *)sink - offsetof(struct store_kit, sink));
}

static inline int kit_replace(struct buffer *to, struct bytes record)
{
    to->size = 0;
    assert_int_equal(buffer_append(to, record), 0);
    return 0;
}

static inline int sink_record(struct store_kit *kit, struct bytes record)
{

    assert_int_equal(session_check(record), 0);
    uint32_t number = kit_number(kit, session_key(record));
    assert_true(number < kit->key_count);
    struct buffer *to = &kit->restored[number];
    if (to->size == 0) {
        return kit_replace(to, record);
    }
    int rc = session_merge(buffer_bytes(to), record, &kit->scratch);
    return rc != 0 ? rc : kit_replace(to, buffer_bytes(&kit->scratch));
}

static inline int sink_delta(struct store_kit *kit, struct bytes delta)
{

    assert_int_equal(session_check_delta(delta), 0);
    struct buffer *to = &kit->restored[kit_number(kit, session_key(delta))];
    int rc = session_apply_delta(buffer_bytes(to), delta, &kit->scratch);
    return rc != 0 ? rc : kit_replace(to, buffer_bytes(&kit->scratch));
}

static inline int sink_touch(struct store_kit *kit, struct bytes body)
{
    struct reader reader = reader_of(body);
    uint64_t ms = read_varint(&reader);
    uint32_t number = kit_number(kit, read_bytes(&reader, reader_left(&reader)));
    struct buffer *to = &kit->restored[number];

    assert_true(number < kit->key_count);
    if (to->size == 0) {
        return -ESTALE;
    }
    session_touch_in_place(to->data, to->size, ms);
    return 0;
}

static inline int sink_bury(struct store_kit *kit, struct bytes record)
{

    assert_int_equal(session_check(record), 0);
    kit->restored[kit_number(kit, session_key(record))].size = 0;
    return 0;
}

static inline int sink_give(struct store_sink *sink, uint32_t kind, struct bytes body)
{
    struct store_kit *kit = kit_of_sink(sink);

    return kind == LOG_DELTA                      ? sink_delta(kit, body)
           : kind == LOG_TOUCH                    ? sink_touch(kit, body)
           : kind == LOG_BURY || kind == LOG_DROP ? sink_bury(kit, body)
                                                  : sink_record(kit, body);
}

/* ---- Life ---- */

static inline void store_kit_init(struct store_kit *kit, uint32_t key_count, uint64_t segment_bytes)
{
    const char *base = getenv("TMPDIR");

    *kit = (struct store_kit){
        .reporter = {.report = kit_report},
        .sink = {sink_give},
        .memory = {.memory = {.resize = shared_resize, .map = shared_map, .unmap = shared_unmap},
                   .inner = test_memory(),
                   .lock = PTHREAD_MUTEX_INITIALIZER},
        .own = test_memory(),
        .files = {.files = {faulty_open, faulty_open_private, faulty_close, faulty_read,
                            faulty_uncache, faulty_write, faulty_allocate, faulty_size, faulty_sync,
                            faulty_sync_directory, faulty_rename, faulty_remove,
                            faulty_make_directory, faulty_commit, faulty_map},
                  .error = -EIO},
        .key_count = key_count,
        .rules = {.session_bytes_max = 1 << 20, .fields_max = 64, .tombstone_keep_ms = 1000},
        .now_ms = UINT64_C(1700000000000),
        .random = 1,
        .seed = KIT_SEED,
        .value_bytes = 100,
    };
    assert_true(key_count <= STORE_KIT_KEYS_MAX);
    scratch_make(&kit->home, base != NULL ? base : "/tmp", "belay-store");
    kit->directory = kit->home.path;
    kit->staging = aligned_alloc(LOG_BLOCK_BYTES, STORE_KIT_BATCH_BYTES);
    kit->present = calloc(key_count, sizeof *kit->present);
    kit->restored = calloc(key_count, sizeof *kit->restored);
    kit->in_segments = calloc(key_count, sizeof *kit->in_segments);
    for (uint32_t i = 0; i < key_count; i++) {
        kit->present[i].memory = kit->restored[i].memory = &kit->own.memory;
    }
    kit->list.memory = kit->scratch.memory = &kit->own.memory;
    session_written_init(&kit->written, &kit->own.memory);
    kit->options = (struct store_options){
        .directory = kit->directory,
        .shard = 3,
        .actor = kit_actor,
        .seed = KIT_SEED,
        .segment_bytes = segment_bytes,
        .log_bytes_min = 4 * segment_bytes,
        .map_bytes = 64 * 1024 * 1024,
        .files = &kit->files.files,
        .memory = &kit->memory.memory,
        .reporter = &kit->reporter,
    };
}

static inline void kit_forget_restored(struct store_kit *kit)
{
    for (uint32_t i = 0; i < kit->key_count; i++) {
        kit->restored[i].size = 0;
    }
}

static inline void store_kit_close(struct store_kit *kit)
{
    store_close(kit->store);
    kit->store = NULL;
    kit->segment_open = false;
}

static inline void store_kit_fini(struct store_kit *kit)
{
    store_kit_close(kit);
    for (uint32_t i = 0; i < kit->key_count; i++) {
        buffer_fini(&kit->present[i]);
        buffer_fini(&kit->restored[i]);
    }
    free(kit->present);
    free(kit->restored);
    free(kit->in_segments);
    free(kit->staging);
    session_written_fini(&kit->written);
    buffer_fini(&kit->list);
    buffer_fini(&kit->scratch);
    assert_int_equal(kit->memory.inner.outstanding_bytes, 0);
    scratch_remove(&kit->home);
}

/* Open and restore. Returns what the first of them that failed said. */
static inline int kit_open_store(struct store_kit *kit)
{
    char message[256];

    kit_forget_restored(kit);
    kit->segment_open = false;
    kit->tail_size = kit->staged = 0;
    int rc = store_open(&kit->options, &kit->store, message, sizeof message);
    if (rc != 0) {
        kit->store = NULL;
        return rc;
    }
    rc = store_restore(kit->store, &kit->sink, &kit->lsn);
    if (rc != 0) {
        store_kit_close(kit);
    }
    return rc;
}

static inline void kit_start(struct store_kit *kit)
{
    kit->started = true;
    assert_int_equal(store_start(kit->store), 0);
}

static inline void kit_stop(struct store_kit *kit)
{
    store_stop(kit->store);
    kit->started = false;
}

/* How many keys differ from the model. */
static inline uint32_t kit_differences(struct store_kit *kit)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < kit->key_count; i++) {
        count += !bytes_equal(buffer_bytes(&kit->present[i]), buffer_bytes(&kit->restored[i]));
    }
    return count;
}

static inline void kit_reopen_and_check(struct store_kit *kit)
{
    store_kit_close(kit);
    assert_int_equal(kit_open_store(kit), 0);
    assert_int_equal(kit_differences(kit), 0);
}

/* ---- The writer ---- */

/* Returns what segments_take() says at last. */
static inline int kit_take_segment(struct store_kit *kit)
{
    struct segments *segments = store_segments(kit->store);

    if (kit->segment_open) {
        const struct segment_end end = {
            .lsn = kit->lsn,
            .hlc = hlc_of_ms(kit->now_ms),
            .entry_count = kit->entry_count,
        };
        segments_seal(segments, kit->segment.id, &end);
        kit->segment_open = false;
    }
    int rc = segments_take(segments, kit->lsn, &kit->segment);
    for (int tries = 0; rc == -EAGAIN && !kit->started && tries < 10; tries++) {
        (void)segments_prepare(segments);
        rc = segments_take(segments, kit->lsn, &kit->segment);
    }
    if (rc == 0) {
        kit->segment_open = true;
        kit->segments_taken++;
        kit->entry_count = 0;
        kit->tail_size = 0;
    }
    return rc;
}

/* Begin a device write with room for `bytes`. Returns 0 or what segments_take() says. */
static inline int kit_begin(struct store_kit *kit, size_t bytes)
{
    uint64_t offset = LOG_HEADER_BYTES + (kit->lsn - kit->segment.lsn);

    if (!kit->segment_open || offset + bytes + LOG_RECORD_HEADER_BYTES > kit->segment.size) {
        int rc = kit_take_segment(kit);
        if (rc != 0) {
            return rc;
        }
        offset = LOG_HEADER_BYTES;
    }
    kit->tail_size = (size_t)(offset % LOG_BLOCK_BYTES);
    memcpy(kit->staging, kit->tail, kit->tail_size);
    kit->staged_offset = offset - kit->tail_size;
    kit->staged = kit->tail_size;
    log_mark_put(kit->staging + kit->staged, kit->segment.epoch, kit->lsn);
    kit->staged += LOG_RECORD_HEADER_BYTES;
    kit->lsn += LOG_RECORD_HEADER_BYTES;
    return 0;
}

/* The device write. */
static inline void kit_flush(struct store_kit *kit)
{
    if (kit->staged == 0) {
        return;
    }
    size_t whole = kit->staged & ~(size_t)(LOG_BLOCK_BYTES - 1);
    size_t size = (kit->staged + LOG_BLOCK_BYTES - 1) & ~(size_t)(LOG_BLOCK_BYTES - 1);

    memset(kit->staging + kit->staged, 0, size - kit->staged);
    assert_int_equal(pwrite(kit->segment.fd, kit->staging, size, (off_t)kit->staged_offset), size);
    memcpy(kit->tail, kit->staging + whole, kit->staged - whole);
    kit->staged = 0;
}

/* For the index. */
static inline void kit_note(struct store_kit *kit, uint32_t kind, uint64_t position,
                            struct bytes body)
{
    uint64_t offset = LOG_HEADER_BYTES + (kit->lsn - kit->segment.lsn);

    if (kind == LOG_BATCH || kit->entry_count >= kit->segment.entries_max) {
        kit->entry_count = SEGMENT_NOT_INDEXED;
        return;
    }
    kit->segment.entries[kit->entry_count++] = (struct segment_entry){
        .position = position,
        .fingerprint = keeper_fingerprint(kit->seed, log_record_key(kind, body)),
        .place = (uint32_t)(offset / LOG_RECORD_ALIGN),
        .size_kind = (uint32_t)body.size << SEGMENT_ENTRY_KIND_BITS | kind,
    };
}

static inline int kit_append(struct store_kit *kit, uint32_t kind, uint64_t position,
                             struct bytes body)
{
    size_t size = (size_t)log_record_size(body.size);

    if (kit->append != NULL) {
        return kit->append(kit, kind, position, body);
    }
    if (kit->staged != 0 && (kit->staged + size > STORE_KIT_BATCH_BYTES ||
                             kit->staged_offset + kit->staged + size > kit->segment.size)) {
        kit_flush(kit);
    }
    if (kit->staged == 0) {
        int rc = kit_begin(kit, size);
        if (rc != 0) {
            return rc;
        }
    }
    kit_note(kit, kind, position, body);
    log_record_put(kit->staging + kit->staged, kit->segment.epoch, kind, position, &body, 1);
    kit->staged += size;
    kit->lsn += size;
    uint32_t number = kit_number(kit, log_record_key(kind, body));
    if (number < kit->key_count) {
        kit->in_segments[number] |= UINT64_C(1) << kit->segments_taken % 64;
    }
    return 0;
}

/* ---- Sessions ---- */

static inline int kit_change(struct store_kit *kit, uint32_t number, const struct change *change)
{
    char text[16];
    struct buffer *present = &kit->present[number];
    struct bytes key = kit_key(number, text);
    uint64_t position = keeper_position(kit->seed, key);

    kit->list.size = 0;
    assert_int_equal(buffer_reserve(&kit->list, change_size(change)), 0);
    kit->list.size = (size_t)(change_put(kit->list.data, change) - kit->list.data);
    const struct session_write write = {
        .key = key,
        .record = buffer_bytes(present),
        .rules = &kit->rules,
        .now_ms = kit->now_ms++,
        .actor = kit_actor,
        .type = SESSION_MAP,
        .changes = buffer_bytes(&kit->list),
    };
    assert_int_equal(session_write(&write, &kit->written), STATUS_OK);
    if (!kit->written.changed) {
        return 0;
    }
    bool delta = kit->written.delta.size > 0 && random_below(&kit->random, 2) == 0;
    struct bytes body = buffer_bytes(delta ? &kit->written.delta : &kit->written.record);
    int rc = kit_append(kit, delta ? LOG_DELTA : LOG_FULL, position, body);
    if (rc == 0) {
        kit_replace(present, buffer_bytes(&kit->written.record));
    }
    return rc;
}

static inline int kit_set(struct store_kit *kit, uint32_t number)
{
    static uint8_t value[1 << 16];
    static const char *const names[] = {"a", "b", "c", "d"};
    struct change change = {
        .operation = CHANGE_SET,
        .name = text(names[random_below(&kit->random, 4)]),
        .value = bytes_of(value, kit->value_bytes),
    };

    for (uint32_t i = 0; i < kit->value_bytes; i++) {
        value[i] = (uint8_t)random_next(&kit->random);
    }
    return kit_change(kit, number, &change);
}

static inline bool kit_lives(struct store_kit *kit, uint32_t number)
{
    struct session_view view;

    return kit->present[number].size > 0 &&
           session_open(&view, buffer_bytes(&kit->present[number]), kit->now_ms) == 0 && view.live;
}

/* The shard forgets the key; what is there becomes a tombstone first. */
static inline int kit_bury(struct store_kit *kit, uint32_t number)
{
    char text[16];
    struct buffer *present = &kit->present[number];

    if (present->size == 0) {
        return 0;
    }
    const struct stamp stamp = {
        .hlc = hlc_next(session_newest_hlc(buffer_bytes(present)), kit->now_ms++),
        .actor = kit_actor, /* A touch may have been in this very millisecond. */
    };
    assert_int_equal(session_bury(buffer_bytes(present), stamp, false, &kit->scratch), 0);
    int rc = kit_append(kit, LOG_BURY, keeper_position(kit->seed, kit_key(number, text)),
                        buffer_bytes(&kit->scratch));
    if (rc == 0) {
        present->size = 0;
    }
    return rc;
}

static inline int kit_touch(struct store_kit *kit, uint32_t number)
{
    char text[16];
    uint8_t body[32];
    struct buffer *present = &kit->present[number];
    struct bytes key = kit_key(number, text);

    uint8_t *end = varint_put(body, kit->now_ms);
    memcpy(end, key.data, key.size);
    end += key.size;
    int rc = kit_append(kit, LOG_TOUCH, keeper_position(kit->seed, key),
                        bytes_of(body, (size_t)(end - body)));
    if (rc == 0 && present->size > 0) {
        session_touch_in_place(present->data, present->size, kit->now_ms);
    }
    return rc;
}

/* One random step of life. */
static inline int kit_step(struct store_kit *kit)
{
    uint32_t number = random_below(&kit->random, kit->key_count);

    switch (random_below(&kit->random, 16)) {
    case 0: {
        struct change change = {.operation = CHANGE_DESTROY};
        return kit_lives(kit, number) ? kit_change(kit, number, &change) : 0;
    }
    case 1:
        return kit_bury(kit, number);
    case 2: {
        struct change change = {.operation = CHANGE_IDLE, .ms = 60000};
        return kit_lives(kit, number) ? kit_change(kit, number, &change) : 0;
    }
    case 3:
        return kit->present[number].size > 0 ? kit_touch(kit, number) : 0;
    default:
        return kit_set(kit, number);
    }
}

/* `count` steps, in device writes of a few records. */
static inline void kit_live(struct store_kit *kit, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(kit_step(kit), 0);
        if (random_below(&kit->random, 8) == 0) {
            kit_flush(kit);
        }
    }
    kit_flush(kit);
}

#endif
