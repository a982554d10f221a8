/* Three fake servers that are a cluster for a client: they answer reads with who they are, and note what they were
 * asked.
 *
 * Slot s belongs to node 1 + s % 3, and its successor is the next one, unless a test says otherwise.
 * Threads: as fake_server.h; what nodes note is atomic.
 */
#ifndef FAKE_CLUSTER_H
#define FAKE_CLUSTER_H

#include "client_kit.h"
#include "heap.h"

enum { FAKE_NODES = 3, FAKE_NOTES = 8 };

struct fake_node {
    struct fake fake;
    atomic_uint status;    /* Not 0: the answer to everything, without doing it. */
    atomic_uint statuses;  /* So often, then OK; 0: always. */
    atomic_uint delay_ms;  /* Before such an answer. */
    atomic_uint waited_ms; /* Of the last GET or write. */
    atomic_uint mute;      /* Requests are read and not answered. */
    atomic_uint stands_in;
    atomic_uint keys; /* Of requests of many keys. */
    atomic_uint wrong_shard;
    atomic_uint flags; /* Of the last GET. */
    atomic_uint writes;
    atomic_ullong sequence[FAKE_NOTES], retry_hlc[FAKE_NOTES], client[FAKE_NOTES];
};

struct fake_cluster {
    struct fake_node nodes[FAKE_NODES];
    struct client_map map;
    struct fake_map told[8];
    uint8_t *encoded[8];
    uint32_t told_count;
};

static inline void fake_note_write(struct fake_node *node, const struct frame *frame)
{
    Belay__Wire__Write *write =
        belay__wire__write__unpack(NULL, frame->head.size, frame->head.data);
    uint32_t index = atomic_load(&node->writes) % FAKE_NOTES;

    assert(write != NULL);
    atomic_store(&node->sequence[index], write->sequence);
    atomic_store(&node->retry_hlc[index], write->retry_hlc);
    atomic_store(&node->client[index], write->client);
    atomic_store(&node->waited_ms, write->waited_ms);
    atomic_fetch_add(&node->writes, 1);
    belay__wire__write__free_unpacked(write, NULL);
}

static inline void fake_note_get(struct fake_connection *connection, struct fake_node *node,
                                 const struct frame *frame)
{
    Belay__Wire__Get *get = belay__wire__get__unpack(NULL, frame->head.size, frame->head.data);

    assert(get != NULL);
    atomic_store(&node->flags, get->flags);
    atomic_store(&node->waited_ms, get->waited_ms);
    uint16_t slot = slot_of_key(bytes_of(get->key.data, get->key.len));
    if (slot % connection->fake->shards != connection->shard) {
        atomic_fetch_add(&node->wrong_shard, 1);
    }
    belay__wire__get__free_unpacked(get, NULL);
}

/* Each key's answer is the key and the node's number. */
static inline void fake_answer_many(struct fake_connection *connection, struct fake_node *node,
                                    const struct frame *frame)
{
    static _Thread_local uint8_t parts[64 * 1024];
    struct reader keys = reader_of(frame->value);
    uint8_t *to = parts;
    Belay__Wire__ManyReply head;

    while (reader_left(&keys) > 0) {
        Belay__Wire__Reply reply;
        uint8_t packed[64];
        char value[64];
        struct bytes key = read_string(&keys);
        assert(!keys.bad);
        belay__wire__reply__init(&reply);
        reply.type = SESSION_BLOB;
        size_t size = belay__wire__reply__pack(&reply, packed);
        to = varint_put(to, size);
        memcpy(to, packed, size);
        to += size;
        size = (size_t)snprintf(value, sizeof value, "%.*s@%u", (int)key.size,
                                (const char *)key.data, node->fake.number);
        to = varint_put(to, size);
        memcpy(to, value, size);
        to += size;
        atomic_fetch_add(&node->keys, 1);
    }
    belay__wire__many_reply__init(&head);
    fake_reply_head(connection, frame->type, frame->request_id, &head.base,
                    bytes_of(parts, (size_t)(to - parts)));
}

