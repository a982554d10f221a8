/* Several nodes' replication in one thread: each with shards that keep real session records in a plain table, links
 * between all of them that delay, fill up and break, and virtual time. What the world does is a function of its seed.
 *
 *   world_init(), world_node() for each node, world_own() or world_table(), world_start() ... world_run(), world_fini()
 */
#ifndef REPLICATION_WORLD_H
#define REPLICATION_WORLD_H

#include "check.h"
#include "eras.h"

#include <assert.h>
#include <stdio.h>

#include "heap.h"
#include "keeper.h"
#include "log_kind.h"
#include "random.h"
#include "record.h"
#include "replication.h"
#include "session.h"

enum {
    WORLD_NODES_MAX = 5,
    WORLD_SHARDS_MAX = 4,
    WORLD_UNITS_MAX = 12,
    WORLD_STEP_US = 200,
    WORLD_WRITES_MAX = 30000,
    WORLD_NOW_MS = 1700000000,
    WORLD_REDIAL_US = 3000,
};

/* A session that is kept. Never goes, but with its slot or its burial. */
struct world_session {
    uint64_t position, hash;
    struct buffer record;
};

struct world_message {
    struct world_message *next;
    uint64_t due_us, number;
    uint8_t kind;
    size_t size;
    uint8_t body[];
};

/* What was written, for world_check_seen(). */
struct world_write {
    uint32_t slot;
    uint64_t position;
    struct stamp stamp;
    char key[32];
};

/* One end's half of a link: what is on the way to the other end. */
struct world_half {
    struct world_message *first, *last;
    uint32_t count;
};

struct world_link {
    struct world_unit *ends[2]; /* Who dialled; the other one. */
    struct replication_link *links[2];
    struct world_half halves[2]; /* From that end. */
    bool up, cut[2], full[2];
    uint64_t redial_us;
};

/* A copy that waits in the shard. */
struct world_parked {
    uint64_t ticket, position;
    uint8_t kind;
    struct buffer body;
};

/* A shard of a node. */
struct world_unit {
    struct replication_port port;
    struct replication_shard core;
    struct world *world;
    uint32_t node, shard;
    struct replication *r;
    struct seen seen;
    struct eras eras;
    struct world_session *sessions; /* By position, then key. */
    uint32_t count, capacity;
    uint64_t hlc;
    struct session_written written;
    uint64_t next_tick_us;
    bool ready;
    enum status refuses; /* Copies are answered so; OK: they are taken. */
    uint64_t park;       /* Copies of this position wait; 0: none... */
    uint8_t park_kind;   /* ... of this kind; 0: any. */
    uint64_t ended;      /* The next copy of this position is of a session that ended here... */
    struct buffer end;   /* ... so: that is put in its place, and it is answered DESTROYED. */
    struct world_parked *parked;
    uint32_t parked_count;
    uint64_t copied, uncopied; /* The last number of each. */
    uint64_t copied_count;
    uint64_t reports; /* level() */
    bool reported[SLOT_COUNT];
    uint32_t reported_slots;
    uint64_t merges; /* Copies that came. */
    uint64_t walked_most, walked;
    uint32_t drops;
    uint64_t room;   /* That its log has for sessions of comparisons. */
    bool hangs;      /* Its disk: nothing that comes gets durable, but the first so many... */
    uint64_t stored; /* ... of `merges`. */
    uint32_t stuck;  /* Times that it was said of another node. */
};

struct world_node {
    bool up, paused; /* Paused: nothing of it happens. What comes waits. */
    uint32_t shards, start;
    struct slot_table *table;
    uint32_t units[WORLD_SHARDS_MAX];
};

struct world {
    uint64_t random, now_us;
    uint64_t delay_us, jitter_us; /* Of messages. */
    uint32_t capacity;            /* Messages on the way on a half. */
    uint32_t replicas, node_count, unit_count;
    uint64_t heal_bytes_per_s;
    uint32_t round_ms, silence_ms;
    uint64_t window_bytes;
    struct world_node nodes[WORLD_NODES_MAX + 1]; /* By number. */
    struct world_unit units[WORLD_UNITS_MAX];
    bool blocked[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1];    /* From, to: nothing passes. */
    struct world_link links[WORLD_UNITS_MAX][WORLD_UNITS_MAX]; /* Who dialled first. */
    uint64_t sent[REPLICATION_KINDS_END];
    uint8_t deaf; /* Messages of this kind are not heard; 0: all are. */
    struct world_write writes[WORLD_WRITES_MAX];
    uint32_t write_count; /* Those past the last place are not noted. */
    struct session_view view;
};

static inline uint64_t world_now_ms(const struct world *world)
{
    return WORLD_NOW_MS * UINT64_C(1000) + world->now_us / 1000;
}

