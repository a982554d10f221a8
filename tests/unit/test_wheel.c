/* Wheel, patrol, acks and overload: the small parts of the shard. */
#include "check.h"

#include <errno.h>

#include "acks.h"
#include "overload.h"
#include "patrol.h"
#include "wheel.h"

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % limit;
}

/* ---- Wheel ---- */

static struct wheel wheel;

/* The mark comes back as it was given: here it is the lowest bit. */
static int add(uint64_t at_ms, uint64_t position)
{
    return wheel_add(&wheel, at_ms,
                     (struct wheel_entry){.position = position, .mark = (position & 1) != 0});
}

static bool pop(uint64_t *position)
{
    struct wheel_entry entry;

    if (!wheel_pop(&wheel, &entry)) {
        return false;
    }
    assert_int_equal(entry.mark, entry.position & 1);
    *position = entry.position;
    return true;
}

/* Every entry fires once, not before its time, and at most a tick after it. */
static void test_wheel_on_time(void **state)
{
    (void)state;
    enum { ENTRIES = 20000 };
    static uint64_t due[ENTRIES];
    struct test_memory memory = test_memory();
    uint64_t now = 1000000, fired = 0, position = 0;

    random_state = 7;
    wheel_init(&wheel, &memory.memory);
    wheel_advance(&wheel, now);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        due[i] = now + random_below(WHEEL_SPAN_MS);
        assert_int_equal(add(due[i], i), 0);
    }
    assert_int_equal(wheel.count, ENTRIES);
    while (fired < ENTRIES) {
        now += random_below(50);
        wheel_advance(&wheel, now);
        while (pop(&position)) {
            assert_true(due[position] != 0 && due[position] <= now);
            assert_true(now < due[position] + WHEEL_TICK_MS + 50);
            due[position] = 0;
            fired++;
        }
    }
    assert_int_equal(wheel.count, 0);
    assert_int_equal(memory.outstanding_bytes, 0); /* Emptied, it holds nothing. */
}