static inline void fake_answer_one(struct fake_connection *connection, struct fake_node *node,
                                   const struct frame *frame)
{
    Belay__Wire__Reply head;
    char value[8];

    belay__wire__reply__init(&head);
    head.type = SESSION_BLOB;
    head.hlc = 5000;
    head.ack = ACK_MEMORY;
    head.stand_in = atomic_load(&node->stands_in) != 0;
    snprintf(value, sizeof value, "n%u", node->fake.number);
    fake_reply_head(connection, frame->type, frame->request_id, &head.base,
                    frame->type == FRAME_GET ? text(value) : text("\2"));
}

static inline void fake_node_handle(struct fake_connection *connection, const struct frame *frame)
{
    struct fake_node *node = connection->fake->context;
    uint32_t status = atomic_load(&node->status);

    if (frame->type == FRAME_PING) {
        fake_reply(connection, frame, STATUS_OK, text(""));
        return;
    }
    if (frame->type == FRAME_WRITE) {
        fake_note_write(node, frame);
    } else if (frame->type == FRAME_GET) {
        fake_note_get(connection, node, frame);
    }
    if (atomic_load(&node->mute)) {
        return;
    }
    if (status != STATUS_OK) {
        if (atomic_load(&node->statuses) > 0 && atomic_fetch_sub(&node->statuses, 1) == 1) {
            atomic_store(&node->status, STATUS_OK);
        }
        poll(NULL, 0, (int)atomic_load(&node->delay_ms));
        fake_reply(connection, frame, status, text(""));
    } else if (frame->type == FRAME_GET_MANY) {
        fake_answer_many(connection, node, frame);
    } else {
        fake_answer_one(connection, node, frame);
    }
}

/* Tell cluster->map, as the next epoch. */
static inline void fake_cluster_tell(struct fake_cluster *cluster)
{
    static struct memory heap = {.resize = heap_resize};
    struct fake_map *told = &cluster->told[cluster->told_count];
    struct buffer encoded = {.memory = &heap};

    cluster->map.epoch++;
    assert_int_equal(client_map_encode(&cluster->map, &encoded), 0);
    cluster->encoded[cluster->told_count++] = encoded.data;
    *told = (struct fake_map){.epoch = cluster->map.epoch, .bytes = buffer_bytes(&encoded)};
    for (int i = 0; i < FAKE_NODES; i++) {
        atomic_store(&cluster->nodes[i].fake.map, told);
    }
}

static inline void fake_cluster_start(struct fake_cluster *cluster, uint32_t shards)
{
    memset(cluster, 0, sizeof *cluster);
    cluster->map.member_count = FAKE_NODES;
    for (uint32_t i = 0; i < FAKE_NODES; i++) {
        struct fake *fake = &cluster->nodes[i].fake;
        struct client_map_member *member = &cluster->map.members[i];
        fake->handle = fake_node_handle;
        fake->context = &cluster->nodes[i];
        fake->shards = shards;
        fake->number = i + 1;
        fake_start(fake);
        *member = (struct client_map_member){
            .number = i + 1, .shards = shards, .port = fake->port, .serves = true};
        snprintf(member->name, sizeof member->name, "n%u", i + 1);
        snprintf(member->host, sizeof member->host, "127.0.0.1");
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        cluster->map.owners[slot] = (struct client_map_owners){
            .count = 2, .members = {(uint8_t)(slot % 3), (uint8_t)((slot + 1) % 3)}};
    }
    fake_cluster_tell(cluster);
}

static inline void fake_cluster_stop(struct fake_cluster *cluster)
{
    for (int i = 0; i < FAKE_NODES; i++) {
        if (cluster->nodes[i].fake.port != 0) {
            fake_stop(&cluster->nodes[i].fake);
        }
    }
    for (uint32_t i = 0; i < cluster->told_count; i++) {
        free(cluster->encoded[i]);
    }
}

/* As if its process were killed: connections are reset, and new ones refused. */
static inline void fake_node_kill(struct fake_node *node)
{
    fake_stop(&node->fake);
    node->fake.port = 0;
}

/* The first key "k0", "k1" ... from `*next` on whose primary is that node. */
static inline const char *fake_key(uint32_t number, int *next)
{
    static char key[16];

    for (;;) {
        snprintf(key, sizeof key, "k%d", (*next)++);
        if (slot_of_key(text(key)) % 3 + 1u == number) {
            return key;
        }
    }
}

#endif
