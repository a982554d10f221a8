/* What stands around the shard in fuzz_commands.c: its ports, its memory, and what must hold of its answers, its records and
 * its log. One input, one world. */
#ifndef COMMANDS_WORLD_H
#define COMMANDS_WORLD_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "commands.h"
#include "heap.h"
#include "log_kind.h"
#include "resp.h"
#include "shard.h"
#include "status_words.h"

enum {
    SWITCH_RESP3 = 1,
    SWITCH_NO_RESURRECT = 2,
    SWITCH_IDLE = 4,    /* A timeout that reads slide. */
    SWITCH_SMALL = 8,   /* Sessions of at most 256 bytes and 4 fields. */
    SWITCH_BEHIND = 16, /* Now and then the log takes nothing. */
};
enum {
    BULK_MAX = 16 * 1024,
    STEP_MS = 7000, /* PING lets so much time pass. */
    KEPT_MAX = 256,
    DATABASES = 16,
};

struct logged {
    uint8_t kind;
    struct bytes body;
};

struct queued {
    const struct command *command;
    struct bytes array;
};

static struct world {
    struct log_port log;
    struct door door;
    struct tracer tracer;
    struct policies policies;
    struct shard *shard;
    uint64_t now_ms, ticket, answers, lsn;
    uint8_t switches;
    bool resp3, multi;
    uint32_t database;

    enum status status; /* Of the last answer. */
    struct buffer answer, record;

    void **blocks; /* All that lives until the end of the input. */
    size_t block_count;
    struct logged *logged;
    size_t logged_count;
    struct queued queue[KEPT_MAX];
    size_t queue_count;
    struct watched {
        struct bytes key, token;
    } watched[KEPT_MAX];
    size_t watched_count;
    struct bytes keys[KEPT_MAX]; /* Some of those that were written. */
    size_t key_count;
} world;

/* ---- Memory: as much of an area as is touched, which the heap's is not ---- */

static void *map(struct memory *memory, size_t size)
{
    size_t alignment = size & (~size + 1);
    uint8_t *all = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)memory;
    if (all == MAP_FAILED) {
        return NULL;
    }
    size_t before = (alignment - (uintptr_t)all % alignment) % alignment;
    if (before > 0) {
        (void)munmap(all, before);
    }
    if (size > before) {
        (void)munmap(all + before + size, size - before);
    }
    return all + before;
}

static void unmap(struct memory *memory, void *area, size_t size)
{
    (void)memory;
    (void)munmap(area, size);
}

static struct memory areas = {.resize = heap_resize, .map = map, .unmap = unmap};

/* ---- Around the shard ---- */

static void *keep(size_t size)
{
    if ((world.block_count & (world.block_count + 1)) == 0) {
        world.blocks = realloc(world.blocks, 2 * (world.block_count + 1) * sizeof *world.blocks);
    }
    world.blocks[world.block_count] = malloc(size > 0 ? size : 1);
    return world.blocks[world.block_count++];
}

/* A copy of its own size, so that reading past its end is seen. */
static struct bytes keep_bytes(struct bytes bytes)
{
    void *copy = keep(bytes.size);

    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_of(copy, bytes.size);
}

static void note(uint8_t kind, struct bytes body)
{
    if ((world.logged_count & (world.logged_count + 1)) == 0) {
        world.logged = realloc(world.logged, 2 * (world.logged_count + 1) * sizeof *world.logged);
    }
    world.logged[world.logged_count++] = (struct logged){kind, body};
}

static int append(struct log_port *log, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    struct buffer body = {.memory = heap_memory()};

    (void)log;
    (void)subject;
    if ((world.switches & SWITCH_BEHIND) != 0 && world.ticket % 5 == 4) {
        return -EAGAIN;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        assert(buffer_append(&body, parts[i]) == 0);
    }
    struct bytes kept = keep_bytes(buffer_bytes(&body));
    buffer_fini(&body);
    *lsn = ++world.lsn;
    if (kind != LOG_BATCH) {
        note(kind, kept);
        return 0;
    }
    struct reader reader = reader_of(kept);
    while (reader_left(&reader) > 0) {
        uint8_t inner = read_u8(&reader);
        (void)read_bytes(&reader, 8); /* Position. */
        note(inner, read_string(&reader));
    }
    assert(!reader.bad);
    return 0;
}

static void no_hurry(struct log_port *log)
{
    (void)log;
}

static void reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    (void)door;
    assert(ticket == world.ticket && !held);
    world.answers++;
    world.status = reply->status;
    world.answer.size = world.record.size = 0;
    if (reply->status == STATUS_OK) {
        struct bytes results = reply->op == REQUEST_SCAN ? reply->keys : reply->results;
        assert(buffer_append(&world.answer, results) == 0);
        assert(buffer_append(&world.record, reply->record) == 0);
        return;
    }
    const struct resp_out out = {.buffer = &world.answer, .resp3 = world.resp3};
    char words[STATUS_WORDS_BYTES];
    status_words(reply->status, reply->text, words);
    assert(resp_error(&out, words) == 0);
}

static void release(struct door *door, uint64_t ticket, enum status status, enum ack_level level,
                    const char *text)
{
    (void)level;
    (void)door;
    (void)ticket;
    (void)status;
    (void)text;
    assert(false); /* Nothing is held. */
}

static void event(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text)
{
    (void)tracer;
    (void)event;
    (void)a;
    (void)text;
}

static struct shard *create(uint64_t hlc, uint32_t start)
{
    const struct shard_options options = {
        .seed = 42,
        .actor = {.node = 1, .start = start},
        .hlc = hlc,
        .policies = &world.policies,
        .memory = &areas,
        .log = &world.log,
        .door = &world.door,
        .tracer = &world.tracer,
    };
    struct shard *shard;

