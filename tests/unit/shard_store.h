/* A store for a shard in its glass case: the checkpoint as compactions would leave it, and fetches that are
 * answered when the test says so. */
#ifndef SHARD_STORE_H
#define SHARD_STORE_H

#include "record.h"
#include "shard_world.h"

enum { STORE_KEYS_MAX = 12000, STORE_WANTED_MAX = 4096 };

struct stored {
    uint64_t position;
    struct buffer record;
};

static struct shard_store {
    struct loader_port port;
    struct test_memory memory;
    struct stored *all;
    size_t count;
    size_t compacted; /* Records of the log that are in it. */
    uint64_t lsn, hlc, hurried_lsn, live_bytes;
    uint64_t wanted[STORE_WANTED_MAX];
    uint32_t wanted_count;
    uint64_t fetches, hurries, told;
    int told_error;
    bool fetch_fails;
    bool loading;
    uint64_t given_to; /* While loading: positions of the checkpoint below it are given... */
    size_t given;      /* ... and so many records of the log. */
    struct buffer scratch;
    struct buffer seen; /* Kept. */
    uint32_t kept_seen;
    uint32_t wholes, whole_slot;
} store;

static bool store_pending(struct loader_port *port, uint64_t position)
{
    (void)port;
    if (!store.loading) {
        return false;
    }
    bool pending = position >= store.given_to;
    for (size_t i = store.given; i < world.record_count; i++) {
        pending |= world.records[i].position == position;
    }
    return pending;
}

static int store_fetch(struct loader_port *port, uint64_t position, bool must)
{
    (void)port;
    (void)must;
    if (store.fetch_fails) {
        return -ENOMEM;
    }
    assert_true(store.wanted_count < STORE_WANTED_MAX);
    store.wanted[store.wanted_count++] = position;
    store.fetches++;
    return 0;
}

static void store_covered(struct loader_port *port, uint64_t *lsn, uint64_t *hlc)
{
    (void)port;
    *lsn = store.lsn;
    *hlc = store.hlc;
}

static void store_hurry(struct loader_port *port, uint64_t lsn)
{
    (void)port;
    store.hurried_lsn = lsn;
    store.hurries++;
}

static void store_live(struct loader_port *port, uint64_t record_bytes)
{
    (void)port;
    store.live_bytes = record_bytes;
}

static void store_tell(struct loader_port *port, uint32_t kind, struct bytes body, int error)
{
    (void)port;
    assert_int_equal(kind, LOAD_STORED);
    assert_true(record_is_cold(body));
    store.told++;
    store.told_error = error;
}

static void store_keep_seen(struct loader_port *port, struct bytes saved)
{
    (void)port;
    store.seen.size = 0;
    assert_int_equal(buffer_append(&store.seen, saved), 0);
    store.kept_seen++;
}

static int store_kept_seen(struct loader_port *port, struct buffer *to)
{
    (void)port;
    to->size = 0;
    return store.kept_seen == 0 ? -ENOENT : buffer_append(to, buffer_bytes(&store.seen));
}

static void store_port_whole(struct loader_port *port, uint32_t slot)
{
    (void)port;
    store.whole_slot = slot;
    store.wholes++;
}

static inline void store_init(void)
{
    memset(&store, 0, sizeof store);
    store.memory = test_memory();
    store.scratch.memory = store.seen.memory = &store.memory.memory;
    store.all = calloc(STORE_KEYS_MAX, sizeof *store.all);
    store.port = (struct loader_port){
        .pending = store_pending,
        .fetch = store_fetch,
        .covered = store_covered,
        .hurry = store_hurry,
        .live = store_live,
        .tell = store_tell,
        .keep_seen = store_keep_seen,
        .kept_seen = store_kept_seen,
        .whole = store_port_whole,
    };
}

static inline void store_fini(void)
{
    for (size_t i = 0; i < store.count; i++) {
        buffer_fini(&store.all[i].record);
    }
    free(store.all);
    buffer_fini(&store.scratch);
    buffer_fini(&store.seen);
    assert_int_equal(store.memory.outstanding_bytes, 0);
}

/* The place of a key; it is made where it is not there. */
static inline struct stored *store_at(uint64_t position, struct bytes key)
{
    for (size_t i = 0; i < store.count; i++) {
        struct stored *stored = &store.all[i];
        if (stored->position == position &&
            (stored->record.size == 0 ||
             bytes_equal(session_key(buffer_bytes(&stored->record)), key))) {
            return stored;
        }
    }
    assert_true(store.count < STORE_KEYS_MAX);
    store.all[store.count] =
        (struct stored){.position = position, .record = {.memory = &store.memory.memory}};
    return &store.all[store.count++];
}

