/* The simulator: a world in one thread, in which everything that happens comes from one number, the seed.
 *
 * Time is virtual. What is to happen lies in a queue, in order of its time, and of what has the same time in the
 * order in which it was put there; the world takes one event after the other and never waits. The programs under
 * test are the pure parts of the server, as they are. Around them are here clocks (clock.h), a network (net.h),
 * disks (disk.h), logs on these (sim_log.h), memory that is counted (sim_memory.h), and a nemesis (nemesis.h) that lets
 * them fail.
 *
 * A *scenario* says what runs in the world: how a node starts, what it does with a message, and what must hold.
 * Its checker is asked after every event. Each run has two phases: in the first one the nemesis is at work, then all
 * is healed, and within a time that the scenario states everything must have settled.
 *
 * Each event goes into the trace hash: two runs with the same hash were the same run. So whatever happens may
 * depend on the seed and on earlier events only: not on addresses, on the real time, on what a library draws.
 *
 * Threads: one. Memory: the heap; a failure ends the program.
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "clock.h"
#include "counts.h"
#include "disk.h"
#include "net.h"
#include "sim_log.h"

enum {
    SIM_NODES_MAX = 7,
    SIM_CLIENTS_MAX = 8,
    SIM_ENDS_MAX = 1 + SIM_NODES_MAX + SIM_CLIENTS_MAX, /* Ends of links: 0 is nobody. */
    SIM_LINES = 40,                                     /* Of the last events, for a failure. */
};

/* What draws numbers; each has its own, so that one more drawn here changes nothing there. */
enum sim_random {
    SIM_RANDOM_NET,
    SIM_RANDOM_DISK,
    SIM_RANDOM_CLOCK,
    SIM_RANDOM_NEMESIS,
    SIM_RANDOM_NODES,
    SIM_RANDOM_CLIENTS,
    SIM_RANDOM_STORE,
    SIM_RANDOM_OPERATORS,
    SIM_RANDOMS
};

enum sim_stop {
    SIM_STOP_CLEAN,   /* The process ends by itself, with all that it wanted to write. */
    SIM_STOP_KILL,    /* The process is gone. */
    SIM_STOP_MACHINE, /* The machine is gone. */
};

struct sim;

struct sim_event {
    uint64_t at_us, order;
    const char *name; /* A literal. */
    uint32_t end;     /* Whose it is: a node or a client; 0: the world's. */
    uint64_t life;    /* Of the node: an event of an earlier one is void. SIM_ANY_LIFE: of any. */
    void (*run)(struct sim *sim, const struct sim_event *event);
    uint64_t a, b;
    struct bytes data; /* The event's own. */
};

#define SIM_ANY_LIFE UINT64_MAX

struct sim_node {
    bool up, paused;
    uint64_t life;         /* Counts its starts. */
    uint64_t resumed_us;   /* When it went on last after a pause. */
    enum sim_stop stopped; /* What ended it since it was up: the worst... */
    uint64_t stopped_us;   /* ... and when. */
    struct sim_clock clock;
    int64_t wrong_ms; /* Whoever sets it at a start is so far off, where clocks agree else. */
    struct sim_disk disk;
    struct sim_disk
        other; /* Another file on it, where the scenario has two: durable when its own writes are. */
    struct sim_log log;         /* On `disk`, where the scenario has shards. */
    struct sim_event *deferred; /* What came while it was paused. */
    uint32_t deferred_count, deferred_capacity;
};

struct sim_scenario {
    const char *name;
    uint32_t nodes_min, nodes_max, client_count;
    uint32_t
        faults; /* Those that it must stand, of enum nemesis_fault: NEMESIS_BIT() and the like. */
    bool two_disks; /* Its nodes use sim_node.other as well. */
    uint32_t
        kept_percent; /* So many of its nodes have a disk that keeps what a killed process gave it (disk.h). */
    bool
        clocks_agree; /* A node starts when its clock was set: sim->skew_ms, and its wrong_ms, say how well. */
    size_t
        context_bytes; /* Of sim->context, which is made of zeros before begin() and freed after end(). */
    uint64_t quiet_us;    /* So long nothing fails in the beginning. */
    uint64_t trouble_us;  /* How long the nemesis works, with that. */
    uint64_t settle_us;   /* Within this time after it everything must have settled... */
    uint64_t epilogue_us; /* ... and it goes on so long. */

