#include "sim_store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive_scenario.h"
#include "object_list.h"

enum {
    HARM_PAUSE_US_MAX = 2500000, /* Between two harms. */
    HARM_US_MIN = 50000,
    HARM_US_MAX = 2500000,
    SLOW_US_MAX = 700000, /* One way. */
    LATE_US_MAX = 4000000,
    REFUSED_PERCENT = 40, /* Away: at once; else it hangs... */
    LATE_PERCENT = 20,    /* ... and of these some come there late. */
    FAILS_PERCENT = 25,   /* Of the calls, while it fails, with nothing done... */
    LOST_PERCENT = 20,    /* ... and with a lost answer. */
};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_STORE, 0, bound - 1);
}

static void *most_of(const void *bytes, size_t size)
{
    void *copy = sim_more(NULL, size + 1);

    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

/* ---- Objects ---- */

/* The place of a name, or of the first one behind it. */
static uint32_t place_of(const struct sim_store *store, const char *name)
{
    uint32_t first = 0, end = store->object_count;

    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (strcmp(store->objects[middle].name, name) < 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first;
}

static struct sim_object *find(const struct sim_store *store, const char *name)
{
    uint32_t at = place_of(store, name);

    return at < store->object_count && strcmp(store->objects[at].name, name) == 0
               ? &store->objects[at]
               : NULL;
}

/* Takes the bytes, or frees them. Returns 0 or -EEXIST. */
static int keep(struct sim_store *store, const struct sim_object *object)
{
    const struct sim_object *there = find(store, object->name);

    if (there != NULL) {
        bool same =
            there->size == object->size && memcmp(there->bytes, object->bytes, object->size) == 0;
        free(object->bytes);
        return same ? 0 : -EEXIST;
    }
    if (store->object_count == store->object_capacity) {
        store->object_capacity = 2 * store->object_capacity + 64;
        store->objects =
            sim_more(store->objects, store->object_capacity * sizeof store->objects[0]);
    }
    uint32_t at = place_of(store, object->name);
    memmove(&store->objects[at + 1], &store->objects[at],
            (store->object_count - at) * sizeof store->objects[0]);
    store->objects[at] = *object;
    store->object_count++;
    sim_count(store->sim, SIM_OBJECTS);
    return 0;
}

static void drop(struct sim_store *store, const char *name)
{
    uint32_t at = place_of(store, name);

    if (find(store, name) == NULL) {
        return;
    }
    free(store->objects[at].bytes);
    store->object_count--;
    memmove(&store->objects[at], &store->objects[at + 1],
            (store->object_count - at) * sizeof store->objects[0]);
    sim_count(store->sim, SIM_OBJECTS_REMOVED);
}

/* ---- PUTs of nodes ---- */

static struct sim_store *store_of(struct sim *sim)
{
    return &archive_scenario_of(sim)->store;
}

static void answer(struct sim_store *store, const struct sim_put *put, int rc, uint64_t delay_us)
{
    sim_push(store->sim, (struct sim_event){
                             .at_us = store->sim->now_us + delay_us,
                             .name = "put",
                             .end = put->node,
                             .life = put->life,
                             .run = put->done,
                             .a = (uint64_t)(int64_t)rc,
                             .b = put->call,
                         });
}

static uint64_t way_us(const struct sim_store *store)
{
    return sim_between(store->sim, SIM_RANDOM_STORE, 200,
                       store->slow ? SLOW_US_MAX : SIM_STORE_PUT_US_MAX / 2);
}

static void arrive(struct sim *sim, const struct sim_event *event)
{
    struct sim_store *store = store_of(sim);
    struct sim_put *put = &store->puts[event->a];
    int rc = keep(store, &put->object);

    put->object.bytes = NULL;
    sim_note(sim, "stored", put->node, put->call, (uint64_t)(int64_t)rc);
    if (put->answers) {
        answer(store, put, rc, way_us(store));
    } else {
        sim_count(sim, SIM_ANSWERS_LOST);
    }
}

/* What becomes of it: in how many microseconds it is there; UINT64_MAX: never. */
static uint64_t fate(struct sim_store *store, struct sim_put *put)
{
    struct sim *sim = store->sim;

    if (store->away && draw(sim, 100) < REFUSED_PERCENT) {
        answer(store, put, -EIO, draw(sim, 5000));
        return UINT64_MAX;
    }
    put->answers = !store->away;
    if (store->away) {
        return draw(sim, 100) < LATE_PERCENT ? draw(sim, LATE_US_MAX) : UINT64_MAX;
    }
    if (store->fails && draw(sim, 100) < FAILS_PERCENT) {
        answer(store, put, -EIO, draw(sim, SIM_STORE_PUT_US_MAX));
        return UINT64_MAX;
    }
    put->answers = !store->fails || draw(sim, 100) >= LOST_PERCENT;
    return way_us(store);
}

void sim_store_put(struct sim_store *store, uint32_t node, const char *name, struct bytes body,
                   uint64_t call, void (*done)(struct sim *sim, const struct sim_event *event))
{
    if (store->put_count == store->put_capacity) {
        store->put_capacity = 2 * store->put_capacity + 64;
        store->puts = sim_more(store->puts, store->put_capacity * sizeof store->puts[0]);
    }
    uint32_t number = store->put_count++;
    struct sim_put *put = &store->puts[number];
    *put = (struct sim_put){
        .object = {.bytes = most_of(body.data, body.size), .size = body.size},
        .node = node,
        .life = store->sim->nodes[node].life,
        .call = call,
        .done = done,
    };
    snprintf(put->object.name, sizeof put->object.name, "%s", name);
    uint64_t us = fate(store, put);
    if (us != UINT64_MAX) {
        sim_after(store->sim, us, 0, "arrive", arrive, number, 0);
    }
    answer(store, put, -ETIMEDOUT, SIM_STORE_LIMIT_US);
}

/* ---- Calls of who reads it ---- */

struct call {
    struct call *next;
    struct object_call call;
    char name[OBJECT_NAME_BYTES_MAX + 1], after[OBJECT_NAME_BYTES_MAX + 1];
};

struct opened {
    struct object_store port; /* First, so that it leads back here. */
    struct sim_store *store;
    uv_idle_t idle; /* Runs while there are calls. */
    struct call *first, **last;
};

static int list(const struct sim_store *store, const struct call *call, struct object_list *to)
{
    int rc = 0;

    for (uint32_t i = 0; i < store->object_count && rc == 0; i++) {
        const struct sim_object *object = &store->objects[i];
        if (strncmp(object->name, call->name, strlen(call->name)) == 0 &&
            (call->call.after == NULL || strcmp(object->name, call->after) > 0)) {
            rc = object_list_add(to, object->name, object->size);
        }
    }
    object_list_sort(to, OBJECT_LIST_MAX);
    return rc;
}

static void get(const struct sim_store *store, const struct call *call,
                struct object_answer *answer)
{
    const struct sim_object *object = find(store, call->name);

    if (object == NULL) {
        answer->rc = -ENOENT;
        return;
    }
    uint64_t from = call->call.offset < object->size ? call->call.offset : object->size;
    uint64_t size = object->size - from;
    if (size > call->call.bytes_max && call->call.part) {
        size = call->call.bytes_max;
    }
    answer->rc = size > call->call.bytes_max ? -EFBIG : 0;
    answer->size = object->size;
    answer->body = bytes_of(object->bytes + from, answer->rc == 0 ? (size_t)size : 0);
}

static void do_call(struct sim_store *store, const struct call *call)
{
    struct object_answer answer = {.text = ""};
    struct object_list listed = {0};

    switch (call->call.op) {
    case OBJECT_GET:
        get(store, call, &answer);
        break;
    case OBJECT_LIST:
        answer.rc = list(store, call, &listed);
        object_list_answer(&listed, &answer);
        break;
    case OBJECT_REMOVE:
        drop(store, call->name);
        break;
    default:
        sim_fail("sim", "a call that nobody makes");
    }
    call->call.done(call->call.context, &answer);
    object_list_fini(&listed);
}

static void turn(uv_idle_t *idle)
{
    struct opened *opened = idle->data;
    struct call *call = opened->first;

    opened->first = call->next;
    if (opened->first == NULL) {
        opened->last = &opened->first;
        uv_idle_stop(idle);
    }
    do_call(opened->store, call);
    free(call);
}

static int begin(struct object_store *port, const struct object_call *from)
{
    struct opened *opened = (struct opened *)(void *)port;
    struct call *call = sim_more(NULL, sizeof *call);

    *call = (struct call){.call = *from};
    snprintf(call->name, sizeof call->name, "%s", from->name);
    snprintf(call->after, sizeof call->after, "%s", from->after == NULL ? "" : from->after);
    call->call.name = call->name;
    call->call.after = from->after == NULL ? NULL : call->after;
    *opened->last = call;
    opened->last = &call->next;
    uv_idle_start(&opened->idle, turn);
    return 0;
}

static void stats(struct object_store *port, struct object_store_stats *to)
{
    (void)port;
    memset(to, 0, sizeof *to);
}

static void closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void destroy(struct object_store *port)
{
    struct opened *opened = (struct opened *)(void *)port;

    assert(opened->first == NULL);
    uv_close((uv_handle_t *)&opened->idle, closed);
}

int sim_store_open(void *context, uv_loop_t *loop, struct object_store **to)
{
    struct opened *opened = sim_more(NULL, sizeof *opened);

    *opened = (struct opened){.port = {begin, stats, destroy}, .store = context};
    opened->last = &opened->first;
    int rc = uv_idle_init(loop, &opened->idle);
    assert(rc == 0);
    opened->idle.data = opened;
    *to = &opened->port;
    return 0;
}

/* ---- Harm ---- */

static void harm(struct sim *sim, const struct sim_event *event);

static void mend(struct sim *sim, const struct sim_event *event)
{
    struct sim_store *store = store_of(sim);

    (void)event;
    store->away = store->slow = store->fails = false;
    store->harmed_us = sim->now_us;
    if (!sim->healed) {
        sim_after(sim, draw(sim, HARM_PAUSE_US_MAX), 0, "harm", harm, 0, 0);
    }
}

static void harm(struct sim *sim, const struct sim_event *event)
{
    struct sim_store *store = store_of(sim);
    bool *const kinds[] = {&store->away, &store->slow, &store->fails};
    static const enum sim_count counts[] = {SIM_STORE_AWAY, SIM_STORE_SLOW, SIM_STORE_FAILS};
    uint32_t kind = draw(sim, 3);
    uint64_t us = sim_between(sim, SIM_RANDOM_STORE, HARM_US_MIN, HARM_US_MAX);

    (void)event;
    if (sim->healed) {
        return;
    }
    if (sim->now_us + us > sim->heals_us) {
        us = sim->heals_us - sim->now_us;
    }
    *kinds[kind] = true;
    sim_count(sim, counts[kind]);
    sim_after(sim, us, 0, "mend", mend, 0, 0);
}

/* ---- Beginning and end ---- */

void sim_store_init(struct sim_store *store, struct sim *sim)
{
    *store = (struct sim_store){.sim = sim};
    sim_after(sim, draw(sim, HARM_PAUSE_US_MAX), 0, "harm", harm, 0, 0);
}

void sim_store_fini(struct sim_store *store)
{
    for (uint32_t i = 0; i < store->object_count; i++) {
        free(store->objects[i].bytes);
    }
    for (uint32_t i = 0; i < store->put_count; i++) {
        free(store->puts[i].object.bytes);
    }
    free(store->objects);
    free(store->puts);
}
