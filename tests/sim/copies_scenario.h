/* Scenario `copies`: three to five nodes whose shards are copies of each other, with the server's replication between
 * them, over links that fail and logs on disks that fail.
 *
 *   copies_node.c      one node: its shard, its log, its replication
 *   copies_links.c     the links between nodes
 *   copies_oracle.c    what was written and acknowledged, and what of it must be there in the end
 *   copies_scenario.c  what is asked of the nodes, and that all copies are the same once all is well
 *
 * Scenarios `cluster` (cluster_scenario.h) and `archive` (archive_scenario.h) are built on the same nodes, links and
 * oracle.
 */
#ifndef COPIES_SCENARIO_H
#define COPIES_SCENARIO_H

#include "replication_core.h"
#include "sim.h"
#include "sim_memory.h"
#include "wall_clock.h"

enum {
    COPIES_KEYS = 10,
    COPIES_TIMED_KEYS = 2,     /* The first ones have deadlines... */
    COPIES_DESTROYED_KEYS = 6, /* ... and these are destroyed now and then, as those are. */
    COPIES_DIGITS = 31,        /* Additions in one field: base 4 shows whether one came twice. */
    COPIES_WRITES_MAX = 4096,
    COPIES_LOSSES_MAX = 256,
    COPIES_HELD_MAX = 512,
    COPIES_TICK_US = 10000,
    COPIES_DIAL_US = 150000,
    COPIES_WAITING_BYTES_MAX = 65536,
    COPIES_ROUND_MS =
        5000, /* The background finds what nothing else tells of: well within the time to settle. */
    COPIES_VERSION_BYTES_MAX = 1024,
    COPIES_SHARD_BYTES_MAX = 24 * 1024 * 1024,
    COPIES_REPLICATION_BYTES_MAX = 8 * 1024 * 1024,
};

/* A write of a field of its own, an addition of its own power of 4, or the end of a session. */
struct copies_write {
    uint32_t key;
    bool destroys, adds;
    bool idles;              /* The deadline it sets is an idle one. */
    uint32_t place;          /* Of an addition: its number among those of its key. */
    uint32_t client;         /* Who asks for it; 0: nobody in particular. */
    uint32_t node;           /* The place of whoever executed it last. */
    uint32_t executions;     /* So often was it executed as if for the first time. */
    uint8_t level;           /* Acknowledged at it; 0: not. */
    uint64_t hlc;            /* Of its stamp. */
    uint64_t last_birth_hlc; /* The newest that it met, or made, at any of its executions. */
    uint64_t birth_hlc;      /* The oldest of those that the session had then... */
    uint32_t births;         /* ... and how many these were, at its last execution. */
    uint64_t now_ms;         /* By the clock of its node: a deadline counts from here. */
    uint64_t begun_us, acked_us;
    uint32_t there;  /* 1 + the number of the destroy that began last, if it found this; else 0. */
    uint32_t doomed; /* 1 + the number of the first destroy that ended it; 0: none did. */
};

/* What a node had appended since `since_us` went with it. */
struct copies_loss {
    uint32_t node;
    bool wiped; /* What was durable, too. */
    uint64_t since_us, until_us;
};

struct copies_oracle {
    struct copies_write writes[COPIES_WRITES_MAX];
    uint32_t write_count;
    struct copies_loss losses[COPIES_LOSSES_MAX];
    uint32_t loss_count;
};

struct copies_link {
    struct replication_link *link; /* NULL: it is down. */
    uint64_t connection, heard_us;
    bool full;
};

struct copies_append {
    size_t end;
    uint64_t us;
};

struct copies_node {
    struct door door;
    struct replication_port port;
    struct tracer tracer;
    struct sim_memory shard_memory, replication_memory;
    struct sim *sim;
    uint32_t node; /* Its place in the simulator. */
    const struct slot_table *table;
    bool founds; /* Nobody else has anything when it begins. */