/* ---- The table of sessions ---- */

static inline uint64_t world_hash(struct bytes record)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < record.size; i++) {
        hash = (hash ^ record.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static inline uint32_t world_place(const struct world_unit *unit, uint64_t position,
                                   struct bytes key)
{
    uint32_t low = 0, high = unit->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct world_session *session = &unit->sessions[middle];
        int order = session->position < position ? -1
                    : session->position > position
                        ? 1
                        : bytes_compare(session_key(buffer_bytes(&session->record)), key);
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static inline struct world_session *world_find(struct world_unit *unit, uint64_t position,
                                               struct bytes key)
{
    uint32_t place = world_place(unit, position, key);

    if (place < unit->count && unit->sessions[place].position == position &&
        bytes_equal(session_key(buffer_bytes(&unit->sessions[place].record)), key)) {
        return &unit->sessions[place];
    }
    return NULL;
}

static inline void world_set(struct world_unit *unit, uint64_t position, struct bytes record)
{
    const struct bytes key = session_key(record);
    struct world_session *session = world_find(unit, position, key);

    if (session == NULL) {
        uint32_t place = world_place(unit, position, key);
        if (unit->count == unit->capacity) {
            unit->capacity = unit->capacity == 0 ? 64 : 2 * unit->capacity;
            unit->sessions = realloc(unit->sessions, unit->capacity * sizeof *unit->sessions);
        }
        memmove(&unit->sessions[place + 1], &unit->sessions[place],
                (unit->count - place) * sizeof *unit->sessions);
        session = &unit->sessions[place];
        *session =
            (struct world_session){.position = position, .record = {.memory = heap_memory()}};
        unit->count++;
    }
    session->record.size = 0;
    assert_int_equal(buffer_append(&session->record, record), 0);
    session->hash = world_hash(record);
}

static inline void world_remove(struct world_unit *unit, struct world_session *session)
{
    uint32_t place = (uint32_t)(session - unit->sessions);

    buffer_fini(&session->record);
    memmove(session, session + 1, (unit->count - place - 1) * sizeof *session);
    unit->count--;
}

static inline void world_forget(struct world_unit *unit)
{
    while (unit->count > 0) {
        buffer_fini(&unit->sessions[--unit->count].record);
    }
    free(unit->sessions);
    unit->sessions = NULL;
    unit->capacity = 0;
}

/* ---- The shard ---- */

static inline struct world_unit *unit_of_core(struct replication_shard *core)
{
    return (struct world_unit *)((char *)core - offsetof(struct world_unit, core));
}

static inline enum status world_merge_one(struct world_unit *unit, uint8_t kind, uint64_t position,
                                          struct bytes body)
{
    struct buffer out = {.memory = heap_memory()};
    struct world_session *session;
    int rc;

    if (kind == LOG_DELTA ? session_check_delta(body) != 0 : session_check(body) != 0) {
        return STATUS_INVALID;
    }
    session = world_find(unit, position, session_key(body));
    struct bytes here = session == NULL ? bytes_of(NULL, 0) : buffer_bytes(&session->record);
    if (kind == LOG_DELTA) {
        rc = session_apply_delta(here, body, &out);
    } else if (here.size == 0) {
        rc = buffer_append(&out, body);
    } else {
        rc = session_merge(here, body, &out);
    }
    if (rc == 0) {
        world_set(unit, position, buffer_bytes(&out));
    }
    buffer_fini(&out);
    return rc == 0 ? STATUS_OK : rc == -ESTALE ? STATUS_VERSION_MISMATCH : STATUS_INVALID;
}

static inline enum status world_merge(struct world_unit *unit, uint8_t kind, uint64_t position,
                                      struct bytes body)
{
    struct reader batch = reader_of(body);
    enum status status = STATUS_OK;

    if (kind != LOG_BATCH) {
        return world_merge_one(unit, kind, position, body);
    }
    while (reader_left(&batch) > 0 && status == STATUS_OK) {
        uint8_t item = read_u8(&batch);
        uint64_t at = read_u64(&batch);
        status = world_merge_one(unit, item, at, read_string(&batch));
    }
    return status;
}

static inline void world_copy(struct replication_shard *core, const struct replication_copy *copy,
                              uint64_t now_ms, uint64_t now_us)
{
    struct world_unit *unit = unit_of_core(core);

    (void)now_ms;
    (void)now_us;
    unit->merges++;
    if (unit->refuses != STATUS_OK) {
        replication_merged(unit->r, copy->ticket, unit->refuses);
        return;
    }
    if (unit->ended != 0 && unit->ended == copy->position) {
        unit->ended = 0;
        world_set(unit, copy->position, buffer_bytes(&unit->end));
        replication_merged(unit->r, copy->ticket, STATUS_DESTROYED);
        return;
    }
    if (unit->park != 0 && unit->park == copy->position &&
        (unit->park_kind == 0 || unit->park_kind == copy->kind)) {
        unit->parked = realloc(unit->parked, (unit->parked_count + 1) * sizeof *unit->parked);
        struct world_parked *parked = &unit->parked[unit->parked_count++];
        *parked = (struct world_parked){
            copy->ticket, copy->position, copy->kind, {.memory = heap_memory()}};
        assert_int_equal(buffer_append(&parked->body, copy->body), 0);
        return;
    }
    replication_merged(unit->r, copy->ticket,
                       world_merge(unit, copy->kind, copy->position, copy->body));
}

/* What was parked is merged, the last one first. */
static inline void world_unpark(struct world_unit *unit)
{
    unit->park = 0;
    while (unit->parked_count > 0) {
        struct world_parked *parked = &unit->parked[--unit->parked_count];
        enum status status =
            world_merge(unit, parked->kind, parked->position, buffer_bytes(&parked->body));
        uint64_t ticket = parked->ticket;
        buffer_fini(&parked->body);
        replication_merged(unit->r, ticket, status);
    }
    free(unit->parked);
    unit->parked = NULL;
}

static inline void world_copied(struct replication_shard *core, uint64_t number, uint64_t now_us)
{
    struct world_unit *unit = unit_of_core(core);

    (void)now_us;
    unit->copied = number;
    unit->copied_count++;
}

static inline void world_uncopied(struct replication_shard *core, uint64_t number, uint64_t now_us)
{
    (void)now_us;
    assert_true(number > unit_of_core(core)->uncopied);
    unit_of_core(core)->uncopied = number;
}

static inline void world_walk(struct replication_shard *core, uint64_t first, uint64_t last,
                              bool hashes,
                              bool (*visit)(void *context, uint64_t position, uint64_t hash),
                              void *context)
{
    struct world_unit *unit = unit_of_core(core);

    for (uint32_t i = world_place(unit, first, bytes_of(NULL, 0)); i < unit->count; i++) {
        unit->walked++;
        if (unit->sessions[i].position > last ||
            !visit(context, unit->sessions[i].position, hashes ? unit->sessions[i].hash : 0)) {
            return;
        }
    }
}

static inline int world_whole(struct replication_shard *core, uint64_t position, uint64_t ticket,
                              uint64_t now_us)
{
    struct world_unit *unit = unit_of_core(core);

    (void)now_us;
    for (uint32_t i = world_place(unit, position, bytes_of(NULL, 0));
         i < unit->count && unit->sessions[i].position == position; i++) {
        replication_whole(unit->r, ticket, buffer_bytes(&unit->sessions[i].record));
    }
    replication_whole_done(unit->r, ticket, STATUS_OK);
    return 0;
}

static inline int world_drop(struct replication_shard *core, uint32_t slot, uint64_t now_ms)
{
    struct world_unit *unit = unit_of_core(core);
    const uint64_t first = (uint64_t)slot << (64 - SLOT_BITS);

    (void)now_ms;
    unit->drops++;
    eras_forget(&unit->eras, &unit->seen, slot, unit->hlc);
    seen_forget(&unit->seen, slot);
    for (int steps = 0; steps < 4; steps++) {
        uint32_t place = world_place(unit, first, bytes_of(NULL, 0));
        if (place == unit->count || unit->sessions[place].position >> (64 - SLOT_BITS) != slot) {
            return 0;
        }
        world_remove(unit, &unit->sessions[place]);
    }
    return 1;
}

static inline bool world_lookup(struct replication_shard *core, uint64_t position, struct bytes key,
                                struct bytes *record)
{
    struct world_session *session = world_find(unit_of_core(core), position, key);

    *record = session == NULL ? bytes_of(NULL, 0) : buffer_bytes(&session->record);
    return true;
}

static inline bool world_ready(struct replication_shard *core)
{
    return unit_of_core(core)->ready;
}

static inline uint64_t world_appended(struct replication_shard *core)
{
    return unit_of_core(core)->merges;
}

static inline bool world_durable(struct replication_shard *core, uint64_t lsn)
{
    const struct world_unit *unit = unit_of_core(core);

    return !unit->hangs || lsn <= unit->stored;
}

/* The disks of a node hang from now on. */
static inline void world_hang(struct world *world, uint32_t number)
{
    for (uint32_t shard = 0; shard < world->nodes[number].shards; shard++) {
        struct world_unit *unit = &world->units[world->nodes[number].units[shard]];
        unit->hangs = true;
        unit->stored = unit->merges;
    }
}

/* ---- The network ---- */

static inline struct world_unit *unit_of_port(struct replication_port *port)
{
    return (struct world_unit *)((char *)port - offsetof(struct world_unit, port));
}

static inline uint32_t world_end(const struct world_link *link, const struct world_unit *unit)
{
    return link->ends[0] == unit ? 0 : 1;
}

static inline bool world_send(struct replication_port *port, void *context, uint8_t kind,
                              uint64_t number, const struct bytes parts[], uint32_t part_count)
{
    struct world_unit *unit = unit_of_port(port);
    struct world *world = unit->world;
    struct world_link *link = context;
    struct world_half *half = &link->halves[world_end(link, unit)];
    size_t size = 0;

    assert_true(link->up);
    if (half->count >= world->capacity) {
        link->full[world_end(link, unit)] = true;
        return false;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    assert_true(size <= REPLICATION_BODY_BYTES_MAX);
    struct world_message *message = malloc(sizeof *message + size);
    *message = (struct world_message){.number = number, .kind = kind, .size = size};
    message->due_us =
        world->now_us + world->delay_us +
        (world->jitter_us == 0 ? 0 : random_below(&world->random, (uint32_t)world->jitter_us));
    if (half->last != NULL && message->due_us < half->last->due_us) {
        message->due_us = half->last->due_us;
    }
    uint8_t *to = message->body;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
            to += parts[i].size;
        }
    }
    if (half->last == NULL) {
        half->first = message;
    } else {
        half->last->next = message;
    }
    half->last = message;
    half->count++;
    world->sent[kind]++;
    return true;
}

/* For a port's `unheeded`: nothing passes between the two machines. (A process that is paused is another matter.) */
static inline bool world_unheeded(struct replication_port *port, void *context, uint64_t us)
{
    const struct world *world = unit_of_port(port)->world;
    const struct world_link *link = context;
    const uint32_t a = link->ends[0]->node, b = link->ends[1]->node;

    (void)us;
    return world->blocked[a][b] || world->blocked[b][a];
}

static inline void world_cut(struct replication_port *port, void *context)
{
    struct world_link *link = context;

    link->cut[world_end(link, unit_of_port(port))] = true;
}

static inline void world_level(struct replication_port *port, uint32_t slot,
                               const struct slot_owners *targets)
{
    struct world_unit *unit = unit_of_port(port);

    assert_true(targets->nodes[0] != 0);
    unit->reports++;
    unit->reported_slots += !unit->reported[slot];
    unit->reported[slot] = true;
}

static inline uint64_t world_room(struct replication_port *port)
{
    return unit_of_port(port)->room;
}

static inline void world_stuck(struct replication_port *port, uint32_t node, bool stuck)
{
    struct world_unit *unit = unit_of_port(port);

    assert_true(node != unit->node);
    unit->stuck += stuck;
}

static inline void half_empty(struct world_half *half)
{
    while (half->first != NULL) {
        struct world_message *message = half->first;
        half->first = message->next;
        free(message);
    }
    *half = (struct world_half){0};
}

/* The link breaks: what was on its way is lost, on either end. */
static inline void world_break(struct world *world, struct world_link *link)
{
    if (!link->up) {
        return;
    }
    link->up = false;
    link->redial_us = world->now_us + WORLD_REDIAL_US;
    for (int end = 0; end < 2; end++) {
        half_empty(&link->halves[end]);
        if (link->links[end] != NULL) {
            replication_link_down(link->ends[end]->r, link->links[end], world_now_ms(world),
                                  world->now_us);
            link->links[end] = NULL;
        }
        link->cut[end] = link->full[end] = false;
    }
}

static inline bool world_passes(const struct world *world, const struct world_link *link)
{
    const struct world_unit *from = link->ends[0], *to = link->ends[1];

    return world->nodes[from->node].up && world->nodes[to->node].up &&
           !world->nodes[from->node].paused && !world->nodes[to->node].paused &&
           !world->blocked[from->node][to->node] && !world->blocked[to->node][from->node];
}

static inline void world_dial(struct world *world, struct world_link *link)
{
    struct world_unit *from = link->ends[0], *to = link->ends[1];
    const struct world_node *here = &world->nodes[from->node], *there = &world->nodes[to->node];
    const struct replication_peer out = {true, to->node, there->start, to->shard, there->shards};
    const struct replication_peer in = {false, from->node, here->start, from->shard, here->shards};

    if (here->table == NULL || there->table == NULL) {
        return;
    }
    link->up = true;
    assert_int_equal(replication_link_up(from->r, &out, link, world_now_ms(world), world->now_us,
                                         &link->links[0]),
                     0);
    assert_int_equal(
        replication_link_up(to->r, &in, link, world_now_ms(world), world->now_us, &link->links[1]),
        0);
}

static inline void world_deliver(struct world *world, struct world_link *link)
{
    for (int end = 0; end < 2; end++) {
        struct world_half *half = &link->halves[end];
        struct world_unit *to = link->ends[1 - end];
        if (world->blocked[link->ends[end]->node][to->node] || world->nodes[to->node].paused) {
            continue; /* It waits, as behind a cable that is out. */
        }
        while (half->first != NULL && half->first->due_us <= world->now_us) {
            struct world_message *message = half->first;
            half->first = message->next;
            half->last = half->first == NULL ? NULL : half->last;
            half->count--;
            uint8_t *body = malloc(message->size + 1); /* So that a sanitizer sees its end. */
            memcpy(body, message->body, message->size);
            if (message->kind == world->deaf) {
                replication_heard(to->r, link->links[1 - end], world->now_us);
            } else {
                replication_receive(to->r, link->links[1 - end], message->kind, message->number,
                                    bytes_of(body, message->size), world_now_ms(world),
                                    world->now_us);
            }
            free(body);
            free(message);
        }
        if (link->full[end] && half->count < world->capacity / 2) {
            link->full[end] = false;
            replication_writable(link->ends[end]->r, link->links[end], world_now_ms(world),
                                 world->now_us);
        }
    }
}

static inline void world_step(struct world *world)
{
    world->now_us += WORLD_STEP_US;
    for (uint32_t i = 0; i < world->unit_count; i++) {
        for (uint32_t j = 0; j < world->unit_count; j++) {
            struct world_link *link = &world->links[i][j];
            if (link->ends[0] == NULL) {
                continue;
            }
            if (link->up && (link->cut[0] || link->cut[1])) {
                world_break(world, link);
            }
            if (link->up) {
                world_deliver(world, link);
            } else if (world->now_us >= link->redial_us && world_passes(world, link)) {
                world_dial(world, link);
            }
        }
    }
    for (uint32_t i = 0; i < world->unit_count; i++) {
        struct world_unit *unit = &world->units[i];
        if (unit->r != NULL && !world->nodes[unit->node].paused) {
            /* At the end of each turn; something happens in nearly each. */
            unit->walked = 0;
            (void)replication_tick(unit->r, world_now_ms(world), world->now_us);
            unit->walked_most = unit->walked > unit->walked_most ? unit->walked : unit->walked_most;
        }
    }
}

static inline void world_run(struct world *world, uint32_t ms)
{
    const uint64_t end_us = world->now_us + (uint64_t)ms * 1000;

    while (world->now_us < end_us) {
        world_step(world);
    }
}

/* Run until it is so; it must be within `ms`. */
#define world_until(world, ms, condition)                                                          \
    do {                                                                                           \
        const uint64_t until_us_ = (world)->now_us + (uint64_t)(ms)*1000;                          \
        while (!(condition)) {                                                                     \
            if ((world)->now_us >= until_us_) {                                                    \
                fail_msg("not within %u ms: %s", (unsigned)(ms), #condition);                      \
            }                                                                                      \
            world_step(world);                                                                     \
        }                                                                                          \
    } while (0)

/* ---- Nodes ---- */

static inline void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed,
                            .delay_us = 100,
                            .capacity = 64,
                            .replicas = 2,
                            .window_bytes = 1 << 20,
                            .now_us = 1000000};
}

/* A life of its node. */
static inline void unit_live(struct world *world, struct world_unit *unit)
{
    const struct actor life = {unit->node, world->nodes[unit->node].start};

    assert_int_equal(eras_init(&unit->eras, heap_memory(), SLOT_COUNT, life, 0), 0);
}

static inline void unit_create(struct world *world, struct world_unit *unit)
{
    const struct world_node *node = &world->nodes[unit->node];
    const struct replication_options options = {
        .self = {unit->node, node->start},
        .shard = unit->shard,
        .shards = node->shards,
        .window_bytes = world->window_bytes,
        .heal_bytes_per_s = world->heal_bytes_per_s,
        .silence_ms = world->silence_ms,
        .round_ms = world->round_ms,
        .memory = heap_memory(),
        .port = &unit->port,
        .core = &unit->core,
    };

    assert_int_equal(replication_create(&options, world_now_ms(world), world->now_us, &unit->r), 0);
    unit->copied = unit->uncopied = unit->copied_count = 0;
    unit->refuses = STATUS_OK;
    unit->ready = true;
}

static inline void world_node(struct world *world, uint32_t number, uint32_t shards)
{
    struct world_node *node = &world->nodes[number];

    *node = (struct world_node){.up = true, .shards = shards, .start = 1};
    world->node_count = number > world->node_count ? number : world->node_count;
    for (uint32_t shard = 0; shard < shards; shard++) {
        assert_true(world->unit_count < WORLD_UNITS_MAX);
        node->units[shard] = world->unit_count;
        struct world_unit *unit = &world->units[world->unit_count++];
        *unit = (struct world_unit){
            .port = {.send = world_send,
                     .cut = world_cut,
                     .level = world_level,
                     .room = world_room,
                     .stuck = world_stuck},
            .room = UINT64_MAX,
            .core = {.copy = world_copy,
                     .copied = world_copied,
                     .uncopied = world_uncopied,
                     .walk = world_walk,
                     .whole = world_whole,
                     .drop = world_drop,
                     .find = world_lookup,
                     .ready = world_ready,
                     .appended = world_appended,
                     .durable = world_durable,
                     .seen = &unit->seen,
                     .eras = &unit->eras},
            .end = {.memory = heap_memory()},
            .world = world,
            .node = number,
            .shard = shard,
        };
        session_written_init(&unit->written, heap_memory());
        assert_int_equal(seen_init(&unit->seen, heap_memory(), SLOT_COUNT), 0);
        unit_live(world, unit);
        unit_create(world, unit);
    }
}

static inline void world_wire(struct world *world)
{
    for (uint32_t i = 0; i < world->unit_count; i++) {
        for (uint32_t j = 0; j < world->unit_count; j++) {
            struct world_unit *from = &world->units[i], *to = &world->units[j];
            uint32_t a = world->nodes[from->node].shards, b = world->nodes[to->node].shards;
            while (b != 0) {
                uint32_t rest = a % b;
                a = b;
                b = rest;
            }
            if (from->node != to->node && from->shard % a == to->shard % a) {
                world->links[i][j].ends[0] = from;
                world->links[i][j].ends[1] = to;
            }
        }
    }
}

/* A node's table is the given one from now on. */
static inline void world_table(struct world *world, uint32_t number, const struct slot_table *table)
{
    struct world_node *node = &world->nodes[number];
    struct slot_table *new = malloc(sizeof *new);

    *new = *table;
    new->self = number;
    for (uint32_t shard = 0; shard < node->shards; shard++) {
        assert_int_equal(replication_set_table(world->units[node->units[shard]].r, new,
                                               world_now_ms(world), world->now_us),
                         0);
    }
    free(node->table);
    node->table = new;
}

/* A table in which every slot has these owners and targets. */
static inline void world_owners(struct world *world, struct slot_table *table,
                                struct slot_owners owners, struct slot_owners targets)
{
    memset(table, 0, sizeof *table);
    table->epoch = 1;
    for (uint32_t number = 1; number <= world->node_count; number++) {
        table->members[table->member_count++] = (struct slot_table_member){
            .number = number,
            .start = world->nodes[number].start,
            .shards = world->nodes[number].shards,
            .serves = true,
        };
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        table->owners[slot] = owners;
        table->targets[slot] = targets;
    }
}

static inline void world_tables(struct world *world, const struct slot_table *table)
{
    for (uint32_t number = 1; number <= world->node_count; number++) {
        world_table(world, number, table);
    }
}

/* All nodes get to know that every slot has these owners, and is to have those. */
static inline void world_give_owners(struct world *world, struct slot_table *table,
                                     struct slot_owners owners, struct slot_owners targets)
{
    world_owners(world, table, owners, targets);
    world_tables(world, table);
}

/* All own everything, in the order of their numbers. */
static inline void world_all_own(struct world *world)
{
    static struct slot_table table;
    struct slot_owners owners = {{0}};

    for (uint32_t i = 0; i < world->node_count; i++) {
        owners.nodes[i] = i + 1;
    }
    world_owners(world, &table, owners, owners);
    world_tables(world, &table);
}

static inline struct world_unit *world_unit(struct world *world, uint32_t number, uint32_t slot)
{
    const struct world_node *node = &world->nodes[number];

    return &world->units[node->units[slot % node->shards]];
}

static inline void world_break_all(struct world *world, uint32_t number)
{
    for (uint32_t i = 0; i < world->unit_count; i++) {
        for (uint32_t j = 0; j < world->unit_count; j++) {
            struct world_link *link = &world->links[i][j];
            if (link->ends[0] != NULL &&
                (link->ends[0]->node == number || link->ends[1]->node == number)) {
                world_break(world, link);
            }
        }
    }
}

/* Nothing passes between two nodes, or all does. What waits on a link stays, and links break only as they find out. */
static inline void world_block(struct world *world, uint32_t a, uint32_t b, bool blocked)
{
    world->blocked[a][b] = world->blocked[b][a] = blocked;
}

static inline void world_kill(struct world *world, uint32_t number)
{
    struct world_node *node = &world->nodes[number];

    world_break_all(world, number);
    node->up = false;
    for (uint32_t shard = 0; shard < node->shards; shard++) {
        struct world_unit *unit = &world->units[node->units[shard]];
        while (unit->parked_count > 0) {
            buffer_fini(&unit->parked[--unit->parked_count].body);
        }
        free(unit->parked);
        unit->parked = NULL;
        replication_destroy(unit->r);
        unit->r = NULL;
    }
}

/* It starts again, as another actor. `wiped`: with nothing. */
static inline void world_restart(struct world *world, uint32_t number, bool wiped)
{
    struct world_node *node = &world->nodes[number];

    node->up = true;
    node->start++;
    for (uint32_t shard = 0; shard < node->shards; shard++) {
        struct world_unit *unit = &world->units[node->units[shard]];
        if (wiped) {
            world_forget(unit);
            for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
                seen_forget(&unit->seen, slot);
            }
        }
        eras_fini(&unit->eras);
        unit_live(world, unit);
        unit_create(world, unit);
        if (node->table != NULL) {
            assert_int_equal(
                replication_set_table(unit->r, node->table, world_now_ms(world), world->now_us), 0);
        }
    }
}

