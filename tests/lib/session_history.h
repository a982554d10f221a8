/* Random histories of three to five replicas of one session, with every state that occurred.
 *
 * Each step is compared with the naive model (session_model.h) as it is made, and each delta with the
 * full record. What was done is written down in a log, from which states can be judged independently.
 */
#ifndef SESSION_HISTORY_H
#define SESSION_HISTORY_H

#include "session_kit.h"
#include "session_model.h"

enum {
    REPLICAS_MAX = 5,
    POOL_MAX = 160,
    DELTAS_MAX = 64,
    LOG_MAX = 256,
};

/* What a history is for. */
enum flavour {
    GENERAL = 0,
    BLIND_COUNTERS = 1,    /* Nothing dies; sessions begin blindly: every add counts. */
    EXPLICIT_COUNTERS = 2, /* Explicit creates and deaths: every add of the shown birth counts. */
};

struct delta_log {
    int base, result; /* In the pool. */
    uint32_t at, size;
};

struct history {
    struct test_memory memory;
    uint64_t random;
    enum flavour flavour;
    bool types;   /* GENERAL: sessions of several types begin under the key. */
    bool crowded; /* GENERAL: many lives, from old copies: many actors, births and siblings. */
    struct session_rules rules;
    struct session_written written;
    struct buffer bytes; /* Of pool and deltas. */
    struct buffer list, out, out2, results;
    uint64_t now_ms;
    int replica_count, pool_count, delta_count;
    struct replica {
        struct actor actor;
        int copy; /* In the pool; -1: none. */
        int64_t clock_off_ms;
    } replicas[REPLICAS_MAX];
    struct {
        uint32_t at, size;
    } pool[POOL_MAX];
    struct delta_log deltas[DELTAS_MAX];
    /* The log of what was done. */
    int add_count, deadline_count, death_count;
    struct {
        struct stamp stamp, birth;
        int64_t delta;
    } adds[LOG_MAX];
    struct {
        uint64_t ms;
        struct stamp birth;
    } deadlines[LOG_MAX];
    struct {
        struct stamp death, birth;
    } deaths[LOG_MAX];
    uint64_t sequence, rename;
};

/* What all histories together had. */
struct history_totals {
    uint64_t histories, steps, triples, siblings, deaths, recreates;
    uint64_t deltas_applied, deltas_stale, counters, modelled, refused, repeated;
    /* Writes of another type than the session's; writes where there were too many siblings; burials; reads that
     * slid an idle clock. */
    uint64_t wrong_types, pruned, buried, touched;
    /* States with more actors and births than are cached; with a birth whose type is gone; with a dedup window that
     * had to let go. */
    uint64_t many_actors, many_births, typeless, floors;
    uint64_t receipts, forgotten; /* That came, and that left. */
    uint64_t faded;               /* States of a session that went with its fields. */
};

extern struct history_totals totals;

uint64_t history_random(struct history *history);
int history_pick(struct history *history, int below);

/* A state of the pool; -1: none. */
struct bytes history_state(const struct history *history, int index);

void history_init(struct history *history);
void history_fini(struct history *history);

/* Forget everything, and begin another one. */
void history_begin(struct history *history, uint64_t seed);
void history_step(struct history *history);

/* A delta gives what the full record would give, once or twice, on any copy that has its base; and on
 * no other. */
void history_check_delta(struct history *history, const struct delta_log *delta, struct bytes copy);

#endif
