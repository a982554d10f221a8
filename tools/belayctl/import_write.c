/* Writes to Belay: one for each key, many under way at a time; large keys in steps, one after the other. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "import.h"

enum {
    FLYING_MAX = 4096,
    FLYING_BYTES_MAX = 32 * 1024 * 1024,
    STEP_CHANGES = CHANGES_MAX - 4, /* Beside the fields: clear, and a deadline. */
    STEP_BYTES = 8 * 1024 * 1024,
    PATIENCE_MS = 60000, /* For a server that goes at the pace of its disk. */
    PAUSE_MS = 100,      /* Where a busy server does not say. */
};

struct flight {
    struct import *import; /* NULL: whatever the answer is, nothing is to be done. */
    struct wanted wanted;
    struct state state;
    size_t bytes;
    uint8_t key[];
};

struct belay_bytes import_target_key(const struct import *import, struct bytes key, char *to)
{
    memcpy(to, import->prefix, import->prefix_size);
    if (key.size > 0) {
        memcpy(to + import->prefix_size, key.data, key.size);
    }
    return belay_bytes_of(to, import->prefix_size + key.size);
}

/* ---- Answers ---- */

static void busy(struct import *import, const struct wanted *wanted, uint32_t retry_after_ms)
{
    uint64_t now_ms = import_time_ms();

    import->busy_since_ms = import->busy_since_ms == 0 ? now_ms : import->busy_since_ms;
    if (now_ms > import->busy_since_ms + PATIENCE_MS) {
        import_failed(import, CTL_REFUSED, "%s: %s", import->ctl->server,
                      belay_status_text(BELAY_BUSY));
        return;
    }
    retry_after_ms = retry_after_ms == 0 ? PAUSE_MS : retry_after_ms;
    import->pause_ms = retry_after_ms > import->pause_ms ? retry_after_ms : import->pause_ms;
    import_again(import, wanted->key, wanted->attempts, wanted->replace);
}

static void settle(struct import *import, const struct wanted *wanted, const struct state *state,
                   enum belay_status status, uint32_t retry_after_ms)
{
    const char *name = belay_status_name(status);

    switch (status) {
    case BELAY_OK:
        import->copied[state->type] += !import->sample.closed;
        import->busy_since_ms = 0;
        sample_offer(import, wanted->key, state);
        return;
    case BELAY_NOT_FOUND: /* Between two steps. */
        import->gone++;
        return;
    case BELAY_BUSY:
        busy(import, wanted, retry_after_ms);
        return;
    case BELAY_WRONG_TYPE:
    case BELAY_EXISTS:
        import_again(import, wanted->key, wanted->attempts + 1, true);
        return;
    case BELAY_DESTROYED:
        import_note(import, TROUBLE_ENDED, wanted->key, name);
        return;
    case BELAY_DAMAGED:
        import_note(import, TROUBLE_DAMAGED, wanted->key, name);
        return;
    case BELAY_INVALID:
    case BELAY_KEY_TOO_LARGE:
    case BELAY_SESSION_TOO_LARGE:
    case BELAY_TOO_MANY_FIELDS:
    case BELAY_FRAME_TOO_LARGE:
        import_note(import, TROUBLE_LIMIT, wanted->key, name);
        return;
    default:
        if (import->rc == CTL_OK) {
            progress_end(&import->progress);
            import->rc = ctl_failed(import->ctl, NULL, status, NULL);
        }
    }
}

static void landed(struct belay_result *result, void *context)
{
    struct flight *flight = context;
    struct import *import = flight->import;

    import->flying--;
    import->flying_bytes -= flight->bytes;
    if (flight->state.type != BELAY_NONE) {
        settle(import, &flight->wanted, &flight->state, belay_result_status(result),
               belay_result_retry_after_ms(result));
    }
    free(flight);
}

/* Send what no answer is waited for. `state` NULL: it does not matter what becomes of it. */
static void fly(struct import *import, const struct wanted *wanted, const struct state *state,
                struct belay_request *request, size_t bytes)
{
    struct flight *flight = malloc(sizeof *flight + wanted->key.size + 1);

