/* Some of the keys, read again from both sides when all are copied.
 *
 * What was copied of a key is remembered as a digest that knows no order. A key that has another one in the
 * source now was changed meanwhile, and is copied once more; one that has not must be the same in Belay. */
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "import.h"

enum { TRIES = 3 };

/* ---- Digests ---- */

/* The finalizer of splitmix64: every bit of the result depends on every bit of `value`. */
static uint64_t scatter(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

void state_add(struct state *state, struct bytes name, struct bytes value, double score)
{
    uint64_t number;

    score += 0.0; /* -0 is 0. */
    memcpy(&number, &score, sizeof number);
    if (state->type == BELAY_ZSET) {
        value.size = 0;
    }
    uint64_t hash = scatter(name.size + 1);
    hash = scatter(hash ^ crc32c(0, name));
    hash = scatter(hash ^ crc32c(1, value) ^ (uint64_t)value.size << 32);
    state->digest += scatter(hash ^ number);
    state->fields++;
}

static bool same_content(const struct state *a, const struct state *b)
{
    return a->type == b->type && a->fields == b->fields && a->digest == b->digest;
}

/* PTTL is as exact as the way here is short; what was cut to ten years was cut at another time. */
static bool same_deadline(const struct import *import, uint64_t a_ms, uint64_t b_ms)
{
    const uint64_t day_ms = UINT64_C(1000) * 3600 * 24;
    uint64_t slack_ms = import->source.has_time ? 0 : 1000;
    uint64_t apart_ms = a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;

    if (a_ms > import_time_ms() + (TTL_MS_MAX_DAYS - 1) * day_ms) {
        slack_ms = day_ms;
    }
    return (a_ms == 0) == (b_ms == 0) && apart_ms <= slack_ms;
}

/* ---- Reading both sides ---- */

static void read_value(struct state *state, const redisReply *reply)
{
    size_t step = state->type == BELAY_SET ? 1 : 2;

    if (reply_is_error(reply) || reply->type == REDIS_REPLY_NIL) {
        state->type = BELAY_NONE; /* No longer. */
    } else if (state->type == BELAY_BLOB) {
        state_add(state, bytes_of(NULL, 0), reply_bytes(reply), 0);
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + step <= reply->elements; i += step) {
        struct bytes value = step == 1 ? bytes_of(NULL, 0) : reply_bytes(reply->element[i + 1]);
        double score = state->type == BELAY_ZSET ? strtod((const char *)value.data, NULL) : 0;
        state_add(state, reply_bytes(reply->element[i]), value, score);
    }
    if (state->fields == 0) {
        state->type = BELAY_NONE;
    }
}

static struct state read_source(struct import *import, struct bytes key)
{
    static const char *const reads[] = {[BELAY_BLOB] = "GET %b",
                                        [BELAY_MAP] = "HGETALL %b",
                                        [BELAY_SET] = "SMEMBERS %b",
                                        [BELAY_ZSET] = "ZRANGE %b 0 -1 WITHSCORES"};
    struct state state;
    char name[TYPE_BYTES];

    import_ask_type(import, key);
    if (!import_take_type(import, &state, name) || state.type == BELAY_NONE) {
        return state;
    }
    source_ask(import, reads[state.type], key.data, key.size);
    redisReply *reply = source_answer(import);
    if (reply != NULL) {
        read_value(&state, reply);
        freeReplyObject(reply);
    }
    return state;
}

static struct state read_target(struct import *import, struct bytes key)
{
    char to[KEY_BYTES_MAX];
    struct state state = {.type = BELAY_NONE};
    struct belay_field field;
    struct belay_result *result;
    size_t position = 0;
    enum belay_status status = belay_run(
        belay_get_begin(import->client, import_target_key(import, key, to), BELAY_GET_NO_TOUCH),
        &result);

    if (status == BELAY_OK) {
        state.type = belay_result_type(result);
        state.deadline_ms = belay_result_absolute_ms(result);
    } else if (status != BELAY_NOT_FOUND && import->rc == CTL_OK) {
        progress_end(&import->progress);
        import->rc = ctl_failed(import->ctl, NULL, status, result);
        return state;
    }
    if (state.type == BELAY_BLOB) {
        struct belay_bytes value = belay_result_value(result);
        state_add(&state, bytes_of(NULL, 0), bytes_of(value.data, value.size), 0);
    }
    while (state.type > BELAY_BLOB && belay_result_field(result, &position, &field)) {
        state_add(&state, bytes_of(field.name.data, field.name.size),
                  bytes_of(field.value.data, field.value.size), field.score);
    }
    belay_result_destroy(result);
    return state;
}

/* ---- The sample ---- */

/* Every key that was copied has the same chance to stay (Vitter's algorithm R). */
void sample_offer(struct import *import, struct bytes key, const struct state *state)
{
    struct sample *sample = &import->sample;
    uint64_t place = sample->offered;

    if (sample->closed) {
        return;
    }
    sample->offered++;
    if (place >= SAMPLE_KEYS) {
        sample->random += UINT64_C(0x9e3779b97f4a7c15);
        place = scatter(sample->random) % sample->offered;
    }
    if (place >= SAMPLE_KEYS) {
        return;
    }
    struct sampled *sampled = &sample->keys[place];
    import_free(sampled->key);
    *sampled = (struct sampled){.key = import_copy(import, key), .state = *state};
    sample->count = place >= sample->count ? (uint32_t)place + 1 : sample->count;
}

static void copy_again(struct import *import, struct bytes key)
{
    const struct wanted wanted = {.key = key};

    import_keys(import, &wanted, 1);
    import_land(import);
    while (import->again.count > 0 && import->rc == CTL_OK) {
        import_keys_again(import);
        import_land(import);
    }
}

static void check_key(struct import *import, struct bytes key, struct state copied)
{
    struct sample *sample = &import->sample;

    for (int i = 0; i < TRIES; i++) {
        struct state source = read_source(import, key), target = read_target(import, key);
        if (import->rc != CTL_OK) {
            return;
        }
        if (source.type == BELAY_NONE ||
            (source.deadline_ms != 0 && source.deadline_ms <= import_time_ms())) {
            sample->ended++;
            return;
        }
        if (same_content(&source, &target) &&
            (source.deadline_ms == 0 ||
             same_deadline(import, source.deadline_ms, target.deadline_ms))) {
            sample->same++;
            return;
        }
        if (same_content(&source, &copied) &&
            same_deadline(import, source.deadline_ms, copied.deadline_ms)) {
            import_note(import, TROUBLE_DIFFERS, key, belay_type_name(source.type));
            return;
        }
        sample->changed += i == 0;
        copied = source;
        copy_again(import, key);
    }
    sample->changing++;
}

void sample_check(struct import *import)
{
    struct sample *sample = &import->sample;

    sample->closed = true;
    for (uint32_t i = 0; i < sample->count && import->rc == CTL_OK; i++) {
        check_key(import, sample->keys[i].key, sample->keys[i].state);
    }
}
