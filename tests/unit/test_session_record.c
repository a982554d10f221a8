/* The bytes of records: golden bytes, sizes, and what session_check() refuses. Failing allocations. */
#include <errno.h>
#include <stdio.h>

#include "cold.h"
#include "golden.h"
#include "limits.h"
#include "session_kit.h"

/* These lie on disks and travel between versions: they change only with the number of the format. */
static void test_golden_blob(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    kit.type = SESSION_BLOB;
    kit_add(&kit, KIT_CHANGE(SET, .value = text("value")));
    kit_add(&kit, KIT_CHANGE(TTL, .ms = 1800000));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_golden(buffer_bytes(&kit.record),
                  "10 03 6b6579 00 0068e5cf8b01 0101 13 01 80dddb01 26 76616c7565");
    kit_fini(&kit);
}

static void test_golden_map(void **state)
{
    struct kit kit, other;
    (void)state;

    kit_init(&kit);
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_add(&kit,
            KIT_CHANGE(SET_UNTIL, .name = text("b"), .value = text("2"), .ms = kit.now_ms + 1000));
    kit_add(&kit, KIT_CHANGE(OWNER, .value = text("me")));
    kit_add(&kit, KIT_CHANGE(IDLE, .ms = 60000));
    kit.client = 9;
    kit.sequence = 1;
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_golden(buffer_bytes(&kit.record),
                  "13 0068e5cf8b01 03 6b6579 00 0068e5cf8b01 0101 15 16 09 01 02020000 "
                  "00 02 6d65 02 e0d403 04 01 61 01 31 a4 01 62 d00f 32");
    kit_init(&other);
    kit_take_first(&other, &kit);
    other.actor.node = 2;
    kit.now_ms += 3;
    kit.sequence = 2;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("a"), .delta = 5)), 0);
    assert_golden(
        buffer_bytes(&kit.written.delta),
        "230368e5cf8b01036b6579000368e5cf8b0101010100010605060a09020c04016101312d016101060a");
    assert_int_equal(kit_do(&other, KIT_CHANGE(SET, .name = text("a"), .value = text("x"))), 0);
    kit_take(&kit, &other);
    assert_golden(buffer_bytes(&kit.record),
                  "130368e5cf8b01036b6579010368e5cf8b0102010100020107010500060b09020c14090100060202"
                  "000000026d6502e0d40314016101070101780d016101060aa40162d00f32");
    kit.now_ms += 70000;
    kit.mode = WRITE_CREATE;
    kit.client = 0;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_OK);
    kit.rules.no_resurrect = true;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_golden(buffer_bytes(&kit.record), "1a036b65790f7379e6cf8b010102010101010201e7c5080101018"
                                             "0bab7030009090200e0c5080c14090100e6c50802020000");
    assert_golden(kit.written.token, "0f7379e6cf8b010102010101010201e7c50801010180bab703");
    kit_fini(&kit);
    kit_fini(&other);
}

/* As a Redis client's: its birth has a mark, and the cold record tells when it goes with its fields. */
static void test_golden_fading_map(void **state)
{
    struct kit kit;
    struct buffer cold;
    (void)state;

    kit_init(&kit);
    kit.fades = true;
    cold = (struct buffer){.memory = &kit.memory.memory};
    kit_add(&kit,
            KIT_CHANGE(SET_UNTIL, .name = text("b"), .value = text("2"), .ms = kit.now_ms + 1000));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_golden(buffer_bytes(&kit.record),
                  "10 036b6579 00 0068e5cf8b01 0101 35 a4 01 62 d00f 32");
    assert_int_equal(session_freeze(buffer_bytes(&kit.record), 7, &cold), 0);
    assert_golden(buffer_bytes(&cold), "30 036b6579 00 0068e5cf8b01 0101 85 e8d795ffbc31 "
                                       "0700000000000000 35");
    buffer_fini(&cold);
    kit_fini(&kit);
}

