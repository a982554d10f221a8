#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "adopt.h"
#include "archive_reading.h"
#include "archive_retention.h"
#include "archive_scenario.h"
#include "heap.h"
#include "recover.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

enum {
    RANGE_BYTES = 4096,
    RANGES_PERCENT = 30,
    STOPS_PERCENT = 5,
    OTHER_SEED = 43,
    SHARD_BYTES_MAX = 24 * 1024 * 1024,
};

const uint8_t archive_cluster[CLUSTER_ID_BYTES] = {0xbe, 0x1a};

/* ---- Sessions as of a time ---- */

static void damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                    uint16_t last_slot)
{
    (void)context;
    sim_fail("damaged", "%s, slots %u to %u: %s", name, first_slot, last_slot, why);
}

static int take(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct archive_restored *to = context;

    to->left += left;
    if (record.size == 0) {
        return 0;
    }
    return buffer_append(&to->records[copies_key_of(key)], record);
}

static void read_ranges(struct sim *sim, struct archive_reading *reading,
                        struct archive_state *state, struct archive_restored *to)
{
    uint64_t bytes_max =
        sim_chance(sim, SIM_RANDOM_STORE, RANGES_PERCENT) ? RANGE_BYTES : UINT64_MAX / 2;
    uint32_t next = 0;

    while (next < SLOT_COUNT) {
        uint16_t last = reading_range(reading, (uint16_t)next, bytes_max);
        int rc = reading_take(reading, (uint16_t)next, last, state);
        rc = rc != 0 ? rc : archive_state_visit(state, take, to);
        SIM_CHECK("restore", rc == 0, "slots %u to %u: %s", next, last, strerror(-rc));
        next = (uint32_t)last + 1;
    }
}

void archive_restore(struct sim *sim, uint64_t as_of_hlc, struct archive_restored *to)
{
    struct archive_access *access = &archive_scenario_of(sim)->access;
    struct archive_state *state = sim_more(NULL, sizeof *state);
    struct archive_catalog catalog;
    struct archive_reading reading;

    to->left = 0;
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        to->records[key].size = 0;
    }
    int rc = access_catalog(access, archive_cluster, &catalog);
    SIM_CHECK("restore", rc == 0, "no catalog: %s", access->text);
    rc = reading_open(&reading, access, &catalog, as_of_hlc, damaged, sim);
    SIM_CHECK("restore", rc == 0, "no plan: %s", access->text);
    archive_state_init(state, heap_memory(), as_of_hlc, NULL, NULL);
    read_ranges(sim, &reading, state, to);
    archive_state_fini(state);
    reading_close(&reading);
    catalog_fini(&catalog);
    free(state);
    sim_count(sim, SIM_RESTORES);
}

/* ---- All of them into an empty shard ---- */

struct empty {
    struct log_port log;
    struct door door;
    struct tracer tracer;
    struct sim_memory memory;
    struct policies policies;
    struct shard *shard;
    uint64_t now_ms, lsn, ticket;
    bool answered;
};

static int append(struct log_port *port, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    struct empty *empty = OF(empty, log, port);

    (void)kind;
    (void)subject;
    (void)parts;
    (void)part_count;
    *lsn = ++empty->lsn;
    return 0;
}

static void nothing(struct log_port *port)
{
    (void)port;
}

static void reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    struct empty *empty = OF(empty, door, door);

    SIM_CHECK("restore", ticket == empty->ticket && !held && reply->status == STATUS_OK,
              "a session is answered %s", status_name(reply->status));
    empty->answered = true;
}

static void trace(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text)
{
    (void)tracer;
    (void)event;
    (void)a;
    (void)text;
}

static void open_empty(struct empty *empty, struct sim *sim)
{
    struct policy row;

    memset(empty, 0, sizeof *empty);
    policy_defaults(&row);
    int rc = policies_init(&empty->policies, &row, 1);
    assert(rc == 0);
    empty->log = (struct log_port){.append = append, .hurry = nothing, .seal = nothing};
    empty->door = (struct door){.reply = reply};
    empty->tracer = (struct tracer){.event = trace};
    empty->now_ms = sim_clock_true_ms(sim) + SIM_CLOCK_SKEW_MS_MAX + SIM_CLOCK_DRIFT_MS_MAX;
    sim_memory_init(&empty->memory, "shard of a restore", 0, SHARD_BYTES_MAX);
    const struct shard_options options = {
        .seed = OTHER_SEED,
        .actor = {1, 1},
        .policies = &empty->policies,
        .memory = &empty->memory.memory,
        .log = &empty->log,
        .door = &empty->door,
        .tracer = &empty->tracer,
    };
    rc = shard_create(&options, &empty->shard);
    assert(rc == 0);
    shard_restore_done(empty->shard, empty->now_ms);
}

