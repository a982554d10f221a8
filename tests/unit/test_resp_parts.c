/* Parts of the RESP door: patterns, the order of replies, numbers with a fraction, scripts. */
#include "check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "commands.h"
#include "events.h"
#include "glob.h"
#include "random.h"
#include "reply_order.h"
#include "run.h"
#include "scripts.h"

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "any", true},
        {"a*", "abc", true},
        {"a*", "b", false},
        {"*c", "abc", true},
        {"a*c", "ac", true},
        {"a*b*c", "aXbYbZc", true},
        {"a*b*c", "aXbY", false},
        {"?", "", false},
        {"?", "a", true},
        {"a?c", "abc", true},
        {"[abc]", "b", true},
        {"[abc]", "d", false},
        {"[^abc]", "d", true},
        {"[^abc]", "a", false},
        {"[a-c]x", "bx", true},
        {"[c-a]x", "bx", true},
        {"[a-c]", "d", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\?", "a?", true},
        {"[\\]]", "]", true},
        {"[a", "a", true},
        {"a[", "a[", false},
        {"**a**", "a", true},
        {"user:*:x", "user:1:x", true},
        {"a\\", "a\\", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (glob_matches(text(cases[i].pattern), text(cases[i].text)) != cases[i].matches) {
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
        }
    }
    assert_true(glob_matches(bytes_of(NULL, 0), text("no pattern matches all")));
    assert_true(bytes_equal(glob_prefix(text("user:*")), text("user:")));
    assert_true(bytes_equal(glob_prefix(text("a\\*")), text("a")));
    assert_true(bytes_equal(glob_prefix(text("plain")), text("plain")));
}

/* Many stars take no longer than the product of both sizes. */
static void test_a_pattern_of_stars(void **state)
{
    char pattern[401], name[2001];

    (void)state;
    for (size_t i = 0; i + 1 < sizeof pattern; i += 2) {
        memcpy(pattern + i, "*a", 2);
    }
    memset(name, 'a', sizeof name - 1);
    pattern[sizeof pattern - 1] = name[sizeof name - 1] = '\0';
    name[sizeof name - 2] = 'b';
    assert_false(glob_matches(text(pattern), text(name)));
}

/* Requests are taken, put off and answered in any order: what goes out is in theirs. */
static void test_order(void **state)
{
    uint64_t random = 7;
    struct test_memory memory = test_memory();
    struct reply_order order;

    (void)state;
    for (int round = 0; round < 200; round++) {
        uint64_t waiting[600];
        uint32_t count = 0;
        uint64_t sent = 0, taken = 0, put_off = 0;
        reply_order_init(&order, &memory.memory);
        while (sent < 500) {
            if ((taken < 500 || order.put_off.size > 0) &&
                count < sizeof waiting / sizeof waiting[0] && random_below(&random, 2) == 0) {
                uint64_t number = reply_order_begin(&order);
                assert_true(number <= taken);
                taken += number == taken;
                waiting[count++] = number;
                continue;
            }
            if (count == 0) {
                continue;
            }
            uint32_t i = (uint32_t)random_below(&random, count);
            uint64_t number = waiting[i];
            if (put_off < 300 && random_below(&random, 4) == 0) {
                /* It and all after it are put off, in any order, and served again. */
                put_off++;
                for (uint32_t j = 0; j < count;) {
                    if (waiting[j] < number) {
                        j++;
                        continue;
                    }
                    assert_int_equal(reply_order_put_off(&order, waiting[j]), 0);
                    waiting[j] = waiting[--count];
                }
                continue;
            }
            waiting[i] = waiting[--count];
            if (!reply_order_is_due(&order, number)) {
                assert_int_equal(reply_order_keep(&order, number, bytes_of(&number, sizeof number)),
                                 0);
                continue;
            }
            assert_int_equal(number, sent);
            reply_order_sent(&order);
            sent++;
            struct bytes kept;
            while (reply_order_kept(&order, &kept)) {
                uint64_t found;
                assert_int_equal(kept.size, sizeof found);
                memcpy(&found, kept.data, sizeof found);
                assert_int_equal(found, sent);
                reply_order_drop(&order);
                sent++;
            }
        }
        assert_int_equal(order.kept_bytes, 0);
        if (round % 2 == 0) { /* Some are kept when the connection goes. */
            assert_int_equal(reply_order_keep(&order, order.due + 3, text("late")), 0);
        }
        reply_order_fini(&order);
        assert_int_equal(memory.outstanding_bytes, 0);
    }
}

