/* Replication between nodes: any bytes, as a row of messages on the links of a shard with two others, with time going
 * on in between. Whatever is said, nothing breaks inside, and what was bad cuts the link. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "eras.h"
#include "fuzz.h"
#include "heap.h"
#include "log_kind.h"
#include "replication.h"

/* One shard of many, so that it has few slots and is quick. */
enum { LINKS = 4, SESSIONS = 40, SHARDS = 64 };

/* A shard that has some sessions, and takes what it is told. */
struct node {
    struct replication_port port;
    struct replication_shard core;
    struct replication *r;
    struct replication_link *links[LINKS]; /* Two dialled here, two by the others; NULL: down. */
    bool cut[LINKS], full;
    uint64_t ticket; /* Of a copy that waits; 0: none. */
    uint32_t answers;
};

static struct node node;

static bool send_it(struct replication_port *port, void *link, uint8_t kind, uint64_t number,
                    const struct bytes parts[], uint32_t part_count)
{
    size_t size = 0;

    (void)port;
    (void)number;
    assert(kind >= REPLICATION_HELLO && kind < REPLICATION_KINDS_END);
    assert(!node.cut[(bool *)link - node.cut]);
    for (uint32_t i = 0; i < part_count; i++) {
        for (size_t at = 0; at < parts[i].size; at++) {
            size += parts[i].data[at]; /* A sanitizer sees that it may be read. */
        }
    }
    return !node.full && size < SIZE_MAX;
}

static void cut(struct replication_port *port, void *link)
{
    (void)port;
    *(bool *)link = true;
}

static void say_level(struct replication_port *port, uint32_t slot,
                      const struct slot_owners *targets)
{
    (void)port;
    assert(slot < SLOT_COUNT && targets->nodes[0] != 0);
}

static void copy(struct replication_shard *core, const struct replication_copy *copied,
                 uint64_t now_ms, uint64_t now_us)
{
    static const enum status statuses[] = {STATUS_OK, STATUS_VERSION_MISMATCH, STATUS_BUSY,
                                           STATUS_OK, STATUS_INVALID,          STATUS_DESTROYED,
                                           STATUS_OK, STATUS_DAMAGED};

    (void)core;
    (void)now_ms;
    (void)now_us;
    assert(copied->kind >= LOG_FULL && copied->kind <= LOG_BURY && copied->kind != LOG_MARK);
    assert(copied->position >> (64 - SLOT_BITS) < SLOT_COUNT);
    if (copied->position % 5 == 0 && node.ticket == 0) {
        node.ticket = copied->ticket;
        return;
    }
    replication_merged(node.r, copied->ticket, statuses[node.answers++ % 8]);
}

static void copied(struct replication_shard *core, uint64_t number, uint64_t now_us)
{
    (void)core;
    (void)now_us;
    assert(number > 0);
}

static uint64_t position_of(uint32_t session)
{
    return (uint64_t)(session / 4 * SHARDS) << (64 - SLOT_BITS) | session % 4;
}

static void walk(struct replication_shard *core, uint64_t first, uint64_t last, bool hashes,
                 bool (*visit)(void *context, uint64_t position, uint64_t hash), void *context)
{
    (void)core;
    assert(first <= last);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        uint64_t position = position_of(i);
        if (position >= first && position <= last &&
            !visit(context, position, hashes ? position * 31 : 0)) {
            return;
        }
    }
}

static int whole(struct replication_shard *core, uint64_t position, uint64_t ticket,
                 uint64_t now_us)
{
    (void)core;
    (void)now_us;
    if (position % 3 == 2) {
        return -ENOMEM;
    }
    replication_whole(node.r, ticket, bytes_of_string("a session"));
    replication_whole_done(node.r, ticket, position % 4 == 3 ? STATUS_DAMAGED : STATUS_OK);
    return 0;
}

static int drop(struct replication_shard *core, uint32_t slot, uint64_t now_ms)
{
    (void)core;
    (void)slot;
    (void)now_ms;
    return 0;
}

