/* The oracle of a shard: what writes must answer, and what they change. */
#include "shard_oracle_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "version.h"

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

/* A write that was done before, or may have been. Returns whether the answer says so. */
static bool check_repeat(struct oracle *oracle, const struct operation *operation,
                         const struct oracle_done *done, const struct oracle_state *state,
                         enum oracle_life life, const struct reply *reply)
{
    const char *name = oracle_key_names[operation->key];

    if (reply->status == STATUS_MAYBE_APPLIED) {
        SIM_CHECK("once", operation->retry_hlc != 0, "a first try of %s: MAYBE_APPLIED", name);
        sim_count(oracle->sim, SIM_MAYBES);
        return true;
    }
    if (reply->status == STATUS_OK && reply->repeated) {
        SIM_CHECK("once", done->done, "%s: called repeated, and was not done", name);
        /* Done again when its key had been forgotten, it has two results, and a restart joins what knows of either. */
        SIM_CHECK("once",
                  done->last.result == first_result(reply) ||
                      (done->again && done->first.result == first_result(reply)),
                  "%s: repeated with result %" PRId64 ", not %" PRId64, name, first_result(reply),
                  done->last.result);
        sim_count(oracle->sim, SIM_REPEATS_KNOWN);
        return true;
    }
    if (done->done) {
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
    char group = oracle_key_names[operation->key][0];

    state->begun = true;
    state->incarnation++;
    memset(state->fields, 0, sizeof state->fields);
    state->absolute_ms = group == 't' ? now_ms + ORACLE_ABSOLUTE_MS : 0;
    state->idle_ms = group == 'i' ? ORACLE_IDLE_MS : 0;
    state->access_least_ms = 0;
    state->access_most_ms = later_ms(state->access_most_ms, state->used_ms);
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
        oracle_use(state, now_ms);
        state->logged_ms = now_ms;
    }
    return result;
}

/* Versions only grow, and what a crash took is not given again. */
static void check_version(struct oracle *oracle, const struct operation *operation,
                          const struct oracle_state *before, const struct oracle_state *after)
{
    const char *name = oracle_key_names[operation->key];
    struct reader old_bytes = reader_of(operation_version_bytes(&before->version));
    struct reader new_bytes = reader_of(operation_version_bytes(&after->version));
    struct version old, new;

    SIM_CHECK("version", version_read(&new_bytes, true, &new), "%s: no version", name);
    SIM_CHECK("version", !oracle_is_lost(&oracle->keys[operation->key], &after->version),
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
        if (oracle_key_names[operation->key][0] == 'n') {
            state.until_ms = later_ms(state.until_ms, now_ms + ORACLE_TOMBSTONE_KEEP_MS);
        }
        oracle->sim->counts[SIM_DESTROYS] += live;
    } else {
        if (!live) {
            begin_session(&state, operation, now_ms);
        }
        result = change(&state, operation, now_ms);
        /* It is not used before its birth, whose stamp is ahead where a clock was set back after a touch was logged. */
        uint64_t stamp_ms = hlc_ms(reply->hlc);
        state.access_most_ms = later_ms(state.access_most_ms, live ? 0 : stamp_ms);
    }
    SIM_CHECK("write", first_result(reply) == result, "%s: result %" PRId64 ", not %" PRId64,
              oracle_key_names[operation->key], first_result(reply), result);
    operation_version_set(&state.version, reply->version);
    if (operation->kind != OPERATION_DESTROY || live) {
        state.written = state.version;
        check_version(oracle, operation, &before, &state);
    }
    struct oracle_done *done = oracle_done_of(oracle, operation->client, operation->sequence);
    const struct oracle_time time = {lsn, state.incarnation, result};
    done->again = done->done;
    done->first = done->done ? done->first : time;
    done->last = time;
    done->done = true;
    oracle_keep(oracle, operation->key, lsn, &state);
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

void oracle_executed_write(struct oracle *oracle, const struct operation *operation,
                           uint64_t now_ms, const struct reply *reply,
                           const struct oracle_logged *logged)
{
    struct oracle_state state = oracle_present(oracle, operation->key);
    enum oracle_life life = oracle_life_of(&state, now_ms);
    struct oracle_done done = *oracle_done_of(oracle, operation->client, operation->sequence);

    if (check_refusal(oracle, reply, logged) ||
        check_repeat(oracle, operation, &done, &state, life, reply)) {
        return;
    }
    bool live = life != DEAD && fits(operation, &state, true, now_ms, reply);
    SIM_CHECK("write", live || (life != LIVE && fits(operation, &state, false, now_ms, reply)),
              "%s: %s%s to operation %u, mode %u, at %" PRIu64
              ", of a session that %s; kept away until %" PRIu64,
              oracle_key_names[operation->key], status_name(reply->status),
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
