/* A shard in a glass case: fake log, door and tracer around it, clocks in the test's hand. */
#ifndef SHARD_WORLD_H
#define SHARD_WORLD_H

#include "check.h"

#include <errno.h>
#include <stdio.h>

#include "procedure.h"
#include "shard_state.h"

enum { WORLD_ANSWER_BYTES_MAX = 300 * 1024, WORLD_TRACES_MAX = 64 };

struct logged {
    uint8_t kind;
    uint64_t position, lsn;
    uint8_t *body;
    size_t size;
};

/* The last answer, with what it pointed at copied. */
struct answer {
    uint64_t ticket;
    bool held;
    struct reply reply; /* Pointers go into `bytes`; view and fields do not count. */
    bool live, expired;
    uint64_t deadline_ms, last_access_ms;
    uint32_t field_count;
    char blob[64]; /* The shown value of the field with the empty name, or "". */
    uint8_t bytes[WORLD_ANSWER_BYTES_MAX];
};

struct world {
    struct log_port log;
    struct door door;
    struct tracer tracer;
    struct test_memory memory;
    struct policies policies;
    struct policy policy; /* Of all keys; set before world_begin_with(). */
    struct shard_options options;
    struct shard *shard;
    uint64_t now_ms, now_us, next_ticket;

    struct logged *records;
    size_t record_count;
    int log_rc; /* What append() says; 1: appended all the same. */
    uint64_t hurries, seals;
    uint64_t logged_hlc; /* The newest stamp of all that this life of the shard has appended. */

    struct answer answer;
    uint64_t answers, releases;
    uint64_t released_ticket;
    enum status released_status;
    enum ack_level released_level;

    uint64_t traces[WORLD_TRACES_MAX];
    char traced_text[256];
};

static struct world world;

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

/* A segment that ends here covers what was appended before, and not this record: where one is taken for compacted
 * because of its stamp, it must have been. */
static inline void world_check_stamp(struct world *w, struct bytes record)
{
    uint64_t hlc = session_newest_hlc(record), before = shard_logged_hlc(w->shard);

    if (w->shard->copies != NULL) {
        return; /* What another node stamped may be older; shard_cold.c takes care of it. */
    }

    assert_true(before >= w->logged_hlc && before < hlc);
}

static inline void world_check_stamps(struct world *w, const struct logged *record)
{
    struct bytes body = bytes_of(record->body, record->size);
    struct reader reader = reader_of(body);
    uint64_t newest = 0;

    if (w->shard->appended_lsn == 0) {
        w->logged_hlc = 0; /* Another life. */
    }
    if (record->kind == LOG_FULL || record->kind == LOG_DELTA) {
        world_check_stamp(w, body);
        newest = session_newest_hlc(body);
    }
    while (record->kind == LOG_BATCH && reader_left(&reader) > 0) {
        read_u8(&reader);
        read_u64(&reader);
        struct bytes item = read_string(&reader);
        world_check_stamp(w, item);
        newest = session_newest_hlc(item) > newest ? session_newest_hlc(item) : newest;
    }
    w->logged_hlc = newest > w->logged_hlc ? newest : w->logged_hlc;
}

static int world_append(struct log_port *log, uint8_t kind, struct log_subject subject,
                        const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    struct world *w = OF(world, log, log);
    struct logged record = {.kind = kind, .position = subject.position};

    if (w->log_rc < 0) {
        return w->log_rc;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        record.body = realloc(record.body, record.size + parts[i].size + 1);
        memcpy(record.body + record.size, parts[i].data, parts[i].size);
        record.size += parts[i].size;
    }
    world_check_stamps(w, &record);
    record.lsn = w->record_count + 1;
    if ((w->record_count & (w->record_count + 1)) == 0) {
        w->records = realloc(w->records, 2 * (w->record_count + 1) * sizeof *w->records);
    }
    w->records[w->record_count++] = record;
    *lsn = record.lsn;
    return w->log_rc;
}

static void world_hurry(struct log_port *log)
{
    OF(world, log, log)->hurries++;
}

