/* Properties of the join, on states from random histories of three to five replicas.
 *
 * A history has explicit creates, blind writes, deletes, adds, touches, deadlines of sessions and of
 * fields, full records and deltas that are lost, repeated and reordered, restarts as new actors (some
 * from an older copy), and clocks that go back an hour. Every state that occurs goes into a pool; each
 * step is compared with a naive model (session_model.h), and triples of states from the pool are joined
 * in all orders. What must hold of a state is judged by a log of what was done, kept beside.
 *
 * BELAY_SEED chooses another run, BELAY_TRIPLES its length.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "session_kit.h"
#include "session_model.h"

enum {
    REPLICAS_MAX = 5,
    STEPS = 60,
    POOL_MAX = 160,
    DELTAS_MAX = 64,
    LOG_MAX = 256,
    TRIPLES_PER_HISTORY = 250,
    TRIPLES = 1000000,
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
    uint64_t sequence;
};

static struct {
    uint64_t histories, steps, triples, siblings, deaths, recreates;
    uint64_t deltas_applied, deltas_stale, counters, modelled, refused, repeated;
} totals;

static uint64_t next_random(struct history *history)
{
    uint64_t x = history->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static int pick(struct history *history, int below)
{
    return (int)(next_random(history) % (uint64_t)below);
}

static bool chance(struct history *history, int percent)
{
    return pick(history, 100) < percent;
}

static struct bytes state_at(const struct history *history, int index)
{
    if (index < 0) {
        return bytes_of("", 0);
    }
    return bytes_of(history->bytes.data + history->pool[index].at, history->pool[index].size);
}

static int keep_state(struct history *history, struct bytes state)
{
    assert_int_equal(session_check(state), 0);
    assert_in_range(history->pool_count, 0, POOL_MAX - 1);
    int index = history->pool_count++;
    history->pool[index].at = (uint32_t)history->bytes.size;
    history->pool[index].size = (uint32_t)state.size;
    assert_int_equal(buffer_append(&history->bytes, state), 0);
    return index;
}

static uint64_t clock_of(const struct history *history, const struct replica *replica)
{
    return (uint64_t)((int64_t)history->now_ms + replica->clock_off_ms);
}

/* ---- What is asked of one state ---- */

/* The sum of all adds that a state must count, from the log alone. */
static int64_t expected_sum(const struct history *history, const struct model *model,
                            struct stamp lead, bool *any)
{
    int64_t sum = 0;

    *any = false;
    for (int i = 0; i < history->add_count; i++) {
        bool seen = history->adds[i].stamp.hlc <= model_seen(model, history->adds[i].stamp.actor);
        bool in_birth =
            history->flavour == BLIND_COUNTERS || stamp_compare(history->adds[i].birth, lead) == 0;
        if (seen && in_birth) {
            sum += history->adds[i].delta;
            *any = true;
        }
    }
    return sum;
}

static void check_counter(const struct history *history, const struct model *model,
                          struct session_view *view, const struct model_view *modelled)
{
    struct session_field field;
    int64_t found = 0;
    bool any;

    int64_t expected = expected_sum(history, model, modelled->lead, &any);
    bool shown = session_find(view, text("n"), &field);
    assert_int_equal(shown, any);
    if (shown) {
        char number[32] = {0};
        memcpy(number, field.value.data, field.value.size);
        found = strtoll(number, NULL, 10);
        totals.counters++;
    }
    assert_int_equal(found, expected);
}

/* No deadline is of an incarnation that has ended. */
static void check_deadline(const struct history *history, struct bytes state,
                           const struct session_view *view)
{
    struct record record;
    bool known = view->absolute_ms == 0;

    assert_int_equal(record_open(&record, state, RECORD_FORMAT), 0);
    for (int i = 0; i < history->deadline_count && !known; i++) {
        known = history->deadlines[i].ms == view->absolute_ms &&
                history->deadlines[i].birth.hlc > record.version.death.hlc;
    }
    assert_true(known);
}