    /* In the data directory. */
    uint32_t number; /* As a member. */
    uint32_t start, run;
    bool clean;
    uint64_t clean_hlc;
    struct buffer seen;      /* Saved (seen_saved.h)... */
    struct buffer next_seen; /* ... and what takes its place once the log is durable up to... */
    size_t next_seen_lsn;    /* ... here; 0: there is none. */
    struct copies_append *appends; /* What was appended when, and is in the file. */
    size_t append_count, append_capacity;

    /* Of this life. */
    struct wall_clock clock;
    int64_t wrong_ms; /* That of its system was so far off. */
    struct policies policies;
    struct shard *shard;
    struct replication_core core;
    int (*drop)(struct replication_shard *port, uint32_t slot, uint64_t now_ms); /* Of `core`. */
    struct replication *replication;
    struct copies_link links[1 + SIM_NODES_MAX][2]; /* By peer; [1]: it was dialled here. */
    uint64_t begun_us;                              /* By its own clock. */
    uint64_t taken_ms, turn_us;                     /* As in server/uring/copies.h... */
    /* ... and pause.h: what comes at this time was sent while it was stopped, since then by its own clock. */
    uint64_t late_us, before_us;
    uint64_t tickets;
    bool ticks;         /* What happens now does so by itself. */
    uint32_t now_write; /* 1 + number of the write that is executed; 0: none. */
    struct {
        uint64_t ticket;
        uint32_t write;
    } held[COPIES_HELD_MAX];
    uint8_t versions[COPIES_KEYS][COPIES_VERSION_BYTES_MAX]; /* As last seen, for each key. */
    size_t version_bytes[COPIES_KEYS];
};

struct copies_scenario {
    struct copies_node nodes[1 + SIM_NODES_MAX];
    struct slot_table *tables; /* One for each node, from 0. */
    struct copies_oracle oracle;
    uint32_t replicas;
    uint64_t tombstone_ms;   /* So long tombstones are kept. */
    uint32_t archive_one_of; /* Of so many writes one is asked for at level `archive`; 0: none. */
    /* Does this node have anything to do with that place? NULL: with every one. */
    bool (*knows)(const struct copies_node *node, uint32_t place, uint32_t number);
    /* Does it not let that place in, for its clock? And that it has dialled there, and was let in or `refused` for that.
     * NULL: they always talk. */
    bool (*refuses)(const struct copies_node *node, uint32_t place);
    void (*met)(struct copies_node *node, uint32_t place, bool refused);
    /* It is about to drop some of a slot; `rest`: has dropped the rest of it. NULL: it is nobody's business. */
    void (*drops)(struct copies_node *node, uint32_t slot, bool rest);
    /* As replication's port says it. NULL: it is nobody's business. */
    void (*level)(struct copies_node *node, uint32_t slot, const struct slot_owners *targets);
    /* A write was executed, just now. NULL: as `level`. */
    void (*executed)(struct copies_node *node, uint32_t write);
};

static inline struct copies_scenario *copies_scenario_of(struct sim *sim)
{
    return sim->context;
}

/* The deadline that a write sets. */
static inline uint64_t copies_ttl_ms(uint32_t write)
{
    return 300 + write % 7 * 400;
}

struct bytes copies_key(uint32_t key);
/* Which one it is. */
uint32_t copies_key_of(struct bytes name);
uint64_t copies_position(uint32_t key);

/* By number; NULL: there is none. */
struct copies_node *copies_node_of(struct copies_scenario *scenario, uint32_t number);
/* Who owns a key, by the table of a node that knows. NULL: nobody has that rank. */
struct copies_node *copies_owner(struct copies_scenario *scenario, uint32_t key, uint32_t rank);
/* Are all copies of all keys the same, and do their nodes know? sim->unsettled says why not. */
bool copies_are_level(struct sim *sim);

/* What struct sim_scenario asks for, with the nodes that there are all the time; before it begins, `replicas` and
 * `tombstone_ms` are set. */