/* The headline: what a session costs over its key and value. */
static void test_sizes(void **state)
{
    static char value[512];
    struct kit kit;
    (void)state;

    for (int deduped = 0; deduped < 2; deduped++) {
        kit_init(&kit);
        kit.type = SESSION_BLOB;
        kit.rules.absolute_ttl_ms = 1800000;
        kit.key = text("session:0123456789abcdef0123");
        size_t payload = kit.key.size + sizeof value;
        if (deduped) {
            kit.client = 12345;
            kit.sequence = 123456;
        }
        kit_do(&kit, KIT_CHANGE(SET, .value = bytes_of(value, sizeof value)));
        size_t fresh = kit.record.size - payload;
        kit.now_ms += 600000;
        kit.sequence++;
        kit_do(&kit, KIT_CHANGE(SET, .value = bytes_of(value, sizeof value)));
        size_t replaced = kit.record.size - payload;
        kit.now_ms += 60000;
        kit.sequence++;
        kit_add(&kit, KIT_CHANGE(SET, .value = bytes_of(value, sizeof value)));
        kit_add(&kit, KIT_CHANGE(TTL, .ms = 1800000));
        kit_write(&kit);
        size_t renewed = kit.record.size - payload;
        print_message("blob over key and value: new %zu, replaced %zu, with new deadline %zu%s\n",
                      fresh, replaced, renewed, deduped ? ", with dedup items" : "");
        assert_in_range(fresh, 0, deduped ? 27 : 18);
        assert_in_range(replaced, 0, deduped ? 31 : 22);
        assert_in_range(renewed, 0, deduped ? 43 : 22);
        kit_fini(&kit);
    }
}

/* No bit of a record can be changed without check noticing or the change being a canonical record of
 * its own; none of it reads outside, which the sanitizers watch. */
static void test_check_refuses(void **state)
{
    struct kit kit;
    struct session_view view;
    uint8_t copy[512];
    int refused = 0, whole = 0;
    (void)state;

    kit_init(&kit);
    kit.client = kit.sequence = 3;
    kit_add(&kit, KIT_CHANGE(SET, .name = text("f"), .value = text("1")));
    kit_add(&kit, KIT_CHANGE(SET_UNTIL, .name = text("g"), .ms = kit.now_ms + 5));
    kit_add(&kit, KIT_CHANGE(IDLE, .ms = 70000));
    kit_write(&kit);
    kit.actor.node++;
    kit.now_ms += 2;
    kit_add(&kit, KIT_CHANGE(ADD, .name = text("f"), .delta = 3));
    kit_add(&kit, KIT_CHANGE(ABSOLUTE, .ms = kit.now_ms + 99999));
    kit_write(&kit);
    size_t size = kit.record.size;
    assert_in_range(size, 1, sizeof copy);
    for (size_t i = 0; i < size; i++) { /* Cut short: refused, or a whole record by itself. */
        struct bytes cut = bytes_of(kit.record.data, i);
        session_open(&view, cut, kit.now_ms);
        if (session_check(cut) == 0) {
            assert_int_equal(session_merge(cut, cut, &kit.merged), 0);
            assert_bytes_equal(buffer_bytes(&kit.merged), cut);
            whole++;
        }
    }
    assert_in_range(whole, 0, 1); /* The one without entries. */
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(copy, kit.record.data, size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct bytes changed = bytes_of(copy, size);
        session_open(&view, changed, kit.now_ms);
        if (session_check(changed) != 0) {
            refused++;
            continue;
        }
        assert_int_equal(session_merge(changed, changed, &kit.merged), 0);
        assert_bytes_equal(buffer_bytes(&kit.merged), changed);
    }
    assert_true(refused > 100);
    memcpy(copy, kit.record.data, size);
    copy[size] = 0;
    assert_int_equal(session_check(bytes_of(copy, size + 1)), 0); /* One byte more of the value. */
    assert_int_equal(session_check_delta(buffer_bytes(&kit.record)), -EBADMSG);
    assert_int_equal(session_check(bytes_of("", 0)), -EBADMSG);
    assert_int_equal(session_key(bytes_of("\x77zz", 3)).size, 0);
    kit_fini(&kit);
}

static size_t bytes_of_hex(const char *hex, uint8_t *bytes)
{
    size_t digits = 0;

    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') {
            int digit = *hex <= '9' ? *hex - '0' : *hex - 'a' + 10;
            bytes[digits / 2] = (uint8_t)(bytes[digits / 2] << 4 | digit);
            digits++;
        }
    }
    return digits / 2;
}

