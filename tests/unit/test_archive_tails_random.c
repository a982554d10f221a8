/* Random histories of one node and what others stamped in its log: objects that are stored or come to nothing, of some of the
 * log; claims of the others, which die, and begin new lives that know nothing of what the ones before have lost; log that
 * is freed, and starts. In some there are more others than there is room for. Where the node says that all is archived,
 * it is. */
#include "archive_tails.h"

#include <stdio.h>

#include "check.h"
#include "random.h"

enum {
    SHARDS = 2,
    SELF = 1,
    NODES = 3, /* That say something... */
    CROWD =
        3 *
        ARCHIVE_TAILS_ACTORS_MAX, /* ... and with those that do not, in one of so many histories. */
    CROWD_ONE_OF = 50,
    CROWD_RECORDS = 12, /* At a time. */
    LIVES_MAX = 8,
    RECORDS_MAX = 600,
    BEHIND_MS = 100,
    RECORD_BYTES = 10
};

struct record {
    struct actor actor;
    uint64_t hlc;
    bool archived; /* By this node. */
};

/* An object that is under way. */
struct object {
    bool begun, made;
    struct archive_feed_note notes[SHARDS][RECORDS_MAX];
    uint32_t note_counts[SHARDS];
    uint64_t from[SHARDS], own[SHARDS], walked[SHARDS], to[SHARDS];
    struct archive_feed_taken taken[ARCHIVE_TAILS_TAKEN_MAX];
    uint32_t taken_count;
};

static struct world {
    uint64_t random, seed, now_ms, hlc;
    struct test_memory memory;
    struct archive_tails tails;
    struct record logs[SHARDS][RECORDS_MAX]; /* A record's LSN is its index times RECORD_BYTES. */
    uint32_t counts[SHARDS];
    uint64_t archived[SHARDS], kept[SHARDS]; /* What lies before `kept` is freed. */
    uint32_t nodes;                          /* Of which something comes. */
    uint32_t lives[CROWD + 1];               /* Which one a node's is. */
    uint64_t claimed[NODES + 1]
                    [LIVES_MAX]; /* What other nodes have archived of what they stamped in each. */
    bool down[CROWD + 1];
    struct object object;
    uint32_t checks, starts, rests;
} world;

static void start(void)
{
    const struct archive_tails_settings settings = {
        .shard_count = SHARDS, .self = {SELF, 1}, .behind_ms = BEHIND_MS, .mark_ms = 20};

    archive_tails_fini(&world.tails);
    archive_tails_init(&world.tails, &world.memory.memory, &settings);
    memcpy(world.archived, world.kept, sizeof world.archived);
    world.object.begun = world.object.made = false;
    world.starts++;
}

static uint64_t end_of(uint32_t shard)
{
    return (uint64_t)world.counts[shard] * RECORD_BYTES;
}

static void append(void)
{
    uint32_t shard = random_below(&world.random, SHARDS);

    if (world.counts[shard] < RECORDS_MAX) {
        /* What others stamped comes late, now and then. */
        uint64_t late = random_below(&world.random, 4) == 0 ? random_below(&world.random, 30) : 0;
        uint64_t hlc = ++world.hlc;
        uint32_t node = 1 + random_below(&world.random, world.nodes);
        world.logs[shard][world.counts[shard]++] = (struct record){
            .actor = {node, 1 + world.lives[node]}, .hlc = hlc > late ? hlc - late : hlc};
    }
}

static bool is_taken(const struct record *record)
{
    bool rest = false;

    for (uint32_t i = 0; i < world.object.taken_count; i++) {
        const struct archive_feed_taken *taken = &world.object.taken[i];
        if (actor_compare(taken->actor, record->actor) == 0) {
            return record->hlc > taken->hlc;
        }
        rest = rest || taken->actor.node == 0;
    }
    return rest;
}