    /* Before the first start: make what else the scenario has of its own; and free it, when all nodes have stopped. */
    void (*begin)(struct sim *sim);
    void (*end)(struct sim *sim);
    /* A node starts with what its disk has, or stops; cleanly, then all that it wrote is durable. */
    void (*start)(struct sim *sim, uint32_t node);
    void (*stop)(struct sim *sim, uint32_t node, enum sim_stop stop);
    /* A message has come to a node that is up, or to a client. */
    void (*receive)(struct sim *sim, uint32_t end, uint32_t from, struct bytes message);
    /* The connection to `peer` is lost; what was under way may have come there or not. Streams only. NULL: nobody
     * minds. */
    void (*reset)(struct sim *sim, uint32_t end, uint32_t peer);
    /* A device write of a node's, which is up, is over. */
    void (*written)(struct sim *sim, struct sim_disk *disk, bool good);
    /* May a disk be wiped now? NULL: at any time. */
    bool (*may_wipe)(struct sim *sim);
    /* After every event, and at the very end. */
    void (*check)(struct sim *sim);
    void (*check_end)(struct sim *sim);
    bool (*settled)(struct sim *sim);
};

struct sim_line {
    uint64_t at_us;
    const char *name;
    uint32_t end;
    uint64_t a, b;
};

struct sim {
    uint64_t seed;
    const struct sim_scenario *scenario;
    void *context;
    bool tracing;
    const char *unsettled; /* Why settled() said no last: a literal, or NULL. */
    uint64_t now_us;
    uint64_t heals_us; /* When the nemesis ends. */
    bool healed;
    uint32_t haste; /* How much faster than else the nemesis works: the seed says. */
    uint32_t
        skew_ms; /* Where clocks agree: so far a clock is off at most when its node starts; 0 in half of the runs. */

    struct sim_event *queue; /* A heap. */
    uint32_t queue_count, queue_capacity;
    uint64_t order;
    uint64_t random[SIM_RANDOMS];
    uint64_t hash;
    uint64_t counts[SIM_COUNTS];
    struct sim_line lines[SIM_LINES];
    uint64_t line_count;

    uint32_t node_count;
    struct sim_node nodes[1 + SIM_NODES_MAX]; /* From 1 up. */
    struct sim_net net;
};

/* Run one seed with so many nodes (0: the seed says). A failure is printed, and ends the program with 1. `counts` are
 * added to. Returns the trace hash. */
uint64_t sim_run(const struct sim_scenario *scenario, uint64_t seed, uint32_t node_count,
                 bool tracing, uint64_t counts[SIM_COUNTS]);

/* ---- For scenarios and the parts of the world. ---- */

uint64_t sim_random(struct sim *sim, enum sim_random which);
/* From `least` to `most`, both included. */
uint64_t sim_between(struct sim *sim, enum sim_random which, uint64_t least, uint64_t most);
bool sim_chance(struct sim *sim, enum sim_random which, uint32_t percent);

/* Something happens in `delay_us`, to the present life of a node. `data` is copied. */
void sim_after(struct sim *sim, uint64_t delay_us, uint32_t end, const char *name,
               void (*run)(struct sim *sim, const struct sim_event *event), uint64_t a, uint64_t b);
void sim_push(struct sim *sim, struct sim_event event);

/* What happens within an event: a line of the trace, and part of the hash. */
void sim_note(struct sim *sim, const char *name, uint32_t end, uint64_t a, uint64_t b);

static inline void sim_count(struct sim *sim, enum sim_count count)
{
    sim->counts[count]++;
}

/* What must hold does not: `checker` says what. Does not return. */
void sim_fail(const char *checker, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

#define SIM_CHECK(checker, holds, ...) ((holds) ? (void)0 : sim_fail((checker), __VA_ARGS__))

/* The nemesis' hands, and the scenario's in the beginning. Each does nothing where it makes no sense. */
void sim_start(struct sim *sim, uint32_t node);
void sim_stop(struct sim *sim, uint32_t node, enum sim_stop stop);
void sim_pause(struct sim *sim, uint32_t node);
void sim_resume(struct sim *sim, uint32_t node);

/* Are all nodes up, and none is paused? */
bool sim_all_go(const struct sim *sim);

/* As malloc() and realloc(), and end the program where there is none. */
void *sim_more(void *block, size_t size);

#endif