static void test_doubles(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"1", "1"},
        {"1.5", "1.5"},
        {"-0.25", "-0.25"},
        {"1e3", "1000"},
        {"0.1", "0.1"},
        {"3.0", "3"},
        {"inf", "inf"},
        {"-inf", "-inf"},
        {"1e300", "1.0000000000000001e+300"},
        {"1e20", "1e+20"},
        {"123456789", "123456789"},
    };
    double value;
    char out[RUN_DOUBLE_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(run_parse_double(text(cases[i].from), &value));
        size_t size = run_format_double(value, out);
        double again;
        assert_true(run_parse_double(bytes_of(out, size), &again));
        assert_true(again == value);
        if (value < 1e200) {
            assert_true(bytes_equal(bytes_of(out, size), text(cases[i].to)));
        }
    }
    assert_false(run_parse_double(text(""), &value));
    assert_false(run_parse_double(text("nan"), &value));
    assert_false(run_parse_double(text("1x"), &value));
    assert_false(run_parse_double(text(" 1"), &value));
}

static void test_commands(void **state)
{
    const struct command *command;

    (void)state;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++) {
        const struct command *next = command_at(i + 1);
        assert_true(command_find(text(command->name)) == command);
        assert_true(next == NULL || strcmp(command->name, next->name) < 0);
        /* Either the door's or a procedure, and the latter have a key. */
        assert_true((command->procedure.run == NULL) == (command->local != LOCAL_NONE));
        assert_true(command->procedure.run == NULL || command->first_key >= 1);
        assert_true(command->arity != 0 && command->summary[0] != '\0');
    }
    assert_true(command_find(text("GeT")) == command_find(text("get")));
    assert_null(command_find(text("ge")));
    assert_null(command_find(text("a name that is longer than any command's")));
    assert_null(command_find(text("")));
}

static void test_scripts(void **state)
{
    static const char release[] = "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return "
                                  "redis.call(\"del\",KEYS[1]) else return 0 end";
    static const char other[] = "if redis.call('get', KEYS[1]) == ARGV[1]\nthen\n\treturn "
                                "redis.call('del', KEYS[1])\nelse\n\treturn 0\nend\n";
    char sha1[SCRIPT_SHA1_BYTES + 1];

    (void)state;
    script_sha1(text(release), sha1);
    assert_string_equal(sha1, "b70c2384248f88e6b75b9f89241a180f856ad852");
    assert_non_null(script_of_text(text(release)));
    assert_true(script_of_text(text(release)) == script_of_sha1(text(sha1)));
    assert_true(script_of_text(text(other)) == script_of_text(text(release)));
    assert_null(script_of_text(text("return redis.call(\"del\",KEYS[1])")));
    assert_null(script_of_sha1(text("b70c")));
}

static void test_events(void **state)
{
    static const struct {
        const char *asked, *shown; /* By Redis 7.0. */
    } cases[] = {
        {"", ""},
        {"KEA", "AKE"},
        {"Egx", "gxE"},
        {"Kn", "nK"},
        {"KAn", "AK"},
        {"KEAm", "AKEm"},
        {"KEg$lshzx", "g$lshzxKE"},
        {"g$lshzxetd", "A"},
    };
    uint32_t events = 77;
    char shown[EVENTS_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(events_parse(text(cases[i].asked), &events), 0);
        events_print(events, shown);
        assert_string_equal(shown, cases[i].shown);
    }
    assert_int_equal(events_parse(text("KEQ"), &events), -EINVAL);
    assert_int_equal(events_parse(bytes_of("K\0", 2), &events), -EINVAL);
    events_print(UINT32_MAX, shown);
    assert_string_equal(shown, "AKEm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns), cmocka_unit_test(test_a_pattern_of_stars),
        cmocka_unit_test(test_order),    cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_commands), cmocka_unit_test(test_events),
        cmocka_unit_test(test_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
