/* Comparing copies: at the end both have all that either had, and not much more was sent than what differed. */
#include "check.h"

#include <errno.h>

#include "compare.h"
#include "random.h"

enum { SESSIONS_MAX = 9000 };

/* A copy: sessions by position, then key. The newest version of a key is its merge. */
struct session {
    uint64_t position, key, version;
};

struct copy {
    struct compare_source source;
    struct copy *other; /* Gets what is sent. */
    uint64_t sent;      /* Positions. */
    int send_fails;
    uint32_t count;
    struct session sessions[SESSIONS_MAX];
};

static struct copy here, there, joined;

static uint64_t hash_of(const struct session *session)
{
    uint64_t random = session->key * 31 + session->version * 1000003 + session->position;

    return random_next(&random);
}

/* Where a session is, or belongs. */
static uint32_t place_of(const struct copy *copy, uint64_t position, uint64_t key)
{
    uint32_t low = 0, high = copy->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct session *session = &copy->sessions[middle];
        bool before =
            session->position != position ? session->position < position : session->key < key;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return low;
}

static void merge(struct copy *copy, struct session session)
{
    uint32_t place = place_of(copy, session.position, session.key);
    struct session *at = &copy->sessions[place];

    if (place < copy->count && at->position == session.position && at->key == session.key) {
        at->version = at->version > session.version ? at->version : session.version;
        return;
    }
    assert_true(copy->count < SESSIONS_MAX);
    memmove(at + 1, at, (copy->count - place) * sizeof *at);
    *at = session;
    copy->count++;
}

static void walk(struct compare_source *source, uint64_t first, uint64_t last,
                 bool (*visit)(void *context, struct compare_entry entry), void *context)
{
    const struct copy *copy = (const struct copy *)source;

    for (uint32_t i = place_of(copy, first, 0); i < copy->count; i++) {
        const struct session *session = &copy->sessions[i];
        if (session->position > last ||
            !visit(context, (struct compare_entry){session->position, hash_of(session)})) {
            return;
        }
    }
}

static int send_all(struct compare_source *source, uint64_t position)
{
    struct copy *copy = (struct copy *)source;

    if (copy->send_fails != 0) {
        return copy->send_fails;
    }
    copy->sent++;
    for (uint32_t i = place_of(copy, position, 0);
         i < copy->count && copy->sessions[i].position == position; i++) {
        merge(copy->other, copy->sessions[i]);
    }
    return 0;
}

static void empty(void)
{
    const struct compare_source source = {.walk = walk, .send = send_all};

    here.source = there.source = source;
    here.other = &there;
    there.other = &here;
    here.count = there.count = joined.count = 0;
    here.sent = there.sent = 0;
    here.send_fails = there.send_fails = 0;
}

/* The comparison of `here`, which asks, with `there`, to its end. */
struct result {
    int rc;
    uint64_t rounds, bytes;
    struct compare_stats stats;
};

static struct result compare_copies(struct test_memory *memory, uint64_t first, uint64_t last)
{
    struct buffer asks = {.memory = &memory->memory}, answers = {.memory = &memory->memory};
    struct result result = {0};
    struct compare compare;
    int over = 0;

    result.rc = compare_begin(&compare, &memory->memory, &here.source, first, last);
    while (result.rc == 0) {
        result.rc = compare_ask(&compare, &asks);
        if (result.rc == 0) {
            assert_true(asks.size > 0); /* Else nothing would ever come again. */
            result.bytes += asks.size;
            over = compare_answer(&there.source, buffer_bytes(&asks), &answers);
            result.rc = over < 0 ? over : 0;
            result.bytes += answers.size;
            asks.size = 0;
        }
        if (result.rc == 0) {
            result.rc = compare_take(&compare, buffer_bytes(&answers), &asks);
            answers.size = 0;
        }
        result.rounds++;
    }
    if (result.rc == 1) {
        assert_int_equal(over, 1);
    }
    result.stats = compare.stats;
    compare_end(&compare);
    buffer_fini(&asks);
    buffer_fini(&answers);
    return result;
}

static void check_equal(const struct copy *a, const struct copy *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_int_equal(a->sessions[i].position, b->sessions[i].position);
        assert_int_equal(a->sessions[i].key, b->sessions[i].key);
        assert_int_equal(a->sessions[i].version, b->sessions[i].version);
    }
}