static void world_seal(struct log_port *log)
{
    OF(world, log, log)->seals++;
}

static struct bytes world_keep(struct answer *answer, size_t *used, struct bytes part)
{
    assert_true(*used + part.size <= sizeof answer->bytes);
    if (part.size > 0) {
        memcpy(answer->bytes + *used, part.data, part.size);
    }
    *used += part.size;
    return bytes_of(answer->bytes + *used - part.size, part.size);
}

static void world_reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    struct world *w = OF(world, door, door);
    struct answer *answer = &w->answer;
    struct session_field field;
    size_t used = 0;

    w->answers++;
    answer->ticket = ticket;
    answer->held = held;
    answer->reply = *reply;
    answer->reply.version = world_keep(answer, &used, reply->version);
    answer->reply.results = world_keep(answer, &used, reply->results);
    answer->reply.keys = world_keep(answer, &used, reply->keys);
    answer->reply.record = world_keep(answer, &used, reply->record);
    answer->blob[0] = '\0';
    if (reply->view != NULL) {
        answer->live = reply->view->live;
        answer->expired = reply->view->expired;
        answer->deadline_ms = reply->view->deadline_ms;
        answer->last_access_ms = reply->view->last_access_ms;
        answer->field_count = reply->view->field_count;
        if (reply->view->live && session_find(reply->view, bytes_of("", 0), &field) &&
            field.value.size < sizeof answer->blob) {
            memcpy(answer->blob, field.value.data, field.value.size);
            answer->blob[field.value.size] = '\0';
        }
    }
}

static void world_release(struct door *door, uint64_t ticket, enum status status,
                          enum ack_level level, const char *message)
{
    struct world *w = OF(world, door, door);

    assert_true(status == STATUS_OK || message != NULL);
    w->releases++;
    w->released_ticket = ticket;
    w->released_status = status;
    w->released_level = level;
}

static void world_trace(struct tracer *tracer, enum trace_event event, uint64_t a,
                        struct bytes about)
{
    struct world *w = OF(world, tracer, tracer);

    (void)a;
    w->traces[event]++;
    snprintf(w->traced_text, sizeof w->traced_text, "%.*s", (int)about.size,
             about.size > 0 ? (const char *)about.data : "");
}

/* A fresh world whose policy may still be changed. */
static void world_prepare(void)
{
    memset(&world, 0, sizeof world);
    world.log = (struct log_port){.append = world_append, .hurry = world_hurry, .seal = world_seal};
    world.door = (struct door){.reply = world_reply, .release = world_release};
    world.tracer = (struct tracer){.event = world_trace};
    world.memory = test_memory();
    policy_defaults(&world.policy);
    world.now_ms = UINT64_C(1700000000000);
    world.now_us = 1000000;
    world.options = (struct shard_options){
        .seed = 42,
        .actor = {.node = 1, .start = 1},
        .policies = &world.policies,
        .memory = &world.memory.memory,
        .log = &world.log,
        .door = &world.door,
        .tracer = &world.tracer,
    };
}

static inline void world_start(void)
{
    assert_int_equal(policies_init(&world.policies, &world.policy, 1), 0);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    shard_tick(world.shard, world.now_ms, 1000);
}

static inline void world_begin(void)
{
    world_prepare();
    world_start();
}

static inline void world_end(void)
{
    shard_destroy(world.shard);
    for (size_t i = 0; i < world.record_count; i++) {
        free(world.records[i].body);
    }
    free(world.records);
    assert_int_equal(world.memory.outstanding_bytes, 0);
}

/* Run one request; the answer is in world.answer. Returns its status. */
static inline enum status world_run(struct request request)
{
    uint64_t before = world.answers;

    request.ticket = ++world.next_ticket;
    if (request.received_us == 0) {
        request.received_us = world.now_us;
    }
    shard_prepare(world.shard, &request);
    shard_prefetch(world.shard, &request);
    shard_execute(world.shard, &request, world.now_ms, world.now_us);
    assert_int_equal(world.answers, before + 1); /* Exactly once. */
    assert_int_equal(world.answer.ticket, request.ticket);
    assert_int_equal(world.answer.reply.op, request.op);
    return world.answer.reply.status;
}