/* Who has seen a death knows nothing any more of the births it ended. */
static void check_deaths(const struct history *history, struct bytes state)
{
    struct record record;

    assert_int_equal(record_open(&record, state, RECORD_FORMAT), 0);
    for (int i = 0; i < history->death_count; i++) {
        if (!version_covers(&record.version, history->deaths[i].death)) {
            continue;
        }
        for (uint32_t j = 0; j < record.birth_count; j++) {
            struct birth birth = record_birth(&record, j);
            assert_int_not_equal(stamp_compare(birth.stamp, history->deaths[i].birth), 0);
        }
    }
}

static void check_view(const struct history *history, const struct model *model,
                       struct session_view *view, const struct model_view *modelled)
{
    struct model_string value;
    struct session_field field;
    uint32_t fields = 0;

    assert_int_equal(view->live, modelled->live);
    assert_int_equal(view->expired, modelled->expired);
    assert_int_equal(view->deadline_ms, modelled->deadline_ms);
    if (!view->live) {
        return;
    }
    assert_int_equal(view->field_count, modelled->field_count);
    assert_int_equal(view->siblings_hidden, modelled->hidden);
    while (session_next(view, false, &field)) {
        assert_true(model_find(model, history->now_ms, field.name, &value));
        assert_bytes_equal(field.value, bytes_of(value.data, value.size));
        fields++;
    }
    assert_int_equal(fields, view->field_count);
}

static void check_state(const struct history *history, struct bytes state)
{
    static struct model model;
    struct session_view view;
    struct model_view modelled;

    model_read(&model, state);
    assert_int_equal(session_open(&view, state, history->now_ms), 0);
    model_look(&model, history->now_ms, &modelled);
    check_view(history, &model, &view, &modelled);
    check_deaths(history, state);
    if (view.live) {
        check_deadline(history, state, &view);
    }
    if (history->flavour != GENERAL && view.live) {
        check_counter(history, &model, &view, &modelled);
    }
}

/* ---- Steps ---- */

static void add_change(struct history *history, struct change change)
{
    change.name = change.name.data == NULL ? bytes_of("", 0) : change.name;
    change.value = change.value.data == NULL ? bytes_of("", 0) : change.value;
    assert_int_equal(buffer_reserve(&history->list, change_size(&change)), 0);
    uint8_t *end = change_put(history->list.data + history->list.size, &change);
    history->list.size = (size_t)(end - history->list.data);
}

static void random_change(struct history *history, uint64_t now_ms)
{
    static const char *const names[] = {"", "a", "b", "num"};
    static const char *const values[] = {"", "x", "7", "-12", "longer value"};
    bool general = history->flavour == GENERAL;
    struct bytes name = text(names[pick(history, 4)]);
    struct bytes value = text(values[pick(history, 5)]);
    struct bytes counter = general ? text("num") : text("n");
    uint64_t soon_ms = now_ms + (uint64_t)pick(history, 2000);

    switch (pick(history, general ? 20 : 8)) {
    case 0:
    case 1:
    case 2:
        add_change(history, KIT_CHANGE(ADD, .name = counter, .delta = pick(history, 20) - 5));
        break;
    case 3:
    case 4:
    case 5:
        add_change(history, KIT_CHANGE(SET, .name = name, .value = value));
        break;
    case 6:
        add_change(history, KIT_CHANGE(DELETE, .name = name));
        break;
    case 7:
        add_change(history, KIT_CHANGE(OWNER, .value = value));
        break;
    case 8:
        add_change(history, KIT_CHANGE(TOUCH));
        break;
    case 9:
        add_change(history, KIT_CHANGE(CLEAR));
        break;
    case 10:
        add_change(history, KIT_CHANGE(IDLE, .ms = (uint64_t)pick(history, 3) * 1000));
        break;
    case 11:
        add_change(history, KIT_CHANGE(TTL, .ms = 1000 + (uint64_t)pick(history, 5000)));
        break;
    case 12:
        add_change(history, KIT_CHANGE(ABSOLUTE, .ms = chance(history, 30) ? 0 : soon_ms));
        break;
    case 13:
        add_change(history, KIT_CHANGE(SET_UNTIL, .name = name, .value = value, .ms = soon_ms));
        break;
    case 14:
    case 15:
        add_change(history,
                   KIT_CHANGE(UNTIL, .name = name, .ms = chance(history, 20) ? 0 : soon_ms));
        break;
    case 16:
        add_change(history, KIT_CHANGE(APPEND, .name = name, .value = text("9")));
        break;
    default:
        add_change(history, KIT_CHANGE(SET, .name = text("a"), .value = value));
    }
}

