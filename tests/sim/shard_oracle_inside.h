/* What the parts of the oracle share: private to shard_oracle*.c. */
#ifndef SHARD_ORACLE_INSIDE_H
#define SHARD_ORACLE_INSIDE_H

#include "shard_oracle.h"

enum oracle_life { DEAD, UNSURE, LIVE };

extern const char *const oracle_key_names[OPERATION_KEYS];

static inline uint64_t later_ms(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t sooner_ms(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The state of a key now; what it is from here on. */
struct oracle_state oracle_present(const struct oracle *oracle, uint32_t key);
void oracle_keep(struct oracle *oracle, uint32_t key, uint64_t lsn,
                 const struct oracle_state *state);
struct oracle_done *oracle_done_of(struct oracle *oracle, uint32_t client, uint64_t sequence);

enum oracle_life oracle_life_of(const struct oracle_state *state, uint64_t now_ms);
void oracle_use(struct oracle_state *state, uint64_t now_ms);
uint64_t oracle_part_ms(const struct oracle_state *state);

/* Did a crash take this version? Did a write give it to the present session? */
bool oracle_is_lost(const struct oracle_key *key, const struct operation_version *version);
bool oracle_is_of_present(const struct oracle_key *key, const struct operation_version *version);

void oracle_executed_get(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                         const struct reply *reply, const struct oracle_logged *logged);
void oracle_executed_scan(struct oracle *oracle, uint64_t now_ms, const struct reply *reply);
void oracle_executed_write(struct oracle *oracle, const struct operation *operation,
                           uint64_t now_ms, const struct reply *reply,
                           const struct oracle_logged *logged);

#endif
