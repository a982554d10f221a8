/* A node with one shard: what belayd's wiring, data plane and log writer are to it, on a simulated disk.
 *
 * A start gives the log (sim_log.h) to the shard, some of it twice, and serves then. What a compaction may forget, keys
 * up to their burial, it may not give.
 *
 * Every request that the shard executes is shown to the oracle.
 */
#ifndef SHARD_LIFE_H
#define SHARD_LIFE_H

#include "shard_oracle.h"
#include "sim_memory.h"
#include "wall_clock.h"

enum {
    LIFE_HELD_MAX = 64, /* Answers that wait for the disk: a client may have given several up. */
    LIFE_WAITING_BYTES_MAX = 8192, /* More than that waits to be written: -EAGAIN. */
    LIFE_MEMORY_BYTES_MAX = 24 * 1024 * 1024,
};

/* A write whose answer waits for the disk, or a request that is executed now. */
struct life_ticket {
    uint64_t ticket, connection, lsn;
    struct operation operation;
    struct operation_answer answer;
    bool held;
};

struct shard_life {
    struct door door;
    struct tracer tracer;
    struct sim_memory memory;
    struct sim *sim;
    uint32_t node;
    struct oracle *oracle;

    /* In the data directory. */
    uint32_t start;
    struct forgotten {
        uint64_t position;
        size_t at;
    } forgotten[OPERATION_KEYS]; /* Compacted: of these keys nothing is left up to there. */
    uint32_t forgotten_count;
    bool clean;
    uint64_t clean_hlc;

    /* Of this life. */
    struct wall_clock clock;
    struct policies policies;
    struct shard *shard;
    uint64_t tickets;
    struct life_ticket now, held[LIFE_HELD_MAX];
};

void shard_life_init(struct shard_life *life, struct sim *sim, uint32_t node,
                     struct oracle *oracle);
void shard_life_start(struct shard_life *life);
void shard_life_stop(struct shard_life *life, enum sim_stop stop);
void shard_life_receive(struct shard_life *life, uint32_t from, const struct operation *operation);
void shard_life_written(struct shard_life *life, bool good);

uint64_t shard_life_now_ms(const struct shard_life *life);

/* The simulator itself looks at all that is there. */
void shard_life_look(struct shard_life *life);

/* What must always hold. */
void shard_life_check(struct shard_life *life);

#endif