    assert(shard_create(&options, &shard) == 0);
    (void)shard_tick(shard, world.now_ms, 1000);
    return shard;
}

static void begin(uint8_t switches)
{
    struct policy policy;

    world = (struct world){
        .log = {.append = append, .hurry = no_hurry, .seal = no_hurry},
        .door = {.reply = reply, .release = release},
        .tracer = {.event = event},
        .now_ms = UINT64_C(1700000000000),
        .switches = switches,
        .resp3 = (switches & SWITCH_RESP3) != 0,
        .answer = {.memory = heap_memory()},
        .record = {.memory = heap_memory()},
    };
    policy_defaults(&policy);
    policy.rules.no_resurrect = (switches & SWITCH_NO_RESURRECT) != 0;
    if ((switches & SWITCH_IDLE) != 0) {
        policy.rules.idle_ttl_ms = 2 * STEP_MS;
        policy.touch_on_read = true;
    }
    if ((switches & SWITCH_SMALL) != 0) {
        policy.rules.session_bytes_max = 256;
        policy.rules.fields_max = 4;
    }
    assert(policies_init(&world.policies, &policy, 1) == 0);
    world.shard = create(0, 1);
}

static void execute(struct shard *shard, struct request request)
{
    uint64_t before = world.answers;

    request.ticket = ++world.ticket;
    request.received_us = world.now_ms * 1000;
    shard_prepare(shard, &request);
    shard_execute(shard, &request, world.now_ms, world.now_ms * 1000);
    assert(world.answers == before + 1);
}

/* The record of a key, or empty. */
static struct bytes inspect(struct shard *shard, struct bytes key)
{
    execute(shard, (struct request){.op = REQUEST_INSPECT, .key = key});
    return world.status == STATUS_OK ? keep_bytes(buffer_bytes(&world.record)) : bytes_of(NULL, 0);
}

/* ---- What must hold ---- */

/* One value of the protocol, and nothing behind it. */
static void check_answer(void)
{
    struct bytes all = buffer_bytes(&world.answer);
    uint64_t left = 1;
    size_t at = 0;

    while (left-- > 0) {
        assert(at < all.size);
        const uint8_t *line = all.data + at, *end = memchr(line, '\n', all.size - at);
        assert(end != NULL && end > line + 1 && end[-1] == '\r');
        const struct bytes text = bytes_of(line + 1, (size_t)(end - line) - 2);
        int64_t number = 0;
        bool counts = memchr(":$*%~", *line, 5) != NULL;
        assert(strchr(world.resp3 ? "+-:$*%~,_" : "+-:$*", *line) != NULL);
        assert(!counts || resp_integer(text, &number));
        assert(text.size == 0 || memchr(text.data, '\r', text.size) == NULL);
        at += (size_t)(end - line) + 1;
        if (*line == '$') {
            assert(number >= (world.resp3 ? 0 : -1));
            at += number >= 0 ? (size_t)number + 2 : 0;
            assert(at <= all.size && all.data[at - 1] == '\n');
        } else if (*line == '*' || *line == '~' || *line == '%') {
            assert(number >= (world.resp3 ? 0 : -1));
            left += number > 0 ? (uint64_t)number * (*line == '%' ? 2 : 1) : 0;
        }
    }
    assert(at == all.size);
}

static void check_key(struct bytes key)
{
    struct bytes record = inspect(world.shard, key);

    assert(record.size == 0 || session_check(record) == 0);
    if (world.key_count < KEPT_MAX) {
        world.keys[world.key_count++] = key;
    }
}

static void check_same(struct bytes ours, struct bytes restored)
{
    struct session_view a = {.live = false}, b = {.live = false};
    struct session_field field, other;

    assert(ours.size == 0 || session_open(&a, ours, world.now_ms) == 0);
    assert(restored.size == 0 || session_open(&b, restored, world.now_ms) == 0);
    assert(a.live == b.live);
    if (!a.live) {
        return;
    }
    assert(a.type == b.type && a.field_count == b.field_count && a.absolute_ms == b.absolute_ms);
    while (session_next(&a, false, &field)) {
        assert(session_find(&b, field.name, &other) && bytes_equal(field.value, other.value));
        assert(field.deadline_ms == other.deadline_ms);
    }
}

/* Another shard is given the log. */
static void check_log(void)
{
    struct shard *restored = create(shard_hlc(world.shard), 2);

    for (size_t i = 0; i < world.logged_count; i++) {
        const struct logged *logged = &world.logged[i];
        int rc = logged->kind == LOG_FULL    ? shard_restore_record(restored, logged->body)
                 : logged->kind == LOG_DELTA ? shard_restore_delta(restored, logged->body)
                 : logged->kind == LOG_TOUCH ? shard_restore_touch(restored, logged->body)
                                             : shard_restore_bury(restored, logged->body);
        assert(rc == 0);
    }
    shard_restore_done(restored, world.now_ms);
    for (size_t i = 0; i < world.key_count && (world.switches & SWITCH_IDLE) == 0; i++) {
        struct bytes ours = inspect(world.shard, world.keys[i]);
        check_same(ours, inspect(restored, world.keys[i]));
    }
    shard_destroy(restored);
}

static void end(void)
{
    check_log();
    shard_destroy(world.shard);
    buffer_fini(&world.answer);
    buffer_fini(&world.record);
    for (size_t i = 0; i < world.block_count; i++) {
        free(world.blocks[i]);
    }
    free(world.blocks);
    free(world.logged);
}

#endif