/* Copies of `count` sessions from `first` to `last`; of each thousand so many are only on one side, or older on one.
 * Returns how many differ. */
static uint64_t make_copies(uint64_t *random, uint32_t count, uint64_t first, uint64_t last,
                            uint32_t differ)
{
    uint64_t different = 0;

    empty();
    for (uint32_t i = 0; i < count; i++) {
        struct session session = {first + random_next(random) % (last - first), i, 5};
        uint32_t fate = random_below(random, 1000) < differ ? 1 + random_below(random, 4) : 0;
        struct session older = session;
        older.version = 4;
        different += fate != 0;
        merge(&joined, session);
        if (fate != 1) {
            merge(&here, fate == 3 ? older : session);
        }
        if (fate != 2) {
            merge(&there, fate == 4 ? older : session);
        }
    }
    return different;
}

static void test_equal_copies(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    uint64_t random = 3;

    empty();
    struct result result = compare_copies(&memory, 0, UINT64_MAX);
    assert_int_equal(result.rc, 1);
    make_copies(&random, 5000, 0, UINT64_MAX, 0);
    result = compare_copies(&memory, 0, UINT64_MAX);
    assert_int_equal(result.rc, 1);
    assert_int_equal(result.stats.asks, 1);
    assert_int_equal(here.sent + there.sent, 0);
    assert_true(result.bytes < 64);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* Any share of differences, any size: both ends have the merge of both, and nothing equal was sent. */
static void test_any_copies(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 63, 64, 65, 300, 3000, 8000},
                          shares[] = {1, 10, 100, 500, 1000};
    const uint64_t slot = UINT64_C(1) << 50;
    struct test_memory memory = test_memory();
    uint64_t random = 8;

    for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
        for (size_t share = 0; share < sizeof shares / sizeof *shares; share++) {
            uint64_t first = random_below(&random, 16384) * slot, last = first + (slot - 1);
            uint64_t different = make_copies(&random, sizes[size], first, last, shares[share]);
            struct result result = compare_copies(&memory, first, last);
            assert_int_equal(result.rc, 1);
            check_equal(&here, &joined);
            check_equal(&there, &joined);
            assert_in_range(here.sent + there.sent, different, 2 * different);
            assert_int_equal(result.stats.sent, here.sent);
            assert_int_equal(result.stats.wanted, there.sent);
        }
    }
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* Sessions at both ends of a range, whatever its width. */
static void test_edges(void **state)
{
    (void)state;
    enum { BETWEEN = 200 };
    struct test_memory memory = test_memory();
    uint64_t random = 55;

    for (uint64_t width = BETWEEN; width < 400; width++) {
        uint64_t first = random_next(&random) / 2;
        empty();
        for (uint64_t i = 0; i <= BETWEEN; i++) {
            merge(&here, (struct session){first + i * (width - 1) / BETWEEN, i, 1});
        }
        merge(&there, (struct session){first + (width - 1), BETWEEN, 2});
        merge(&there, (struct session){first, 0, 2});
        assert_int_equal(compare_copies(&memory, first, first + (width - 1)).rc, 1);
        check_equal(&here, &there);
        assert_int_equal(here.count, BETWEEN + 1);
        assert_int_equal(here.sessions[BETWEEN].version, 2);
    }
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* Few differences among many cost little. */
static void test_costs(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    uint64_t random = 21;

    for (uint32_t share = 1; share <= 100; share *= 10) {
        uint64_t different = make_copies(&random, 8000, 0, UINT64_MAX, share);
        struct result result = compare_copies(&memory, 0, UINT64_MAX);
        assert_int_equal(result.rc, 1);
        print_message("8000 sessions, %u differ: %u asks, %u lists, %u bytes, %u rounds\n",
                      (unsigned)different, (unsigned)result.stats.asks,
                      (unsigned)result.stats.lists, (unsigned)result.bytes,
                      (unsigned)result.rounds);
        assert_true(result.stats.asks <= 1 + 2 * 16 + 3 * different);
        assert_true(result.bytes <= 2000 + 2000 * different);
        assert_true(result.rounds < 40);
    }
}

/* Sessions of one position, however many: they are listed, as nothing can divide them. */
static void test_one_position(void **state)
{
    (void)state;
    enum { MANY = 500 };
    struct test_memory memory = test_memory();

    empty();
    for (uint32_t i = 0; i < MANY; i++) {
        const struct session session = {77, i, 1}, newer = {77, i, 2};
        merge(&here, session);
        merge(&there, i == 250 ? newer : session);
    }
    struct result result = compare_copies(&memory, 0, UINT64_MAX);
    assert_int_equal(result.rc, 1);
    check_equal(&here, &there);
    assert_int_equal(here.sessions[250].version, 2);
    assert_int_equal(here.sent, 1);
    assert_int_equal(there.sent, 1);
}

/* The bytes are an agreement between nodes of different releases. */
static void test_golden_bytes(void **state)
{
    (void)state;
    static const uint8_t ask[] = {1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0,
                                  0, 0, 0, 1, 0, 0, 0, 0, 0, 0,    0, 0, 0};
    struct test_memory memory = test_memory();
    struct buffer asks = {.memory = &memory.memory}, answers = {.memory = &memory.memory};
    struct compare compare;
    uint8_t list[18] = {6, 1, 9, 0, 0, 0, 0, 0, 0, 1}, want[9] = {2, 9, 0, 0, 0, 0, 0, 0, 1};

    empty();
    merge(&there, (struct session){UINT64_C(0x0100000000000009), 4, 4});
    store_u64(list + 10, hash_of(&there.sessions[0]));
    assert_int_equal(compare_begin(&compare, &memory.memory, &here.source,
                                   UINT64_C(0x0100000000000000), UINT64_C(0x01000000000000ff)),
                     0);
    assert_int_equal(compare_ask(&compare, &asks), 0);
    assert_true(bytes_equal(buffer_bytes(&asks), bytes_of(ask, sizeof ask)));
    assert_int_equal(compare_answer(&there.source, buffer_bytes(&asks), &answers), 0);
    assert_true(bytes_equal(buffer_bytes(&answers), bytes_of(list, sizeof list)));
    asks.size = 0;
    assert_int_equal(compare_take(&compare, buffer_bytes(&answers), &asks), 0);
    assert_int_equal(compare_ask(&compare, &asks), 0);
    assert_int_equal(asks.size, sizeof want + 1); /* With the fence. */
    assert_memory_equal(asks.data, want, sizeof want);
    assert_int_equal(asks.data[9], 3);
    compare_end(&compare);
    buffer_fini(&asks);
    buffer_fini(&answers);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* What is no answer, or no question, ends the comparison with an error, and nothing worse. */
static void test_bad_messages(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[56], size;
    } bad_answers[] = {
        {{3}, 1},       /* A fence that was not sent. */
        {{4, 4}, 2},    /* One answer too many. */
        {{1}, 1},       /* A question. */
        {{0}, 1},       /* Nothing known. */
        {{6, 1, 0}, 3}, /* A cut list. */
        {{6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
         11},                                 /* A list without end. */
        {{5, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 10}, /* One part of sixteen. */
        {{6, 2, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1,
          1, 8, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
         34}, /* Out of order. */
        {{6, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1, 1, 1, 1, 1},
         18}, /* Elsewhere. */
    };
    static const struct {
        uint8_t bytes[32], size;
    } bad_questions[] = {
        {{4}, 1},
        {{1, 0, 0}, 3},
        {{2, 0, 0}, 3},
        {{3, 3}, 2},
        {{1, 9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
         26}, /* Backwards. */
    };
    struct test_memory memory = test_memory();
    struct buffer asks = {.memory = &memory.memory};
    struct compare compare;

    empty();
    for (size_t i = 0; i < sizeof bad_answers / sizeof *bad_answers; i++) {
        assert_int_equal(compare_begin(&compare, &memory.memory, &here.source, 0, UINT64_MAX / 2),
                         0);
        asks.size = 0;
        assert_int_equal(compare_ask(&compare, &asks), 0);
        assert_int_equal(
            compare_take(&compare, bytes_of(bad_answers[i].bytes, bad_answers[i].size), &asks),
            -EBADMSG);
        compare_end(&compare);
    }
    for (size_t i = 0; i < sizeof bad_questions / sizeof *bad_questions; i++) {
        assert_int_equal(compare_answer(&there.source,
                                        bytes_of(bad_questions[i].bytes, bad_questions[i].size),
                                        &asks),
                         -EBADMSG);
    }
    /* An end that says of all it is asked that all parts differ: the stack has a bound. */
    enum { PARTS_BYTES = 1 + 16 * 9 };
    uint8_t parts[COMPARE_ASKS_MAX * PARTS_BYTES] = {0};
    for (uint32_t i = 0; i < COMPARE_ASKS_MAX; i++) {
        parts[i * PARTS_BYTES] = 5;
        for (uint32_t part = 0; part < 16; part++) {
            parts[i * PARTS_BYTES + 1 + part * 9] = 1;
        }
    }
    int rc = 0;
    assert_int_equal(compare_begin(&compare, &memory.memory, &here.source, 0, UINT64_MAX), 0);
    for (int i = 0; i < 5000 && rc == 0; i++) {
        asks.size = 0;
        assert_int_equal(compare_ask(&compare, &asks), 0);
        rc = compare_take(&compare, bytes_of(parts, compare.asked_count * PARTS_BYTES), &asks);
    }
    assert_int_equal(rc, -EOVERFLOW);
    assert_true(memory.outstanding_bytes <= COMPARE_RANGES_MAX * 16 + 4096);
    compare_end(&compare);
    buffer_fini(&asks);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_random_bytes(void **state)
{
    (void)state;
    enum { ROUNDS = 30000 };
    struct test_memory memory = test_memory();
    struct buffer asks = {.memory = &memory.memory};
    struct compare compare;
    uint64_t random = 17, taken = 0;

    make_copies(&random, 200, 0, UINT64_MAX, 100);
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = random_below(&random, 64);
        uint8_t *bytes = malloc(size + 1);
        assert_non_null(bytes);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)(random_below(&random, 3) == 0 ? random_next(&random)
                                                               : random_below(&random, 8));
        }
        asks.size = 0;
        assert_int_equal(compare_begin(&compare, &memory.memory, &here.source, 0, UINT64_MAX), 0);
        assert_int_equal(compare_ask(&compare, &asks), 0);
        taken += compare_take(&compare, bytes_of(bytes, size), &asks) == 0;
        compare_end(&compare);
        asks.size = 0;
        taken += compare_answer(&there.source, bytes_of(bytes, size), &asks) >= 0;
        free(bytes);
    }
    assert_true(taken > ROUNDS / 100);
    buffer_fini(&asks);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* The n-th request for memory fails, or the other end cannot be sent to: it ends there, and works the next time. */
static void test_failures(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    uint64_t random = 33, failed = 0;
    struct result result;

    for (uint64_t n = 1;; n++) {
        make_copies(&random, 3000, 0, UINT64_MAX, 300);
        memory.requests = 0;
        memory.fail_at = n;
        result = compare_copies(&memory, 0, UINT64_MAX);
        memory.fail_at = 0;
        assert_int_equal(memory.outstanding_bytes, 0);
        if (result.rc == 1) {
            break;
        }
        assert_int_equal(result.rc, -ENOMEM);
        failed++;
        assert_int_equal(compare_copies(&memory, 0, UINT64_MAX).rc, 1);
        check_equal(&here, &joined);
        check_equal(&there, &joined);
    }
    assert_true(failed > 5);
    make_copies(&random, 100, 0, UINT64_MAX, 300);
    here.send_fails = -ENOBUFS;
    assert_int_equal(compare_copies(&memory, 0, UINT64_MAX).rc, -ENOBUFS);
    here.send_fails = 0;
    there.send_fails = -ENOBUFS;
    assert_int_equal(compare_copies(&memory, 0, UINT64_MAX).rc, -ENOBUFS);
    there.send_fails = 0;
    assert_int_equal(compare_copies(&memory, 0, UINT64_MAX).rc, 1);
    check_equal(&here, &there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_copies), cmocka_unit_test(test_any_copies),
        cmocka_unit_test(test_edges),        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_one_position), cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_bad_messages), cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
