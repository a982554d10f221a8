/* The network between nodes and clients.
 *
 * A link is one direction between two ends. It delays each message by lot, and may be cut. What else it does depends
 * on what the scenario asks for:
 *
 *   messages  each for itself: lost, repeated, overtaken
 *   streams   as TCP: in order and once, while the connection lives. A loss ends the connection: what was under way
 *             is gone, both ends hear of it some time later (reset()), and the next message begins another one.
 *
 * Nothing is changed on its way: frames have checksums.
 */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct sim;

enum { NET_ENDS_MAX = 16 };

struct net_link {
    bool cut;
    uint64_t last_us;          /* Of a stream: when the last message comes. */
    uint64_t newest, received; /* Of messages: numbers. */
};

struct sim_net {
    bool streams;
    bool slow;
    uint32_t drop_percent, repeat_percent;
    uint64_t connection[NET_ENDS_MAX][NET_ENDS_MAX]; /* Its number; the lesser end first. */
    struct net_link links[NET_ENDS_MAX][NET_ENDS_MAX];
};

/* How it is when nobody harms it. */
void sim_net_init(struct sim_net *net, bool streams);

/* Send a copy. */
void sim_net_send(struct sim *sim, uint32_t from, uint32_t to, struct bytes message);

/* The number of the connection between two ends: another one after each loss. */
uint64_t sim_net_connection(const struct sim *sim, uint32_t a, uint32_t b);

/* An end lets its connection go, or is gone: what is under way is lost. */
void sim_net_close(struct sim *sim, uint32_t end, uint32_t peer);
void sim_net_close_all(struct sim *sim, uint32_t end);

/* Cut one direction, or join it again. */
void sim_net_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut);
/* Join everything, and be good again. */
void sim_net_heal(struct sim *sim);

#endif
