#include "shard_oracle.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "version.h"

/* ---- Keys ---- */

static const char *const key_names[OPERATION_KEYS] = {"k0", "k1", "k2", "k3", "k4", "k5",
                                                      "i0", "i1", "n0", "n1", "t0", "t1"};

struct bytes oracle_key_name(uint32_t key)
{
    return bytes_of_string(key_names[key]);
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

static struct oracle_state present(const struct oracle *oracle, uint32_t key)
{
    const struct oracle_key *kept = &oracle->keys[key];

    return kept->count > 0 ? kept->pasts[kept->count - 1].state : (struct oracle_state){0};
}

static void keep(struct oracle *oracle, uint32_t key, uint64_t lsn,
                 const struct oracle_state *state)
{
    struct oracle_key *kept = &oracle->keys[key];

    if (kept->count == kept->capacity) {
        kept->capacity = 2 * kept->capacity + 16;
        kept->pasts = sim_more(kept->pasts, kept->capacity * sizeof *kept->pasts);
    }
    kept->pasts[kept->count++] = (struct oracle_past){lsn, *state};
}

static struct oracle_done *done_of(struct oracle *oracle, uint32_t client, uint64_t sequence)
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

enum life { DEAD, UNSURE, LIVE };

static enum life life_of(const struct oracle_state *state, uint64_t now_ms)
{
    if (!state->begun || (state->absolute_ms != 0 && now_ms >= state->absolute_ms)) {
        return DEAD;
    }
    if (state->idle_ms == 0 || now_ms < state->access_least_ms + state->idle_ms) {
        return LIVE;
    }
    return now_ms < state->access_most_ms + state->idle_ms ? UNSURE : DEAD;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Used now: its clock slides, and never back. */
static void use(struct oracle_state *state, uint64_t now_ms)
{
    state->access_least_ms = greater(state->access_least_ms, now_ms);
    state->access_most_ms = greater(state->access_most_ms, now_ms);
    state->restored = false;
}

/* How much is logged at the least of what slid, and given back after a restart. */
static uint64_t part_ms(const struct oracle_state *state)
{
    return state->idle_ms < 8 ? 1 : state->idle_ms / 8;
}

/* ---- Reads ---- */

static void check_field(const struct oracle_state *state, uint32_t field,
                        const struct session_view *view, const char *key)
{
    const struct oracle_field *wanted = &state->fields[field];
    const char name[] = {(char)('a' + field), '\0'};
    struct session_field found = {.value = bytes_of("", 0)};
    bool there = session_find(view, bytes_of_string(name), &found);
    char number[24];
    const char *value = wanted->value;

    if (field >= OPERATION_TEXTS) {
        snprintf(number, sizeof number, "%" PRId64, wanted->number);
        value = number;
    }
    bool good =
        there == wanted->there && (!there || bytes_equal(found.value, bytes_of_string(value)));
    SIM_CHECK("read", good, "%s.%s is %s'%.*s', not %s'%s'", key, name, there ? "" : "absent ",
              (int)found.value.size, (const char *)found.value.data, wanted->there ? "" : "absent ",
              wanted->there ? value : "");
}

static void check_view(const struct oracle_state *state, const struct reply *reply, const char *key)
{
    const struct session_view *view = reply->view;
    uint32_t fields = 0;

    for (uint32_t i = 0; i < OPERATION_FIELDS; i++) {
        check_field(state, i, view, key);
        fields += state->fields[i].there;
    }
    SIM_CHECK("read", view->field_count == fields, "%s has %u fields, not %u", key,
              view->field_count, fields);
    SIM_CHECK("deadline",
              view->absolute_ms == state->absolute_ms && view->idle_ms == state->idle_ms,
              "%s ends at %" PRIu64 " or idle for %" PRIu64 ", not %" PRIu64 ", %" PRIu64, key,
              view->absolute_ms, view->idle_ms, state->absolute_ms, state->idle_ms);
}

/* The version is that of the last write. But a session that began after another one had been forgotten is joined with
 * what was forgotten when all is read again, and knows more then: its version grows by the restart. It is the smaller
 * one again once a compaction has forgotten it, too. */
static void check_shown_version(struct oracle_state *state, const struct reply *reply,
                                const char *name)
{
    struct reader old_bytes = reader_of(operation_version_bytes(&state->written));
    struct reader new_bytes = reader_of(reply->version);
    struct version old, new;
    bool same = bytes_equal(reply->version, operation_version_bytes(&state->version));

    SIM_CHECK("version",
              same || (state->restored && version_read(&old_bytes, true, &old) &&
                       version_read(&new_bytes, true, &new) && version_covers_all(&new, &old)),
              "%s has another version than its last write said", name);
    operation_version_set(&state->version, reply->version);
}

static bool is_lost(const struct oracle_key *key, const struct operation_version *version)
{
    for (uint32_t i = 0; i < key->lost_count; i++) {
        if (operation_versions_equal(&key->lost[i], version)) {
            return true;
        }
    }
    return false;
}

/* Is it a version that a write gave to the present session? */
static bool is_of_present(const struct oracle_key *key, const struct operation_version *version)
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

/* Where the answer is that the copy is older than what the reader has seen, it must be; and the other way round. */
static bool check_floor(struct oracle *oracle, const struct operation *operation,
                        const struct reply *reply, enum life life)
{
    const struct oracle_key *key = &oracle->keys[operation->key];

    if (reply->status != STATUS_UNAVAILABLE) {
        SIM_CHECK("floor",
                  operation->version.size == 0 || life != LIVE ||
                      !is_lost(key, &operation->version),
                  "%s was read at a version that a crash took", key_names[operation->key]);
        return true;
    }
    SIM_CHECK("floor",
              operation->version.size > 0 &&
                  !(life == LIVE && is_of_present(key, &operation->version)),
              "%s is older than a version that it had", key_names[operation->key]);
    oracle->sim->counts[SIM_LOST_TOKENS] += is_lost(key, &operation->version);
    return false;
}

static void check_access(struct oracle_state *state, const struct operation *operation,
                         uint64_t now_ms, const struct reply *reply, bool log_takes,
                         const char *name)
{
    uint64_t access_ms = reply->view->last_access_ms;

    if (state->idle_ms == 0) {
        return;
    }
    if (!operation->no_touch) {
        uint64_t before_ms = state->access_least_ms, part = part_ms(state);
        bool is_due = state->restored || before_ms / part != now_ms / part;
        use(state, now_ms);
        state->logged_ms = is_due && log_takes ? now_ms : state->logged_ms;
    }
    uint64_t least_ms = state->access_least_ms;
    if (state->restored) {
        least_ms = lesser(least_ms - part_ms(state), state->logged_ms);
    }
    SIM_CHECK("deadline", access_ms >= least_ms && access_ms <= state->access_most_ms,
              "%s was used at %" PRIu64 ", not from %" PRIu64 " to %" PRIu64, name, access_ms,
              least_ms, state->access_most_ms);
    state->access_least_ms = greater(state->access_least_ms, access_ms);
}

static void executed_get(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                         const struct reply *reply, const struct oracle_logged *logged)
{
    const char *name = key_names[operation->key];
    struct oracle_state state = present(oracle, operation->key);
    enum life life = life_of(&state, now_ms);

    if (!check_floor(oracle, operation, reply, life)) {
        return;
    }
    SIM_CHECK("read", reply->status == STATUS_OK || reply->status == STATUS_NOT_FOUND, "%s: %s",
              name, status_name(reply->status));
    if (reply->status == STATUS_NOT_FOUND) {
        SIM_CHECK("lost", life != LIVE, "%s is gone", name);
        state.access_most_ms = life == UNSURE ? state.access_least_ms : state.access_most_ms;
    } else {
        SIM_CHECK("resurrected", life != DEAD, "%s has ended, and is there", name);
        check_view(&state, reply, name);
        check_shown_version(&state, reply, name);
        check_access(&state, operation, now_ms, reply, logged->rc == 0 && !logged->failed, name);
    }
    keep(oracle, operation->key, logged->lsn, &state);
}

static void executed_scan(struct oracle *oracle, uint64_t now_ms, const struct reply *reply)
{
    struct reader keys = reader_of(reply->keys);
    bool found[OPERATION_KEYS] = {false};

    SIM_CHECK("scan", reply->status == STATUS_OK && reply->cursor == 0, "%s",
              status_name(reply->status));
    while (reader_left(&keys) > 0) {
        struct bytes key = read_string(&keys);
        uint32_t i = 0;
        while (i < OPERATION_KEYS && !bytes_equal(key, oracle_key_name(i))) {
            i++;
        }
        SIM_CHECK("scan", i < OPERATION_KEYS && !found[i], "a key that is not there, or twice");
        found[i] = true;
    }
    for (uint32_t i = 0; i < OPERATION_KEYS; i++) {
        struct oracle_state state = present(oracle, i);
        enum life life = life_of(&state, now_ms);
        SIM_CHECK("scan", life == UNSURE || found[i] == (life == LIVE), "%s is %sin it",
                  key_names[i], found[i] ? "" : "not ");
    }
}

/* ---- Writes ---- */

/* Done twice, would it count twice? */
static bool counts(const struct operation *operation)
{
    return operation->kind == OPERATION_ADD || operation->version.size > 0;
}

/* The answer of a log that takes nothing now. */
static bool check_refusal(struct oracle *oracle, const struct reply *reply,
                          const struct oracle_logged *logged)
{
    enum status wanted = logged->failed          ? STATUS_LOG_FAILED
                         : logged->rc == -ENOSPC ? STATUS_DISK_FULL
                         : logged->rc == -EAGAIN ? STATUS_BUSY
                                                 : STATUS_OK;
    bool refused = reply->status == STATUS_LOG_FAILED || reply->status == STATUS_DISK_FULL ||
                   reply->status == STATUS_BUSY;

    SIM_CHECK("log", !refused || reply->status == wanted, "%s, but the log says %d",
              status_name(reply->status), logged->rc);
    SIM_CHECK("log", refused || logged->rc == 0, "%s, but the log took nothing: %d",
              status_name(reply->status), logged->rc);
    oracle->sim->counts[SIM_REFUSED] += refused;
    return refused;
}

static int64_t first_result(const struct reply *reply)
{
    struct reader results = reader_of(reply->results);

    return unzigzag(read_varint(&results));
}

/* Before its first try the client had seen a time of an earlier life that a later life had not reached when it began: a
 * crash took the end of the log, and the clock was set back. Then it cannot be known from stamps whether the
 * window had it: such a write may be done twice. */
static bool is_in_doubt(const struct oracle *oracle, const struct operation *operation)
{
    uint64_t seen_ms = hlc_ms(operation->retry_hlc);

    return seen_ms >= oracle->back_least_ms && seen_ms <= oracle->back_most_ms;
}

/* A write that was done before, or may have been. Returns whether the answer says so. */
static bool check_repeat(struct oracle *oracle, const struct operation *operation,
                         const struct oracle_done *done, const struct oracle_state *state,
                         enum life life, const struct reply *reply)
{
    const char *name = key_names[operation->key];