/* Found or made. */
static struct archive_feed_note *note_of(uint32_t shard, struct actor actor, uint64_t lsn)
{
    struct object *object = &world.object;
    struct archive_feed_note *notes = object->notes[shard];
    uint32_t count = object->note_counts[shard];

    for (uint32_t i = 0; i < count; i++) {
        if (actor_compare(notes[i].actor, actor) == 0) {
            return &notes[i];
        }
    }
    object->note_counts[shard]++;
    notes[count] = (struct archive_feed_note){.shard = shard, .actor = actor, .first_lsn = lsn};
    return &notes[count];
}

/* What archive_feed.c does of one shard. */
static void walk(uint32_t shard)
{
    struct object *object = &world.object;
    uint32_t first = (uint32_t)(object->from[shard] / RECORD_BYTES);
    uint32_t left = world.counts[shard] - first;
    uint32_t end = left == 0 ? first : first + 1 + random_below(&world.random, left);

    for (uint32_t i = first; i < end; i++) {
        const struct record *record = &world.logs[shard][i];
        if (record->actor.node == SELF) {
            continue;
        }
        struct archive_feed_note *note = note_of(shard, record->actor, (uint64_t)i * RECORD_BYTES);
        note->last_lsn = (uint64_t)i * RECORD_BYTES;
        note->newest_hlc = record->hlc > note->newest_hlc ? record->hlc : note->newest_hlc;
    }
    object->walked[shard] = (uint64_t)end * RECORD_BYTES;
    object->to[shard] = object->walked[shard];
    if (end > first &&
        random_below(&world.random, 5) == 0) { /* Some session cannot be told of yet. */
        object->to[shard] -= (uint64_t)random_below(&world.random, end - first) * RECORD_BYTES;
    }
}

/* Begin one; one that is under way came to nothing. */
static void build(void)
{
    struct object *object = &world.object;

    memcpy(object->from, world.archived, sizeof object->from);
    memcpy(object->own, world.archived, sizeof object->own);
    object->taken_count = archive_tails_build(&world.tails, object->from, object->taken);
    object->begun = true;
    object->made = false;
    memset(object->note_counts, 0, sizeof object->note_counts);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_true(object->from[i] >= world.kept[i]); /* It is there. */
        walk(i);
    }
}

/* The walks are over. */
static void made(void)
{
    struct object *object = &world.object;

    for (uint32_t i = 0; i < SHARDS && object->begun && !object->made; i++) {
        for (uint32_t j = 0; j < object->note_counts[i]; j++) {
            assert_int_equal(archive_tails_note(&world.tails, &object->notes[i][j], world.now_ms),
                             0);
        }
        archive_tails_walked(&world.tails, i, object->walked[i]);
    }
    object->made = object->begun;
}

static void store(void)
{
    struct object *object = &world.object;

    if (!object->made) {
        return;
    }
    object->begun = object->made = false;
    for (uint32_t i = 0; i < SHARDS; i++) {
        for (uint64_t lsn = object->from[i]; lsn < object->to[i]; lsn += RECORD_BYTES) {
            struct record *record = &world.logs[i][lsn / RECORD_BYTES];
            record->archived = record->archived || is_taken(record) ||
                               (record->actor.node == SELF && lsn >= object->own[i]);
        }
        world.archived[i] = object->to[i] > world.archived[i] ? object->to[i] : world.archived[i];
    }
    archive_tails_stored(&world.tails, object->to);
}

static void keep(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint64_t begin = archive_tails_begin(&world.tails, i, world.archived[i]);
        assert_true(begin >= world.kept[i]);
        world.kept[i] = begin;
    }
}

static void claim(void)
{
    uint32_t node = 2 + random_below(&world.random, NODES - 1);
    uint64_t back = random_below(&world.random, 40);

    if (!world.down[node] && world.hlc > back) {
        uint64_t hlc = world.hlc - back, *claimed = &world.claimed[node][world.lives[node]];
        const struct actor actor = {node, 1 + world.lives[node]};
        *claimed = hlc > *claimed ? hlc : *claimed;
        (void)archive_tails_has(&world.tails, actor, hlc, world.now_ms);
    }
}

