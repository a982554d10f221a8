#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "copies_scenario.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

enum {
    FULL_PERCENT = 3,
    FULL_US_MAX = 20000,
    /* Of a message: what it is, whether its sender dialled, kind, connection, number. */
    HEAD_BYTES = 3 + 8 + 8,
};

static uint64_t connection_to(const struct copies_node *node, uint32_t peer)
{
    return sim_net_connection(node->sim, node->node, peer);
}

static void send(struct copies_node *node, uint32_t to, enum copies_message what, bool dialled,
                 uint8_t kind, uint64_t number, const struct bytes parts[], uint32_t part_count)
{
    size_t size = HEAD_BYTES;

    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    uint8_t *message = sim_more(NULL, size);
    message[0] = (uint8_t)what;
    message[1] = dialled;
    message[2] = kind;
    store_u64(message + 3, connection_to(node, to));
    store_u64(message + 11, number);
    size_t at = HEAD_BYTES;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(message + at, parts[i].data, parts[i].size);
        }
        at += parts[i].size;
    }
    sim_net_send(node->sim, node->node, to, bytes_of(message, size));
    free(message);
}

/* ---- The port ---- */

/* The peer of a link, which is an element of node->links. */
static uint32_t peer_of(const struct copies_node *node, const struct copies_link *link)
{
    return (uint32_t)((link - &node->links[0][0]) / 2);
}

static bool dialled_of(const struct copies_node *node, const struct copies_link *link)
{
    return (link - &node->links[0][0]) % 2 == 1;
}

static void has_room(struct sim *sim, const struct sim_event *event)
{
    struct copies_node *node = &copies_scenario_of(sim)->nodes[event->end];
    struct copies_link *link = &node->links[event->a / 2][event->a % 2];

    if (link->link != NULL && link->full) {
        link->full = false;
        replication_writable(node->replication, link->link, copies_node_now_ms(node),
                             copies_node_now_us(node));
        copies_node_turn(node);
    }
}

static bool port_send(struct replication_port *port, void *to, uint8_t kind, uint64_t number,
                      const struct bytes parts[], uint32_t part_count)
{
    struct copies_node *node = OF(copies_node, port, port);
    struct copies_link *link = to;
    uint32_t peer = peer_of(node, link);

    if (link->full || sim_chance(node->sim, SIM_RANDOM_NET, FULL_PERCENT)) {
        if (!link->full) {
            link->full = true;
            sim_after(node->sim, sim_between(node->sim, SIM_RANDOM_NET, 1, FULL_US_MAX), node->node,
                      "room", has_room, (uint64_t)(link - &node->links[0][0]), 0);
        }
        return false;
    }
    if (connection_to(node, peer) ==
        link->connection) { /* Else it is lost, and nobody knows yet. */
        send(node, peer, COPIES_FRAME, dialled_of(node, link), kind, number, parts, part_count);
    }
    return true;
}

static void lose(struct copies_node *node, struct copies_link *link)
{
    struct replication_link *was = link->link;

    if (was != NULL) {
        link->link = NULL;
        link->full = false;
        replication_link_down(node->replication, was, copies_node_now_ms(node),
                              copies_node_now_us(node));
    }
}

static void close_link(struct sim *sim, const struct sim_event *event)
{
    struct copies_node *node = &copies_scenario_of(sim)->nodes[event->end];
    uint32_t peer = (uint32_t)event->a;

    if (connection_to(node, peer) == event->b) {
        sim_net_close(sim, node->node, peer);
    }
    copies_links_reset(node, peer);
}

static void port_cut(struct replication_port *port, void *cut)
{
    struct copies_node *node = OF(copies_node, port, port);
    const struct copies_link *link = cut;

    sim_after(node->sim, 0, node->node, "cut", close_link, peer_of(node, link), link->connection);
}

static void port_level(struct replication_port *port, uint32_t slot,
                       const struct slot_owners *targets)
{
    struct copies_node *node = OF(copies_node, port, port);
    struct copies_scenario *scenario = copies_scenario_of(node->sim);

    if (scenario->level != NULL) {
        scenario->level(node, slot, targets);
    }
}

/* ---- Beginning and end ---- */

static bool knows(const struct copies_node *node, uint32_t peer, uint32_t number)
{
    const struct copies_scenario *scenario = copies_scenario_of(node->sim);

    return scenario->knows == NULL || scenario->knows(node, peer, number);
}

static bool refuses(const struct copies_node *node, uint32_t peer)
{
    const struct copies_scenario *scenario = copies_scenario_of(node->sim);

    return scenario->refuses != NULL && scenario->refuses(node, peer);
}

static void met(struct copies_node *node, uint32_t peer, bool refused)
{
    const struct copies_scenario *scenario = copies_scenario_of(node->sim);

    if (scenario->met != NULL) {
        scenario->met(node, peer, refused);
    }
}

/* Who one is: number and start. */
static uint64_t name_of(const struct copies_node *node)
{
    return (uint64_t)node->number << 32 | node->start;
}