/* Write down what a write did, by what its coordinator shows afterwards. */
static void log_write(struct history *history, uint64_t now_ms, struct bytes state)
{
    struct reader from = reader_of(buffer_bytes(&history->list));
    struct change change;
    static struct model model;
    struct model_view view;

    model_read(&model, state);
    model_look(&model, now_ms, &view);
    while (view.live && change_next(&from, &change) == 1) {
        if (change.operation == CHANGE_ADD && history->add_count < LOG_MAX) {
            history->adds[history->add_count].stamp = history->written.stamp;
            history->adds[history->add_count].birth = view.lead;
            history->adds[history->add_count++].delta = change.delta;
        }
    }
    if (view.absolute_ms != 0 && history->deadline_count < LOG_MAX) {
        history->deadlines[history->deadline_count].ms = view.absolute_ms;
        history->deadlines[history->deadline_count++].birth = view.lead;
    }
}

static void log_deaths(struct history *history, struct bytes before)
{
    struct record record;

    if (before.size == 0 || history->list.data[0] != CHANGE_DESTROY) {
        return;
    }
    assert_int_equal(record_open(&record, before, RECORD_FORMAT), 0);
    for (uint32_t i = 0; i < record.birth_count && history->death_count < LOG_MAX; i++) {
        history->deaths[history->death_count].death = history->written.stamp;
        history->deaths[history->death_count++].birth = record_birth(&record, i).stamp;
    }
}

static void choose_changes(struct history *history, struct session_write *write)
{
    bool counters = history->flavour == EXPLICIT_COUNTERS;
    int destroys = history->flavour == BLIND_COUNTERS ? 0 : counters ? 8 : 12;

    history->list.size = 0;
    write->mode = history->flavour == BLIND_COUNTERS ? WRITE_UPSERT
                  : counters ? (chance(history, 40) ? WRITE_CREATE : WRITE_UPDATE)
                             : (enum write_mode)pick(history, 3);
    if (chance(history, destroys)) {
        add_change(history, KIT_CHANGE(DESTROY));
    } else {
        for (int i = 1 + pick(history, 3); i > 0; i--) {
            random_change(history, write->now_ms);
        }
    }
    if (history->flavour == GENERAL && chance(history, 40)) {
        write->client = 1 + (uint64_t)pick(history, 3);
        write->sequence = ++history->sequence;
        if (chance(history, 30)) {
            write->sequence -= (uint64_t)pick(history, 6);
            write->retry_hlc = chance(history, 50) ? hlc_of_ms(write->now_ms - 1000) : 0;
        }
    }
    write->changes = buffer_bytes(&history->list);
}

/* A delta gives what the full record would give, once or twice, on any copy that has its base; and on
 * no other. */