static inline void world_pause(struct world *world, uint32_t number)
{
    world->nodes[number].paused = true;
}

/* It goes on. `knows`: it is told that it was paused. */
static inline void world_resume(struct world *world, uint32_t number, bool knows)
{
    struct world_node *node = &world->nodes[number];

    node->paused = false;
    for (uint32_t shard = 0; shard < node->shards && knows; shard++) {
        replication_paused(world->units[node->units[shard]].r, world_now_ms(world), world->now_us);
    }
}

static inline void world_fini(struct world *world)
{
    for (uint32_t number = 1; number <= world->node_count; number++) {
        world_break_all(world, number);
    }
    for (uint32_t i = 0; i < world->unit_count; i++) {
        struct world_unit *unit = &world->units[i];
        world_forget(unit);
        while (unit->parked_count > 0) {
            buffer_fini(&unit->parked[--unit->parked_count].body);
        }
        free(unit->parked);
        buffer_fini(&unit->end);
        session_written_fini(&unit->written);
        replication_destroy(unit->r);
        eras_fini(&unit->eras);
        seen_fini(&unit->seen);
    }
    for (uint32_t number = 1; number <= world->node_count; number++) {
        free(world->nodes[number].table);
    }
}

/* ---- Writes ---- */

static const struct session_rules world_rules = {.session_bytes_max = 1 << 20,
                                                 .fields_max = 1000,
                                                 .tombstone_keep_ms = 3600000};