    if (flight == NULL) {
        belay_request_discard(request);
        import_failed(import, CTL_REFUSED, "out of memory");
        return;
    }
    *flight = (struct flight){.import = import, .wanted = *wanted, .bytes = bytes};
    if (state != NULL) {
        flight->state = *state;
    }
    memcpy(flight->key, wanted->key.data, wanted->key.size);
    flight->wanted.key = bytes_of(flight->key, wanted->key.size);
    enum belay_status status = belay_send(request, landed, flight);
    if (status == BELAY_OK) {
        import->flying++;
        import->flying_bytes += bytes;
        return;
    }
    if (state != NULL) {
        settle(import, wanted, state, status, 0);
    }
    free(flight);
}

void import_let_fly(struct import *import)
{
    belay_client_dispatch(import->client);
    while (import->flying > FLYING_MAX || import->flying_bytes > FLYING_BYTES_MAX) {
        belay_client_step(import->client);
    }
}

void import_land(struct import *import)
{
    while (import->flying > 0) {
        belay_client_step(import->client);
    }
    if (import->pause_ms > 0 && import->rc == CTL_OK) {
        usleep(import->pause_ms * 1000);
    }
    import->pause_ms = 0;
}

/* ---- One key ---- */

static struct belay_request *write_to(struct import *import, struct bytes key, enum belay_mode mode)
{
    char target[KEY_BYTES_MAX];
    uint64_t timeout_ms = import->ctl->timeout_ms;
    struct belay_request *request =
        belay_write_begin(import->client, import_target_key(import, key, target), mode);

    /* Not with a number to be recognised by, which each session would keep: it may be written twice. */
    belay_request_no_retry(request);
    belay_request_timeout_ms(request,
                             timeout_ms > PATIENCE_MS ? (uint32_t)timeout_ms : PATIENCE_MS);
    return request;
}

static void destroy(struct import *import, const struct wanted *wanted)
{
    struct belay_request *request = write_to(import, wanted->key, BELAY_UPSERT);

    belay_write_destroy(request);
    fly(import, wanted, NULL, request, 0);
}

/* How long it lives that is given no deadline. */
static uint64_t lifetime_of(const struct import *import, struct bytes key)
{
    char target[KEY_BYTES_MAX];
    struct belay_bytes whole = import_target_key(import, key, target);

    for (size_t i = 0; i < import->lifetime_count; i++) {
        const struct lifetime *lifetime = &import->lifetimes[i];
        if (bytes_starts_with(bytes_of(whole.data, whole.size),
                              bytes_of(lifetime->prefix, lifetime->prefix_size))) {
            return lifetime->ttl_ms;
        }
    }
    return 0;
}

static void set_deadline(struct writing *writing)
{
    uint64_t ttl_ms = lifetime_of(writing->import, writing->wanted.key);

    if (writing->state.deadline_ms != 0 || ttl_ms == 0) {
        belay_write_absolute(writing->request, writing->state.deadline_ms);
    } else {
        belay_write_ttl(writing->request, ttl_ms); /* As if it began anew. */
    }
}

static void step_begin(struct writing *writing)
{
    const struct wanted *wanted = &writing->wanted;
    enum belay_mode mode = writing->steps > 0 ? BELAY_UPDATE
                           : wanted->replace  ? BELAY_CREATE
                                              : BELAY_UPSERT;

    writing->request = write_to(writing->import, wanted->key, mode);
    writing->changes = 0;
    writing->bytes = wanted->key.size;
    belay_write_type(writing->request, writing->state.type);
    if (writing->steps > 0) {
        return;
    }
    if (mode == BELAY_UPSERT && writing->state.type != BELAY_BLOB) {
        belay_write_clear(writing->request);
    }
    set_deadline(writing);
}

void writing_begin(struct writing *writing, struct import *import, const struct wanted *wanted,
                   enum belay_type type, uint64_t deadline_ms)
{
    *writing = (struct writing){
        .import = import,
        .wanted = *wanted,
        .state = {.type = type, .deadline_ms = deadline_ms},
    };
    if (wanted->replace) {
        destroy(import, wanted); /* It arrives before what follows. */
    }
    step_begin(writing);
}