static bool find(struct replication_shard *core, uint64_t position, struct bytes key,
                 struct bytes *record)
{
    (void)core;
    (void)key;
    *record = position % 2 == 0 ? bytes_of(NULL, 0) : bytes_of_string("damaged");
    return position % 7 != 0;
}

static bool ready(struct replication_shard *core)
{
    (void)core;
    return true;
}

static uint64_t appended(struct replication_shard *core)
{
    (void)core;
    return 0;
}

static bool durable(struct replication_shard *core, uint64_t lsn)
{
    (void)core;
    (void)lsn;
    return true;
}

/* ---- The play ---- */

static void dial(uint32_t index, uint64_t now_us)
{
    const struct replication_peer peer = {index < 2, 2 + index % 2, 1, 0, SHARDS};

    node.cut[index] = false;
    int rc = replication_link_up(node.r, &peer, &node.cut[index], 1, now_us, &node.links[index]);
    assert(rc == 0);
}

/* The first byte of each message: on which link (2 bits), what happens before it (3 bits). */
static void play(struct reader *reader)
{
    uint64_t now_us = 1;

    while (reader_left(reader) > 0) {
        uint8_t how = read_u8(reader), kind = read_u8(reader);
        uint64_t number = read_varint(reader);
        struct bytes body = read_string(reader);
        uint32_t index = how & 3;
        now_us += (how & 4) != 0 ? 200000 : 100;
        if ((how & 8) != 0 && node.ticket != 0) {
            uint64_t ticket = node.ticket;
            node.ticket = 0;
            replication_merged(node.r, ticket, (how & 16) != 0 ? STATUS_OK : STATUS_DISK_FULL);
        }
        if ((how & 32) != 0) {
            node.full = !node.full;
            for (uint32_t i = 0; !node.full && i < LINKS; i++) {
                replication_writable(node.r, node.links[i], 1, now_us);
            }
        }
        if ((how & 64) != 0) {
            const struct bytes part = bytes_of_string("a record");
            (void)replication_append(node.r, LOG_DELTA, position_of(how), 7, &part, 1);
        }
        replication_receive(
            node.r, node.links[index],
            (uint8_t)(REPLICATION_HELLO + kind % (REPLICATION_KINDS_END - REPLICATION_HELLO)),
            number, body, 1, now_us);
        (void)replication_tick(node.r, 1, now_us);
        for (uint32_t i = 0; i < LINKS; i++) {
            if (node.cut[i]) {
                replication_link_down(node.r, node.links[i], 1, now_us);
                dial(i, now_us);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct slot_table table;
    struct seen seen;
    struct eras eras;
    struct reader reader = reader_of(bytes_of(data, size));
    const struct replication_options options = {
        .self = {1, 1},
        .shards = SHARDS,
        .window_bytes = 1 << 17,
        .memory = heap_memory(),
        .port = &node.port,
        .core = &node.core,
    };

    node = (struct node){
        .port = {send_it, cut, say_level},
        .core = {copy, copied, copied, walk, whole, drop, find, ready, appended, durable, &seen,
                 &eras},
    };
    if (table.member_count == 0) {
        table.member_count = 3;
        for (uint32_t i = 0; i < 3; i++) {
            table.members[i] = (struct slot_table_member){
                .number = i + 1, .start = 1, .shards = SHARDS, .serves = true};
        }
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            table.owners[slot] =
                (struct slot_owners){{1 + slot / SHARDS % 3, 1 + (slot / SHARDS + 1) % 3}};
            table.targets[slot] = (struct slot_owners){{1 + slot / SHARDS % 2, 3}};
        }
    }
    int rc = seen_init(&seen, heap_memory(), SLOT_COUNT);
    assert(rc == 0);
    rc = eras_init(&eras, heap_memory(), SLOT_COUNT, options.self, 0);
    assert(rc == 0);
    rc = replication_create(&options, 1, 1, &node.r);
    assert(rc == 0);
    rc = replication_set_table(node.r, &table, 1, 1);
    assert(rc == 0);
    for (uint32_t i = 0; i < LINKS; i++) {
        dial(i, 1);
    }
    play(&reader);
    replication_destroy(node.r);
    eras_fini(&eras);
    seen_fini(&seen);
    return 0;
}