static inline enum status world_get(const char *key)
{
    return world_run((struct request){.op = REQUEST_GET, .key = text(key)});
}

/* A change list of up to a few changes, in a buffer of its own. */
struct changes {
    uint8_t bytes[4096];
    size_t size;
};

static inline void changes_add(struct changes *changes, struct change change)
{
    assert_true(changes->size + change_size(&change) <= sizeof changes->bytes);
    changes->size = (size_t)(change_put(changes->bytes + changes->size, &change) - changes->bytes);
}

static inline struct request world_write_of(const char *key, const struct changes *changes)
{
    return (struct request){
        .op = REQUEST_WRITE,
        .key = text(key),
        .type = SESSION_BLOB,
        .body = bytes_of(changes->bytes, changes->size),
    };
}

/* Requests that tests make most. The list lives until the next call. */
static inline struct request world_put_of(const char *key, const char *value)
{
    static struct changes changes;

    changes.size = 0;
    changes_add(&changes, (struct change){.operation = CHANGE_SET, .value = text(value)});
    return world_write_of(key, &changes);
}

static inline enum status world_put(const char *key, const char *value)
{
    return world_run(world_put_of(key, value));
}

static inline struct request world_one_of(const char *key, struct change change)
{
    static struct changes changes;

    changes.size = 0;
    changes_add(&changes, change);
    return world_write_of(key, &changes);
}

static inline enum status world_one(const char *key, struct change change)
{
    return world_run(world_one_of(key, change));
}

static inline enum status world_destroy(const char *key)
{
    return world_one(key, (struct change){.operation = CHANGE_DESTROY});
}

/* A blob with deadlines. */
static inline enum status world_put_until(const char *key, const char *value, uint64_t ttl_ms,
                                          uint64_t idle_ms)
{
    struct changes changes = {.size = 0};

    changes_add(&changes, (struct change){.operation = CHANGE_SET, .value = text(value)});
    if (ttl_ms != 0) {
        changes_add(&changes, (struct change){.operation = CHANGE_TTL, .ms = ttl_ms});
    }
    if (idle_ms != 0) {
        changes_add(&changes, (struct change){.operation = CHANGE_IDLE, .ms = idle_ms});
    }
    return world_run(world_write_of(key, &changes));
}

static inline enum status world_map_run(struct turn *turn)
{
    return turn_write(turn, WRITE_UPSERT, SESSION_MAP, turn->request->body, NULL);
}

/* A map with one field, which a Redis client sets, with a deadline. */
static inline enum status world_map_until(const char *key, const char *value, uint64_t ttl_ms)
{
    static const struct procedure procedure = {.name = "set", .run = world_map_run};
    struct changes changes = {.size = 0};

    changes_add(&changes, (struct change){.operation = CHANGE_SET_UNTIL,
                                          .name = text("f"),
                                          .value = text(value),
                                          .ms = world.now_ms + ttl_ms});
    struct request request = world_write_of(key, &changes);
    request.procedure = &procedure;
    return world_run(request);
}

/* Let time pass as a data plane would: tick when asked for, with much budget. */
static inline void world_pass(uint64_t ms)
{
    uint64_t end_ms = world.now_ms + ms;

    while (world.now_ms < end_ms) {
        uint32_t pause_ms = shard_tick(world.shard, world.now_ms, 1000);
        uint64_t step_ms = pause_ms == 0 ? 1 : pause_ms;
        world.now_ms += step_ms < end_ms - world.now_ms ? step_ms : end_ms - world.now_ms;
    }
    world.now_us += ms * 1000;
    shard_tick(world.shard, world.now_ms, 1000);
}

static inline uint64_t world_records(void)
{
    struct keeper_stats stats;

    keeper_stats(world.shard->keeper, &stats);
    return stats.records;
}

static inline size_t world_logged(uint8_t kind)
{
    size_t count = 0;

    for (size_t i = 0; i < world.record_count; i++) {
        count += world.records[i].kind == kind;
    }
    return count;
}

#endif