/* Write what there is and wait for the answer. */
static void step_run(struct writing *writing)
{
    struct import *import = writing->import;
    struct belay_result *result;
    enum belay_status status = belay_run(writing->request, &result);
    uint32_t retry_after_ms = result == NULL ? 0 : belay_result_retry_after_ms(result);

    belay_result_destroy(result);
    writing->request = NULL;
    if (status == BELAY_OK) {
        writing->steps++;
        return;
    }
    writing->over = true;
    uint64_t limits = import->noted[TROUBLE_LIMIT].count;
    settle(import, &writing->wanted, &writing->state, status, retry_after_ms);
    if (writing->steps > 0 && import->noted[TROUBLE_LIMIT].count > limits) {
        destroy(import, &writing->wanted); /* Half a session is worse than none. */
    }
}

void writing_put(struct writing *writing, struct bytes name, struct bytes value, uint64_t until_ms)
{
    struct belay_request *request = writing->request;
    struct belay_bytes field = belay_bytes_of(name.data, name.size);
    struct belay_bytes content = belay_bytes_of(value.data, value.size);
    double score = 0;

    if (writing->over) {
        return;
    }
    switch (writing->state.type) {
    case BELAY_SET:
        belay_write_add_member(request, field);
        break;
    case BELAY_ZSET:
        score = strtod((const char *)value.data, NULL); /* hiredis ends it by a zero. */
        belay_write_set_score(request, field, score, 0);
        break;
    default:
        if (until_ms != 0) {
            belay_write_set_until(request, field, content, until_ms);
        } else {
            belay_write_set(request, field, content);
        }
    }
    state_add(&writing->state, name, value, score);
    writing->changes++;
    writing->bytes += name.size + value.size + 16;
    if (writing->changes >= STEP_CHANGES || writing->bytes >= STEP_BYTES) {
        step_run(writing);
        if (!writing->over) {
            step_begin(writing);
        }
    }
}

void writing_end(struct writing *writing)
{
    struct import *import = writing->import;

    if (writing->over || (writing->changes == 0 && writing->steps == 0)) {
        writing_drop(writing);
    } else if (writing->steps == 0) {
        fly(import, &writing->wanted, &writing->state, writing->request, writing->bytes);
    } else {
        if (writing->changes > 0) {
            step_run(writing);
        } else {
            writing_drop(writing);
        }
        if (!writing->over) {
            settle(import, &writing->wanted, &writing->state, BELAY_OK, 0);
        }
    }
    writing->request = NULL;
}

void writing_drop(struct writing *writing)
{
    belay_request_discard(writing->request);
    writing->request = NULL;
}

/* ---- Policies ---- */

static int longer_first(const void *one, const void *other)
{
    const struct lifetime *a = one, *b = other;

    return (a->prefix_size < b->prefix_size) - (a->prefix_size > b->prefix_size);
}

void import_read_policies(struct import *import)
{
    json_t *document, *policy;
    const char *prefix;
    int rc = ctl_admin(import->ctl, "config", NULL, &document);

    if (rc != CTL_OK) {
        import->rc = rc;
        return;
    }
    json_t *policies = json_object_get(document, "policy");
    import->lifetimes = calloc(json_object_size(policies) + 1, sizeof *import->lifetimes);
    json_object_foreach(policies, prefix, policy)
    {
        const char *text = json_string_value(json_object_get(policy, "absolute_ttl"));
        struct lifetime lifetime = {.prefix = strdup(prefix), .prefix_size = strlen(prefix)};
        if (import->lifetimes == NULL || lifetime.prefix == NULL) {
            free(lifetime.prefix);
            import_failed(import, CTL_REFUSED, "out of memory");
            break;
        }
        if (text == NULL || !duration_parse(text, &lifetime.ttl_ms)) {
            lifetime.ttl_ms = 0;
        }
        import->lifetimes[import->lifetime_count++] = lifetime;
    }
    if (import->lifetime_count > 0) {
        qsort(import->lifetimes, import->lifetime_count, sizeof *import->lifetimes, longer_first);
    }
    json_decref(document);
}