static void begin_life(void)
{
    uint32_t node = 2 + random_below(&world.random, NODES - 1);

    world.lives[node] += world.lives[node] + 1 < LIVES_MAX;
}

static uint64_t claimed(struct actor actor)
{
    return actor.node <= NODES ? world.claimed[actor.node][actor.start - 1] : 0;
}

static bool step(void)
{
    for (uint32_t i = 0; i < world.tails.actor_count; i++) {
        uint32_t node = world.tails.actors[i].actor.node;
        archive_tails_down(&world.tails, i, node == 0 || world.down[node]);
        world.rests += node == 0;
    }
    return archive_tails_step(&world.tails, random_below(&world.random, 10) == 0, world.now_ms);
}

/* Does it say that all is archived? */
static bool is_done(void)
{
    bool done = archive_tails_behind_ms(&world.tails, world.now_ms) == 0;

    for (uint32_t i = 0; i < SHARDS; i++) {
        done = done && world.archived[i] == end_of(i);
    }
    return done;
}

static void check_archived(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        for (uint32_t j = 0; j < world.counts[i]; j++) {
            const struct record *record = &world.logs[i][j];
            if (!record->archived && record->hlc > claimed(record->actor)) {
                print_error("seed %llu: shard %u, record %u of node %u is nowhere\n",
                            (unsigned long long)world.seed, i, j, record->actor.node);
                fail();
            }
        }
    }
    world.checks++;
}

static void event(void)
{
    world.now_ms += random_below(&world.random, 20);
    switch (random_below(&world.random, 24)) {
    case 0:
        if (random_below(&world.random, 8) == 0) {
            start();
        } else if (random_below(&world.random, 2) == 0) {
            begin_life();
        }
        break;
    case 1:
        world.down[2 + random_below(&world.random, world.nodes - 1)] =
            random_below(&world.random, 2);
        break;
    case 2:
    case 3:
        claim();
        break;
    case 4:
    case 5:
        keep();
        break;
    case 6:
    case 7:
        build();
        break;
    case 8:
    case 9:
        made();
        break;
    case 10:
    case 14:
        store();
        break;
    case 11:
    case 12:
    case 13:
        (void)step();
        break;
    default:
        for (uint32_t i = 0; i < (world.nodes == CROWD ? CROWD_RECORDS : 1); i++) {
            append();
        }
        break;
    }
    if (is_done()) {
        check_archived();
    }
}

static uint64_t rounds(uint64_t otherwise)
{
    const char *wish = getenv("BELAY_ROUNDS");

    return wish == NULL ? otherwise : strtoull(wish, NULL, 10);
}

static void test_histories(void **state)
{
    uint64_t checks = 0, starts = 0, rests = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= rounds(3000); seed++) {
        world = (struct world){
            .random = seed, .seed = seed, .now_ms = 1000, .hlc = 100, .memory = test_memory()};
        world.nodes = seed % CROWD_ONE_OF == 10 ? CROWD : NODES;
        start();
        for (uint32_t i = 0; i < 300; i++) {
            event();
        }
        world.down[2] = true; /* One is lost, another one says nothing any more. */
        for (uint32_t i = 0; step() || !is_done(); i++) {
            assert_true(i < 2000);
            world.now_ms += BEHIND_MS;
            build();
            made();
            store();
            keep();
        }
        check_archived();
        keep();
        for (uint32_t i = 0; i < SHARDS; i++) {
            assert_int_equal(world.kept[i], end_of(i));
        }
        checks += world.checks - 1;
        starts += world.starts - 1;
        rests += world.rests;
        archive_tails_fini(&world.tails);
        assert_int_equal(world.memory.outstanding_bytes, 0);
    }
    assert_true(checks > 0 && starts > 0 && rests > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
