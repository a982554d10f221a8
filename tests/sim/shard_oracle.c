#include "shard_oracle_inside.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Keys ---- */

const char *const oracle_key_names[OPERATION_KEYS] = {"k0", "k1", "k2", "k3", "k4", "k5",
                                                      "i0", "i1", "n0", "n1", "t0", "t1"};

struct bytes oracle_key_name(uint32_t key)
{
    return bytes_of_string(oracle_key_names[key]);
}

uint32_t oracle_policies(struct policy policies[4])
{
    static const char prefixes[] = "\0int";

    for (int i = 0; i < 4; i++) {
        struct policy *policy = &policies[i];
        policy_defaults(policy);
        policy->prefix[0] = prefixes[i];
        policy->prefix_size = i > 0;
        policy->touch_on_read = true;
        policy->rules.tombstone_keep_ms = ORACLE_TOMBSTONE_KEEP_MS;
        policy->rules.idle_ttl_ms = prefixes[i] == 'i' ? ORACLE_IDLE_MS : 0;
        policy->rules.absolute_ttl_ms = prefixes[i] == 't' ? ORACLE_ABSOLUTE_MS : 0;
        policy->rules.no_resurrect = prefixes[i] == 'n';
    }
    return 4;
}

/* ---- What is kept ---- */

void oracle_init(struct oracle *oracle, struct sim *sim)
{
    memset(oracle, 0, sizeof *oracle);
    oracle->sim = sim;
}

void oracle_fini(struct oracle *oracle)
{
    for (int i = 0; i < OPERATION_KEYS; i++) {
        free(oracle->keys[i].pasts);
        free(oracle->keys[i].lost);
    }
    for (int i = 0; i <= SIM_CLIENTS_MAX; i++) {
        free(oracle->done[i]);
    }
    free(oracle->acks);
}

struct oracle_state oracle_present(const struct oracle *oracle, uint32_t key)
{
    const struct oracle_key *kept = &oracle->keys[key];

    return kept->count > 0 ? kept->pasts[kept->count - 1].state : (struct oracle_state){0};
}

void oracle_keep(struct oracle *oracle, uint32_t key, uint64_t lsn,
                 const struct oracle_state *state)
{
    struct oracle_key *kept = &oracle->keys[key];

    if (kept->count == kept->capacity) {
        kept->capacity = 2 * kept->capacity + 16;
        kept->pasts = sim_more(kept->pasts, kept->capacity * sizeof *kept->pasts);
    }
    kept->pasts[kept->count++] = (struct oracle_past){lsn, *state};
}

struct oracle_done *oracle_done_of(struct oracle *oracle, uint32_t client, uint64_t sequence)
{
    uint64_t capacity = oracle->done_capacity[client];

    if (sequence >= capacity) {
        uint64_t more = 2 * sequence + 64;
        oracle->done[client] = sim_more(oracle->done[client], more * sizeof *oracle->done[client]);
        memset(oracle->done[client] + capacity, 0,
               (more - capacity) * sizeof *oracle->done[client]);
        oracle->done_capacity[client] = more;
    }
    return &oracle->done[client][sequence];
}

/* ---- Does a session live? ---- */

enum oracle_life oracle_life_of(const struct oracle_state *state, uint64_t now_ms)
{
    if (!state->begun || (state->absolute_ms != 0 && now_ms >= state->absolute_ms)) {
        return DEAD;
    }
    if (state->idle_ms == 0 || now_ms < state->access_least_ms + state->idle_ms) {
        return LIVE;
    }
    return now_ms < state->access_most_ms + state->idle_ms ? UNSURE : DEAD;
}

/* Used now: its clock slides, and never back. */
void oracle_use(struct oracle_state *state, uint64_t now_ms)
{
    state->access_least_ms = later_ms(state->access_least_ms, now_ms);
    state->access_most_ms = later_ms(state->access_most_ms, now_ms);
    state->used_ms = later_ms(state->used_ms, now_ms);
    state->restored = false;
}

/* How much is logged at the least of what slid, and given back after a restart. */
uint64_t oracle_part_ms(const struct oracle_state *state)
{
    return state->idle_ms < 8 ? 1 : state->idle_ms / 8;
}

/* ---- Versions ---- */

bool oracle_is_lost(const struct oracle_key *key, const struct operation_version *version)
{
    for (uint32_t i = 0; i < key->lost_count; i++) {
        if (operation_versions_equal(&key->lost[i], version)) {
            return true;
        }
    }
    return false;
}

/* Is it a version that a write gave to the present session? */
bool oracle_is_of_present(const struct oracle_key *key, const struct operation_version *version)
{
    uint64_t incarnation = key->count > 0 ? key->pasts[key->count - 1].state.incarnation : 0;

    for (uint32_t i = key->count; i-- > 0;) {
        if (key->pasts[i].state.incarnation == incarnation &&
            operation_versions_equal(&key->pasts[i].state.written, version)) {
            return true;
        }
    }
    return false;
}

/* ---- Requests ---- */

void oracle_executed(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                     const struct reply *reply, const struct oracle_logged *logged)
{
    sim_count(oracle->sim, SIM_REQUESTS);
    oracle->sim->counts[SIM_RETRIES] += operation->retry_hlc != 0;
    if (operation->kind == OPERATION_SCAN) {
        oracle_executed_scan(oracle, now_ms, reply);
    } else if (operation->kind == OPERATION_GET) {
        oracle_executed_get(oracle, operation, now_ms, reply, logged);
    } else {
        oracle_executed_write(oracle, operation, now_ms, reply, logged);
    }
}