static inline void store_replace(struct stored *stored, struct bytes record)
{
    stored->record.size = 0;
    assert_int_equal(buffer_append(&stored->record, record), 0);
}

static inline void store_take(const struct logged *logged)
{
    struct bytes body = bytes_of(logged->body, logged->size);
    struct reader reader = reader_of(body);

    while (logged->kind == LOG_BATCH && reader_left(&reader) > 0) {
        struct logged item = {.kind = read_u8(&reader)};
        item.position = read_u64(&reader);
        struct bytes record = read_string(&reader);
        item.body = logged->body + (record.data - body.data);
        item.size = record.size;
        store_take(&item);
    }
    if (logged->kind == LOG_BATCH) {
        return;
    }
    if (logged->kind == LOG_TOUCH) {
        uint64_t ms = read_varint(&reader);
        struct bytes key = read_bytes(&reader, reader_left(&reader));
        struct stored *stored = store_at(logged->position, key);
        session_touch_in_place(stored->record.data, stored->record.size, ms);
        return;
    }
    struct stored *stored = store_at(logged->position, session_key(body));
    struct bytes before = buffer_bytes(&stored->record);
    if (logged->kind == LOG_BURY || logged->kind == LOG_DROP) {
        stored->record.size = 0;
    } else if (logged->kind == LOG_DELTA) {
        assert_int_equal(session_apply_delta(before, body, &store.scratch), 0);
        store_replace(stored, buffer_bytes(&store.scratch));
    } else if (before.size == 0) {
        store_replace(stored, body);
    } else {
        assert_int_equal(session_merge(before, body, &store.scratch), 0);
        store_replace(stored, buffer_bytes(&store.scratch));
    }
}

/* All of the log so far becomes checkpoint. */
static inline void store_compact(void)
{
    for (; store.compacted < world.record_count; store.compacted++) {
        store_take(&world.records[store.compacted]);
        store.lsn = world.records[store.compacted].lsn;
    }
    store.hlc = shard_hlc(world.shard);
}

static inline int store_give(const struct logged *logged)
{
    struct bytes body = bytes_of(logged->body, logged->size);

    return logged->kind == LOG_FULL    ? shard_restore_record(world.shard, body)
           : logged->kind == LOG_DELTA ? shard_restore_delta(world.shard, body)
           : logged->kind == LOG_TOUCH ? shard_restore_touch(world.shard, body)
           : logged->kind == LOG_DROP  ? shard_restore_drop(world.shard, body)
                                       : shard_restore_bury(world.shard, body);
}

/* Give what was asked for first. */
static inline void store_answer(void)
{
    assert_true(store.wanted_count > 0);
    uint64_t position = store.wanted[0];
    memmove(store.wanted, store.wanted + 1, --store.wanted_count * sizeof store.wanted[0]);
    for (size_t i = 0; i < store.count; i++) {
        if (store.all[i].position == position && store.all[i].record.size > 0) {
            struct bytes record = buffer_bytes(&store.all[i].record);
            assert_int_equal(shard_restore_stored(world.shard, record, true), 0);
        }
    }
    for (size_t i = store.compacted; store.loading && i < world.record_count; i++) {
        if (world.records[i].position == position) {
            assert_int_equal(store_give(&world.records[i]), 0);
        }
    }
    shard_loaded(world.shard, position, world.now_ms, world.now_us);
}

/* Run a request; where it waits, what it waits for is given. Returns its status. */
static inline enum status store_run(struct request request)
{
    uint64_t before = world.answers;

    request.ticket = ++world.next_ticket;
    request.received_us = world.now_us;
    shard_prepare(world.shard, &request);
    shard_execute(world.shard, &request, world.now_ms, world.now_us);
    while (world.answers == before && store.wanted_count > 0) {
        store_answer();
    }
    assert_int_equal(world.answers, before + 1);
    assert_int_equal(world.answer.ticket, request.ticket);
    return world.answer.reply.status;
}

/* A request that must wait: nothing is answered. Returns its ticket. */
static inline uint64_t store_park(struct request request)
{
    uint64_t before = world.answers;

    request.ticket = ++world.next_ticket;
    request.received_us = world.now_us;
    shard_prepare(world.shard, &request);
    shard_execute(world.shard, &request, world.now_ms, world.now_us);
    assert_int_equal(world.answers, before);
    return request.ticket;
}

/* Whatever may go leaves memory now: as if there were none. */
static inline void store_freeze(void)
{
    uint64_t max = world.shard->options.memory_max, budget_ns = UINT64_C(1) << 40;

    world.shard->options.memory_max = 1;
    world.shard->cold.stalled = false;
    shard_freeze(world.shard, &budget_ns);
    world.shard->options.memory_max = max;
}

#endif