/* What would read well but is no state, or not its only form. */
static void test_check_rules(void **state)
{
    static const struct {
        int rc;
        const char *hex;
    } rows[] = {
        /* Two actors, of the second one a field. */
        {0, "10 016b 01 0368e5cf8b01 02 0101 00 0201 06 05 00 06 34 0161 01 06 78"},
        /* The version does not cover the field's stamp. */
        {-EBADMSG, "10 016b 01 0368e5cf8b01 02 0101 00 0201 08 05 00 06 34 0161 01 06 78"},
        /* Nor the birth's. */
        {-EBADMSG, "10 016b 01 0368e5cf8b01 02 0101 00 0201 08 05 01 06 34 0161 00 06 78"},
        /* Nobody is at the newest hlc; actors are out of order, or nobody. */
        {-EBADMSG, "10 016b 01 0368e5cf8b01 02 0101 02 0201 06 05 00 06 34 0161 01 06 78"},
        {-EBADMSG, "10 016b 01 0368e5cf8b01 02 0201 00 0101 06 05 00 06 34 0161 01 06 78"},
        {-EBADMSG, "10 016b 01 0368e5cf8b01 02 0001 00 0201 06 05 00 06 34 0161 01 06 78"},
        /* A birth that is dead; a death after everything. */
        {-EBADMSG, "10 016b 05 0368e5cf8b01 02 0101 00 0201 06 06 05 00 06 34 0161 01 06 78"},
        {-EBADMSG, "10 016b 0c 0368e5cf8b01 0101 00 00 05 06 2c 0161 78"},
        /* A birth that is written as given though it is the newest. */
        {0, "10 016b 00 0368e5cf8b01 0101 15 24 0161 78"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 05 00 24 0161 78"},
        /* A type that is none; a birth without type or entries. */
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 1b 24 0161 78"},
        {0, "10 016b 00 0368e5cf8b01 0101 11 24 0161 78"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 11"},
        /* Fields out of order, twice, without name under the wrong kind. */
        {0, "10 016b 00 0368e5cf8b01 0101 15 04 0161 00 24 0162 78"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 04 0162 00 24 0161 78"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 04 0161 00 24 0161 78"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 24 00 78"},
        /* An access before the death; an owner without name; an unknown kind; no deadline at 0. */
        {-EBADMSG, "19 0168e5cf8b01 016b 04 0368e5cf8b01 0101 02 00"},
        {0, "19 0268e5cf8b01 016b 04 0368e5cf8b01 0101 02 00"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 20"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 27"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 22 00"},
        /* An alias, and one without a key. */
        {0, "10 016b 00 0368e5cf8b01 0101 15 23 0700000000000000 0000000000000000 00000000 "
            "00000000 6b6579"},
        {-EBADMSG,
         "10 016b 00 0368e5cf8b01 0101 15 23 0700000000000000 0000000000000000 00000000 00000000"},
        /* One of an incarnation that is dead, which has neither type nor fields then. */
        {0, "10 016b 04 0368e5cf8b01 0101 00 11 23 0700000000000000 0000000000000000 00000000 "
            "00000000 6b6579"},
        {-EBADMSG, "10 016b 04 0368e5cf8b01 0101 00 15 23 0700000000000000 0000000000000000 "
                   "00000000 00000000 6b6579"},
        {-EBADMSG, "10 016b 04 0368e5cf8b01 0101 00 11 24 0161 78"},
        /* A score; one that is cut short, or no number; a sum in a sorted set. */
        {0, "10 016b 00 0368e5cf8b01 0101 19 24 0161 000000000000f03f"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 19 24 0161 0000f03f"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 19 24 0161 000000000000f87f"},
        {0, "10 016b 00 0368e5cf8b01 0101 15 25 0161 00 02"},
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 19 25 0161 00 02"},
        /* Gone, in no delta. */
        {-EBADMSG, "10 016b 00 0368e5cf8b01 0101 15 3c 0161"},
        /* No key; a dedup item of nobody. */
        {-EBADMSG, "10 00 00 0368e5cf8b01 0101 15"},
        {0, "12 016b 00 0368e5cf8b01 0101 15 0a 01 01 02"},
        {-EBADMSG, "12 016b 00 0368e5cf8b01 0101 15 0a 00 01 02"},
    };
    uint8_t bytes[64];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = bytes_of_hex(rows[i].hex, bytes);
        if (session_check(bytes_of(bytes, size)) != rows[i].rc) {
            print_error("%s\n", rows[i].hex);
            fail();
        }
    }
}

/* More actors and births than any cache holds, or a token has room for. */
static void test_crowds(void **state)
{
    enum { CROWD = 100 };
    struct kit all, one;
    struct session_view view;
    (void)state;

    kit_init(&all);
    for (uint32_t i = 0; i < CROWD; i++) {
        kit_init(&one);
        one.actor.node = 4000000000U + i * 7 % CROWD;
        one.actor.start = 4000000000U;
        one.now_ms += i % 5;
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        kit_add(&one, KIT_CHANGE(SET, .name = text(name), .value = text("1")));
        kit_add(&one, KIT_CHANGE(ADD, .name = text("sum"), .delta = 1));
        kit_write(&one);
        if (i == 0) {
            kit_take_first(&all, &one);
        } else {
            kit_take(&all, &one);
        }
        kit_fini(&one);
    }
    kit_open(&all, &view);
    assert_int_equal(view.field_count, CROWD + 1);
    /* Each set "sum" up alone with an add: all count. */
    kit_expect(&all, "sum", "100");
    uint8_t token[TOKEN_BYTES_MAX];
    struct bytes made;
    assert_int_equal(session_token(&view, &all.merged, &made), 0);
    assert_in_range(made.size, 1, TOKEN_BYTES_MAX);
    memcpy(token, made.data, made.size);
    all.if_version = bytes_of(token, made.size);
    assert_int_equal(session_covers(buffer_bytes(&all.record), all.if_version), 1);
    all.now_ms += 10;
    assert_int_equal(kit_do(&all, KIT_CHANGE(ADD, .name = text("sum"), .delta = 1)), STATUS_OK);
    assert_in_range(all.written.token.size, 1, TOKEN_BYTES_MAX);
    assert_int_equal(session_covers(buffer_bytes(&all.record), all.if_version), 0);
    assert_int_equal(kit_do(&all, KIT_CHANGE(ADD, .name = text("sum"), .delta = 1)),
                     STATUS_VERSION_MISMATCH);
    kit_expect(&all, "sum", "101");
    kit_fini(&all);
}

/* A session begun where an earlier one was forgotten has the same token as where that one's tombstone still is. */
static void test_token_of_one_life(void **state)
{
    enum { CROWD = 100 };
    struct kit earlier, one, later;
    struct session_view view;
    struct bytes token, shown;
    (void)state;

    kit_init(&earlier);
    kit_init(&later);
    for (uint32_t i = 0; i < CROWD; i++) { /* So many that their token would be a digest. */
        kit_init(&one);
        one.actor = (struct actor){4000000000U + i, 4000000000U};
        kit_do(&one, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
        if (i == 0) {
            kit_take_first(&earlier, &one);
        } else {
            kit_take(&earlier, &one);
        }
        kit_fini(&one);
    }
    earlier.now_ms += 10;
    assert_int_equal(kit_do(&earlier, KIT_CHANGE(DESTROY)), STATUS_OK);
    later.actor = (struct actor){1, 2};
    later.now_ms += 20;
    assert_int_equal(kit_do(&later, KIT_CHANGE(SET, .name = text("a"), .value = text("2"))),
                     STATUS_OK);
    uint8_t copy[TOKEN_BYTES_MAX];
    memcpy(copy, later.written.token.data, later.written.token.size);
    token = bytes_of(copy, later.written.token.size);

    kit_take(&later, &earlier);
    kit_open(&later, &view);
    assert_int_equal(session_token(&view, &later.merged, &shown), 0);
    assert_bytes_equal(shown, token);
    assert_int_equal(session_covers(buffer_bytes(&later.record), token), 1);
    later.if_version = token;
    later.now_ms += 10;
    assert_int_equal(kit_do(&later, KIT_CHANGE(SET, .name = text("a"), .value = text("3"))),
                     STATUS_OK);
    assert_false(bytes_equal(later.written.token, token));
    assert_int_equal(kit_do(&later, KIT_CHANGE(SET, .name = text("a"), .value = text("4"))),
                     STATUS_VERSION_MISMATCH);
    kit_fini(&earlier);
    kit_fini(&later);
}

/* A write whose token takes memory of its own, which is not there: nothing was written. */
static void test_no_memory_for_the_token(void **state)
{
    enum { CROWD = 100 };
    struct kit all, one;
    enum status status = STATUS_NO_MEMORY;
    (void)state;

    kit_init(&all);
    for (uint32_t i = 0; i < CROWD; i++) {
        kit_init(&one);
        one.actor = (struct actor){4000000000U + i, 4000000000U};
        kit_do(&one, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
        if (i == 0) {
            kit_take_first(&all, &one);
        } else {
            kit_take(&all, &one);
        }
        kit_fini(&one);
    }
    kit_add(&all, KIT_CHANGE(DESTROY)); /* No slots, so that nothing made room before. */
    const struct session_write write = {
        .key = all.key,
        .record = buffer_bytes(&all.record),
        .rules = &all.rules,
        .now_ms = all.now_ms + 1,
        .actor = all.actor,
        .type = SESSION_MAP,
        .changes = buffer_bytes(&all.list),
    };
    for (uint64_t fail_at = 1; status != STATUS_OK; fail_at++) {
        struct session_written written;
        struct test_memory memory = test_memory();
        memory.fail_at = fail_at;
        session_written_init(&written, &memory.memory);
        status = session_write(&write, &written);
        assert_true(status == STATUS_OK || status == STATUS_NO_MEMORY);
        assert_int_equal(written.changed, status == STATUS_OK);
        session_written_fini(&written);
        assert_int_equal(memory.outstanding_bytes, 0);
    }
    kit_fini(&all);
}

/* The n-th allocation fails, n = 1, 2, ... until it is not reached. */
static void test_no_memory(void **state)
{
    struct kit a, b;
    (void)state;

    kit_init(&a);
    kit_init(&b);
    b.actor.node = 2;
    char value[400];
    memset(value, 'v', sizeof value);
    kit_add(&a, KIT_CHANGE(SET, .name = text("a"), .value = bytes_of(value, sizeof value)));
    kit_write(&a);
    kit_take_first(&b, &a);
    kit_do(&b, KIT_CHANGE(SET, .name = text("b"), .value = bytes_of(value, sizeof value)));
    kit_do(&b, KIT_CHANGE(SET, .name = text("c"), .value = text("1")));

    kit_add(&a, KIT_CHANGE(APPEND, .name = text("a"), .value = text("more")));
    kit_add(&a, KIT_CHANGE(SET, .name = text("d"), .value = bytes_of(value, sizeof value)));
    kit_add(&a, KIT_CHANGE(TTL, .ms = 1000));
    struct session_write write = {
        .key = a.key,
        .record = buffer_bytes(&a.record),
        .rules = &a.rules,
        .now_ms = a.now_ms,
        .actor = a.actor,
        .type = SESSION_MAP,
        .changes = buffer_bytes(&a.list),
    };
    uint8_t before[1024];
    memcpy(before, a.record.data, a.record.size);
    int failures = 0;
    for (bool done = false; !done; failures++) {
        struct session_written written;
        struct test_memory memory = test_memory();
        memory.fail_at = (uint64_t)failures + 1;
        session_written_init(&written, &memory.memory);
        enum status status = session_write(&write, &written);
        assert_true(status == STATUS_OK || status == STATUS_NO_MEMORY);
        assert_int_equal(written.changed, status == STATUS_OK);
        assert_memory_equal(before, a.record.data, a.record.size);
        done = status == STATUS_OK;
        session_written_fini(&written);
        assert_int_equal(memory.outstanding_bytes, 0);
    }
    assert_true(failures > 3);
    struct bytes mine = buffer_bytes(&a.record), theirs = buffer_bytes(&b.record);
    struct bytes delta = buffer_bytes(&b.written.delta);
    assert_true(delta.size > 0);
    for (int kind = 0; kind < 3; kind++) {
        int rc = -ENOMEM;
        for (failures = 0; rc != 0; failures++) {
            struct test_memory memory = test_memory();
            struct buffer out = {.memory = &memory.memory};
            memory.fail_at = (uint64_t)failures + 1;
            rc = kind == 0 ? session_merge(mine, theirs, &out)
                 : kind == 1
                     ? session_apply_delta(theirs, delta, &out)
                     : session_bury(theirs, (struct stamp){UINT64_MAX >> 1, {1, 1}}, false, &out);
            assert_true(rc == 0 || rc == -ENOMEM);
            buffer_fini(&out);
            assert_int_equal(memory.outstanding_bytes, 0);
        }
        assert_true(failures > 1);
    }
    kit_fini(&a);
    kit_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_blob),
        cmocka_unit_test(test_golden_map),
        cmocka_unit_test(test_golden_fading_map),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_check_rules),
        cmocka_unit_test(test_crowds),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_token_of_one_life),
        cmocka_unit_test(test_no_memory_for_the_token),
    };
    return cmocka_run_group_tests_name("session_record", tests, NULL, NULL);
}
