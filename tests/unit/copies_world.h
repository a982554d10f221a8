/* A shard with other nodes around it: a copies port that keeps what goes out, and another node's writes. */
#ifndef COPIES_WORLD_H
#define COPIES_WORLD_H

#include "cold_world.h"
#include "session_kit.h"

enum { SENT_MAX = 64, TOLD_MAX = 64, ANSWER_HOLDS_MS = 5000 };

struct sent {
    uint8_t kind;
    uint64_t position, hlc, number;
    uint8_t body[4096];
    size_t size;
};

static struct copies_world {
    struct copies_port port;
    bool nobody;            /* No other owner can be reached... */
    bool unreachable;       /* ... and it is known before. */
    bool alone;             /* There is none... */
    uint64_t awaited;       /* ... and the copy that all others are to have... */
    uint64_t awaited_first; /* ... or the first owner. */
    struct sent sent[SENT_MAX];
    uint32_t sent_count;
    uint64_t number; /* Of the last copy. */
    struct {
        uint64_t ticket;
        enum status status;
    } told[TOLD_MAX];
    uint32_t told_count;
    uint32_t given, done; /* Of shard_whole(). */
    enum status done_status;
    struct buffer gave; /* The last one. */
    bool agreed;        /* That what has expired is buried. */
    uint64_t known_ms;
    uint32_t asked;
    bool answers; /* Others agree once they are asked, and that holds for a while. */
    uint64_t asked_ms;
    uint64_t ticket;
    struct kit kit; /* The other node. */
} copies;

static uint64_t copies_append(struct copies_port *port, uint8_t kind, uint64_t position,
                              uint64_t hlc, const struct bytes parts[], uint32_t part_count)
{
    struct sent *sent = &copies.sent[copies.sent_count++ % SENT_MAX];

    (void)port;
    *sent = (struct sent){.kind = kind, .position = position, .hlc = hlc};
    for (uint32_t i = 0; i < part_count; i++) {
        assert_true(sent->size + parts[i].size <= sizeof sent->body);
        memcpy(sent->body + sent->size, parts[i].data, parts[i].size);
        sent->size += parts[i].size;
    }
    sent->number = copies.nobody ? 0 : ++copies.number;
    return sent->number;
}

static void copies_merged(struct copies_port *port, uint64_t ticket, enum status status)
{
    (void)port;
    assert_true(copies.told_count < TOLD_MAX);
    copies.told[copies.told_count].ticket = ticket;
    copies.told[copies.told_count++].status = status;
}

static void copies_whole(struct copies_port *port, uint64_t ticket, struct bytes record)
{
    (void)port;
    assert_int_equal(ticket, copies.ticket);
    copies.given++;
    copies.gave.size = 0;
    assert_int_equal(buffer_append(&copies.gave, record), 0);
}

static void copies_whole_done(struct copies_port *port, uint64_t ticket, enum status status)
{
    (void)port;
    assert_int_equal(ticket, copies.ticket);
    copies.done++;
    copies.done_status = status;
}

static bool copies_may_bury(struct copies_port *port, uint64_t position, struct bytes key,
                            struct bytes record, bool *asked)
{
    (void)port;
    assert_int_equal(position, keeper_position(world.options.seed, key));
    assert_bytes_equal(session_key(record), key);
    copies.asked++;
    *asked = copies.answers && world.now_ms > copies.asked_ms + ANSWER_HOLDS_MS;
    copies.asked_ms = *asked ? world.now_ms : copies.asked_ms;
    return copies.answers ? !*asked : copies.agreed;
}

static bool copies_reaches(struct copies_port *port, uint64_t position)
{
    (void)port;
    (void)position;
    return !copies.unreachable;
}

static uint64_t copies_known_ms(struct copies_port *port, uint64_t position)
{
    (void)port;
    (void)position;
    return copies.known_ms;
}

static bool copies_await_all(struct copies_port *port, uint64_t position, uint64_t number)
{
    (void)port;
    assert_int_equal(position, copies.sent[(copies.sent_count - 1) % SENT_MAX].position);
    copies.awaited = number;
    return !copies.alone;
}

static void copies_await_first(struct copies_port *port, uint64_t position, uint64_t number)
{
    (void)port;
    assert_int_equal(position, copies.sent[(copies.sent_count - 1) % SENT_MAX].position);
    copies.awaited_first = number;
}

/* A shard that is not alone, with a store behind it. */
static inline void copies_begin(void)
{
    memset(&copies, 0, sizeof copies);
    copies.port = (struct copies_port){
        .append = copies_append,
        .merged = copies_merged,
        .whole = copies_whole,
        .whole_done = copies_whole_done,
        .may_bury = copies_may_bury,
        .reaches = copies_reaches,
        .known_ms = copies_known_ms,
        .await_all = copies_await_all,
        .await_first = copies_await_first,
    };
    copies.agreed = true;
    kit_init(&copies.kit);
    copies.kit.actor = (struct actor){2, 1};
    copies.kit.type = SESSION_BLOB;
    copies.gave.memory = &copies.kit.memory.memory;
    begin_roomy();
    shard_set_copies(world.shard, &copies.port);
    copies.kit.now_ms = world.now_ms;
}

static inline void copies_end(void)
{
    buffer_fini(&copies.gave);
    kit_fini(&copies.kit);
    end();
}

/* The other node writes; `copy_*` gives to the shard here what it would send. */
static inline void other_put(const char *key, const char *value)
{
    if (!bytes_equal(copies.kit.key, text(key))) {
        copies.kit.key = text(key);
        copies.kit.record.size = 0;
    }
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text(value))), STATUS_OK);
}

/* Returns the ticket. */
static inline uint64_t copy_bytes(uint8_t kind, const char *key, struct bytes body)
{
    const struct shard_copy copy = {
        .ticket = ++copies.ticket,
        .kind = kind,
        .position = keeper_position(world.options.seed, text(key)),
        .body = body,
    };

    shard_copy(world.shard, &copy, world.now_ms, world.now_us);
    return copies.ticket;
}

/* Returns what was said of it, from within. */
static inline enum status copy_now(uint8_t kind, const char *key, struct bytes body)
{
    uint32_t before = copies.told_count;
    uint64_t ticket = copy_bytes(kind, key, body);

    assert_int_equal(copies.told_count, before + 1);
    assert_int_equal(copies.told[before].ticket, ticket);
    return copies.told[before].status;
}

static inline enum status copy_full(void)
{
    char key[64] = "";

    memcpy(key, copies.kit.key.data, copies.kit.key.size);
    return copy_now(LOG_FULL, key, buffer_bytes(&copies.kit.record));
}

static inline enum status copy_delta(void)
{
    char key[64] = "";

    memcpy(key, copies.kit.key.data, copies.kit.key.size);
    assert_true(copies.kit.written.delta.size > 0);
    return copy_now(LOG_DELTA, key, buffer_bytes(&copies.kit.written.delta));
}

/* A write that waits. Returns its ticket. */
static inline uint64_t put_held(const char *key, const char *value, enum ack_level ack)
{
    struct request request = world_put_of(key, value);

    request.ack = (uint8_t)ack;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(world.answer.held);
    return world.answer.ticket;
}

/* What the shard has of a key. */
static inline struct bytes here(const char *key)
{
    return keeper_find(world.shard->keeper, keeper_position(world.options.seed, text(key)),
                       text(key));
}

static inline const struct logged *last_logged(void)
{
    return &world.records[world.record_count - 1];
}

static inline const struct sent *last_sent(void)
{
    return &copies.sent[(copies.sent_count - 1) % SENT_MAX];
}

#endif