static void check_delta(struct history *history, const struct delta_log *delta, struct bytes copy)
{
    struct bytes bytes = bytes_of(history->bytes.data + delta->at, delta->size);
    struct record mine, base;
    bool covers = false;

    assert_int_equal(record_open(&base, state_at(history, delta->base), RECORD_FORMAT), 0);
    base.version.death = (struct death){0, 0}; /* The delta brings its own. */
    if (copy.size > 0) {
        assert_int_equal(record_open(&mine, copy, RECORD_FORMAT), 0);
        covers = version_covers_all(&mine.version, &base.version);
    }
    int rc = session_apply_delta(copy, bytes, &history->out);
    assert_int_equal(rc, covers ? 0 : -ESTALE);
    if (rc != 0) {
        totals.deltas_stale++;
        return;
    }
    totals.deltas_applied++;
    assert_int_equal(session_merge(copy, state_at(history, delta->result), &history->out2), 0);
    assert_bytes_equal(buffer_bytes(&history->out), buffer_bytes(&history->out2));
    assert_int_equal(session_apply_delta(buffer_bytes(&history->out), bytes, &history->out2), 0);
    assert_bytes_equal(buffer_bytes(&history->out), buffer_bytes(&history->out2));
}

static void keep_written(struct history *history, struct replica *replica)
{
    struct bytes delta = buffer_bytes(&history->written.delta);
    int before = replica->copy;

    replica->copy = keep_state(history, buffer_bytes(&history->written.record));
    if (before >= 0) { /* What a write makes contains what it was made of. */
        assert_int_equal(session_merge(state_at(history, before), state_at(history, replica->copy),
                                       &history->out),
                         0);
        assert_bytes_equal(buffer_bytes(&history->out), state_at(history, replica->copy));
    }
    if (delta.size == 0 || history->delta_count == DELTAS_MAX) {
        return;
    }
    assert_int_equal(session_check_delta(delta), 0);
    struct delta_log *log = &history->deltas[history->delta_count++];
    *log = (struct delta_log){
        .base = before,
        .result = replica->copy,
        .at = (uint32_t)history->bytes.size,
        .size = (uint32_t)delta.size,
    };
    assert_int_equal(buffer_append(&history->bytes, delta), 0);
    check_delta(history, log, state_at(history, before));
}

static void step_write(struct history *history, struct replica *replica)
{
    static struct model model, after;
    struct session_write write = {
        .key = text("k"),
        .record = state_at(history, replica->copy),
        .rules = &history->rules,
        .now_ms = clock_of(history, replica),
        .actor = replica->actor,
        .type = SESSION_MAP,
    };
    bool changed, repeated;

    choose_changes(history, &write);
    model_read(&model, write.record);
    enum status expected = model_write(&model, &write, &changed, &repeated, &history->results);
    enum status status = session_write(&write, &history->written);
    assert_int_equal(status, expected);
    assert_int_equal(history->written.changed, changed);
    assert_int_equal(history->written.repeated, repeated);
    assert_bytes_equal(buffer_bytes(&history->written.results), buffer_bytes(&history->results));
    totals.refused += status != STATUS_OK;
    totals.repeated += repeated;
    if (!changed) {
        return;
    }
    model_read(&after, buffer_bytes(&history->written.record));
    if (!model_equal(&model, &after)) {
        print_error("history %" PRIu64 ", expected:\n", totals.histories);
        model_print(&model);
        print_error("written:\n");
        model_print(&after);
        fail();
    }
    log_deaths(history, write.record);
    log_write(history, write.now_ms, buffer_bytes(&history->written.record));
    keep_written(history, replica);
    totals.modelled++;
}

/* A full record, perhaps an old one, arrives. */
static void step_merge(struct history *history, struct replica *replica)
{
    if (history->pool_count == 0) {
        return;
    }
    int from = chance(history, 70) ? history->replicas[pick(history, history->replica_count)].copy
                                   : pick(history, history->pool_count);
    if (from < 0) {
        return;
    }
    if (replica->copy < 0) {
        replica->copy = from;
        return;
    }
    assert_int_equal(
        session_merge(state_at(history, replica->copy), state_at(history, from), &history->out), 0);
    replica->copy = keep_state(history, buffer_bytes(&history->out));
}