void copies_begin(struct sim *sim);
void copies_end(struct sim *sim);
void copies_start(struct sim *sim, uint32_t node);
void copies_stop(struct sim *sim, uint32_t node, enum sim_stop how);
void copies_receive(struct sim *sim, uint32_t to, uint32_t from, struct bytes message);
void copies_reset(struct sim *sim, uint32_t lost, uint32_t peer);
void copies_written(struct sim *sim, struct sim_disk *disk, bool good);
void copies_check(struct sim *sim);
bool copies_settled(struct sim *sim);

void copies_node_init(struct copies_node *node, struct sim *sim, uint32_t place);
void copies_node_fini(struct copies_node *node);
/* Its process begins: it reads the system's clock, once. Then a start is counted, now or when it has joined, and the node
 * opens what it has. */
void copies_node_read_clock(struct copies_node *node);
void copies_node_count(struct copies_node *node);
void copies_node_open(struct copies_node *node);
/* Its data directory is empty; what it had is `lost` by that. */
void copies_node_wiped(struct copies_node *node, bool lost);
/* node->table is another one. */
void copies_node_use_table(struct copies_node *node);
void copies_node_stop(struct copies_node *node, enum sim_stop stop);
void copies_node_written(struct copies_node *node, bool good);
uint64_t copies_node_now_ms(const struct copies_node *node);
uint64_t copies_node_now_us(const struct copies_node *node);
/* Something happens at it: was it stopped until now? */
void copies_node_wakes(struct copies_node *node);
/* After every event. */
void copies_node_check(const struct copies_node *node);
/* The end of a turn. */
void copies_node_turn(struct copies_node *node);
/* Execute a write, or send it to whom it belongs. */
void copies_node_route(struct copies_node *node, uint32_t write, uint8_t flags, uint32_t hops);
/* The changes of a write, in `to`. */
struct bytes copies_changes(const struct copies_write *write, uint32_t number, uint8_t to[128]);
struct bytes copies_node_record(struct copies_node *node, uint32_t key);
/* Of the one session of a key; 0: there is none. */
uint64_t copies_node_hash(struct copies_node *node, uint32_t key);

enum copies_message {
    COPIES_OPEN,
    COPIES_OPENED,
    COPIES_REFUSED,
    COPIES_FRAME,
    COPIES_WRITE,
    COPIES_MESSAGES_END
};

void copies_links_init(struct copies_node *node);
void copies_links_receive(struct copies_node *node, uint32_t from, struct bytes message);
void copies_links_reset(struct copies_node *node, uint32_t peer);
/* Is this message a frame of that kind? Then its number is told. */
bool copies_links_is_frame(struct bytes message, uint8_t kind, uint64_t *number);
void copies_send_write(struct copies_node *node, uint32_t to, uint32_t write, uint8_t flags,
                       uint32_t hops);

/* A write is about to be executed, was executed, acknowledged. */
void copies_oracle_begins(struct copies_node *node, uint32_t write);
void copies_oracle_executed(struct copies_node *node, uint32_t write, uint64_t hlc);
void copies_oracle_acked(struct sim *sim, uint32_t write, enum ack_level level);
void copies_oracle_lost(struct copies_node *node, uint64_t since_us, uint64_t until_us, bool wiped);
/* A node has buried a session of this key, as past its deadline, by itself. */
void copies_oracle_buried(struct copies_node *node, uint32_t key);
/* The number of the write that set a field; COPIES_WRITES_MAX: none did. */
uint32_t copies_write_of(struct bytes name);
/* Was an addition done in this record, which is in view? More than once fails. */
bool copies_was_added(const struct session_view *view, const struct copies_write *write,
                      uint32_t number);
/* Does this record show what a write made? */
bool copies_shows(struct bytes record, uint64_t now_ms, const struct copies_write *write,
                  uint32_t number);
/* May what a write made have been destroyed? */
bool copies_may_be_destroyed(const struct copies_oracle *oracle, const struct copies_write *write);
/* Or have ended by that, or by its deadline? */
bool copies_may_be_ended(const struct copies_oracle *oracle, const struct copies_write *write);
/* Versions only grow. */
void copies_oracle_look(struct copies_node *node);
/* In the end. */
void copies_oracle_check(struct sim *sim);

#endif
