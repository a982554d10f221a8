#include "net.h"

#include <assert.h>
#include <string.h>

#include "sim.h"

static_assert((int)NET_ENDS_MAX >= (int)SIM_ENDS_MAX, "each end has its links");

enum {
    DELAY_US_MIN = 50,
    DELAY_US_MAX = 3000,
    SLOW_DELAY_US_MAX = 30000,
    RESET_US_MIN = 1000,
    RESET_US_MAX = 500000,
};

void sim_net_init(struct sim_net *net, bool streams)
{
    memset(net, 0, sizeof *net);
    net->streams = streams;
}

static uint64_t *connection(struct sim_net *net, uint32_t a, uint32_t b)
{
    return a < b ? &net->connection[a][b] : &net->connection[b][a];
}

uint64_t sim_net_connection(const struct sim *sim, uint32_t a, uint32_t b)
{
    return sim->net.connection[a < b ? a : b][a < b ? b : a];
}

static void tell_reset(struct sim *sim, const struct sim_event *event)
{
    uint32_t peer = (uint32_t)event->a;

    if (*connection(&sim->net, event->end, peer) == event->b) {
        sim_count(sim, SIM_RESETS);
        if (sim->scenario->reset != NULL) {
            sim->scenario->reset(sim, event->end, peer);
        }
    }
}

void sim_net_close(struct sim *sim, uint32_t end, uint32_t peer)
{
    uint64_t number = ++*connection(&sim->net, end, peer);

    for (int i = 0; i < 2; i++) {
        uint64_t us = sim_between(sim, SIM_RANDOM_NET, RESET_US_MIN, RESET_US_MAX);
        sim_after(sim, us, i == 0 ? end : peer, "reset", tell_reset, i == 0 ? peer : end, number);
    }
}

void sim_net_close_all(struct sim *sim, uint32_t end)
{
    for (uint32_t peer = 1; sim->net.streams && peer < SIM_ENDS_MAX; peer++) {
        if (peer != end) {
            sim_net_close(sim, end, peer);
        }
    }
}

static void lose(struct sim *sim, uint32_t from, uint32_t to)
{
    sim_count(sim, SIM_DROPPED);
    if (sim->net.streams) {
        sim_net_close(sim, from, to);
    }
}

/* `b` is the connection, of messages their number. */
static void arrive(struct sim *sim, const struct sim_event *event)
{
    uint32_t from = (uint32_t)event->a, to = event->end;
    struct net_link *link = &sim->net.links[from][to];

    if (sim->net.streams && *connection(&sim->net, from, to) != event->b) {
        sim_count(sim, SIM_DROPPED);
        return;
    }
    if (link->cut) {
        lose(sim, from, to);
        return;
    }
    if (!sim->net.streams) {
        if (event->b < link->received) {
            sim_count(sim, SIM_REORDERED);
        }
        link->received = event->b > link->received ? event->b : link->received;
    }
    sim->scenario->receive(sim, to, from, event->data);
}

static void send_copy(struct sim *sim, uint32_t from, uint32_t to, struct bytes message)
{
    struct sim_net *net = &sim->net;
    struct net_link *link = &net->links[from][to];
    uint64_t most_us = net->slow ? SLOW_DELAY_US_MAX : DELAY_US_MAX;
    uint64_t at_us = sim->now_us + sim_between(sim, SIM_RANDOM_NET, DELAY_US_MIN, most_us);

    if (net->streams && at_us <= link->last_us) {
        at_us = link->last_us + 1;
    }
    link->last_us = at_us;
    sim_push(sim, (struct sim_event){
                      .at_us = at_us,
                      .name = "arrive",
                      .end = to,
                      .life = SIM_ANY_LIFE,
                      .run = arrive,
                      .a = from,
                      .b = net->streams ? *connection(net, from, to) : link->newest,
                      .data = message,
                  });
}

void sim_net_send(struct sim *sim, uint32_t from, uint32_t to, struct bytes message)
{
    struct sim_net *net = &sim->net;

    sim_count(sim, SIM_SENT);
    net->links[from][to].newest++;
    if (net->links[from][to].cut || sim_chance(sim, SIM_RANDOM_NET, net->drop_percent)) {
        lose(sim, from, to);
        return;
    }
    send_copy(sim, from, to, message);
    if (!net->streams && sim_chance(sim, SIM_RANDOM_NET, net->repeat_percent)) {
        sim_count(sim, SIM_REPEATED);
        send_copy(sim, from, to, message);
    }
}

void sim_net_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut)
{
    sim->net.links[from][to].cut = cut;
    sim_note(sim, cut ? "cut" : "join", from, to, 0);
}

void sim_net_heal(struct sim *sim)
{
    struct sim_net *net = &sim->net;

    for (uint32_t from = 0; from < NET_ENDS_MAX; from++) {
        for (uint32_t to = 0; to < NET_ENDS_MAX; to++) {
            net->links[from][to].cut = false;
        }
    }
    net->slow = false;
    net->drop_percent = net->repeat_percent = 0;
}
