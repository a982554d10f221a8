/* Properties of the join, on states from random histories of three to five replicas.
 *
 * A history has receipts of renames that come and go, explicit creates, blind writes, deletes, adds, touches, deadlines of sessions and of
 * fields, full records and deltas that are lost, repeated and reordered, restarts as new actors (some
 * from an older copy), burials of what has expired, reads that slide idle clocks, and clocks that go back
 * an hour. Some have sessions of several types under the one key, some crowds of short lives that know of
 * each other only later. Every state that occurs goes into a pool; each step is compared with a naive
 * model (session_model.h), and triples of states from the pool are joined in all orders. What must hold of
 * a state is judged by a log of what was done, kept beside.
 *
 * BELAY_SEED chooses another run, BELAY_TRIPLES its length.
 */
#include <inttypes.h>
#include <stdio.h>

#include "session_history.h"

enum {
    STEPS = 60,
    TRIPLES_PER_HISTORY = 250,
    TRIPLES = 1000000,
};

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
    assert_int_equal(view->faded, modelled->faded);
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
    totals.faded += view.faded;
    if (view.live) {
        check_deadline(history, state, &view);
    }
    if (history->flavour != GENERAL && view.live) {
        check_counter(history, &model, &view, &modelled);
    }
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
        of[i] = history_state(history, history_pick(history, history->pool_count));
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

static void run_history(struct history *history, struct buffer work[6])
{
    for (int i = 0; i < STEPS; i++) {
        history_step(history);
    }
    for (int i = 0; i < history->pool_count; i++) {
        check_state(history, history_state(history, i));
    }
    for (int i = 0; i < TRIPLES_PER_HISTORY && history->pool_count > 0; i++) {
        check_triple(history, work);
    }
    for (int i = 0; i < history->delta_count; i++) {
        history_check_delta(history, &history->deltas[i],
                            history_state(history, history_pick(history, history->pool_count)));
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

    history_init(&history);
    for (int i = 0; i < 6; i++) {
        work[i] = (struct buffer){.memory = &history.memory.memory};
    }
    print_message("seed %" PRIu64 "\n", seed);
    while (totals.triples < triples) {
        history_begin(&history, seed * UINT64_C(1000003) + totals.histories);
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
    print_message("wrong types %" PRIu64 " pruned %" PRIu64 " buried %" PRIu64 " touched %" PRIu64
                  "; states of many actors %" PRIu64 ", many births %" PRIu64
                  ", with a type gone %" PRIu64 ", with a floor %" PRIu64 ", faded %" PRIu64
                  "; receipts %" PRIu64 ", forgotten %" PRIu64 "\n",
                  totals.wrong_types, totals.pruned, totals.buried, totals.touched,
                  totals.many_actors, totals.many_births, totals.typeless, totals.floors,
                  totals.faded, totals.receipts, totals.forgotten);
    assert_true(totals.siblings >= totals.triples / 5);
    assert_true(totals.deaths >= totals.triples / 5);
    assert_true(totals.recreates >= totals.triples / 5);
    if (triples >= TRIPLES) { /* What is rare is there all the same. */
        assert_true(totals.wrong_types >= 100 && totals.pruned >= 20 && totals.buried >= 100);
        assert_true(totals.touched >= 100 && totals.many_actors >= 100);
        assert_true(totals.many_births >= 100 && totals.typeless >= 100 && totals.floors >= 100);
        assert_true(totals.faded >= 100);
        assert_true(totals.receipts >= 1000 && totals.forgotten >= 500);
    }

    for (int i = 0; i < 6; i++) {
        buffer_fini(&work[i]);
    }
    history_fini(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
    };
    return cmocka_run_group_tests_name("merge_property", tests, NULL, NULL);
}
