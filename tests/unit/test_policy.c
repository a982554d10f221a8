#include "check.h"

#include <errno.h>
#include <stdio.h>

#include "policy.h"

static struct policies policies;
static struct policy rows[POLICIES_MAX + 1];

static struct policy row(const char *prefix, uint64_t idle_ttl_ms)
{
    struct policy made;

    policy_defaults(&made);
    made.prefix_size = (uint32_t)strlen(prefix);
    memcpy(made.prefix, prefix, made.prefix_size);
    made.rules.idle_ttl_ms = idle_ttl_ms;
    return made;
}

static uint64_t idle_of(const char *key)
{
    return policy_of_key(&policies, text(key))->rules.idle_ttl_ms;
}

static void test_longest_prefix(void **state)
{
    (void)state;
    rows[0] = row("web:", 1);
    rows[1] = row("game:", 2);
    rows[2] = row("", 3);
    rows[3] = row("web:admin:", 4);
    rows[4] = row("web:admit", 5);
    assert_int_equal(policies_init(&policies, rows, 5), 0);
    assert_int_equal(idle_of("web:1"), 1);
    assert_int_equal(idle_of("web:"), 1);
    assert_int_equal(idle_of("web"), 3);
    assert_int_equal(idle_of("game:x"), 2);
    assert_int_equal(idle_of("web:admin:7"), 4);
    assert_int_equal(idle_of("web:admin"), 1);
    assert_int_equal(idle_of("web:admit"), 5);
    assert_int_equal(idle_of("z"), 3);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(policies_init(&policies, NULL, 0), 0);
    const struct policy *policy = policy_of_key(&policies, text("any"));
    assert_int_equal(policy->ack, ACK_REPLICA);
    assert_false(policy->touch_on_read);
    assert_false(policy->rules.no_resurrect);
    assert_int_equal(policy->rules.idle_ttl_ms, 0);
    assert_int_equal(policy->rules.absolute_ttl_ms, 0);
    assert_int_equal(policy->rules.session_bytes_max, SESSION_BYTES_DEFAULT);
    assert_int_equal(policy->rules.fields_max, SESSION_FIELDS_MAX);
}

static void test_refused(void **state)
{
    (void)state;
    rows[0] = row("a", 1);
    rows[1] = row("b", 1);
    rows[2] = row("a", 2);
    assert_int_equal(policies_init(&policies, rows, 3), -EEXIST);
    rows[2].prefix_size = POLICY_PREFIX_BYTES_MAX + 1;
    assert_int_equal(policies_init(&policies, rows, 3), -E2BIG);
    for (int i = 0; i <= POLICIES_MAX; i++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "p%d", i);
        rows[i] = row(prefix, (uint64_t)i);
    }
    assert_int_equal(policies_init(&policies, rows, POLICIES_MAX + 1), -E2BIG);
    assert_int_equal(policies_init(&policies, rows, POLICIES_MAX), -E2BIG); /* No room for "". */
    assert_int_equal(policies_init(&policies, rows, POLICIES_MAX - 1), 0);
}

/* Every table gives what a plain look through all its rows gives. */
static void test_as_plain_search(void **state)
{
    (void)state;
    uint32_t seed = 1;

    for (int round = 0; round < 200; round++) {
        uint32_t count = 0;
        for (int i = 0; i < 60; i++) {
            char prefix[6];
            seed = seed * 1664525 + 1013904223;
            uint32_t size = (seed >> 24) % 6, j;
            for (j = 0; j < size; j++) {
                seed = seed * 1664525 + 1013904223;
                prefix[j] = (char)('a' + (seed >> 20) % 3);
            }
            prefix[j] = '\0';
            bool twice = false;
            for (uint32_t k = 0; k < count; k++) {
                twice = twice || strcmp(rows[k].prefix, prefix) == 0;
            }
            if (!twice) {
                rows[count++] = row(prefix, (uint64_t)i + 1);
            }
        }
        assert_int_equal(policies_init(&policies, rows, count), 0);
        for (int i = 0; i < 200; i++) {
            char key[9] = "";
            for (int j = 0; j < 8; j++) {
                seed = seed * 1664525 + 1013904223;
                key[j] = (char)('a' + (seed >> 20) % 3);
            }
            uint64_t best = 0;
            size_t best_size = 0;
            for (uint32_t k = 0; k < count; k++) {
                size_t size = strlen(rows[k].prefix);
                if (strncmp(rows[k].prefix, key, size) == 0 && (best == 0 || size > best_size)) {
                    best = rows[k].rules.idle_ttl_ms;
                    best_size = size;
                }
            }
            assert_int_equal(idle_of(key), best);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest_prefix),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_as_plain_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
