/* The steps of a rename between two slots of a cluster, at a shard in its glass case. */
#ifndef MOVE_WORLD_H
#define MOVE_WORLD_H

#include "alias.h"
#include "copies_world.h"
#include "move.h"
#include "slot.h"

static uint16_t tags[SLOT_COUNT];

static inline void begin_moves(void)
{
    rename_tags(tags);
    copies_begin();
    assert_int_equal(world_put("old", "treasure"), STATUS_OK);
    world_pass(10);
}

/* Returns what the answer begins with; with an error 0. */
static inline int ask(const struct procedure *procedure, struct bytes key, struct bytes body)
{
    enum status status =
        world_run((struct request){.op = procedure == &move_look ? REQUEST_GET : REQUEST_WRITE,
                                   .mode = WRITE_UPSERT,
                                   .key = key,
                                   .body = body,
                                   .procedure = procedure});
    return status == STATUS_OK ? world.answer.reply.results.data[0] : 0;
}

/* What follows in the answer. */
static inline struct bytes rest(void)
{
    struct bytes results = world.answer.reply.results;

    return bytes_of(results.data + 1, results.size - 1);
}

static inline uint8_t *put_id(uint8_t *to, uint64_t id, const char *old)
{
    uint16_t tag = tags[slot_of_key(text(old))];

    store_u64(to, id);
    to[8] = (uint8_t)(tag >> 8);
    to[9] = (uint8_t)tag;
    return to + 10;
}

static inline struct bytes letter(uint64_t id, const char *old)
{
    static uint8_t room[MOVE_KEY_BYTES];

    return move_letter_key(tags[slot_of_key(text(old))], id, room);
}

/* What the last commit gave. */
static uint8_t intent[4096];
static size_t intent_size;

static inline int commit(uint64_t id, const char *from, const char *to, bool only_new)
{
    uint8_t body[64], *at = put_id(body, id, from);

    *at++ = only_new;
    memcpy(at, to, strlen(to));
    int answer = ask(&move_commit, text(from), bytes_of(body, (size_t)(at - body) + strlen(to)));
    intent_size = answer == RENAME_DONE ? rest().size : 0;
    memcpy(intent, rest().data, intent_size);
    return answer;
}

static uint8_t birth[16];
static bool receipts_are_many;

static inline int deliver(const char *to)
{
    int answer = ask(&move_deliver, text(to), bytes_of(intent, intent_size));

    if (answer == RENAME_DONE) {
        assert_int_equal(rest().size, sizeof birth + 1);
        memcpy(birth, rest().data, sizeof birth);
    }
    receipts_are_many = answer != 0 && rest().size > 0 && rest().data[rest().size - 1] != 0;
    return answer;
}

/* The session whose letter was refused. */
static inline int bring_back(uint64_t id, const char *from)
{
    uint8_t body[sizeof intent + 2];

    memcpy(body, letter(id, from).data + 3, 2);
    memcpy(body + 2, intent, intent_size);
    return ask(&move_back, text(from), bytes_of(body, intent_size + 2));
}

static inline int forget(uint64_t id, const char *to)
{
    uint8_t body[8];

    store_u64(body, id);
    return ask(&move_forget, text(to), bytes_of(body, sizeof body));
}

static inline int arrive(uint64_t id, const char *from)
{
    uint8_t body[64], *at = put_id(body, id, from);

    memcpy(at, birth, sizeof birth);
    return ask(&move_arrive, text(from), bytes_of(body, (size_t)(at - body) + sizeof birth));
}

static inline void expect(const char *key, const char *value)
{
    assert_int_equal(world_get(key), value == NULL ? STATUS_NOT_FOUND : STATUS_OK);
    if (value != NULL) {
        assert_string_equal(world.answer.blob, value);
    }
}

/* What the shard says is left to do. */
static uint32_t letters, unsettled;

static inline bool visit(void *context, struct bytes key, struct bytes target)
{
    (void)context;
    assert_int_equal(target.size > 0, move_is_letter(key));
    letters += move_is_letter(key);
    unsettled += !move_is_letter(key);
    return true;
}

static inline void look_around(void)
{
    letters = unsettled = 0;
    while (!shard_visit_moved(world.shard, 16, visit, NULL)) {
    }
}

static inline void move(uint64_t id, const char *from, const char *to)
{
    assert_int_equal(commit(id, from, to, false), RENAME_DONE);
    assert_int_equal(deliver(to), RENAME_DONE);
    assert_int_equal(arrive(id, from), RENAME_DONE);
}

/* So many that the dedup window has nothing else. */
static inline void write_often(const char *key, const char *value, uint64_t sequence)
{
    for (uint32_t i = 0; i <= DEDUP_ITEMS_MAX; i++) {
        struct request put = world_put_of(key, value);
        put.client = 7;
        put.sequence = sequence + i;
        assert_int_equal(world_run(put), STATUS_OK);
    }
}

/* The other node has the session as it was here. */
static inline void other_has(const char *key)
{
    copies.kit.key = text(key);
    copies.kit.record.size = 0;
    assert_int_equal(buffer_append(&copies.kit.record, here(key)), 0);
    copies.kit.now_ms = world.now_ms;
}

#endif