/* A delta arrives: the next, one again, or one long overtaken. Others never do. */
static void step_delta(struct history *history, struct replica *replica)
{
    if (history->delta_count == 0) {
        return;
    }
    const struct delta_log *delta = &history->deltas[pick(history, history->delta_count)];
    struct bytes bytes = bytes_of(history->bytes.data + delta->at, delta->size);
    struct bytes copy = state_at(history, replica->copy);

    check_delta(history, delta, copy);
    if (session_apply_delta(copy, bytes, &history->out) == 0) {
        replica->copy = keep_state(history, buffer_bytes(&history->out));
    }
}

/* A new life, under a new actor; the last writes may be lost. */
static void step_restart(struct history *history, struct replica *replica)
{
    replica->actor.start++;
    if (chance(history, 50) && history->pool_count > 0) {
        replica->copy = pick(history, history->pool_count);
    }
}

static void step(struct history *history)
{
    struct replica *replica = &history->replicas[pick(history, history->replica_count)];
    int dice = pick(history, 100);

    history->now_ms += (uint64_t)pick(history, chance(history, 10) ? 3000 : 200);
    if (dice < 55) {
        step_write(history, replica);
    } else if (dice < 70) {
        step_merge(history, replica);
    } else if (dice < 90) {
        step_delta(history, replica);
    } else if (dice < 95) {
        step_restart(history, replica);
    } else {
        replica->clock_off_ms = replica->clock_off_ms == 0 ? -3600000 : 0;
    }
    totals.steps++;
}

/* ---- Triples ---- */

static void join(struct bytes a, struct bytes b, struct buffer *out)
{
    assert_int_equal(session_merge(a, b, out), 0);
}

static void count_triple(struct history *history, struct bytes joined, const struct bytes of[3])
{
    struct session_view view;
    bool siblings = false;

    for (int i = 0; i < 4; i++) {
        assert_int_equal(session_open(&view, i < 3 ? of[i] : joined, history->now_ms), 0);
        siblings |= view.siblings_hidden > 0;
    }
    totals.triples++;
    totals.siblings += siblings;
    totals.deaths += view.death_ms != 0;
    totals.recreates += view.death_ms != 0 && (view.live || view.expired);
}

static void check_with_model(const struct bytes of[3], struct bytes joined)
{
    static struct model a, b, c, ab, abc;

    model_read(&a, of[0]);
    model_read(&b, of[1]);
    model_read(&c, of[2]);
    model_merge(&a, &b, &ab);
    model_merge(&ab, &c, &abc);
    model_read(&a, joined);
    assert_true(model_equal(&abc, &a));
}

static void check_triple(struct history *history, struct buffer work[6])
{
    struct bytes of[3];

    for (int i = 0; i < 3; i++) {
        of[i] = state_at(history, pick(history, history->pool_count));
    }
    join(of[0], of[1], &work[0]);
    join(of[1], of[0], &work[1]);
    assert_bytes_equal(buffer_bytes(&work[0]), buffer_bytes(&work[1]));
    join(of[1], of[2], &work[2]);
    join(buffer_bytes(&work[0]), of[2], &work[3]);
    join(of[0], buffer_bytes(&work[2]), &work[4]);
    assert_bytes_equal(buffer_bytes(&work[3]), buffer_bytes(&work[4]));
    join(of[0], of[0], &work[5]);
    assert_bytes_equal(buffer_bytes(&work[5]), of[0]);
    join(buffer_bytes(&work[3]), of[1], &work[5]);
    assert_bytes_equal(buffer_bytes(&work[5]), buffer_bytes(&work[3]));
    count_triple(history, buffer_bytes(&work[3]), of);
    if (totals.triples % 16 == 0) {
        assert_int_equal(session_check(buffer_bytes(&work[3])), 0);
        check_with_model(of, buffer_bytes(&work[3]));
        check_state(history, buffer_bytes(&work[3]));
    }
}