/* As belayctl puts it back. */
static void put_back(struct empty *empty, uint32_t key, struct bytes record)
{
    struct buffer adopted = {.memory = heap_memory()}, body = adopted;
    struct request request = {
        .ticket = ++empty->ticket,
        .op = REQUEST_WRITE,
        .mode = WRITE_UPSERT,
        .ack = ACK_MEMORY,
        .received_us = empty->now_ms * 1000,
        .key = copies_key(key),
        .procedure = &recover_merge,
    };

    int rc = session_adopt(record, &adopted);
    SIM_CHECK("restore", rc == 0, "key %u is not taken from another cluster: %d", key, rc);
    session_touch_in_place(adopted.data, adopted.size, empty->now_ms);
    rc = buffer_reserve(&body, VARINT_BYTES_MAX + adopted.size);
    assert(rc == 0);
    body.size = (size_t)(varint_put(body.data, adopted.size) - body.data);
    (void)buffer_append(&body, buffer_bytes(&adopted)); /* There is room. */
    request.body = buffer_bytes(&body);
    empty->answered = false;
    shard_prepare(empty->shard, &request);
    shard_execute(empty->shard, &request, empty->now_ms, empty->now_ms * 1000);
    SIM_CHECK("restore", empty->answered, "a session that is put back is not answered");
    buffer_fini(&adopted);
    buffer_fini(&body);
}

/* Do both show the same? */
static bool is_same(struct bytes a, struct bytes b, uint64_t now_ms)
{
    struct session_view views[2];
    struct session_field fields[2];
    const struct bytes records[2] = {a, b};
    bool live[2] = {false, false}, more[2];

    for (int i = 0; i < 2; i++) {
        live[i] = records[i].size > 0 && session_open(&views[i], records[i], now_ms) == 0 &&
                  views[i].live;
    }
    if (!live[0] || !live[1]) {
        return live[0] == live[1];
    }
    do {
        for (int i = 0; i < 2; i++) {
            more[i] = session_next(&views[i], true, &fields[i]);
        }
    } while (more[0] && more[1] && bytes_equal(fields[0].name, fields[1].name) &&
             bytes_equal(fields[0].value, fields[1].value));
    return !more[0] && !more[1];
}

void archive_restore_into(struct sim *sim, const struct archive_restored *from)
{
    struct empty *empty = sim_more(NULL, sizeof *empty);

    open_empty(empty, sim);
    for (uint32_t i = 0; i < 2 * COPIES_KEYS; i++) { /* Each twice, as where a restore goes on. */
        uint32_t key = i % COPIES_KEYS;
        struct bytes record = buffer_bytes(&from->records[key]);
        struct session_view view;
        if (record.size > 0 && session_open(&view, record, empty->now_ms) == 0 && !view.expired) {
            put_back(empty, key, record);
            uint64_t position = keeper_position(OTHER_SEED, copies_key(key));
            struct bytes put = keeper_find(shard_keeper(empty->shard), position, copies_key(key));
            SIM_CHECK("restore", is_same(record, put, empty->now_ms),
                      "key %u is not in the empty shard as it is in the archive", key);
        }
    }
    shard_destroy(empty->shard);
    sim_memory_check_end(&empty->memory);
    free(empty);
}

/* ---- Retention ---- */

static bool stops(void *context)
{
    return sim_chance(context, SIM_RANDOM_STORE, STOPS_PERCENT);
}

void archive_retain(struct sim *sim, uint64_t from_ms)
{
    struct archive_scenario *scenario = archive_scenario_of(sim);
    struct retention_round round = {.from_ms = from_ms, .stops = stops, .context = sim};
    uint64_t from_hlc = hlc_of_ms(from_ms);

    scenario->kept_hlc = from_hlc > scenario->kept_hlc ? from_hlc : scenario->kept_hlc;
    int rc = retention_run(&scenario->access, archive_cluster, &round);
    SIM_CHECK("retention", rc == 0 || rc == -ECANCELED, "%s", scenario->access.text);
}