static void test_wheel_range(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    uint64_t position = 0;

    wheel_init(&wheel, &memory.memory);
    wheel_advance(&wheel, 5000);
    assert_int_equal(add(5000 + WHEEL_SPAN_MS + 2 * WHEEL_TICK_MS, 1), -ERANGE);
    assert_int_equal(add(5000 + WHEEL_SPAN_MS, 1), 0);
    assert_int_equal(add(10, 2), 0); /* The past: at the next tick, not in this one. */
    assert_false(pop(&position));
    wheel_advance(&wheel, 5000 + WHEEL_TICK_MS);
    assert_true(pop(&position));
    assert_int_equal(position, 2);
    assert_false(pop(&position));
    wheel_fini(&wheel);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* The clock jumps over the whole wheel: all fires, at once; what is added while the backlog is worked
 * off is not lost, and does not keep it from ending. */
static void test_wheel_jump(void **state)
{
    (void)state;
    enum { ENTRIES = 5000 };
    struct test_memory memory = test_memory();
    uint64_t now = 77777777, fired = 0, again = 0, position = 0;

    random_state = 3;
    wheel_init(&wheel, &memory.memory);
    wheel_advance(&wheel, now);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(add(now + random_below(WHEEL_SPAN_MS), 1), 0);
    }
    now += UINT64_C(365) * 24 * 3600 * 1000;
    wheel_advance(&wheel, now);
    while (pop(&position)) {
        if (position == 1) {
            fired++;
            assert_int_equal(add(now + 60000, 2), 0);
        } else {
            again++; /* Before its time, as the backlog had no free bucket: looked at and kept. */
            assert_int_equal(add(now + 60000, 2), 0);
        }
        assert_true(again <= ENTRIES);
    }
    assert_int_equal(fired, ENTRIES);
    assert_int_equal(wheel.count, ENTRIES);
    wheel_advance(&wheel, now + 60000 + WHEEL_TICK_MS);
    for (int i = 0; i < ENTRIES; i++) {
        assert_true(pop(&position));
    }
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_wheel_memory(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    uint64_t position = 0;

    wheel_init(&wheel, &memory.memory);
    wheel_advance(&wheel, 1000);
    memory.fail_at = 3;
    uint64_t added = 0;
    while (add(3000, added) == 0) {
        added++;
    }
    assert_int_equal(add(3000, added), -ENOMEM);
    assert_true(added > 0);
    wheel_advance(&wheel, 4000);
    for (; added > 0; added--) {
        assert_true(pop(&position));
    }
    assert_false(pop(&position));
    assert_int_equal(memory.outstanding_bytes, 0);
    memory.fail_at = 0;
    for (uint64_t i = 0; i < 1000000; i++) {
        assert_int_equal(add(5000, i), 0);
    }
    assert_true(memory.outstanding_bytes < 1000000 * 8 * 11 / 10);
    wheel_fini(&wheel);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* ---- Patrol ---- */

/* Whatever falls due before the promised next visit is known to the wheel: each position is visited by
 * the time that was promised after the visit before. */
static void test_patrol_keeps_its_word(void **state)
{
    (void)state;
    enum { PLACES = 997 };
    static uint64_t promised[PLACES];
    static bool turns[PLACES];
    struct patrol patrol;
    uint64_t now = 123456789, step = UINT64_MAX / PLACES;

    random_state = 11;
    patrol_init(&patrol);
    for (uint64_t i = 0; i < PLACES; i++) {
        turns[i] = patrol_turn(&patrol, i * step);
    }
    for (int turn = 0; turn < 20000; turn++) {
        now += 1 + random_below(500);
        patrol_advance(&patrol, now);
        uint64_t target = patrol_target(&patrol, now);
        if (patrol.finished || patrol.cursor > target) {
            continue;
        }
        for (uint64_t i = patrol.cursor == 0 ? 0 : (patrol.cursor - 1) / step + 1;; i++) {
            if (i == PLACES) {
                patrol_visited(&patrol, 0);
                break;
            }
            assert_true(promised[i] == 0 || now <= promised[i]);
            assert_true(now <= patrol_next_visit_ms(&patrol, i * step));
            promised[i] = patrol_after_visit_ms(&patrol, i * step);
            assert_true(promised[i] < now + WHEEL_SPAN_MS);
            bool turn_before = patrol_turn(&patrol, i * step);
            assert_int_equal(turn_before,
                             turns[i]); /* It changes with each visit, and only then. */
            patrol_visited(&patrol, i * step + 1);
            turns[i] = patrol_turn(&patrol, i * step);
            assert_int_not_equal(turns[i], turn_before);
            assert_int_equal(patrol_next_visit_ms(&patrol, i * step), promised[i]);
            if (i * step > target) {
                break;
            }
        }
    }
}

/* ---- Acks ---- */

static void test_acks_in_order(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct acks acks;
    struct ack ack;
    uint64_t pushed = 0, popped = 0;

    random_state = 5;
    acks_init(&acks, &memory.memory);
    assert_false(acks_pop(&acks, UINT64_MAX, &ack));
    for (int round = 0; round < 2000; round++) {
        for (uint64_t n = random_below(100); n > 0; n--) {
            assert_int_equal(acks_reserve(&acks), 0);
            pushed++;
            acks_push(&acks, (struct ack){.lsn = pushed / 3 + 1, .ticket = pushed});
        }
        uint64_t lsn = popped / 3 + random_below(40);
        while (acks_pop(&acks, lsn, &ack)) {
            popped++;
            assert_int_equal(ack.ticket, popped);
            assert_true(ack.lsn <= lsn);
        }
        assert_true(acks.count == 0 || (popped + 1) / 3 + 1 > lsn);
    }
    assert_true(popped > 0 && pushed > popped);
    acks_fini(&acks);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_acks_bounds(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct acks acks;
    struct ack ack;

    acks_init(&acks, &memory.memory);
    memory.fail_at = 2;
    uint64_t count = 0;
    while (acks_reserve(&acks) == 0) {
        acks_push(&acks, (struct ack){.lsn = 1, .ticket = ++count});
    }
    assert_int_equal(acks_reserve(&acks), -ENOMEM);
    memory.fail_at = 0;
    while (acks_reserve(&acks) == 0) {
        acks_push(&acks, (struct ack){.lsn = 1, .ticket = ++count});
    }
    assert_int_equal(acks_reserve(&acks), -EAGAIN);
    assert_int_equal(count, ACKS_MAX);
    for (uint64_t ticket = 1; ticket <= count; ticket++) {
        assert_true(acks_pop(&acks, 1, &ack));
        assert_int_equal(ack.ticket, ticket);
    }
    assert_int_equal(memory.outstanding_bytes, 0); /* A ring that grew goes back when empty. */
}

/* ---- Overload ---- */

enum { LIMIT_MS = 100 };

/* One server, first come first served; `rate` arrivals for each one that it could serve. */
struct queue_run {
    double served, refused, time_us;
    double delay_sum_us, delay_max_us;
    uint64_t begins, ends;
};

static struct queue_run run_open(double rate, double serve_us, double refuse_us, double seconds)
{
    struct overload overload;
    struct queue_run run = {0};
    double arrival_us = 0, now_us = 0;

    overload_init(&overload, LIMIT_MS);
    while (now_us < seconds * 1e6) {
        arrival_us += serve_us / rate * (0.5 + (double)random_below(1000) / 1000);
        if (now_us < arrival_us) {
            now_us = arrival_us;
        }
        uint64_t delay_us = (uint64_t)(now_us - arrival_us);
        overload_note(&overload, (uint64_t)now_us, delay_us);
        run.ends += overload_ended(&overload, (uint64_t)now_us / 1000);
        if (overload_refuses(&overload, delay_us, false)) {
            run.begins += overload_count(&overload, (uint64_t)now_us / 1000);
            run.refused++;
            now_us += refuse_us;
        } else {
            run.served++;
            run.delay_sum_us += (double)delay_us;
            if ((double)delay_us > run.delay_max_us) {
                run.delay_max_us = (double)delay_us;
            }
            now_us += serve_us;
        }
    }
    run.time_us = now_us;
    return run;
}

static void test_overload_open(void **state)
{
    (void)state;
    random_state = 1;
    struct queue_run calm = run_open(0.9, 100, 2, 30);
    assert_true(calm.refused == 0 && calm.begins == 0);

    struct queue_run run = run_open(5, 100, 2, 30);
    assert_true(run.served * 100 >= 0.9 * run.time_us);
    assert_true(run.delay_max_us <= LIMIT_MS * 1000);
    assert_int_equal(run.begins, 1); /* One overload, not one for each swing. */
    assert_int_equal(run.ends, 0);
}

/* Clients that wait for their answer, and after BUSY for as long as they were told (with jitter): five
 * times as many as can be served, and refusing costs a third of serving. */
static void test_overload_closed(void **state)
{
    (void)state;
    enum { CLIENTS = 5000, SERVE_US = 100, REFUSE_US = 33, THINK_MS = 100 };
    static uint64_t wake_us[CLIENTS];
    static uint32_t queue[CLIENTS];
    struct overload overload;
    uint64_t now_us = 0, head = 0, tail = 0, served = 0, refused = 0;

    random_state = 2;
    overload_init(&overload, LIMIT_MS);
    for (int i = 0; i < CLIENTS; i++) {
        wake_us[i] = random_below(THINK_MS * 1000);
    }
    const uint64_t warm_us = 5 * 1000 * 1000, end_us = 25 * 1000 * 1000;
    static uint64_t arrived_us[CLIENTS];
    static bool queued[CLIENTS];
    uint64_t next_look_us = 0;
    while (now_us < end_us) {
        if (now_us >= next_look_us || head == tail) {
            for (uint32_t i = 0; i < CLIENTS; i++) {
                if (!queued[i] && wake_us[i] <= now_us) {
                    queued[i] = true;
                    arrived_us[i] = wake_us[i];
                    queue[tail++ % CLIENTS] = i;
                }
            }
            next_look_us = now_us + 1000;
        }
        if (head == tail) {
            now_us += 100;
            continue;
        }
        uint32_t client = queue[head++ % CLIENTS];
        uint64_t delay_us = now_us - arrived_us[client];
        overload_note(&overload, now_us, delay_us);
        queued[client] = false;
        if (overload_refuses(&overload, delay_us, false)) {
            overload_count(&overload, now_us / 1000);
            now_us += REFUSE_US;
            uint64_t retry_us = (uint64_t)overload_retry_ms(&overload) * 1000;
            wake_us[client] = now_us + retry_us / 2 + random_below(retry_us);
            refused += now_us > warm_us;
        } else {
            now_us += SERVE_US;
            wake_us[client] = now_us + THINK_MS * 500 + random_below(THINK_MS * 1000);
            served += now_us > warm_us;
        }
    }
    assert_true(refused > 0);
    assert_true((double)served * SERVE_US >= 0.9 * (double)(end_us - warm_us));
}

static void test_overload_edges(void **state)
{
    (void)state;
    struct overload overload;

    overload_init(&overload, 0);
    overload_note(&overload, 1, 1000000000);
    assert_false(overload_refuses(&overload, 1000000000, false));
    assert_false(overload_may_refuse(&overload, 1000000000));

    overload_init(&overload, LIMIT_MS);
    overload_note(&overload, 0, 70000);
    for (int i = 0; i < 20; i++) {
        assert_false(overload_refuses(&overload, 99000, false)); /* A burst; no queue stands yet. */
    }
    assert_true(overload_refuses(&overload, 70000, true)); /* New sessions have half. */
    assert_true(overload_refuses(&overload, 100001, false));
    assert_true(overload_count(&overload, 10));
    assert_false(overload_count(&overload, 20));
    assert_false(overload_ended(&overload, 20 + OVERLOAD_CALM_MS - 1));
    assert_true(overload_ended(&overload, 20 + OVERLOAD_CALM_MS));
    assert_false(overload_ended(&overload, 20 + OVERLOAD_CALM_MS));
    assert_in_range(overload_retry_ms(&overload), LIMIT_MS, OVERLOAD_RETRY_MS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_on_time),
        cmocka_unit_test(test_wheel_range),
        cmocka_unit_test(test_wheel_jump),
        cmocka_unit_test(test_wheel_memory),
        cmocka_unit_test(test_patrol_keeps_its_word),
        cmocka_unit_test(test_acks_in_order),
        cmocka_unit_test(test_acks_bounds),
        cmocka_unit_test(test_overload_open),
        cmocka_unit_test(test_overload_closed),
        cmocka_unit_test(test_overload_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
