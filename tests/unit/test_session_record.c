/* The bytes of records: golden bytes, sizes, and what session_check() refuses. Failing allocations. */
#include <errno.h>
#include <stdio.h>

#include "session_kit.h"

/* Bytes as hexadecimal text, one blank between parts being ignored. */
static void assert_golden(struct bytes bytes, const char *hex)
{
    char found[1024] = "";
    char wanted[1024] = "";
    size_t size = 0;

    assert_in_range(bytes.size, 0, sizeof found / 2 - 1);
    for (size_t i = 0; i < bytes.size; i++) {
        snprintf(found + 2 * i, 3, "%02x", bytes.data[i]);
    }
    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') {
            wanted[size++] = *hex;
        }
    }
    assert_string_equal(found, wanted);
}

/* These are stored on disks and sent between versions: they may only change with the format's number. */
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
                  "10 03 6b6579 00 00682 5cfe8b 01 0101 13 01 80ddda01 25 76616c7565");
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_blob),
    };
    return cmocka_run_group_tests_name("session_record", tests, NULL, NULL);
}