static inline uint64_t world_position(const char *key)
{
    return keeper_position(1, bytes_of_string(key));
}

static inline uint32_t world_slot(const char *key)
{
    return slot_of_key(bytes_of_string(key));
}

/* A change of a session at a node, which nobody is told of while its `r` is NULL; with a delta where that is smaller.
 * Returns the copy's number. */
static inline uint64_t world_change(struct world *world, uint32_t number, const char *key,
                                    struct change change)
{
    struct world_unit *unit = world_unit(world, number, world_slot(key));
    const uint64_t position = world_position(key);
    struct world_session *session = world_find(unit, position, bytes_of_string(key));
    uint8_t list[4096];

    change.name = change.name.data == NULL ? bytes_of("", 0) : change.name;
    change.value = change.value.data == NULL ? bytes_of("", 0) : change.value;
    assert_true(change_size(&change) <= sizeof list);
    size_t size = (size_t)(change_put(list, &change) - list);
    const struct session_write write = {
        .key = bytes_of_string(key),
        .record = session == NULL ? bytes_of(NULL, 0) : buffer_bytes(&session->record),
        .rules = &world_rules,
        .now_ms = world_now_ms(world),
        .hlc = unit->hlc,
        .actor = eras_actor(&unit->eras, &unit->seen, world_slot(key)),
        .type = SESSION_MAP,
        .changes = bytes_of(list, size),
    };
    assert_int_equal(session_write(&write, &unit->written), STATUS_OK);
    if (!unit->written.changed) {
        return 0;
    }
    unit->hlc = unit->written.stamp.hlc;
    world_set(unit, position, buffer_bytes(&unit->written.record));
    assert_int_equal(seen_advance(&unit->seen, world_slot(key), unit->written.stamp), 0);
    if (world->write_count < WORLD_WRITES_MAX) {
        struct world_write *note = &world->writes[world->write_count++];
        *note = (struct world_write){world_slot(key), position, unit->written.stamp, ""};
        assert_true(strlen(key) < sizeof note->key);
        memcpy(note->key, key, strlen(key) + 1);
    }
    bool delta =
        unit->written.delta.size > 0 && unit->written.delta.size < unit->written.record.size;
    struct bytes body = buffer_bytes(delta ? &unit->written.delta : &unit->written.record);
    const struct bytes parts[] = {bytes_of(body.data, body.size / 2),
                                  bytes_of(body.data + body.size / 2, body.size - body.size / 2)};
    if (unit->r == NULL) {
        return 0;
    }
    return replication_append(unit->r, delta ? LOG_DELTA : LOG_FULL, position,
                              unit->written.stamp.hlc, parts, 2);
}

