/* What a node has merged, slot by slot. */
#include "check.h"

#include <errno.h>

#include "random.h"
#include "seen_saved.h"

enum { SLOTS = 4 };

static const struct actor ann = {1, 1}, bob = {2, 7}, carl = {300, 1};

static struct stamp stamp_of(struct actor actor, uint64_t hlc)
{
    return (struct stamp){hlc, actor};
}

static struct bytes vector_of(const struct seen *seen, uint32_t slot, struct buffer *buffer)
{
    buffer->size = 0;
    assert_int_equal(seen_put(seen, slot, buffer), 0);
    return buffer_bytes(buffer);
}

static void test_unknown_covers_nothing(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct buffer buffer = {.memory = &memory.memory};
    struct seen seen;

    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    assert_int_equal(seen_advance(&seen, 1, stamp_of(ann, 10)), 0);
    assert_false(seen_is_known(&seen, 1));
    assert_false(seen_covers(&seen, 1, stamp_of(ann, 10)));
    assert_int_equal(seen_put(&seen, 1, &buffer), -ENOENT);
    seen_begin(&seen, 1);
    assert_int_equal(seen_of(&seen, 1, ann), 0); /* What came before is not taken for seen. */
    assert_true(seen_covers_all(&seen, 1, vector_of(&seen, 1, &buffer)));
    assert_false(
        seen_covers_all(&seen, 2, vector_of(&seen, 1, &buffer))); /* Not known, not even nothing. */
    buffer_fini(&buffer);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_advance(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct seen seen;

    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    seen_begin(&seen, 0);
    seen_begin(&seen, 1);
    assert_int_equal(seen_advance(&seen, 0, stamp_of(bob, 20)), 0);
    assert_int_equal(seen_advance(&seen, 0, stamp_of(ann, 30)), 0);
    assert_int_equal(seen_advance(&seen, 0, stamp_of(carl, 5)), 0);
    assert_int_equal(seen_advance(&seen, 0, stamp_of(bob, 19)), 0); /* Late: changes nothing. */
    assert_int_equal(seen_of(&seen, 0, bob), 20);
    assert_true(seen_covers(&seen, 0, stamp_of(bob, 20)));
    assert_true(seen_covers(&seen, 0, stamp_of(ann, 1)));
    assert_false(seen_covers(&seen, 0, stamp_of(bob, 21)));
    assert_false(seen_covers(&seen, 0, stamp_of((struct actor){2, 8}, 1))); /* Its next life. */
    assert_false(seen_covers(&seen, 1, stamp_of(bob, 1)));                  /* Another slot. */
    assert_false(seen_covers(&seen, 0, (struct stamp){0, bob}));            /* No stamp at all. */
    assert_int_equal(seen_of(&seen, 0, ann), 30);
    assert_int_equal(seen_of(&seen, 0, carl), 5);
    seen_forget(&seen, 0);
    assert_false(seen_covers(&seen, 0, stamp_of(ann, 1)));
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* The bytes are an agreement between nodes of different releases. */
static void test_golden_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {2,    1, 1, 30, 0, 0, 0, 0, 0, 0, 0, /* ann */
                                     0xac, 2, 1, 8,  7, 6, 5, 4, 3, 2, 1 /* carl */};
    struct test_memory memory = test_memory();
    struct buffer buffer = {.memory = &memory.memory};
    struct seen seen;

    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    assert_int_equal(seen_join(&seen, 3, bytes_of(golden, sizeof golden)), 0);
    assert_true(seen_is_known(&seen, 3));
    assert_int_equal(seen_of(&seen, 3, ann), 30);
    assert_int_equal(seen_of(&seen, 3, carl), UINT64_C(0x0102030405060708));
    assert_true(bytes_equal(vector_of(&seen, 3, &buffer), bytes_of(golden, sizeof golden)));
    for (size_t size = 0; size < sizeof golden; size++) {
        assert_int_equal(seen_join(&seen, 3, bytes_of(golden, size)), -EBADMSG);
    }
    buffer_fini(&buffer);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_bad_vectors(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[24], size;
    } bad[] = {
        {{1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 11},                               /* Nobody. */
        {{1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 11},                               /* No life. */
        {{1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 11},                               /* No time. */
        {{1, 0x81, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 12},                         /* A long 1. */
        {{2, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 21}, /* Order. */
        {{2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0}, 21}, /* Twice. */
        {{0, 0}, 2},                                                           /* More after it. */
        {{0xff, 0xff, 0xff, 0xff, 0x0f}, 5},                                   /* Too many. */
        {{1, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 15},    /* 33 bits. */
    };
    struct test_memory memory = test_memory();
    struct buffer before = {.memory = &memory.memory}, after = {.memory = &memory.memory};
    struct seen seen;

    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    seen_begin(&seen, 0);
    assert_int_equal(seen_advance(&seen, 0, stamp_of(ann, 9)), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct bytes vector = bytes_of(bad[i].bytes, bad[i].size);
        struct bytes was = vector_of(&seen, 0, &before);
        assert_int_equal(seen_join(&seen, 0, vector), -EBADMSG);
        assert_int_equal(seen_join(&seen, 1, vector), -EBADMSG);
        assert_false(seen_is_known(&seen, 1));
        assert_false(seen_covers_all(&seen, 0, vector));
        assert_true(bytes_equal(was, vector_of(&seen, 0, &after)));
    }
    buffer_fini(&before);
    buffer_fini(&after);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_too_many_actors(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct buffer buffer = {.memory = &memory.memory};
    struct seen seen;

    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    seen_begin(&seen, 0);
    for (uint32_t i = 1; i <= SEEN_ACTORS_MAX; i++) {
        assert_int_equal(seen_advance(&seen, 0, stamp_of((struct actor){i, 1}, i)), 0);
    }
    assert_int_equal(seen_advance(&seen, 0, stamp_of((struct actor){SEEN_ACTORS_MAX + 1, 1}, 1)),
                     -EOVERFLOW);
    assert_int_equal(seen_advance(&seen, 0, stamp_of((struct actor){7, 1}, 1000)), 0);
    seen_begin(&seen, 1);
    assert_int_equal(seen_advance(&seen, 1, stamp_of((struct actor){SEEN_ACTORS_MAX + 1, 1}, 1)),
                     0);
    assert_int_equal(seen_join(&seen, 1, vector_of(&seen, 0, &buffer)), -EOVERFLOW);
    assert_int_equal(seen_of(&seen, 1, (struct actor){7, 1}), 0);
    buffer_fini(&buffer);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* Joins of random vectors: commutative, associative, idempotent, and what each covers. */
static void test_joins(void **state)
{
    (void)state;
    enum { ROUNDS = 2000, STEPS = 12, ACTORS = 9 };
    struct test_memory memory = test_memory();
    struct buffer vectors[3], out[2];
    struct seen seen;
    uint64_t random = 11, covering = 0;

    for (int i = 0; i < 3; i++) {
        vectors[i] = (struct buffer){.memory = &memory.memory};
    }
    out[0] = out[1] = (struct buffer){.memory = &memory.memory};
    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t most[3][ACTORS] = {{0}};
        for (uint32_t i = 0; i < 3; i++) {
            seen_begin(&seen, i);
            for (uint32_t steps = random_below(&random, STEPS); steps > 0; steps--) {
                uint32_t who = random_below(&random, ACTORS);
                uint64_t hlc = 1 + random_below(&random, 6);
                most[i][who] = hlc > most[i][who] ? hlc : most[i][who];
                assert_int_equal(seen_advance(&seen, i, stamp_of((struct actor){who + 1, 1}, hlc)),
                                 0);
            }
            vector_of(&seen, i, &vectors[i]);
        }
        bool covers = true;
        for (uint32_t who = 0; who < ACTORS; who++) {
            covers &= most[0][who] >= most[1][who];
            assert_int_equal(seen_of(&seen, 0, (struct actor){who + 1, 1}), most[0][who]);
        }
        assert_int_equal(seen_covers_all(&seen, 0, buffer_bytes(&vectors[1])), covers);
        covering += covers;
        static const int orders[2][4] = {{0, 1, 2, 2}, {2, 1, 0, 1}};
        for (int order = 0; order < 2; order++) {
            seen_forget(&seen, 3);
            for (int i = 0; i < 4; i++) {
                assert_int_equal(seen_join(&seen, 3, buffer_bytes(&vectors[orders[order][i]])), 0);
            }
            vector_of(&seen, 3, &out[order]);
            for (int i = 0; i < 3; i++) {
                assert_true(seen_covers_all(&seen, 3, buffer_bytes(&vectors[i])));
            }
        }
        assert_true(bytes_equal(buffer_bytes(&out[0]), buffer_bytes(&out[1])));
    }
    assert_true(covering > ROUNDS / 20 && covering < ROUNDS / 2);
    for (int i = 0; i < 3; i++) {
        buffer_fini(&vectors[i]);
    }
    buffer_fini(&out[0]);
    buffer_fini(&out[1]);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* The n-th request for memory fails: nothing is claimed to be seen that was not, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    static const uint8_t vector[] = {3, 1, 1, 5, 0, 0, 0, 0, 0, 0, 0, 2, 7, 6, 0, 0,
                                     0, 0, 0, 0, 0, 4, 1, 6, 0, 0, 0, 0, 0, 0, 0};
    struct seen seen;

    memory.fail_at = 1;
    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), -ENOMEM);
    memory.fail_at = 0;
    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    seen_begin(&seen, 0);
    memory.fail_at = 1;
    assert_int_equal(seen_advance(&seen, 0, stamp_of(ann, 3)), -ENOMEM);
    assert_int_equal(seen_join(&seen, 0, bytes_of(vector, sizeof vector)), -ENOMEM);
    assert_int_equal(seen_join(&seen, 1, bytes_of(vector, sizeof vector)), -ENOMEM);
    assert_false(seen_is_known(&seen, 1));
    assert_int_equal(seen_of(&seen, 0, ann), 0);
    memory.fail_at = 0;
    assert_int_equal(seen_join(&seen, 0, bytes_of(vector, sizeof vector)), 0);
    assert_int_equal(seen_of(&seen, 0, bob), 6);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* What was saved is what there was; what is damaged says nothing. */
static void test_saved(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct buffer saved = {.memory = &memory.memory}, again = saved;
    struct seen seen, other;

    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    seen_begin(&seen, 1);
    seen_begin(&seen, 3);
    assert_int_equal(seen_advance(&seen, 3, stamp_of(bob, 20)), 0);
    assert_int_equal(seen_advance(&seen, 3, stamp_of(carl, 5)), 0);
    assert_int_equal(seen_save(&seen, 0, 2, &saved), 0); /* In parts, or at once. */
    assert_int_equal(seen_save(&seen, 2, 100, &saved), 0);
    for (uint64_t fail_at = 0; fail_at < 4; fail_at++) {
        assert_int_equal(seen_init(&other, &memory.memory, SLOTS), 0);
        memory.fail_at = fail_at == 0 ? 0 : memory.requests + fail_at;
        int rc = seen_restore(&other, buffer_bytes(&saved));
        memory.fail_at = 0;
        assert_true(rc == 0 || (fail_at != 0 && rc == -ENOMEM));
        assert_false(seen_is_known(&other, 0));
        assert_int_equal(seen_is_known(&other, 1), rc == 0);
        assert_int_equal(seen_of(&other, 3, bob), rc == 0 ? 20 : 0);
        again.size = 0;
        assert_int_equal(seen_save(&other, 0, SLOTS, &again), 0);
        if (rc == 0) {
            assert_bytes_equal(buffer_bytes(&again), buffer_bytes(&saved));
        }
        seen_fini(&other);
    }
    for (size_t size = 1; size < saved.size; size++) {
        assert_int_equal(seen_init(&other, &memory.memory, SLOTS), 0);
        int rc = seen_restore(&other, bytes_of(saved.data, size));
        assert_true(rc == -EBADMSG || size == 4); /* The first slot is whole. */
        assert_false(seen_is_known(&other, 3));
        seen_fini(&other);
    }
    saved.data[0] = 3; /* Not in order. */
    assert_int_equal(seen_init(&other, &memory.memory, SLOTS), 0);
    assert_int_equal(seen_restore(&other, buffer_bytes(&saved)), -EBADMSG);
    assert_false(seen_is_known(&other, 3));
    seen_fini(&other);
    buffer_fini(&saved);
    buffer_fini(&again);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* Of a slot that is held nothing is known, whatever comes, until it is let go. */
static void test_held(void **state)
{
    struct test_memory memory = test_memory();
    struct buffer vector = {.memory = &memory.memory};
    struct seen seen;

    (void)state;
    assert_int_equal(seen_init(&seen, &memory.memory, SLOTS), 0);
    seen_begin(&seen, 3);
    assert_int_equal(seen_advance(&seen, 3, stamp_of(bob, 20)), 0);
    assert_int_equal(seen_put(&seen, 3, &vector), 0);
    seen_hold(&seen, 3, true);
    assert_true(seen_is_held(&seen, 3) && !seen_is_held(&seen, 2));
    assert_false(seen_is_known(&seen, 3));
    seen_begin(&seen, 3);
    assert_int_equal(seen_join(&seen, 3, buffer_bytes(&vector)), 0);
    assert_int_equal(seen_join(&seen, 3, bytes_of("x", 1)), -EBADMSG);
    seen_forget(&seen, 3);
    assert_int_equal(seen_advance(&seen, 3, stamp_of(bob, 30)), 0);
    assert_false(seen_is_known(&seen, 3));
    assert_false(seen_covers(&seen, 3, stamp_of(bob, 20)));
    seen_hold(&seen, 3, false);
    assert_false(seen_is_known(&seen, 3));
    assert_int_equal(seen_join(&seen, 3, buffer_bytes(&vector)), 0);
    assert_int_equal(seen_of(&seen, 3, bob), 20);
    buffer_fini(&vector);
    seen_fini(&seen);
    assert_int_equal(memory.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_covers_nothing),
        cmocka_unit_test(test_advance),
        cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_bad_vectors),
        cmocka_unit_test(test_too_many_actors),
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_saved),
        cmocka_unit_test(test_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