/* ---- Acknowledgements and crashes ---- */

void oracle_acked(struct oracle *oracle, uint64_t lsn, enum ack_level level)
{
    if (oracle->ack_count == oracle->ack_capacity) {
        oracle->ack_capacity = 2 * oracle->ack_capacity + 64;
        oracle->acks = sim_more(oracle->acks, oracle->ack_capacity * sizeof *oracle->acks);
    }
    oracle->acks[oracle->ack_count++] = (struct oracle_ack){lsn, oracle->sim->now_us, level};
    sim_count(oracle->sim, level == ACK_DISK ? SIM_ACKS_DISK : SIM_ACKS_MEMORY);
}

void oracle_told_expired(struct oracle *oracle, struct bytes key, uint64_t now_ms, uint64_t lsn)
{
    for (uint32_t i = 0; i < OPERATION_KEYS; i++) {
        if (bytes_equal(key, oracle_key_name(i))) {
            struct oracle_state state = oracle_present(oracle, i);
            SIM_CHECK("deadline", oracle_life_of(&state, now_ms) != LIVE, "%s expired too early",
                      oracle_key_names[i]);
            SIM_CHECK("resurrected", state.begun, "%s expired a second time", oracle_key_names[i]);
            state.begun = false;
            state.version.size = 0;
            oracle_keep(oracle, i, lsn, &state);
            sim_count(oracle->sim, SIM_EXPIRIES);
            return;
        }
    }
    sim_fail("deadline", "a key that nobody knows expired");
}

static void lose_version(struct oracle_key *key, const struct operation_version *version)
{
    if (version->size == 0 || oracle_is_lost(key, version) || oracle_is_of_present(key, version)) {
        return;
    }
    if (key->lost_count == key->lost_capacity) {
        key->lost_capacity = 2 * key->lost_capacity + 16;
        key->lost = sim_more(key->lost, key->lost_capacity * sizeof *key->lost);
    }
    key->lost[key->lost_count++] = *version;
}

/* Go back to how it was at this place in the log. */
static void go_back(struct oracle *oracle, uint64_t lsn)
{
    for (int i = 0; i < OPERATION_KEYS; i++) {
        struct oracle_key *key = &oracle->keys[i];
        uint32_t count = key->count;
        while (key->count > 0 && key->pasts[key->count - 1].lsn > lsn) {
            key->count--;
        }
        for (uint32_t at = key->count; at < count; at++) {
            struct operation_version version = key->pasts[at].state.written;
            lose_version(key, &version);
        }
    }
    for (int client = 0; client <= SIM_CLIENTS_MAX; client++) {
        for (uint64_t i = 0; i < oracle->done_capacity[client]; i++) {
            struct oracle_done *done = &oracle->done[client][i];
            if (done->last.lsn > lsn) {
                done->done = done->again && done->first.lsn <= lsn;
                done->again = false;
                done->last = done->first;
            }
        }
    }
}

void oracle_restarted(struct oracle *oracle, uint64_t lsn, enum sim_stop stop, uint64_t last_us)
{
    for (uint32_t i = 0; i < oracle->ack_count; i++) {
        const struct oracle_ack *ack = &oracle->acks[i];
        if (ack->lsn <= lsn) {
            continue;
        }
        SIM_CHECK("acknowledged", ack->level < ACK_DISK, "what was acknowledged at disk is lost");
        SIM_CHECK("acknowledged", stop == SIM_STOP_MACHINE,
                  "what was acknowledged at memory is lost with the process");
        SIM_CHECK("acknowledged", ack->at_us > last_us,
                  "what was acknowledged at memory long before the crash is lost");
        sim_count(oracle->sim, SIM_ACKS_LOST);
    }
    oracle->ack_count = 0;
    go_back(oracle, lsn);
}

void oracle_wiped(struct oracle *oracle)
{
    oracle->ack_count = 0;
    go_back(oracle, 0);
    for (int i = 0; i < OPERATION_KEYS; i++) {
        oracle->keys[i].count = 0;
    }
}

/* Idle clocks: what reads slid since it was logged last is less than a part, and that much is given back, but no
 * more than up to now. */
void oracle_serves(struct oracle *oracle, uint64_t now_ms)
{
    for (int i = 0; i < OPERATION_KEYS; i++) {
        struct oracle_key *key = &oracle->keys[i];
        if (key->count == 0) {
            continue;
        }
        struct oracle_state *state = &key->pasts[key->count - 1].state;
        uint64_t part = oracle_part_ms(state), least = state->access_least_ms;
        uint64_t most = state->access_most_ms;
        if (least > now_ms) {
            state->access_least_ms = later_ms(now_ms, least - sooner_ms(least, part));
        }
        uint64_t given_ms = sooner_ms(state->logged_ms + part, now_ms);
        state->access_least_ms =
            sooner_ms(state->access_least_ms, later_ms(state->logged_ms, given_ms));
        state->access_most_ms = later_ms(most, sooner_ms(most + part, now_ms));
        state->restored = true;
        state->version.size = state->begun ? state->version.size : 0; /* It may have grown. */
    }
}

void oracle_live(const struct oracle *oracle, uint64_t now_ms, uint64_t *least, uint64_t *most)
{
    *least = *most = 0;
    for (uint32_t i = 0; i < OPERATION_KEYS; i++) {
        struct oracle_state state = oracle_present(oracle, i);
        enum oracle_life life = oracle_life_of(&state, now_ms);
        *least += life == LIVE;
        *most += life != DEAD;
    }
}