static inline uint64_t world_put(struct world *world, uint32_t number, const char *key,
                                 const char *name, const char *value)
{
    return world_change(world, number, key,
                        (struct change){.operation = CHANGE_SET,
                                        .name = bytes_of_string(name),
                                        .value = bytes_of_string(value)});
}

/* Sessions of many slots, at a node; time goes on meanwhile. */
static inline void world_fill(struct world *world, uint32_t number, uint32_t from, uint32_t to)
{
    char key[32], value[64];

    for (uint32_t i = from; i < to; i++) {
        snprintf(key, sizeof key, "session-%u", i);
        snprintf(value, sizeof value, "the value of session %u, which is some bytes", i);
        world_put(world, number, key, "x", value);
        if (i % 20 == 0) {
            world_step(world);
        }
    }
}

/* ---- What holds ---- */

/* Have two nodes the same sessions? */
static inline bool world_equal(struct world *world, uint32_t a, uint32_t b)
{
    uint32_t total[2] = {0, 0};
    uint64_t sums[2] = {0, 0};
    const uint32_t numbers[2] = {a, b};

    for (int i = 0; i < 2; i++) {
        const struct world_node *node = &world->nodes[numbers[i]];
        for (uint32_t shard = 0; shard < node->shards; shard++) {
            const struct world_unit *unit = &world->units[node->units[shard]];
            total[i] += unit->count;
            for (uint32_t s = 0; s < unit->count; s++) {
                sums[i] += unit->sessions[s].hash;
            }
        }
    }
    return total[0] == total[1] && sums[0] == sums[1];
}

