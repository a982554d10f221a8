/* The oracle of a shard: what reads must answer. */
#include "shard_oracle_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "version.h"

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

/* The version is that of the last write, whatever a burial, a compaction or a restart did to what came before the
 * session. */
static void check_shown_version(const struct oracle_state *state, const struct reply *reply,
                                const char *name)
{
    SIM_CHECK("version", bytes_equal(reply->version, operation_version_bytes(&state->version)),
              "%s has another version than its last write said", name);
}

/* Where the answer is that the copy is older than what the reader has seen, it must be; and the other way round. */
static bool check_floor(struct oracle *oracle, const struct operation *operation,
                        const struct reply *reply, enum oracle_life life)
{
    const struct oracle_key *key = &oracle->keys[operation->key];

    if (reply->status != STATUS_UNAVAILABLE) {
        SIM_CHECK("floor",
                  operation->version.size == 0 || life != LIVE ||
                      !oracle_is_lost(key, &operation->version),
                  "%s was read at a version that a crash took", oracle_key_names[operation->key]);
        return true;
    }
    SIM_CHECK("floor",
              operation->version.size > 0 &&
                  !(life == LIVE && oracle_is_of_present(key, &operation->version)),
              "%s is older than a version that it had", oracle_key_names[operation->key]);
    oracle->sim->counts[SIM_LOST_TOKENS] += oracle_is_lost(key, &operation->version);
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
        uint64_t before_ms = state->access_least_ms, part = oracle_part_ms(state);
        bool is_due = state->restored || before_ms / part != now_ms / part;
        oracle_use(state, now_ms);
        state->logged_ms = is_due && log_takes ? now_ms : state->logged_ms;
    }
    uint64_t least_ms = state->access_least_ms;
    if (state->restored) {
        least_ms = sooner_ms(least_ms - oracle_part_ms(state), state->logged_ms);
    }
    SIM_CHECK("deadline", access_ms >= least_ms && access_ms <= state->access_most_ms,
              "%s was used at %" PRIu64 ", not from %" PRIu64 " to %" PRIu64, name, access_ms,
              least_ms, state->access_most_ms);
    state->access_least_ms = later_ms(state->access_least_ms, access_ms);
}

void oracle_executed_get(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                         const struct reply *reply, const struct oracle_logged *logged)
{
    const char *name = oracle_key_names[operation->key];
    struct oracle_state state = oracle_present(oracle, operation->key);
    enum oracle_life life = oracle_life_of(&state, now_ms);

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
    oracle_keep(oracle, operation->key, logged->lsn, &state);
}

void oracle_executed_scan(struct oracle *oracle, uint64_t now_ms, const struct reply *reply)
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
        struct oracle_state state = oracle_present(oracle, i);
        enum oracle_life life = oracle_life_of(&state, now_ms);
        SIM_CHECK("scan", life == UNSURE || found[i] == (life == LIVE), "%s is %sin it",
                  oracle_key_names[i], found[i] ? "" : "not ");
    }
}
