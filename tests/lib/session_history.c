#include "session_history.h"
#include "receipt.h"
#include "written_check.h"

#include <errno.h>
#include <inttypes.h>

struct history_totals totals;

uint64_t history_random(struct history *history)
{
    uint64_t x = history->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

int history_pick(struct history *history, int below)
{
    return (int)(history_random(history) % (uint64_t)below);
}

static bool history_chance(struct history *history, int percent)
{
    return history_pick(history, 100) < percent;
}

struct bytes history_state(const struct history *history, int index)
{
    if (index < 0) {
        return bytes_of("", 0);
    }
    return bytes_of(history->bytes.data + history->pool[index].at, history->pool[index].size);
}

/* Count what is rare. */
static void count_state(const struct history *history, struct bytes state)
{
    struct session_view view;
    struct dedup dedup;
    bool typeless = false;

    assert_int_equal(session_open_known(&view, state, history->now_ms, 0, &dedup), 0);
    for (uint32_t i = 0; i < view.record_.birth_count; i++) {
        typeless |= record_birth(&view.record_, i).type == 0;
    }
    totals.many_actors += view.record_.version.count > VERSION_CACHED;
    totals.many_births += view.record_.birth_count > RECORD_BIRTHS_CACHED;
    totals.typeless += typeless;
    totals.floors += dedup.floor != 0;
}

static int keep_state(struct history *history, struct bytes state)
{
    assert_int_equal(session_check(state), 0);
    count_state(history, state);
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

static void add_change(struct history *history, struct change change)
{
    change.name = change.name.data == NULL ? bytes_of("", 0) : change.name;
    change.value = change.value.data == NULL ? bytes_of("", 0) : change.value;
    assert_int_equal(buffer_reserve(&history->list, change_size(&change)), 0);
    uint8_t *end = change_put(history->list.data + history->list.size, &change);
    history->list.size = (size_t)(end - history->list.data);
}

/* For a type: mostly what it knows. */
static void random_change(struct history *history, enum session_type type, uint64_t now_ms)
{
    static const char *const names[] = {"", "a", "b", "num"};
    static const char *const values[] = {"", "x", "7", "-12", "longer value"};
    bool general = history->flavour == GENERAL;
    bool strange = type != SESSION_MAP && history_chance(history, 10);
    struct bytes name =
        text(names[history_pick(history, type == SESSION_BLOB && !strange ? 1 : 4)]);
    struct bytes value = text(values[history_pick(history, 5)]);
    struct bytes counter = !general ? text("n") : type == SESSION_BLOB ? name : text("num");
    uint64_t soon_ms = now_ms + (uint64_t)history_pick(history, 2000);

    if (history->crowded && type == SESSION_MAP && history_chance(history, 80)) {
        add_change(history, KIT_CHANGE(SET, .name = text("a"), .value = value));
        return;
    }
    if (type == SESSION_SET && !strange && history_chance(history, 50)) {
        add_change(history, KIT_CHANGE(ADD_MEMBER, .name = name));
        return;
    }
    switch (history_pick(history, general ? 20 : 8)) {
    case 0:
    case 1:
    case 2:
        add_change(history,
                   KIT_CHANGE(ADD, .name = counter, .delta = history_pick(history, 20) - 5));
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
        add_change(history, KIT_CHANGE(IDLE, .ms = (uint64_t)history_pick(history, 3) * 1000));
        break;
    case 11:
        add_change(history, KIT_CHANGE(TTL, .ms = 1000 + (uint64_t)history_pick(history, 5000)));
        break;
    case 12:
        add_change(history, KIT_CHANGE(ABSOLUTE, .ms = history_chance(history, 30) ? 0 : soon_ms));
        break;
    case 13:
        add_change(history, KIT_CHANGE(SET_UNTIL, .name = name, .value = value, .ms = soon_ms));
        break;
    case 14:
    case 15:
        add_change(history, KIT_CHANGE(UNTIL, .name = name,
                                       .ms = history_chance(history, 20) ? 0 : soon_ms));
        break;
    case 16:
        add_change(history, KIT_CHANGE(APPEND, .name = name,
                                       .value = text(history_chance(history, 80) ? "9" : "")));
        break;
    default:
        name = type == SESSION_BLOB ? name : text("a");
        add_change(history, KIT_CHANGE(SET, .name = name, .value = value));
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

static void log_deaths(struct history *history, struct bytes before, struct stamp death)
{
    struct record record;

    assert_int_equal(record_open(&record, before, RECORD_FORMAT), 0);
    for (uint32_t i = 0; i < record.birth_count && history->death_count < LOG_MAX; i++) {
        history->deaths[history->death_count].death = death;
        history->deaths[history->death_count++].birth = record_birth(&record, i).stamp;
    }
}

static enum session_type choose_type(struct history *history)
{
    static const enum session_type types[] = {SESSION_MAP, SESSION_MAP, SESSION_SET, SESSION_BLOB,
                                              SESSION_NONE};

    return history->types ? types[history_pick(history, 5)] : SESSION_MAP;
}

static void choose_changes(struct history *history, struct session_write *write)
{
    bool counters = history->flavour == EXPLICIT_COUNTERS;
    int destroys = history->flavour == BLIND_COUNTERS ? 0
                   : history->crowded                 ? 1
                   : counters                         ? 8
                                                      : 12;

    history->list.size = 0;
    write->mode = history->flavour == BLIND_COUNTERS ? WRITE_UPSERT
                  : counters ? (history_chance(history, 40) ? WRITE_CREATE : WRITE_UPDATE)
                  : history->crowded && history_chance(history, 80)
                      ? WRITE_UPSERT
                      : (enum write_mode)history_pick(history, 3);
    if (history_chance(history, destroys)) {
        add_change(history, KIT_CHANGE(DESTROY));
    } else {
        for (int i = 1 + history_pick(history, 3); i > 0; i--) {
            random_change(history, write->type, write->now_ms);
        }
    }
    if (history->flavour == GENERAL && history_chance(history, 40)) {
        write->client = 1 + (uint64_t)history_pick(history, 3);
        write->sequence = ++history->sequence;
        if (history_chance(history, 30)) {
            write->sequence -= (uint64_t)history_pick(history, 6);
            write->retry_hlc = history_chance(history, 50) ? hlc_of_ms(write->now_ms - 1000) : 0;
        }
    }
    write->changes = buffer_bytes(&history->list);
}

void history_check_delta(struct history *history, const struct delta_log *delta, struct bytes copy)
{
    struct bytes bytes = bytes_of(history->bytes.data + delta->at, delta->size);
    struct record mine, base;
    bool covers = false;

    assert_int_equal(record_open(&base, history_state(history, delta->base), RECORD_FORMAT), 0);
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
    assert_int_equal(session_merge(copy, history_state(history, delta->result), &history->out2), 0);
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
        assert_int_equal(session_merge(history_state(history, before),
                                       history_state(history, replica->copy), &history->out),
                         0);
        assert_bytes_equal(buffer_bytes(&history->out), history_state(history, replica->copy));
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
    history_check_delta(history, log, history_state(history, before));
}

static bool is_crowded(struct bytes record, uint64_t now_ms)
{
    struct session_view view;

    return record.size > 0 && session_open(&view, record, now_ms) == 0 &&
           view.siblings_hidden > SESSION_SIBLINGS_MAX;
}

static void step_write(struct history *history, struct replica *replica)
{
    static struct model model, after;
    struct session_write write = {
        .key = text("k"),
        .record = history_state(history, replica->copy),
        .rules = &history->rules,
        .now_ms = clock_of(history, replica),
        .actor = replica->actor,
        .type = choose_type(history),
        .fades = history_chance(history, 50),
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
    assert_true(written_next_is_sound(&history->written, write.now_ms));
    totals.refused += status != STATUS_OK;
    totals.pruned += changed && is_crowded(write.record, write.now_ms);
    totals.wrong_types += status == STATUS_WRONG_TYPE;
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
    if (write.record.size > 0 && history->list.data[0] == CHANGE_DESTROY) {
        log_deaths(history, write.record, history->written.stamp);
    }
    log_write(history, write.now_ms, buffer_bytes(&history->written.record));
    keep_written(history, replica);
    totals.modelled++;
}

static void take_state(struct history *history, struct replica *replica, int from)
{
    if (replica->copy < 0) {
        replica->copy = from;
        return;
    }
    assert_int_equal(session_merge(history_state(history, replica->copy),
                                   history_state(history, from), &history->out),
                     0);
    replica->copy = keep_state(history, buffer_bytes(&history->out));
}

/* A full record, perhaps an old one, arrives. */
static void step_merge(struct history *history, struct replica *replica)
{
    if (history->pool_count == 0) {
        return;
    }
    int from = history_chance(history, 70)
                   ? history->replicas[history_pick(history, history->replica_count)].copy
                   : history_pick(history, history->pool_count);
    if (from >= 0) {
        take_state(history, replica, from);
    }
}

/* A delta arrives: the next, one again, or one long overtaken. Others never do. */
static void step_delta(struct history *history, struct replica *replica)
{
    if (history->delta_count == 0) {
        return;
    }
    const struct delta_log *delta = &history->deltas[history_pick(history, history->delta_count)];
    struct bytes bytes = bytes_of(history->bytes.data + delta->at, delta->size);
    struct bytes copy = history_state(history, replica->copy);

    history_check_delta(history, delta, copy);
    if (session_apply_delta(copy, bytes, &history->out) == 0) {
        replica->copy = keep_state(history, buffer_bytes(&history->out));
    }
}

/* A new life, under a new actor; the last writes may be lost. */
static void step_restart(struct history *history, struct replica *replica)
{
    replica->actor.start++;
    if (history_chance(history, 50) && history->pool_count > 0) {
        replica->copy = history_pick(history, history->pool_count);
    }
}

/* A life that knows next to nothing writes, and the first replica hears of it. */
static void step_crowd(struct history *history, struct replica *replica)
{
    struct replica *first = &history->replicas[0];
    int known = history->pool_count < 3 ? history->pool_count : 3;

    if (replica == first) {
        return;
    }
    replica->actor.start++;
    replica->copy = history_pick(history, known + 1) - 1;
    step_write(history, replica);
    if (replica->copy >= 0) {
        take_state(history, first, replica->copy);
    }
}

/* What has expired is buried by one of its copies. */
static void step_bury(struct history *history, struct replica *replica)
{
    static struct model model, after;
    struct bytes copy = history_state(history, replica->copy);
    uint64_t now_ms = clock_of(history, replica);
    struct session_view view;

    if (copy.size == 0 || session_open(&view, copy, now_ms) != 0 || !view.expired) {
        return;
    }
    const struct stamp stamp = {hlc_next(session_newest_hlc(copy), now_ms), replica->actor};
    const bool seen_only = history_pick(history, 2) == 0;
    model_read(&model, copy);
    model_bury(&model, stamp, seen_only ? session_newest_hlc(copy) : stamp.hlc);
    assert_int_equal(session_bury(copy, stamp, seen_only, &history->out), 0);
    model_read(&after, buffer_bytes(&history->out));
    assert_true(model_equal(&model, &after));
    log_deaths(history, copy, stamp);
    replica->copy = keep_state(history, buffer_bytes(&history->out));
    totals.buried++;
}

/* A letter is refused, or one that was is forgotten. */
static void step_receipt(struct history *history, struct replica *replica)
{
    static struct model model, after;
    struct bytes copy = history_state(history, replica->copy);
    const struct stamp stamp = {hlc_next(session_newest_hlc(copy), clock_of(history, replica)),
                                replica->actor};

    if (copy.size == 0) {
        return;
    }
    model_read(&model, copy);
    bool comes = model_receipts(&model) == 0 ||
                 (model_receipts(&model) < DEDUP_RECEIPTS_KEPT && history_chance(history, 50));
    uint64_t id = ++history->rename;
    int which = comes ? -1 : history_pick(history, model_receipts(&model));
    for (int i = 0; i < model.item_count && which >= 0; i++) {
        which -= model.items[i].client == DEDUP_RECEIPT_CLIENT;
        id = model.items[i].sequence;
    }
    if (comes) {
        model_refuse(&model, stamp, id);
        assert_int_equal(receipt_refuse(copy, stamp, id, &history->out), 0);
        totals.receipts++;
    } else {
        model_forget(&model, stamp, id);
        assert_int_equal(receipt_remove(copy, stamp, id, &history->out), 0);
        totals.forgotten++;
    }
    model_read(&after, buffer_bytes(&history->out));
    assert_true(model_equal(&model, &after));
    replica->copy = keep_state(history, buffer_bytes(&history->out));
}

/* A read slides the idle clock, in the stored bytes themselves. */
static void step_touch(struct history *history, struct replica *replica)
{
    static struct model model, after;
    struct bytes copy = history_state(history, replica->copy);
    uint64_t now_ms = clock_of(history, replica);
    struct session_view view;

    if (copy.size == 0 || session_open(&view, copy, now_ms) != 0 || !view.live) {
        return;
    }
    model_read(&model, copy);
    history->out.size = 0;
    assert_int_equal(buffer_append(&history->out, copy), 0);
    bool kept = session_touch_in_place(history->out.data, history->out.size, now_ms);
    assert_int_equal(kept, model.access_ms != 0);
    if (kept && now_ms > model.access_ms) {
        model.access_ms = now_ms;
    }
    model_read(&after, buffer_bytes(&history->out));
    assert_true(model_equal(&model, &after));
    replica->copy = keep_state(history, buffer_bytes(&history->out));
    totals.touched += kept;
}

void history_step(struct history *history)
{
    struct replica *replica = &history->replicas[history_pick(history, history->replica_count)];
    int dice = history_pick(history, 100);

    history->now_ms += (uint64_t)history_pick(history, history_chance(history, 10) ? 3000 : 200);
    if (history->crowded && dice % 4 < 3) {
        step_crowd(history, replica);
    } else if (dice < 48) {
        step_write(history, replica);
    } else if (dice < 52) {
        step_receipt(history, replica);
    } else if (dice < 67) {
        step_merge(history, replica);
    } else if (dice < 84) {
        step_delta(history, replica);
    } else if (dice < 89) {
        step_restart(history, replica);
    } else if (dice < 93) {
        step_bury(history, replica);
    } else if (dice < 96) {
        step_touch(history, replica);
    } else {
        replica->clock_off_ms = replica->clock_off_ms == 0 ? -3600000 : 0;
    }
    totals.steps++;
}

void history_begin(struct history *history, uint64_t seed)
{
    history->random = seed;
    history->flavour =
        (enum flavour)(history_pick(history, 4) < 2 ? GENERAL : 1 + history_pick(history, 2));
    history->types = history->flavour == GENERAL && history_chance(history, 30);
    history->crowded = history->flavour == GENERAL && history_chance(history, 25);
    history->bytes.size = 0;
    history->now_ms = UINT64_C(1700000000000) + (uint64_t)history_pick(history, 1 << 20);
    history->replica_count = 3 + history_pick(history, REPLICAS_MAX - 2);
    history->pool_count = history->delta_count = 0;
    history->add_count = history->deadline_count = history->death_count = 0;
    history->sequence = history->rename = 0;
    history->rules = (struct session_rules){
        .session_bytes_max = 1 << 20,
        .fields_max = 1000,
        .tombstone_keep_ms = 1500,
        .no_resurrect = history_chance(history, 40),
    };
    if (history->flavour == GENERAL && !history->crowded && history_chance(history, 50)) {
        history->rules.idle_ttl_ms = history_chance(history, 50) ? 3000 : 0;
        history->rules.absolute_ttl_ms = history_chance(history, 50) ? 5000 : 0;
    }
    for (int i = 0; i < history->replica_count; i++) {
        history->replicas[i] = (struct replica){{1 + (uint32_t)i, 1}, -1, 0};
    }
}

void history_init(struct history *history)
{
    struct memory *memory = &history->memory.memory;

    history->memory = test_memory();
    history->bytes.memory = history->list.memory = history->results.memory = memory;
    history->out.memory = history->out2.memory = memory;
    session_written_init(&history->written, memory);
}

void history_fini(struct history *history)
{
    session_written_fini(&history->written);
    buffer_fini(&history->bytes);
    buffer_fini(&history->list);
    buffer_fini(&history->results);
    buffer_fini(&history->out);
    buffer_fini(&history->out2);
    assert_int_equal(history->memory.outstanding_bytes, 0);
}