static inline uint32_t world_not_level(struct world *world, uint32_t number)
{
    const struct world_node *node = &world->nodes[number];
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        count += !replication_is_level(world->units[node->units[slot % node->shards]].r, slot);
    }
    return count;
}

/* All are level, and nothing is under way or missing on a stream. */
static inline bool world_calm(struct world *world)
{
    for (uint32_t number = 1; number <= world->node_count; number++) {
        const struct world_node *node = &world->nodes[number];
        for (uint32_t shard = 0; shard < node->shards; shard++) {
            const struct replication *r = world->units[node->units[shard]].r;
            struct replication_lag lag;
            if (r == NULL || replication_stats(r)->compares > 0 ||
                replication_stats(r)->slots_not_level > 0) {
                return false;
            }
            for (uint32_t i = 0; replication_lag(r, i, &lag); i++) {
                if (lag.records_behind > 0 || !lag.reachable) {
                    return false;
                }
            }
            for (uint32_t slot = shard; slot < SLOT_COUNT; slot += node->shards) {
                bool mine = slot_owners_has(&node->table->owners[slot], number) ||
                            slot_owners_has(&node->table->targets[slot], number);
                if (mine && !replication_is_level(r, slot)) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* Has the record of the write's session seen it? */
static inline bool world_has(struct world *world, struct world_unit *unit,
                             const struct world_write *write)
{
    struct world_session *session = world_find(unit, write->position, bytes_of_string(write->key));
    struct buffer scratch = {.memory = heap_memory()};
    struct bytes token;
    struct version version;
    bool has = false;

    if (session != NULL) {
        assert_int_equal(session_open(&world->view, buffer_bytes(&session->record), 1), 0);
        assert_int_equal(session_token(&world->view, &scratch, &token), 0);
        struct reader from = reader_of(token);
        assert_true(version_read(&from, true, &version));
        has = version_covers(&version, write->stamp);
    }
    buffer_fini(&scratch);
    return has;
}

/* What a node says to have seen it has. */
static inline void world_check_seen(struct world *world)
{
    for (uint32_t i = 0; i < world->write_count; i++) {
        const struct world_write *write = &world->writes[i];
        for (uint32_t j = 0; j < world->unit_count; j++) {
            struct world_unit *unit = &world->units[j];
            if (seen_covers(&unit->seen, write->slot, write->stamp) &&
                !world_has(world, unit, write)) {
                fail_msg("node %u has not got what it has seen: write %u of %s", unit->node, i,
                         write->key);
            }
        }
    }
}

/* So many nodes, which all own everything in the order of their numbers. */
static inline void world_begin(struct world *world, uint32_t nodes, uint32_t shards)
{
    world_init(world, 1);
    for (uint32_t number = 1; number <= nodes; number++) {
        world_node(world, number, shards);
    }
    world_wire(world);
    world_all_own(world);
}

static inline const struct replication_stats *world_stats(struct world *world, uint32_t number)
{
    return replication_stats(world->units[world->nodes[number].units[0]].r);
}

#endif