static void begin_history(struct history *history, uint64_t seed)
{
    history->random = seed;
    history->flavour = (enum flavour)(pick(history, 4) < 2 ? GENERAL : 1 + pick(history, 2));
    history->bytes.size = 0;
    history->now_ms = UINT64_C(1700000000000) + (uint64_t)pick(history, 1 << 20);
    history->replica_count = 3 + pick(history, REPLICAS_MAX - 2);
    history->pool_count = history->delta_count = 0;
    history->add_count = history->deadline_count = history->death_count = 0;
    history->sequence = 0;
    history->rules = (struct session_rules){
        .session_bytes_max = 1 << 20,
        .fields_max = 1000,
        .tombstone_keep_ms = 1500,
        .no_resurrect = chance(history, 40),
    };
    if (history->flavour == GENERAL && chance(history, 50)) {
        history->rules.idle_ttl_ms = chance(history, 50) ? 3000 : 0;
        history->rules.absolute_ttl_ms = chance(history, 50) ? 5000 : 0;
    }
    for (int i = 0; i < history->replica_count; i++) {
        history->replicas[i] = (struct replica){{1 + (uint32_t)i, 1}, -1, 0};
    }
}

static void run_history(struct history *history, struct buffer work[6])
{
    for (int i = 0; i < STEPS; i++) {
        step(history);
    }
    for (int i = 0; i < history->pool_count; i++) {
        check_state(history, state_at(history, i));
    }
    for (int i = 0; i < TRIPLES_PER_HISTORY && history->pool_count > 0; i++) {
        check_triple(history, work);
    }
    for (int i = 0; i < history->delta_count; i++) {
        check_delta(history, &history->deltas[i],
                    state_at(history, pick(history, history->pool_count)));
    }
    totals.histories++;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value != NULL ? strtoull(value, NULL, 0) : otherwise;
}

static void test_histories(void **state)
{
    static struct history history;
    uint64_t seed = setting("BELAY_SEED", 1), triples = setting("BELAY_TRIPLES", TRIPLES);
    struct buffer work[6];
    (void)state;

    history.memory = test_memory();
    struct memory *memory = &history.memory.memory;
    history.bytes.memory = history.list.memory = history.results.memory = memory;
    history.out.memory = history.out2.memory = memory;
    session_written_init(&history.written, memory);
    for (int i = 0; i < 6; i++) {
        work[i] = (struct buffer){.memory = memory};
    }
    print_message("seed %" PRIu64 "\n", seed);
    while (totals.triples < triples) {
        begin_history(&history, seed * UINT64_C(1000003) + totals.histories);
        run_history(&history, work);
    }
    print_message("histories %" PRIu64 " steps %" PRIu64 " writes %" PRIu64 " refused %" PRIu64
                  " repeated %" PRIu64 " deltas %" PRIu64 " stale %" PRIu64 " counters %" PRIu64
                  "\n",
                  totals.histories, totals.steps, totals.modelled, totals.refused, totals.repeated,
                  totals.deltas_applied, totals.deltas_stale, totals.counters);
    print_message("triples %" PRIu64 ", with siblings %" PRIu64 ", deaths %" PRIu64
                  ", re-creates %" PRIu64 "\n",
                  totals.triples, totals.siblings, totals.deaths, totals.recreates);
    assert_true(totals.siblings >= totals.triples / 5);
    assert_true(totals.deaths >= totals.triples / 5);
    assert_true(totals.recreates >= totals.triples / 5);

    session_written_fini(&history.written);
    struct buffer *const buffers[] = {&history.bytes, &history.list, &history.results, &history.out,
                                      &history.out2,  &work[0],      &work[1],         &work[2],
                                      &work[3],       &work[4],      &work[5]};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        buffer_fini(buffers[i]);
    }
    assert_int_equal(history.memory.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
    };
    return cmocka_run_group_tests_name("merge_property", tests, NULL, NULL);
}