static void up(struct copies_node *node, uint32_t peer, bool dialled, uint64_t name)
{
    struct copies_link *link = &node->links[peer][dialled];
    const struct replication_peer other = {.dialled = dialled,
                                           .node = (uint32_t)(name >> 32),
                                           .start = (uint32_t)name,
                                           .shard = 0,
                                           .shards = 1};

    lose(node, link);
    node->taken_ms = copies_node_now_ms(node);
    link->heard_us = copies_node_now_us(node);
    link->connection = connection_to(node, peer);
    int rc = replication_link_up(node->replication, &other, link, copies_node_now_ms(node),
                                 copies_node_now_us(node), &link->link);
    SIM_CHECK("link", rc == 0, "a link is refused: %d", rc);
}

static void dial(struct sim *sim, const struct sim_event *event)
{
    struct copies_node *node = &copies_scenario_of(sim)->nodes[event->end];
    uint32_t peer = (uint32_t)event->a;

    if (node->links[peer][1].link == NULL && knows(node, peer, 0)) {
        send(node, peer, COPIES_OPEN, true, 0, name_of(node), NULL, 0);
    }
    sim_after(sim, COPIES_DIAL_US + sim_between(sim, SIM_RANDOM_NET, 0, COPIES_DIAL_US), node->node,
              "dial", dial, peer, 0);
}

void copies_links_init(struct copies_node *node)
{
    node->port = (struct replication_port){.send = port_send, .cut = port_cut, .level = port_level};
    memset(node->links, 0, sizeof node->links);
    for (uint32_t peer = 1; peer <= node->sim->node_count; peer++) {
        if (peer != node->node) {
            sim_after(node->sim, 1, node->node, "dial", dial, peer, 0);
        }
    }
}

void copies_links_reset(struct copies_node *node, uint32_t peer)
{
    for (int dialled = 0; dialled < 2; dialled++) {
        if (node->links[peer][dialled].connection != connection_to(node, peer)) {
            lose(node, &node->links[peer][dialled]);
        }
    }
}

void copies_send_write(struct copies_node *node, uint32_t to, uint32_t write, uint8_t flags,
                       uint32_t hops)
{
    uint8_t body[4];

    store_u32(body, hops);
    const struct bytes part = bytes_of(body, sizeof body);
    send(node, to, COPIES_WRITE, false, flags, write, &part, 1);
}

/* What came meanwhile elsewhere is still on its way. */
static void hear(struct copies_node *node, struct copies_link *link)
{
    uint64_t now_us = copies_node_now_us(node);

    if (now_us - link->heard_us >= (uint64_t)REPLICATION_SILENCE_MS * 1000) {
        node->taken_ms = copies_node_now_ms(node);
    }
    link->heard_us = now_us;
}

bool copies_links_is_frame(struct bytes message, uint8_t kind, uint64_t *number)
{
    if (message.size < HEAD_BYTES || message.data[0] != COPIES_FRAME || message.data[2] != kind) {
        return false;
    }
    *number = load_u64(message.data + 11);
    return true;
}

void copies_links_receive(struct copies_node *node, uint32_t from, struct bytes message)
{
    struct reader reader = reader_of(message);
    uint8_t what = read_u8(&reader), dialled = read_u8(&reader), kind = read_u8(&reader);
    uint64_t connection = read_u64(&reader), number = read_u64(&reader);
    struct bytes body = read_bytes(&reader, reader_left(&reader));

    if (connection != connection_to(node, from)) {
        return;
    }
    copies_node_wakes(node);
    struct copies_link *link = &node->links[from][dialled == 0];
    sim_note(node->sim, what == COPIES_FRAME ? "frame" : "message", node->node,
             what == COPIES_FRAME ? kind : what, number);
    switch (what) {
    case COPIES_OPEN:
        if (knows(node, from, (uint32_t)(number >> 32)) && refuses(node, from)) {
            send(node, from, COPIES_REFUSED, false, 0, name_of(node), NULL, 0);
        } else if (knows(node, from, (uint32_t)(number >> 32))) {
            send(node, from, COPIES_OPENED, false, 0, name_of(node), NULL, 0);
            up(node, from, false, number);
        }
        break;
    case COPIES_OPENED:
        if (node->links[from][1].link == NULL && knows(node, from, (uint32_t)(number >> 32))) {
            up(node, from, true, number);
            met(node, from, false);
        }
        break;
    case COPIES_REFUSED:
        met(node, from, true);
        break;
    case COPIES_FRAME:
        if (link->link != NULL && link->connection == connection) {
            hear(node, link);
            replication_receive(node->replication, link->link, kind, number, body,
                                copies_node_now_ms(node), copies_node_now_us(node));
        }
        break;
    default:
        if (node->late_us == node->sim->now_us) {
            break; /* It is passed back, and nobody asks again. */
        }
        copies_node_route(node, (uint32_t)number, kind, load_u32(body.data));
        break;
    }
    copies_node_turn(node);
}
