/* The nemesis: from time to time it harms something, drawn from the seed, and mends it some time later.
 *
 * In the end it mends all that is still harmed, and starts every node.
 */
#ifndef NEMESIS_H
#define NEMESIS_H

struct sim;

enum nemesis_fault {
    NEMESIS_CLEAN_STOP,
    NEMESIS_KILL,
    NEMESIS_MACHINE,
    NEMESIS_ALL_MACHINES, /* All at once. */
    NEMESIS_WIPE,         /* A machine comes back with an empty disk. */
    NEMESIS_PAUSE,
    NEMESIS_CUT,       /* Between two ends, both ways. */
    NEMESIS_ONE_WAY,   /* The same, one way. */
    NEMESIS_ISOLATE,   /* One node from all others. */
    NEMESIS_PARTITION, /* The nodes in two parts. */
    NEMESIS_BRIDGE,    /* The same, with one node that both parts reach. */
    NEMESIS_BAD_NET,   /* Slow, with losses. */
    NEMESIS_JUMP,
    NEMESIS_DRIFT,
    NEMESIS_FULL,
    NEMESIS_FAILED_WRITE,
    NEMESIS_SLOW_DISK,
    NEMESIS_FAULTS
};

#define NEMESIS_BIT(fault) (1U << NEMESIS_##fault)

/* Those that everything must stand that runs on machines with disks, and talks... */
#define NEMESIS_EVERYWHERE                                                                         \
    (NEMESIS_BIT(CLEAN_STOP) | NEMESIS_BIT(KILL) | NEMESIS_BIT(MACHINE) | NEMESIS_BIT(PAUSE) |     \
     NEMESIS_BIT(CUT) | NEMESIS_BIT(ONE_WAY) | NEMESIS_BIT(BAD_NET) | NEMESIS_BIT(JUMP) |          \
     NEMESIS_BIT(DRIFT) | NEMESIS_BIT(FULL) | NEMESIS_BIT(FAILED_WRITE) | NEMESIS_BIT(SLOW_DISK))

/* ... and those that only several nodes know. */
#define NEMESIS_AMONG_NODES                                                                        \
    (NEMESIS_BIT(ALL_MACHINES) | NEMESIS_BIT(ISOLATE) | NEMESIS_BIT(PARTITION) |                   \
     NEMESIS_BIT(BRIDGE))

/* At the start of a run: it works until sim->heals_us. */
void nemesis_begin(struct sim *sim);

/* Mend all. */
void nemesis_heal(struct sim *sim);

#endif