    if (reply->status == STATUS_MAYBE_APPLIED) {
        SIM_CHECK("once", operation->retry_hlc != 0, "a first try of %s: MAYBE_APPLIED", name);
        sim_count(oracle->sim, SIM_MAYBES);
        return true;
    }
    if (reply->status == STATUS_OK && reply->repeated) {
        SIM_CHECK("once", done->done, "%s: called repeated, and was not done", name);
        SIM_CHECK("once", done->last.result == first_result(reply),
                  "%s: repeated with result %" PRId64 ", not %" PRId64, name, first_result(reply),
                  done->last.result);
        sim_count(oracle->sim, SIM_REPEATS_KNOWN);
        return true;
    }
    if (done->done && is_in_doubt(oracle, operation)) {
        sim_count(oracle->sim, SIM_DOUBTS);
    } else if (done->done) {
        SIM_CHECK("once", !counts(operation),
                  "%s: operation %u of client %u, done before at %" PRIu64 ", gets %s", name,
                  operation->kind, operation->client, done->last.lsn, status_name(reply->status));
        SIM_CHECK("once", life != LIVE || done->last.incarnation != state->incarnation,
                  "%s: set before, and set again", name);
    }
    return false;
}

/* `guessed`: the version is that of the session, for all one can know. */
static enum status predict(const struct operation *operation, const struct oracle_state *state,
                           bool live, bool guessed)
{
    bool conditional = operation->version.size > 0;
    bool matches = operation_versions_equal(&operation->version, &state->version) || guessed;

    if (operation->kind == OPERATION_DESTROY) {
        return conditional && !(live && matches) ? STATUS_VERSION_MISMATCH : STATUS_OK;
    }
    if (live && operation->mode == WRITE_CREATE) {
        return STATUS_EXISTS;
    }
    if (!live && operation->mode == WRITE_UPDATE) {
        return STATUS_NOT_FOUND;
    }
    /* What is expired has changed since any version of it. */
    return conditional && !(matches && (live || !state->begun)) ? STATUS_VERSION_MISMATCH
                                                                : STATUS_OK;
}

static void begin_session(struct oracle_state *state, const struct operation *operation,
                          uint64_t now_ms)
{
    char group = key_names[operation->key][0];

    state->begun = true;
    state->incarnation++;
    memset(state->fields, 0, sizeof state->fields);
    state->absolute_ms = group == 't' ? now_ms + ORACLE_ABSOLUTE_MS : 0;
    state->idle_ms = group == 'i' ? ORACLE_IDLE_MS : 0;
    state->access_least_ms = 0;
}

/* What it does to a session that lives. Returns its result. */
static int64_t change(struct oracle_state *state, const struct operation *operation,
                      uint64_t now_ms)
{
    struct oracle_field *field = &state->fields[operation->field];
    int64_t result = 0;

    switch (operation->kind) {
    case OPERATION_SET:
        result = !field->there;
        field->there = true;
        memcpy(field->value, operation->value, sizeof field->value);
        break;
    case OPERATION_DELETE:
        result = field->there;
        *field = (struct oracle_field){.there = false};
        break;
    case OPERATION_ADD:
        field->there = true;
        field->number += operation->number;
        result = field->number;
        break;
    case OPERATION_TTL:
        state->absolute_ms = now_ms + (uint64_t)operation->number;
        break;
    default:
        state->idle_ms = (uint64_t)operation->number;
        break;
    }
    state->restored = false;
    if (state->idle_ms != 0) {
        use(state, now_ms);
        state->logged_ms = now_ms;
    }
    return result;
}

/* Versions only grow, and what a crash took is not given again. */
static void check_version(struct oracle *oracle, const struct operation *operation,
                          const struct oracle_state *before, const struct oracle_state *after)
{
    const char *name = key_names[operation->key];
    struct reader old_bytes = reader_of(operation_version_bytes(&before->version));
    struct reader new_bytes = reader_of(operation_version_bytes(&after->version));
    struct version old, new;

    SIM_CHECK("version", version_read(&new_bytes, true, &new), "%s: no version", name);
    SIM_CHECK("version", !is_lost(&oracle->keys[operation->key], &after->version),
              "%s: a version that a crash took was given again", name);
    if (before->incarnation == after->incarnation) {
        SIM_CHECK("version",
                  version_read(&old_bytes, true, &old) && version_covers_all(&new, &old) &&
                      !version_covers_all(&old, &new),
                  "%s: the version did not grow", name);
    }
}

/* A write was done: what it should have done, with that result. */
static void take_write(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                       const struct reply *reply, struct oracle_state state, bool live,
                       uint64_t lsn)
{
    const struct oracle_state before = state;
    int64_t result;

    if (operation->kind == OPERATION_DESTROY) {
        result = live;
        state.begun = false;
        state.dead_ms = now_ms;
        if (key_names[operation->key][0] == 'n') {
            state.until_ms = greater(state.until_ms, now_ms + ORACLE_TOMBSTONE_KEEP_MS);
        }
        oracle->sim->counts[SIM_DESTROYS] += live;
    } else {
        if (!live) {
            begin_session(&state, operation, now_ms);
        }
        result = change(&state, operation, now_ms);
    }
    SIM_CHECK("write", first_result(reply) == result, "%s: result %" PRId64 ", not %" PRId64,
              key_names[operation->key], first_result(reply), result);
    operation_version_set(&state.version, reply->version);
    if (operation->kind != OPERATION_DESTROY || live) {
        state.written = state.version;
        check_version(oracle, operation, &before, &state);
    }
    struct oracle_done *done = done_of(oracle, operation->client, operation->sequence);
    const struct oracle_time time = {lsn, state.incarnation, result};
    done->again = done->done;
    done->first = done->done ? done->first : time;
    done->last = time;
    done->done = true;
    keep(oracle, operation->key, lsn, &state);
}

/* Does the answer fit what is known? */
static bool fits_so(const struct operation *operation, const struct oracle_state *state, bool live,
                    bool guessed, uint64_t now_ms, const struct reply *reply)
{
    enum status wanted = predict(operation, state, live, guessed), status = reply->status;
    bool begins = wanted == STATUS_OK && !live && operation->kind != OPERATION_DESTROY;
    bool kept_away = begins && operation->mode == WRITE_UPSERT && now_ms <= state->until_ms;

    if (kept_away && (now_ms < state->until_ms || status == STATUS_DESTROYED)) {
        return status == STATUS_DESTROYED;
    }
    if (begins && operation->version.size > 0 && status == STATUS_VERSION_MISMATCH) {
        /* The tombstone may be forgotten. */
        return now_ms >= state->dead_ms + ORACLE_TOMBSTONE_KEEP_MS;
    }
    if (operation->kind == OPERATION_DESTROY && status == STATUS_OK) {
        return wanted == STATUS_OK && first_result(reply) == live;
    }
    return status == wanted && reply->created == begins;
}

/* Does the answer fit a session that lives, or one that does not? Of a tombstone that an expiry or a restart left nobody was
 * told the version; but a repeated write is answered with it. */
static bool fits(const struct operation *operation, const struct oracle_state *state, bool live,
                 uint64_t now_ms, const struct reply *reply)
{
    bool unknown = !live && !state->begun && state->version.size == 0;

    return fits_so(operation, state, live, false, now_ms, reply) ||
           (unknown && operation->version.size > 0 &&
            fits_so(operation, state, live, true, now_ms, reply));
}

static void executed_write(struct oracle *oracle, const struct operation *operation,
                           uint64_t now_ms, const struct reply *reply,
                           const struct oracle_logged *logged)
{
    struct oracle_state state = present(oracle, operation->key);
    enum life life = life_of(&state, now_ms);
    struct oracle_done done = *done_of(oracle, operation->client, operation->sequence);

    if (check_refusal(oracle, reply, logged) ||
        check_repeat(oracle, operation, &done, &state, life, reply)) {
        return;
    }
    bool live = life != DEAD && fits(operation, &state, true, now_ms, reply);
    SIM_CHECK("write", live || (life != LIVE && fits(operation, &state, false, now_ms, reply)),
              "%s: %s%s to operation %u, mode %u, at %" PRIu64
              ", of a session that %s; kept away until %" PRIu64,
              key_names[operation->key], status_name(reply->status),
              reply->created ? ", begun" : "", operation->kind, operation->mode, now_ms,
              life == LIVE   ? "lives"
              : life == DEAD ? "does not live"
                             : "may live",
              state.until_ms);
    oracle->sim->counts[SIM_KEPT_AWAY] += reply->status == STATUS_DESTROYED;
    if (reply->status == STATUS_OK) {
        take_write(oracle, operation, now_ms, reply, state, live, logged->lsn);
    }
}

void oracle_executed(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                     const struct reply *reply, const struct oracle_logged *logged)
{
    sim_count(oracle->sim, SIM_REQUESTS);
    oracle->newest_ms = greater(oracle->newest_ms, now_ms);
    oracle->sim->counts[SIM_RETRIES] += operation->retry_hlc != 0;
    if (operation->kind == OPERATION_SCAN) {
        executed_scan(oracle, now_ms, reply);
    } else if (operation->kind == OPERATION_GET) {
        executed_get(oracle, operation, now_ms, reply, logged);
    } else {
        executed_write(oracle, operation, now_ms, reply, logged);
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
            struct oracle_state state = present(oracle, i);
            SIM_CHECK("deadline", life_of(&state, now_ms) != LIVE, "%s expired too early",
                      key_names[i]);
            SIM_CHECK("resurrected", state.begun, "%s expired a second time", key_names[i]);
            state.begun = false;
            state.version.size = 0;
            keep(oracle, i, lsn, &state);
            sim_count(oracle->sim, SIM_EXPIRIES);
            return;
        }
    }
    sim_fail("deadline", "a key that nobody knows expired");
}

static void lose_version(struct oracle_key *key, const struct operation_version *version)
{
    if (version->size == 0 || is_lost(key, version) || is_of_present(key, version)) {
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
    if (now_ms < oracle->newest_ms) {
        bool first = oracle->back_most_ms == 0;
        oracle->back_least_ms = first ? now_ms : lesser(oracle->back_least_ms, now_ms);
        oracle->back_most_ms = greater(oracle->back_most_ms, oracle->newest_ms);
    }
    for (int i = 0; i < OPERATION_KEYS; i++) {
        struct oracle_key *key = &oracle->keys[i];
        if (key->count == 0) {
            continue;
        }
        struct oracle_state *state = &key->pasts[key->count - 1].state;
        uint64_t part = part_ms(state), least = state->access_least_ms;
        uint64_t most = state->access_most_ms;
        if (least > now_ms) {
            state->access_least_ms = greater(now_ms, least - lesser(least, part));
        }
        state->access_least_ms = lesser(state->access_least_ms, state->logged_ms + part);
        state->access_most_ms = greater(most, lesser(most + part, now_ms));
        state->restored = true;
        state->version.size = state->begun ? state->version.size : 0; /* It may have grown. */
    }
}

void oracle_live(const struct oracle *oracle, uint64_t now_ms, uint64_t *least, uint64_t *most)
{
    *least = *most = 0;
    for (uint32_t i = 0; i < OPERATION_KEYS; i++) {
        struct oracle_state state = present(oracle, i);
        enum life life = life_of(&state, now_ms);
        *least += life == LIVE;
        *most += life != DEAD;
    }
}
