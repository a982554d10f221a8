/* What the files of peers.h share. */
#ifndef PEERS_PRIVATE_H
#define PEERS_PRIVATE_H

#include <pthread.h>

#include "peer_dial.h"
#include "peer_stream.h"
#include "peers.h"

enum { PEERS_ADDRESS_BYTES = 72 };

struct peers_node;

enum line_state { LINE_IDLE, LINE_DIALLING, LINE_UP };

/* A link that this node dials, and dials again. */
struct peers_line {
    struct peers_node *node;
    bool control;
    uint32_t local, shard; /* A data link's: from here to there. */
    enum line_state state;
    struct peer_dial *dial; /* DIALLING. */
    uint64_t next_ms;       /* IDLE: not before then. */
    uint32_t retry_ms;      /* After the next failure. */
};

/* Another member. */
struct peers_node {
    struct peers *peers;
    struct peer_member member; /* `start`: the newest life that is known. */
    bool kept;                 /* While the members change. */
    bool apart;                /* Its clock is, as was told with clock_apart... */
    bool refuses;              /* ... and as the last dial ended... */
    uint64_t apart_ms;         /* ... or one did at this time of the loop. */
    bool told_up;              /* control_up was called... */
    uint32_t told_start;       /* ... for this life. */
    struct peers_link *dialled, *accepted;
    uint32_t shards; /* 0: not known yet. */
    int said;        /* What was logged of it last: an errno or a refusal. */
    struct peers_line control;
    struct peers_line *data;
    uint32_t data_count;
};

/* A control link, or a connection of a node that joins. */
struct peers_link {
    struct peer_stream stream;
    struct peers *peers;     /* NULL: it has ended. */
    struct peers_node *node; /* NULL: it joins, or is no member any more. */
    uint32_t number, start;  /* Whose it is; 0: it joins. */
    bool dialled;
    uint64_t joiner;      /* Its number. */
    uint64_t deadline_ms; /* Of a joiner. */
    struct peers_link *previous, *next;
};

/* A connection that came in, whose handshake is under way. */
struct peers_guest {
    struct peers *peers;
    struct peer_greeting *greeting;
    char address[PEERS_ADDRESS_BYTES];
    struct peers_guest *previous, *next; /* The oldest first. */
};

struct peers_lost {
    uint32_t local, node, shard;
};

struct peers {
    struct peers_options options;
    struct peer_self self;
    uint16_t port;
    int fd; /* Listening. */
    uv_poll_t listener;
    uv_timer_t pause;          /* Without a descriptor for one more connection. */
    uv_timer_t timer;          /* The next dial or deadline. */
    uv_async_t wake;           /* Links were lost. */
    uint32_t handles;          /* Still to be closed by the loop. */
    struct peers_node **nodes; /* In order of number. */
    uint32_t node_count;
    struct peers_guest *guest_first, *guest_last;
    struct peers_link *links;
    uint32_t joiners;
    uint64_t joiner_last;
    struct peers_figures figures; /* But for what is counted when asked. */
    pthread_mutex_t mutex;        /* Of what follows. */
    struct peers_lost *lost;      /* Room for one of each data link that is UP. */
    uint32_t lost_count, lost_capacity;
};

/* ---- peers.c ---- */

struct peers_node *peers_node(const struct peers *peers, uint32_t number);

/* ---- peers_listener.c ---- */

/* Returns 0 or negative errno. */
int peers_listen(struct peers *peers);
void peers_listener_end(struct peers *peers); /* Its guests, not its handles. */

/* ---- peers_dial.c ---- */

void peers_on_timer(uv_timer_t *timer);
void peers_on_wake(uv_async_t *wake);

/* Look what is to be dialled with the next turn of the loop. */
void peers_kick(struct peers *peers);

/* A dial of it came to nothing, or what it made is gone: again, after a while that grows. */
void peers_line_again(struct peers_line *line);

/* Whoever is there: dial its lines without delay. */
void peers_node_is_there(struct peers_node *node);

/* Its address is another one now: what was dialled at the old one is given up. */
void peers_node_has_moved(struct peers_node *node);

/* It has so many shards: these are its data lines. */
void peers_set_shards(struct peers_node *node, uint32_t shards);

/* End all its dials, and forget its lines. */
void peers_node_end_lines(struct peers_node *node);

/* ---- peers_link.c ---- */

/* A handshake has made a control link, or let a joiner in. The socket is the link's, whatever becomes of it. */
void peers_link_open(struct peers *peers, const struct peer_greeting_result *result, bool dialled);

/* Not its node's any more; and closed. */
void peers_link_cut(struct peers_link *link, const char *text);

/* Joiners whose time is over are cut. Returns the next deadline; UINT64_MAX: there is none. */
uint64_t peers_joiners_look(struct peers *peers, uint64_t now_ms);

#endif
